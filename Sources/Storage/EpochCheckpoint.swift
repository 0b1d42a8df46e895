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
        var lines = string.split(separator: "\n", omittingEmptySubsequences: false)[...]
        guard lines.popLast() == "", lines.popFirst() == "0", let count = lines.popFirst().flatMap({ Int($0) }),
            count == lines.count
        else { return nil }
        var history = EpochHistory()
        for line in lines {
            let fields = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 2, let epoch = LeaderEpoch(fields[0]), let start = Offset(fields[1]), epoch >= 0,
                start >= 0, start >= history.entries.last?.startOffset ?? 0
            else { return nil }
            let before = history.entries.count
            guard history.assign(epoch, startOffset: start), history.entries.count == before + 1 else { return nil }
        }
        return history
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
