// The small files beside logs: checkpoints, ids and votes, read as text and checked for their form.

import Model
import NIOCore
import Storage

/// A small file as lines, and what is wrong with it.
struct TextFile {
    var lines: [String] = []
    var problem: String?

    static let names = [
        SegmentFiles.epochCheckpoint, "recovery-point-offset-checkpoint", "log-start-offset-checkpoint",
        "replication-offset-checkpoint", "cleaner-offset-checkpoint", "partition.metadata", "quorum-state",
        "meta.properties",
    ]

    /// Without what a shard of a node with several of them puts behind the names of its checkpoints.
    static func plainName(of name: String) -> String {
        guard let dot = name.lastIndex(of: "."), name[..<dot].hasSuffix("-offset-checkpoint"),
            name[dot...].contains("-of-")
        else { return name }
        return String(name[..<dot])
    }

    private static let sizeBytesMax: Int64 = 1 << 26

    init(_ file: FileBytes, name: String) throws {
        let size = file.sizeBytes
        guard size <= Self.sizeBytesMax, let bytes = file.bytes(at: 0, count: Int(size)) else {
            throw CommandFailure("\(file.path) cannot be \(name): it has \(size) bytes")
        }
        let text = String(decoding: bytes.readableBytesView, as: UTF8.self)
        if name == SegmentFiles.epochCheckpoint {
            guard let history = EpochCheckpoint.parse(bytes) else {
                problem = "it is no whole checkpoint of leader epochs"
                lines = Self.split(text)
                return
            }
            lines = history.entries.map { "epoch \($0.epoch)  from offset \($0.startOffset)" }
        } else if Self.plainName(of: name).hasSuffix("-offset-checkpoint") {
            readOffsets(text)
        } else {
            lines = Self.split(text)
        }
    }

    /// Line `0`, line with the count, then `topic partition offset` lines.
    private mutating func readOffsets(_ text: String) {
        let all = Self.split(text)
        let entries = all.dropFirst(2).map { $0.split(separator: " ") }
        let isWhole =
            all.count >= 2 && all[0] == "0" && Int(all[1]) == entries.count
            && entries.allSatisfy { $0.count == 3 && PartitionIndex($0[1]) != nil && Offset($0[2]) != nil }
        guard isWhole else {
            problem = "it is no whole checkpoint of offsets"
            return lines = all
        }
        // The checksum of the rest is written as a partition of a topic that cannot be.
        lines = entries.filter { $0[0] != ":crc32c" }.map { "\($0[0])-\($0[1])  offset \($0[2])" }
    }

    private static func split(_ text: String) -> [String] {
        text.split(separator: "\n").map { String($0).printable }
    }
}
