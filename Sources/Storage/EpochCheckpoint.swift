// The text of `leader-epoch-checkpoint`.

import Model
import NIOCore

/// Line `0`, line with the number of entries, then `epoch startOffset` lines: Kafka's checkpoint format, version 0.
package enum EpochCheckpoint {
    static func contents(_ epochs: EpochHistory) -> ByteBuffer {
        var text = "0\n\(epochs.entries.count)\n"
        for entry in epochs.entries { text += "\(entry.epoch) \(entry.startOffset)\n" }
        return ByteBuffer(string: text)
    }

    /// Nil when it is anything else than a whole checkpoint with epochs and offsets in order.
    package static func parse(_ contents: ByteBuffer) -> EpochHistory? {
        var text = contents
        guard let string = text.readString(length: text.readableBytes) else { return nil }
        let parts = string.split(separator: "\n", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "0", let count = Int(parts[1]), count >= 0 else { return nil }
        // Line by line: to split it all takes many times its size.
        var rest = parts[2]
        var history = EpochHistory()
        for _ in 0..<count {
            guard let end = rest.firstIndex(of: "\n") else { return nil }
            let fields = rest[..<end].split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
            rest = rest[rest.index(after: end)...]
            guard fields.count == 2, let epoch = LeaderEpoch(fields[0]), let start = Offset(fields[1]),
                start >= 0, start >= history.entries.last?.startOffset ?? 0
            else { return nil }
            let before = history.entries.count
            guard history.assign(epoch, startOffset: start), history.entries.count == before + 1 else { return nil }
        }
        return rest.isEmpty ? history : nil
    }

    static func load(_ disk: any Disk, directory: String) -> EpochHistory? {
        guard let file = try? disk.open(directory + "/" + SegmentFiles.epochCheckpoint, create: false) else {
            return nil
        }
        defer { disk.close(file) }
        guard let size = try? disk.sizeBytes(of: file), size <= 1 << 24,
            let contents = try? disk.read(file, at: 0, length: Int(size))
        else { return nil }
        return parse(contents)
    }
}
