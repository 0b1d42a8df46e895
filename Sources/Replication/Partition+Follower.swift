// The follower's part: what to fetch, and what an answer means for the log (protocol.md §4.8; KIP-101, KIP-279).

import Model

extension Partition {
    /// What to ask the leader. Nil: nobody to follow; or, for now, metadata that lags behind the own log; or, on a
    /// synchronous topic, a tail that is not flushed yet, or damage: the offset asked for is the claim that all before
    /// it is durable.
    package func nextFetch(log: LogView) -> FollowerFetch? {
        guard case .follower(.some) = role, !log.isDamaged else { return nil }
        let lastEpoch = log.epochs.latestEpoch ?? -1
        guard lastEpoch <= leaderEpoch else { return nil }
        // Mutant: it vouches for what the power may take (P6).
        let vouchesBlindly = settings.plantedBug == .followerClaimsUnflushed
        if settings.synchronous, log.hasUnflushedTail, !vouchesBlindly { return nil }
        return FollowerFetch(offset: log.endOffset, lastFetchedEpoch: lastEpoch, currentLeaderEpoch: leaderEpoch)
    }

    /// The leader answered. Errors but OFFSET_OUT_OF_RANGE change nothing here: the fetcher waits a little, or metadata
    /// comes.
    package mutating func fetchAnswered(
        _ answer: ReplicaFetchAnswer, log: LogView, at now: Instant, into effects: inout [PartitionEffect]
    ) {
        guard case .follower(.some) = role, answer.leaderEpoch == leaderEpoch else { return }
        if answer.error == .offsetOutOfRange {
            restart(at: answer.logStartOffset, log: log, into: &effects)
            return
        }
        guard answer.error == .none else { return }
        if let diverging = answer.diverging {
            stepBack(from: diverging, leaderStart: answer.logStartOffset, log: log, into: &effects)
            return
        }
        if let batches = answer.batches {
            // Where the leader's log starts inside a batch, a follower that begins there gets that batch whole.
            let isAround =
                log.startOffset == log.endOffset && batches.baseOffset < log.endOffset
                && batches.nextOffset > log.endOffset
            if isAround { effects.append(.truncateFully(startingAt: batches.baseOffset)) }
            // Anything else answers a question about a log that has changed since.
            guard isAround || batches.baseOffset == log.endOffset, batches.nextOffset > batches.baseOffset else {
                return
            }
            effects.append(.appendFetched)
        }
        leaderHighWatermark = max(leaderHighWatermark, answer.highWatermark)
        leaderLogStart = max(leaderLogStart, answer.logStartOffset)
        advanceFollower(log, into: &effects)
    }

    /// Follows the leader's high watermark as far as the own copy counts, and its log start as far as that.
    mutating func advanceFollower(_ log: LogView, into effects: inout [PartitionEffect]) {
        guard case .follower(.some) = role else { return }
        // Mutant: committed here is what is not even there (P8).
        let isUnclamped = settings.plantedBug == .followerHighWatermarkUnclamped
        let reached = isUnclamped ? leaderHighWatermark : min(leaderHighWatermark, ownEnd(log))
        if reached > highWatermark {
            highWatermark = reached
            highWatermarkIsBinding = true
            effects.append(.advanceHighWatermark(to: reached))
        }
        let start = min(leaderLogStart, highWatermark)
        if start > log.startOffset { effects.append(.advanceStart(to: start)) }
    }

    /// The logs fork. Where both know the leader's epoch, the shorter end is the fork; where this log lacks it, its
    /// last epoch before that is the next to compare, and the fetch after the cut does so. A fork below the leader's
    /// log start leaves nothing that both hold: what is left here would be of a fork that can never be told from the
    /// leader's, and below its high watermark.
    private mutating func stepBack(
        from leader: EpochEnd, leaderStart: Offset, log: LogView, into effects: inout [PartitionEffect]
    ) {
        guard let own = log.epochs.end(of: leader.epoch, logEndOffset: log.endOffset) else { return }
        let target = own.epoch == leader.epoch ? min(leader.endOffset, own.endOffset) : own.endOffset
        guard target <= log.endOffset, target >= 0 else { return }
        precondition(
            !settings.synchronous || !highWatermarkIsBinding || max(target, leaderStart) >= highWatermark,
            "a cleanly elected leader asks to cut committed records")
        if target < leaderStart {
            effects.append(.truncateFully(startingAt: leaderStart))
            highWatermarkIsBinding = false
            highWatermark = leaderStart
            return
        }
        if target < log.startOffset {
            effects.append(.truncateFully(startingAt: target))
            highWatermarkIsBinding = false
            highWatermark = target
        } else {
            effects.append(.truncate(to: target))
            highWatermark = min(highWatermark, target)
        }
    }

    /// Nothing here can continue at the leader's: it has dropped what comes next, or this log is empty and stands
    /// elsewhere.
    private mutating func restart(at leaderStart: Offset, log: LogView, into effects: inout [PartitionEffect]) {
        guard leaderStart >= 0, leaderStart != log.endOffset,
            log.endOffset < leaderStart || log.startOffset == log.endOffset
        else { return }
        effects.append(.truncateFully(startingAt: leaderStart))
        highWatermark = leaderStart
        highWatermarkIsBinding = false
    }
}
