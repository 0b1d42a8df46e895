// Which epoch began where, from the checkpoint as far as the batches agree with it, and from the batches beyond.

import Model
import Records

/// The checkpoint is written late and without a barrier, so it may be old, or of a history that was cut off since, or
/// garbage. An entry is kept when a batch of that epoch begins at its start and the batch before is of the epoch
/// before: since epochs never fall, nothing can then be missing between two entries. From the first entry that fails,
/// headers are walked.
struct EpochRecall {
    let segments: [Segment]
    let startOffset: Offset
    let settings: LogSettings

    init(segments: [Segment], startOffset: Offset, settings: LogSettings) {
        self.segments = segments
        self.startOffset = startOffset
        self.settings = settings
    }

    /// `scanned`: the epochs of all batches from `scanStart` to the end, the first one as far as it was seen.
    mutating func history(
        checkpoint: EpochHistory?, scanStart: Offset, scanned: [EpochHistory.Entry]
    ) throws(LogError) -> EpochHistory {
        var history = EpochHistory()
        for entry in checkpoint?.entries ?? [] {
            guard let proven = try prove(entry, after: history.entries.last) else { break }
            history.assign(proven.epoch, startOffset: proven.startOffset)
        }
        // Where the proven entries reach the scanned part, or that is all there is, nothing lies between.
        var first = scanned.first?.epoch
        if first == nil { first = try header(at: scanStart - 1)?.partitionLeaderEpoch }
        // One below 0 was never written: what it was is seen from those before it.
        let reachesScan = first.map { $0 >= 0 && $0 <= history.latestEpoch ?? -1 } ?? false
        if !reachesScan, scanStart > startOffset {
            try walk(from: history.entries.last, below: scanStart, into: &history)
        }
        for entry in scanned { history.assign(entry.epoch, startOffset: max(entry.startOffset, startOffset)) }
        history.truncateStart(to: startOffset)
        if history.entries.isEmpty, startOffset > 0, startOffset == segments[segments.count - 1].nextOffset,
            let last = checkpoint?.entries.last, last.startOffset <= startOffset
        {
            // Every record was deleted: no batch is left to say in which epoch the log ended.
            history.assign(last.epoch, startOffset: startOffset)
        }
        return history
    }

    private func prove(
        _ entry: EpochHistory.Entry, after previous: EpochHistory.Entry?
    ) throws(LogError) -> EpochHistory.Entry? {
        let start = max(entry.startOffset, startOffset)
        guard let header = try header(at: start), header.partitionLeaderEpoch == entry.epoch else { return nil }
        guard start > startOffset else { return previous == nil || entry.startOffset == startOffset ? entry : nil }
        guard header.baseOffset == start, let before = try self.header(at: start - 1) else { return nil }
        guard before.partitionLeaderEpoch == previous?.epoch ?? before.partitionLeaderEpoch, previous != nil else {
            return nil
        }
        return entry
    }

    private func header(at offset: Offset) throws(LogError) -> BatchHeader? {
        guard let segment = segments.last(where: { $0.baseOffset <= offset }), offset < segment.nextOffset else {
            return nil
        }
        return try passingDamage { () throws(LogError) in
            let boundary = try segment.locate(offset, intervalBytes: settings.indexIntervalBytes)
            var walk = HeaderWalk(segment, from: boundary.position, expecting: boundary.offset)
            return try walk.next()?.header
        }
    }

    /// Nil for what is damaged: a reader or the scrub will say so. A read that failed otherwise says nothing of the
    /// bytes, and an epoch that is left out for it would be missing for as long as the log is open.
    private func passingDamage<T>(_ body: () throws(LogError) -> T?) throws(LogError) -> T? {
        do throws(LogError) {
            return try body()
        } catch {
            guard case .damaged = error else { throw error }
            return nil
        }
    }

    /// Notes the epochs of batches below `end`, beginning in the last segment of which the first batch is still of the
    /// last known epoch.
    private func walk(
        from known: EpochHistory.Entry?, below end: Offset, into history: inout EpochHistory
    ) throws(LogError) {
        var first = 0
        if let known {
            for (index, segment) in segments.enumerated() where segment.baseOffset >= known.startOffset {
                guard try header(at: segment.baseOffset)?.partitionLeaderEpoch == known.epoch else { break }
                first = index
            }
            if first == 0 {
                first = max(0, (segments.firstIndex { $0.baseOffset > known.startOffset } ?? segments.count) - 1)
            }
        }
        for segment in segments[first...] where segment.baseOffset < end {
            var walk = HeaderWalk(segment, from: 0, expecting: segment.baseOffset)
            while let header = try passingDamage({ () throws(LogError) in try walk.next()?.header }),
                header.baseOffset < end
            {
                history.assign(header.partitionLeaderEpoch, startOffset: max(header.baseOffset, startOffset))
            }
        }
    }
}
