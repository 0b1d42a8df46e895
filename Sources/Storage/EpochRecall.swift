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
            guard let proven = prove(entry, after: history.entries.last) else { break }
            history.assign(proven.epoch, startOffset: proven.startOffset)
        }
        // Where the proven entries reach the scanned part, or that is all there is, nothing lies between.
        let first = scanned.first?.epoch ?? header(at: scanStart - 1)?.partitionLeaderEpoch
        let reachesScan = first.map { $0 <= history.latestEpoch ?? -1 } ?? false
        if !reachesScan, scanStart > startOffset {
            walk(from: history.entries.last, below: scanStart, into: &history)
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

    private func prove(_ entry: EpochHistory.Entry, after previous: EpochHistory.Entry?) -> EpochHistory.Entry? {
        let start = max(entry.startOffset, startOffset)
        guard let header = header(at: start), header.partitionLeaderEpoch == entry.epoch else { return nil }
        guard start > startOffset else { return previous == nil || entry.startOffset == startOffset ? entry : nil }
        guard header.baseOffset == start, let before = self.header(at: start - 1) else { return nil }
        guard before.partitionLeaderEpoch == previous?.epoch ?? before.partitionLeaderEpoch, previous != nil else {
            return nil
        }
        return entry
    }

    private func header(at offset: Offset) -> BatchHeader? {
        guard let segment = segments.last(where: { $0.baseOffset <= offset }), offset < segment.nextOffset,
            let boundary = try? segment.locate(offset, intervalBytes: settings.indexIntervalBytes)
        else { return nil }
        var walk = HeaderWalk(segment, from: boundary.position, expecting: boundary.offset)
        return (try? walk.next())?.header
    }

    /// Notes the epochs of batches below `end`, beginning in the last segment of which the first batch is still of the
    /// last known epoch.
    private func walk(from known: EpochHistory.Entry?, below end: Offset, into history: inout EpochHistory) {
        var first = 0
        if let known {
            for (index, segment) in segments.enumerated() where segment.baseOffset >= known.startOffset {
                guard header(at: segment.baseOffset)?.partitionLeaderEpoch == known.epoch else { break }
                first = index
            }
            if first == 0 {
                first = max(0, (segments.firstIndex { $0.baseOffset > known.startOffset } ?? segments.count) - 1)
            }
        }
        for segment in segments[first...] where segment.baseOffset < end {
            var walk = HeaderWalk(segment, from: 0, expecting: segment.baseOffset)
            while let (header, _) = try? walk.next(), header.baseOffset < end {
                history.assign(header.partitionLeaderEpoch, startOffset: max(header.baseOffset, startOffset))
            }
        }
    }
}
