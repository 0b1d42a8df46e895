// The leader's part: produce admission, replica fetches, and the high watermark.

import Model

extension Partition {
    /// Whether a produce may be appended; nil: go on.
    package func admission(acks: Int16, currentLeaderEpoch: LeaderEpoch? = nil) -> ErrorCode? {
        guard (-1...1).contains(acks) else { return .invalidRequiredAcks }
        if let error = fenced(currentLeaderEpoch) { return error }
        if acks == -1, isr.count < effectiveMinISR { return .notEnoughReplicas }
        return nil
    }

    /// The outcome for an acks=all produce whose last offset has come below the high watermark; nil: success. The
    /// committed ISR is looked at, not the maximal one: a member that may yet be refused makes no promise (P13).
    package func verdict(forWaiterAt lastOffset: Offset) -> ErrorCode? {
        guard role == .leader else { return .notLeaderOrFollower }
        precondition(lastOffset < highWatermark, "a waiter completes before its records are committed")
        return isr.count < effectiveMinISR ? .notEnoughReplicasAfterAppend : nil
    }

    /// Fences whoever believes in another epoch (KIP-320). Nil or −1: the asker does not say.
    func fenced(_ currentLeaderEpoch: LeaderEpoch?) -> ErrorCode? {
        guard role == .leader else { return .notLeaderOrFollower }
        guard let currentLeaderEpoch, currentLeaderEpoch >= 0 else { return nil }
        if currentLeaderEpoch < leaderEpoch { return .fencedLeaderEpoch }
        if currentLeaderEpoch > leaderEpoch { return .unknownLeaderEpoch }
        return nil
    }

    /// A replica fetches (protocol.md §4.8). Its offset counts as its durable end.
    package mutating func fetched(
        _ fetch: ReplicaFetch, log: LogView, at now: Instant, into effects: inout [PartitionEffect]
    ) -> FetchDecision {
        guard role == .leader else { return .error(.notLeaderOrFollower) }
        // Mutant: the asker may still cut what it is counted for here (P6).
        if fetch.currentLeaderEpoch < leaderEpoch, settings.plantedBug != .staleEpochAnswered {
            return .error(.fencedLeaderEpoch)
        }
        if fetch.currentLeaderEpoch > leaderEpoch { return .error(.unknownLeaderEpoch) }
        // Not in my assignment: my metadata may lag.
        guard let known = followers[fetch.replica] else { return .error(.unknownLeaderEpoch) }
        // A late word of an incarnation that is gone.
        let current = max(known.brokerEpoch, brokers[fetch.replica]?.epoch ?? -1)
        if fetch.brokerEpoch < current { return .error(.staleBrokerEpoch) }
        if let fork = forkBelowStart(fetch, log: log) { return fork }
        if let refusal = refusal(
            of: fetch.fetchOffset, lastFetchedEpoch: fetch.lastFetchedEpoch, log: log
        ) {
            return refusal
        }

        var progress = fetch.brokerEpoch == known.brokerEpoch ? known : FollowerProgress(brokerEpoch: fetch.brokerEpoch)
        progress.lastCaughtUpAt = progress.lastCaughtUpAt ?? (isr.contains(fetch.replica) ? now : nil)
        progress.fetched(at: fetch.fetchOffset, leaderEnd: log.endOffset, now: now)
        progress.logStartOffset = fetch.logStartOffset
        followers[fetch.replica] = progress

        proposeExpansion(by: fetch.replica, log: log, at: now, into: &effects)
        advanceLeaderHighWatermark(log, at: now, into: &effects)
        advanceLeaderStart(log, into: &effects)
        rearm(log, at: now)
        return .read(below: log.endOffset, highWatermark: highWatermark)
    }

    /// A log that ends in an epoch before all that are known here may have left this one anywhere below the log start:
    /// of what was deleted the history is silent. Only who is in sync holds all that is committed, and so all that
    /// could be deleted. For anyone else the two logs share nothing: the fork is put below the start, where nothing is
    /// left to compare.
    private func forkBelowStart(_ fetch: ReplicaFetch, log: LogView) -> FetchDecision? {
        guard log.startOffset > 0, fetch.fetchOffset >= log.startOffset, fetch.lastFetchedEpoch >= 0,
            let first = log.epochs.entries.first, fetch.lastFetchedEpoch < first.epoch,
            !isInMaximalISR(fetch.replica), settings.plantedBug != .divergenceIgnored
        else { return nil }
        return .diverging(epoch: fetch.lastFetchedEpoch, endOffset: log.startOffset - 1)
    }

    /// Why nothing can be read at `offset`: the asker's log forks from this one, or the offset lies outside.
    func refusal(of offset: Offset, lastFetchedEpoch: LeaderEpoch, log: LogView) -> FetchDecision? {
        // Mutant: the asker goes on behind records that this log does not have (P2).
        let isBlind = settings.plantedBug == .divergenceIgnored && offset <= log.endOffset
        if lastFetchedEpoch >= 0, !isBlind {
            // An epoch from the future is my metadata's lag, never a reason for the asker to reset.
            guard let known = log.epochs.end(of: lastFetchedEpoch, logEndOffset: log.endOffset) else {
                return .error(.unknownLeaderEpoch)
            }
            if known.epoch < lastFetchedEpoch || known.endOffset < offset {
                return .diverging(epoch: known.epoch, endOffset: known.endOffset)
            }
        }
        guard offset >= log.startOffset, offset <= log.endOffset else { return .error(.offsetOutOfRange) }
        return nil
    }

    /// The high watermark is the least end that counts: the own one, those of the maximal ISR, and those of followers
    /// that are about to join, so that a lone leader does not run away from them. It never moves while the committed
    /// ISR is below its minimum (KIP-966), and never back.
    mutating func advanceLeaderHighWatermark(_ log: LogView, at now: Instant, into effects: inout [PartitionEffect]) {
        // Mutant: the last replica standing commits alone (P13).
        let hasMinISR = isr.count >= effectiveMinISR || settings.plantedBug == .minISRNotChecked
        guard role == .leader, hasMinISR else { return }
        var least = ownEnd(log)
        for index in 0..<followers.count where followers.values[index].endOffset ?? -1 < least {
            let id = followers.keys[index]
            let progress = followers.values[index]
            // Mutant: a member whose joining is already decided is not waited for (P6).
            if settings.plantedBug == .highWatermarkOfCommittedISR, !isr.contains(id) { continue }
            guard isInMaximalISR(id) || isAboutToJoin(id, progress, log: log, at: now) else { continue }
            guard let end = progress.endOffset else { return }
            least = end
        }
        guard least > highWatermark else { return }
        precondition(least <= log.endOffset, "a high watermark beyond the log")
        highWatermark = least
        highWatermarkIsBinding = true
        effects.append(.advanceHighWatermark(to: least))
    }

    func isInMaximalISR(_ id: NodeID) -> Bool {
        if let registration, registration.isr.contains(id) { return true }
        guard let pending else { return false }
        return pending.proposal.isr.contains { $0.id == id }
    }

    private func isAboutToJoin(_ id: NodeID, _ progress: FollowerProgress, log: LogView, at now: Instant) -> Bool {
        progress.endOffset != nil && isEligible(id, progress)
            && progress.isCaughtUp(leaderEnd: log.endOffset, lagMs: settings.replicaLagTimeMaxMs, now: now)
    }

    /// May be in an ISR by the image, in the incarnation that made this progress (KIP-841, KIP-903).
    func isEligible(_ id: NodeID, _ progress: FollowerProgress) -> Bool {
        guard let broker = brokers[id], !(registration?.isLost(id) ?? false) else { return false }
        return broker.eligible && broker.epoch == progress.brokerEpoch
    }
}
