// Walks a file of batches as it is: every batch, and every stretch that is none, without ever giving up early.

import Model
import NIOCore
import Records

struct FoundBatch {
    var header: BatchHeader
    var position: Int64
    /// The whole batch.
    var bytes: ByteBuffer
    var isCRCRight: Bool
}

/// Bytes that are no batch.
struct Stretch {
    var position: Int64
    var sizeBytes: Int64
    var reason: String
    /// Nothing sound follows: what an append that was cut short leaves behind.
    var isTornTail: Bool
}

enum SegmentPart {
    case batch(FoundBatch)
    case stretch(Stretch)
}

struct SegmentWalk {
    private let file: FileBytes
    private var fileBytes: Int64
    private(set) var position: Int64 = 0
    /// Where the next batch begins if all is well.
    private var expectedOffset: Offset = 0

    /// Bounds what a search for the next batch reads, whatever the bytes say.
    private static let searchBytesMax: Int64 = 1 << 30

    init(_ file: FileBytes) {
        self.file = file
        fileBytes = file.sizeBytes
    }

    /// Nil at the end of the file.
    mutating func next() -> SegmentPart? {
        if let batch = batchHere() { return .batch(batch) }
        // A node may be in the middle of an append: look again before calling it torn.
        let before = fileBytes
        fileBytes = max(fileBytes, file.sizeBytes)
        if fileBytes > before, let batch = batchHere() { return .batch(batch) }
        guard position < fileBytes else { return nil }
        let start = position
        let reason = complaint()
        let resumed = soundBatch(after: start)
        position = resumed ?? fileBytes
        return .stretch(
            Stretch(
                position: start, sizeBytes: position - start, reason: reason, isTornTail: resumed == nil))
    }

    private mutating func batchHere() -> FoundBatch? {
        guard let header = header(at: position), Int64(header.sizeBytes) <= fileBytes - position,
            let bytes = file.bytes(at: position, count: header.sizeBytes)
        else { return nil }
        let found = FoundBatch(header: header, position: position, bytes: bytes, isCRCRight: verifyCRC(of: bytes))
        position += Int64(header.sizeBytes)
        // With a wrong CRC the length may be wrong too: believe it only when a batch or the end follows.
        if !found.isCRCRight, position < fileBytes, self.header(at: position) == nil,
            let sound = soundBatch(after: found.position)
        {
            position = sound
        }
        if found.isCRCRight { expectedOffset = header.nextOffset }
        return found
    }

    private func header(at position: Int64) -> BatchHeader? {
        guard let head = file.bytes(at: position, count: BatchHeader.sizeBytes) else { return nil }
        return BatchHeader(reading: head, at: head.readerIndex)
    }

    /// Why no batch stands here.
    private func complaint() -> String {
        let rest = fileBytes - position
        if isZero(from: position) { return counted(Int(clamping: rest), "zero byte") }
        guard rest >= Int64(BatchHeader.sizeBytes) else {
            return "\(counted(Int(rest), "byte")), less than a batch header has"
        }
        guard let header = header(at: position) else {
            let magic = file.bytes(at: position + 16, count: 1).flatMap {
                $0.getInteger(at: $0.readerIndex, as: Int8.self)
            }
            if let magic, magic != 2 { return "no batch header: its magic is \(magic), not 2" }
            return "no batch header: its length is smaller than the header itself"
        }
        return "a batch of \(header.sizeBytes) bytes of which the file has \(rest)"
    }

    private func isZero(from start: Int64) -> Bool {
        var at = start
        while at < fileBytes {
            let count = Int(min(fileBytes - at, 65_536))
            guard let part = file.bytes(at: at, count: count), part.readableBytesView.allSatisfy({ $0 == 0 }) else {
                return false
            }
            at += Int64(count)
        }
        return true
    }

    /// The first position behind `start` where a batch stands that is whole, sound and of a later offset.
    private func soundBatch(after start: Int64) -> Int64? {
        var budget = Self.searchBytesMax
        var at = start + 1
        while at + Int64(BatchHeader.sizeBytes) <= fileBytes, budget > 0 {
            let count = Int(min(fileBytes - at, 65_536))
            guard let part = file.bytes(at: at, count: count) else { return nil }
            let last = count - BatchHeader.sizeBytes
            for index in 0...last {
                // The magic rules out nearly every place before a header is read.
                guard part.getInteger(at: part.readerIndex + index + 16, as: UInt8.self) == 2,
                    let header = BatchHeader(reading: part, at: part.readerIndex + index), isPlausible(header),
                    Int64(header.sizeBytes) <= fileBytes - at - Int64(index)
                else { continue }
                budget -= Int64(header.sizeBytes)
                guard budget > 0 else { return nil }
                if let batch = file.bytes(at: at + Int64(index), count: header.sizeBytes), verifyCRC(of: batch) {
                    return at + Int64(index)
                }
            }
            budget -= Int64(count)
            at += Int64(last + 1)
        }
        return nil
    }

    private func isPlausible(_ header: BatchHeader) -> Bool {
        header.baseOffset >= expectedOffset && header.baseOffset &- expectedOffset < 1 << 32
            && header.lastOffsetDelta >= 0 && header.recordsCount >= 0
            && Int64(header.recordsCount) <= Int64(header.lastOffsetDelta) + 1
    }
}
