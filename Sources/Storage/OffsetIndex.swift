// The sparse map of one segment from offset to file position: Kafka's `.index`.

import Model
import NIOCore

/// Entries of {int32 offset − base, int32 position}, both big-endian and strictly rising. An entry names a batch:
/// `offset` is the batch's last offset, `position` its first byte. What a file holds is only a hint: whoever follows an
/// entry checks that such a batch stands there.
struct OffsetIndex: Equatable {
    static let entryBytes = 8

    struct Entry: Equatable {
        var relativeOffset: Int32
        var position: Int32
    }

    private(set) var entries: [Entry] = []
    /// How many leading entries the file is known to hold.
    var savedCount = 0

    init() {}

    /// Nil when the bytes cannot be an index of a segment of `sizeBytes` that ends `relativeEnd` offsets behind its
    /// base.
    init?(_ bytes: ByteBuffer, sizeBytes: Int64, relativeEnd: Int64) {
        guard bytes.readableBytes % Self.entryBytes == 0 else { return nil }
        var bytes = bytes
        entries.reserveCapacity(bytes.readableBytes / Self.entryBytes)
        while let (offset, position) = bytes.readMultipleIntegers(as: (Int32, Int32).self) {
            guard offset >= 0, position >= 0, Int64(offset) < relativeEnd, Int64(position) < sizeBytes else {
                return nil
            }
            if let last = entries.last, last.relativeOffset >= offset || last.position >= position { return nil }
            entries.append(Entry(relativeOffset: offset, position: position))
        }
        savedCount = entries.count
    }

    mutating func append(relativeOffset: Int32, position: Int32) {
        if let last = entries.last {
            precondition(last.relativeOffset < relativeOffset && last.position < position, "index entries rise")
        }
        entries.append(Entry(relativeOffset: relativeOffset, position: position))
    }

    /// The last entry whose batch ends below `relativeOffset` or holds it as its last offset.
    func floor(relativeOffset: Int64) -> Entry? {
        let index = partition { Int64($0.relativeOffset) <= relativeOffset }
        return index == 0 ? nil : entries[index - 1]
    }

    /// The last entry at or before `position`.
    func floor(position: Int64) -> Entry? {
        let index = partition { Int64($0.position) <= position }
        return index == 0 ? nil : entries[index - 1]
    }

    /// Drops entries of batches at or behind `position`.
    mutating func truncate(toPosition position: Int64) {
        entries.removeSubrange(partition { Int64($0.position) < position }...)
        savedCount = min(savedCount, entries.count)
    }

    func bytes(from index: Int) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity((entries.count - index) * Self.entryBytes)
        for entry in entries[index...] { buffer.writeMultipleIntegers(entry.relativeOffset, entry.position) }
        return buffer
    }

    /// The first index for which `isBefore` is false.
    private func partition(_ isBefore: (Entry) -> Bool) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if isBefore(entries[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
