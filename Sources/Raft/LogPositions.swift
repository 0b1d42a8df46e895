// The metadata log as the quorum sees it: where it begins and ends, how far it is durable, which epochs it holds.

import Model

package struct LogPositions: Hashable, Sendable {
    /// The first offset kept; everything before lies in a snapshot.
    package var startOffset: Offset
    /// The offset after the last record.
    package var endOffset: Offset
    /// Everything below is durable here. Never above the end.
    package var flushedEnd: Offset
    package var epochs: EpochHistory
    /// The newest snapshot that a replica can be sent to when the log no longer holds what it asks for.
    package var snapshotEnd: LogEnd?

    package init(
        startOffset: Offset = 0, endOffset: Offset = 0, flushedEnd: Offset = 0, epochs: EpochHistory = EpochHistory(),
        snapshotEnd: LogEnd? = nil
    ) {
        self.startOffset = startOffset
        self.endOffset = endOffset
        self.flushedEnd = flushedEnd
        self.epochs = epochs
        self.snapshotEnd = snapshotEnd
    }

    /// The end of the log with the epoch of its last record; that of the snapshot when the log holds nothing, 0 when
    /// there is nothing.
    package var end: LogEnd {
        LogEnd(offset: endOffset, epoch: epochs.latestEpoch ?? snapshotEnd?.epoch ?? 0)
    }

    /// Where a replica stands that holds everything below `offset`, the last of it written in `lastEpoch` (protocol.md
    /// §4.8, §4.10).
    func compare(offset: Offset, lastEpoch: LeaderEpoch) -> Comparison {
        if offset == 0, startOffset == 0 { return .continues }
        if offset < startOffset { return .gone }
        // Below the log's start the history is silent, so an older epoch there is trusted only if it is the snapshot's
        // own.
        if startOffset > 0, lastEpoch < epochs.entries.first?.epoch ?? .max {
            let isSnapshot = snapshotEnd == LogEnd(offset: offset, epoch: lastEpoch) && offset == startOffset
            return isSnapshot ? .continues : .gone
        }
        guard let known = epochs.end(of: lastEpoch, logEndOffset: endOffset) else {
            guard let latest = epochs.latestEpoch else { return .diverges(epoch: 0, endOffset: startOffset) }
            // An epoch that this log never saw ended before anything of it was written here.
            return .diverges(epoch: latest, endOffset: endOffset)
        }
        if known.epoch < lastEpoch || known.endOffset < offset {
            return .diverges(epoch: known.epoch, endOffset: known.endOffset)
        }
        return .continues
    }

    enum Comparison: Equatable {
        case continues
        case diverges(epoch: LeaderEpoch, endOffset: Offset)
        /// Only a snapshot can answer.
        case gone
    }
}
