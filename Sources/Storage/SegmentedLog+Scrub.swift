// Looking for damage before a reader meets it, and on the way of a reader whose bytes were not seen lately.

import Model
import NIOCore
import Records

/// How far a scrub has come in one log.
package struct ScrubCursor: Equatable, Sendable {
    var generation: UInt32
    var swaps: UInt32
    var segment: Offset
    var position: Int64
    var offset: Offset
}

extension SegmentedLog {
    /// Checks the next batches, at most about `maxBytes` of them, and takes note of damage. Answers where to go on, nil
    /// at the end of the log, and how many bytes it read.
    package func scrub(from cursor: ScrubCursor?, maxBytes: Int) -> (next: ScrubCursor?, readBytes: Int) {
        guard !isFenced, let (segment, start) = place(of: cursor) else { return (nil, 0) }
        let next = segments.first { $0.baseOffset > segment.baseOffset }.map {
            ScrubCursor(
                generation: generation, swaps: swaps, segment: $0.baseOffset, position: 0, offset: $0.baseOffset)
        }
        guard start.position < segment.sizeBytes else { return (next, 0) }
        let length = Int(min(Int64(max(maxBytes, 1)), segment.sizeBytes - start.position))
        // The medium is asked, not the memory that holds what was once read from it.
        if segment !== active { disk.forgetCached(segment.file, at: start.position, length: length) }
        let stop = start.position + Int64(length)
        guard let end = check(segment, from: start, to: stop) else { return (next, length) }
        return (
            ScrubCursor(
                generation: generation, swaps: swaps, segment: segment.baseOffset, position: end.position,
                offset: end.offset),
            Int(end.position - start.position)
        )
    }

    private func place(of cursor: ScrubCursor?) -> (Segment, Boundary)? {
        guard let cursor, cursor.generation == generation else {
            // What lies below the log start nobody reads.
            let first = segments[0]
            guard startOffset > first.baseOffset, startOffset < first.nextOffset,
                let start = try? first.locate(startOffset, intervalBytes: settings.indexIntervalBytes)
            else { return (first, Boundary(position: 0, offset: first.baseOffset)) }
            return (first, start)
        }
        // A cleaning has moved the batches; the offset is still one where it went on, or lies in a longer one.
        if cursor.swaps != swaps {
            let place = segments[segmentIndex(holding: cursor.offset)]
            guard let start = try? place.locate(cursor.offset, intervalBytes: settings.indexIntervalBytes) else {
                return (place, Boundary(position: 0, offset: place.baseOffset))
            }
            return (place, start)
        }
        guard let segment = segments.first(where: { $0.baseOffset >= cursor.segment }) else { return nil }
        guard segment.baseOffset == cursor.segment else {
            return (segment, Boundary(position: 0, offset: segment.baseOffset))
        }
        return (segment, Boundary(position: cursor.position, offset: cursor.offset))
    }

    /// Checks batch by batch from `start` on until one ends at or behind `stop`. Nil: one does not check out, and that
    /// was noted.
    private func check(_ segment: Segment, from start: Boundary, to stop: Int64) -> Boundary? {
        var end = start
        var window = FileWindow(disk: disk, file: segment.file, fileBytes: segment.sizeBytes)
        while end.position < min(stop, segment.sizeBytes) {
            // Known already, and perhaps under repair.
            if damages.contains(where: { $0.offsets.contains(end.offset) }) { return nil }
            let found: (header: BatchHeader, bytes: ByteBuffer)?
            do throws(LogError) { found = try window.batch(at: end.position) } catch { found = nil }
            guard let header = found?.header, header.baseOffset == end.offset, isOfItsEpoch(header) else {
                _ = noteDamage(at: end.offset, "the batch at position \(end.position) does not check out")
                return nil
            }
            end = Boundary(position: end.position + Int64(header.sizeBytes), offset: header.nextOffset)
        }
        return end
    }

    /// The checksum does not cover the leader epoch.
    func isOfItsEpoch(_ header: BatchHeader) -> Bool {
        if header.partitionLeaderEpoch > epochMax { return false }
        guard let epoch = epochs.epoch(at: header.baseOffset), header.baseOffset >= startOffset else { return true }
        return header.partitionLeaderEpoch == epoch
    }

    /// Before bytes of a closed segment leave: nobody receives a batch that this node has not seen to be sound lately.
    /// What was appended in this life, to the segment that is still written, needs no second look.
    func prove(_ segment: Segment, from start: Boundary, to end: Boundary) throws(LogError) {
        guard !segment.isProven(start.position..<end.position) else { return }
        guard check(segment, from: start, to: end.position) != nil else {
            throw .damaged("\(segment.path): a batch does not check out", from: start.offset)
        }
        segment.noteProven(start.position..<end.position)
    }

    /// From now on what lies in closed segments is looked at again before it is served: it may have left the memory
    /// meanwhile. Wanted every now and then.
    package func forgetProofs() {
        for segment in segments where segment !== active { segment.forgetProof() }
    }
}
