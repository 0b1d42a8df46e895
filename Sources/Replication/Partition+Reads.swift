// What clients may see: reads below the high watermark, the latest offset, the end of an epoch.

import Model

extension Partition {
    /// A consumer's fetch: records below the high watermark (no transactions yet, so the last stable offset is the
    /// same). Between the high watermark and the log's end it waits: after a failover that is where a consumer may well
    /// stand (protocol.md §3.6).
    package func consumerFetch(
        offset: Offset, currentLeaderEpoch: LeaderEpoch?, lastFetchedEpoch: LeaderEpoch = -1, log: LogView
    ) -> FetchDecision {
        if let error = fenced(currentLeaderEpoch) { return .error(error) }
        if offset < log.startOffset, visibleStart(log: log) == nil { return .error(.offsetNotAvailable) }
        if let refusal = refusal(of: offset, lastFetchedEpoch: lastFetchedEpoch, log: log) { return refusal }
        // Mutant: what is read may be cut (P7).
        let limit = settings.plantedBug == .consumersReadToLogEnd ? log.endOffset : highWatermark
        return .read(below: limit, highWatermark: highWatermark)
    }

    /// The latest offset for ListOffsets. OFFSET_NOT_AVAILABLE while the new leader has not committed all that it began
    /// with: its high watermark may lie behind what its predecessor has shown (P8).
    package func latestVisibleOffset(currentLeaderEpoch: LeaderEpoch?) -> OffsetDecision {
        if let error = fenced(currentLeaderEpoch) { return .error(error) }
        // Mutant: the shown end goes back (P8).
        if let epochStartOffset, highWatermark < epochStartOffset, settings.plantedBug != .endShownBeforeEpochStart {
            return .error(.offsetNotAvailable)
        }
        return .offset(highWatermark)
    }

    /// OffsetForLeaderEpoch: the largest known epoch not above `epoch`, and where it ended (KIP-101, KIP-279, KIP-320).
    package func epochEnd(of epoch: LeaderEpoch, currentLeaderEpoch: LeaderEpoch?, log: LogView) -> EpochEndAnswer {
        if let error = fenced(currentLeaderEpoch) { return EpochEndAnswer(error: error) }
        guard let end = log.epochs.end(of: epoch, logEndOffset: log.endOffset) else { return EpochEndAnswer() }
        return EpochEndAnswer(epoch: end.epoch, endOffset: end.endOffset)
    }

    /// A replica that repairs its copy reads what is committed here, whoever leads: records below the high watermark,
    /// of a log that has not forked from the asker's. The leader of the epoch that the asker knows gives all that it
    /// has, as to any follower.
    package func repairFetch(
        offset: Offset, lastFetchedEpoch: LeaderEpoch, currentLeaderEpoch: LeaderEpoch, log: LogView
    ) -> FetchDecision {
        if let refusal = refusal(of: offset, lastFetchedEpoch: lastFetchedEpoch, log: log) { return refusal }
        let isLed = role == .leader && currentLeaderEpoch == leaderEpoch
        return .read(below: isLed ? log.endOffset : highWatermark, highWatermark: highWatermark)
    }
}
