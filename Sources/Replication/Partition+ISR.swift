// Who is in sync: proposals to the controller, their answers, and the times at which to look (protocol.md §4.8,
// KIP-497).

import Model

extension Partition {
    /// A follower may join when it holds all that is committed: it reached the high watermark, and the start of this
    /// epoch too, below which lie records that are committed although a new leader's high watermark does not say so
    /// yet. And it must have deleted what is deleted.
    mutating func proposeExpansion(
        by id: NodeID, log: LogView, at now: Instant, into effects: inout [PartitionEffect]
    ) {
        guard let registration, pending == nil, now >= proposalsHeldUntil, !registration.isr.contains(id),
            !registration.isLost(id),
            let progress = followers[id], let end = progress.endOffset, isEligible(id, progress),
            end >= highWatermark,
            // Mutant: it may lack what the leader before has committed (P9).
            end >= epochStartOffset ?? .max || settings.plantedBug == .joinsBelowEpochStart,
            hasDeletedEnough(progress, log: log)
        else { return }
        propose(registration.replicas.filter { $0 == id || registration.isr.contains($0) }, into: &effects)
    }

    /// Members that stayed behind for longer than `replica.lag.time.max.ms` leave. The leader itself never does.
    mutating func proposeShrink(_ log: LogView, at now: Instant, into effects: inout [PartitionEffect]) {
        guard let registration, pending == nil, now >= proposalsHeldUntil else { return }
        let kept = registration.isr.filter { id in
            guard id != me, let progress = followers[id] else { return true }
            return progress.isCaughtUp(leaderEnd: log.endOffset, lagMs: settings.replicaLagTimeMaxMs, now: now)
        }
        if kept.count < registration.isr.count { propose(kept, into: &effects) }
    }

    /// Every proposal of ours says RECOVERED: whoever may append has already checked its log (KIP-704).
    private mutating func propose(_ isr: [NodeID], into effects: inout [PartitionEffect]) {
        let proposal = ISRProposal(
            leaderEpoch: leaderEpoch, partitionEpoch: partitionEpoch,
            isr: isr.map { ISRMember(id: $0, brokerEpoch: brokerEpoch(of: $0)) }, recoveryState: .recovered)
        pending = PendingISR(proposal: proposal, retryAt: nil)
        effects.append(.proposeISR(proposal))
    }

    private func brokerEpoch(of id: NodeID) -> BrokerEpoch {
        id == me ? myBrokerEpoch : max(brokers[id]?.epoch ?? -1, followers[id]?.brokerEpoch ?? -1)
    }

    mutating func resendProposal(at now: Instant, into effects: inout [PartitionEffect]) {
        guard let sent = pending, let retryAt = sent.retryAt, now >= retryAt else { return }
        pending?.retryAt = nil
        effects.append(.proposeISR(sent.proposal))
    }

    /// The controller answered AlterPartition, or the asking failed. An answer to anything but the change in flight is
    /// ignored.
    package mutating func isrAnswered(
        error: ErrorCode, _ answer: ISRAnswer?, for proposal: ISRProposal, log: LogView, at now: Instant,
        into effects: inout [PartitionEffect]
    ) {
        guard role == .leader, pending?.proposal == proposal else { return }
        defer { rearm(log, at: now) }
        switch error {
        case .none:
            guard let answer else {
                pending?.retryAt = now.advanced(byMs: Self.isrRetryBackoffMs)
                return
            }
            commit(answer, at: now)
            advanceLeaderHighWatermark(log, at: now, into: &effects)
            advanceLeaderStart(log, into: &effects)
        case .ineligibleReplica, .operationNotAttempted:
            // Provably not applied.
            pending = nil
            proposalsHeldUntil = now.advanced(byMs: Self.isrRetryBackoffMs)
            advanceLeaderHighWatermark(log, at: now, into: &effects)
            advanceLeaderStart(log, into: &effects)
        case .unknownTopicOrPartition, .unknownTopicId, .fencedLeaderEpoch, .invalidUpdateVersion, .invalidRequest,
            .newLeaderElected:
            // Perhaps applied, and newer metadata is on its way: until then the widest ISR counts.
            pending?.retryAt = nil
        default:
            pending?.retryAt = now.advanced(byMs: Self.isrRetryBackoffMs)
        }
    }

    /// An answer of another leadership is left to the metadata log; the change stays in flight until that comes.
    private mutating func commit(_ answer: ISRAnswer, at now: Instant) {
        guard answer.leaderEpoch == leaderEpoch, answer.leaderID == me, answer.partitionEpoch >= partitionEpoch,
            answer.isr.contains(me)
        else { return }
        pending = nil
        partitionEpoch = answer.partitionEpoch
        registration?.isr = answer.isr
        registration?.leaderRecoveryState = answer.recoveryState
        registration?.partitionEpoch = answer.partitionEpoch
        refreshFollowers(at: now)
    }

    /// Finds when `ticked` is wanted next.
    mutating func rearm(_ log: LogView, at now: Instant) {
        guard role == .leader, let registration else {
            nextDeadline = .distantFuture
            return
        }
        var deadline = pending?.retryAt ?? .distantFuture
        for index in 0..<followers.count {
            let id = followers.keys[index]
            let progress = followers.values[index]
            guard
                let lagsAt = progress.lagsAt(
                    leaderEnd: log.endOffset, lagMs: settings.replicaLagTimeMaxMs
                )
            else { continue }
            // Lagging begins when the time is over, not with it.
            let over = lagsAt == .distantFuture ? lagsAt : Instant(nanoseconds: lagsAt.nanoseconds + 1)
            if registration.isr.contains(id) {
                if pending == nil { deadline = min(deadline, max(over, proposalsHeldUntil)) }
            } else if over > now, let end = progress.endOffset, end < ownEnd(log), isEligible(id, progress) {
                // A joiner that holds the high watermark back, until it no longer counts as caught up.
                deadline = min(deadline, over)
            }
        }
        nextDeadline = deadline
    }
}
