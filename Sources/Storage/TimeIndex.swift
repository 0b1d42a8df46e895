// The sparse map of one segment from timestamp to offset: Kafka's `.timeindex`.

import Model
import NIOCore

/// Entries of {int64 timestamp, int32 offset − base}: no batch up to that offset has a larger timestamp, and the batch
/// that ends there has it. Timestamps strictly rise. As with the offset index, a file's entry is believed only after a
/// look at the batch that it names.
struct TimeIndex: Equatable {
    static let entryBytes = 12

    struct Entry: Equatable {
        var timestamp: Int64
        var relativeOffset: Int32
    }

    private(set) var entries: [Entry] = []
    var savedCount = 0

    init() {}

    /// Nil when the bytes cannot be a time index of a segment that ends `relativeEnd` offsets behind its base.
    init?(_ bytes: ByteBuffer, relativeEnd: Int64) {
        guard bytes.readableBytes % Self.entryBytes == 0 else { return nil }
        var bytes = bytes
        entries.reserveCapacity(bytes.readableBytes / Self.entryBytes)
        while let (timestamp, offset) = bytes.readMultipleIntegers(as: (Int64, Int32).self) {
            guard timestamp >= 0, offset >= 0, Int64(offset) < relativeEnd else { return nil }
            if let last = entries.last, last.timestamp >= timestamp || last.relativeOffset >= offset { return nil }
            entries.append(Entry(timestamp: timestamp, relativeOffset: offset))
        }
        savedCount = entries.count
    }

    /// Adds an entry unless the last one already says as much.
    mutating func appendIfLarger(timestamp: Int64, relativeOffset: Int32) {
        guard timestamp >= 0, timestamp > (entries.last?.timestamp ?? -1) else { return }
        entries.append(Entry(timestamp: timestamp, relativeOffset: relativeOffset))
    }

    /// The last entry with a timestamp below `timestamp`.
    func last(below timestamp: Int64) -> Entry? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].timestamp < timestamp { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : entries[low - 1]
    }

    /// Drops entries that name offsets at or behind `relativeOffset`.
    mutating func truncate(toRelativeOffset relativeOffset: Int64) {
        while let last = entries.last, Int64(last.relativeOffset) >= relativeOffset { entries.removeLast() }
        savedCount = min(savedCount, entries.count)
    }

    func bytes(from index: Int) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity((entries.count - index) * Self.entryBytes)
        for entry in entries[index...] { buffer.writeMultipleIntegers(entry.timestamp, entry.relativeOffset) }
        return buffer
    }
}
