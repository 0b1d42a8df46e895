// How a replica takes, keeps and loses a role.

import Model

extension Partition {
    /// Whether the high watermark still binds under the next leader: only when this is the very next change, and a
    /// clean one. After a gap an unclean election may have come and gone unseen.
    mutating func judgeElection(_ next: PartitionRegistration) {
        let isSuccessor = next.leaderEpoch == leaderEpoch + 1 && next.partitionEpoch == partitionEpoch + 1
        if !isSuccessor || next.leaderRecoveryState != .recovered { highWatermarkIsBinding = false }
    }

    /// An incarnation never leads under an epoch granted to another (P10): the one before may have lost an unflushed
    /// tail that followers hold under this very epoch. A log that knows this epoch, or a later one, tells so even where
    /// the image does not.
    func roleGranted(by next: PartitionRegistration, isNewEpoch: Bool, before: Role, log: LogView) -> Role {
        guard next.replicas.contains(me) else { return .none }
        guard next.leader == me else { return .follower(leader: next.leader) }
        // Mutant: followers may hold other records of this epoch (P10).
        if settings.plantedBug == .restartedLeaderKeepsEpoch { return .leader }
        if log.isDamaged { return .follower(leader: nil) }
        if let registered = brokers[me], registered.epoch != myBrokerEpoch { return .follower(leader: nil) }
        if isNewEpoch {
            return (log.epochs.latestEpoch ?? -1) < next.leaderEpoch ? .leader : .follower(leader: nil)
        }
        return before == .leader ? .leader : .follower(leader: nil)
    }

    mutating func lead(
        isNewEpoch: Bool, wasLeader: Bool, log: LogView, at now: Instant, into effects: inout [PartitionEffect]
    ) {
        if isNewEpoch {
            effects.append(.assignEpoch(leaderEpoch))
            epochStartOffset = log.endOffset
            // What a follower showed under an earlier epoch may have been cut since; it shows again.
            followers.removeAll()
            proposalsHeldUntil = .zero
            // What the same node wanted deleted under its last epoch it still wants.
            if !wasLeader { (startTarget, startAgreed) = (log.startOffset, 0) }
            if wasLeader { effects.append(.wakeFetches) }
            if settings.synchronous, log.hasUnflushedTail { effects.append(.flush) }
        }
        refreshFollowers(at: now)
        advanceLeaderHighWatermark(log, at: now, into: &effects)
        advanceLeaderStart(log, into: &effects)
    }

    mutating func follow(
        _ leader: NodeID?, isNewEpoch: Bool, before: Role, log: LogView, into effects: inout [PartitionEffect]
    ) {
        guard isNewEpoch || before != .follower(leader: leader) else { return }
        leaderHighWatermark = -1
        leaderLogStart = -1
        if let leader {
            // A fetch claims that all before it is durable.
            // Mutant: committed records go that the high watermark here does not cover yet (P4).
            if settings.plantedBug == .truncatesToHighWatermark, isNewEpoch, highWatermark < log.endOffset {
                effects.append(.truncate(to: highWatermark))
            }
            if settings.synchronous, log.hasUnflushedTail { effects.append(.flush) }
            effects.append(.startFetching(leader: leader, epoch: leaderEpoch))
        } else if case .follower(.some) = before {
            effects.append(.stopFetching)
        }
    }

    /// Damage was found in the own log. Whoever leads stops at once; the controller hears of it from the shell.
    package mutating func damageFound(into effects: inout [PartitionEffect]) {
        guard role == .leader else { return }
        role = .follower(leader: nil)
        resign(into: &effects)
    }

    /// The shell took what stood from `offset` on, or all of the log, away: a lost copy that goes on with what the
    /// leader has. Only such a one, which nobody counts on.
    package mutating func lostCopyCut(to offset: Offset, isWhole: Bool) {
        highWatermark = isWhole ? offset : min(highWatermark, offset)
        highWatermarkIsBinding = false
    }

    mutating func resign(into effects: inout [PartitionEffect]) {
        followers.removeAll()
        pending = nil
        epochStartOffset = nil
        (startTarget, startAgreed) = (0, 0)
        nextDeadline = .distantFuture
        effects.append(.failWaiters(.notLeaderOrFollower))
    }

    /// Brings the followers in line with the assignment and with the incarnations that the image knows.
    mutating func refreshFollowers(at now: Instant) {
        guard let registration else { return }
        for id in followers.keys where !registration.replicas.contains(id) { followers.removeValue(forKey: id) }
        for id in registration.replicas where id != me {
            let isInSync = registration.isr.contains(id)
            var progress = followers[id] ?? FollowerProgress()
            if let known = brokers[id]?.epoch, known > progress.brokerEpoch {
                // KIP-903: another incarnation; what the one before it held may be gone.
                progress = FollowerProgress(brokerEpoch: known)
            }
            if isInSync, progress.lastCaughtUpAt == nil { progress.lastCaughtUpAt = now }
            followers[id] = progress
        }
    }
}
