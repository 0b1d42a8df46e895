// One replica of a partition as a pure value: who leads, who is in sync, what is committed. Positions only.

import Model

/// Inputs are past-tense calls, each with the log as it stands and the time; effects are appended in the order to run
/// them. The rules are Kafka's replication (KIP-101, 279, 497, 841, 903, 966) with one difference: on a synchronous
/// topic only what is on disk counts, the leader's own copy included.
package struct Partition: Hashable, Sendable {
    package enum Role: Hashable, Sendable {
        case none
        case leader
        /// Nil: nobody leads, or this replica may not take the leadership that the image grants it.
        case follower(leader: NodeID?)
    }

    package let topicPartition: TopicPartition
    package let me: NodeID
    /// This incarnation, as registered. Set it as soon as the registration is answered; leadership is refused without
    /// it.
    package var myBrokerEpoch: BrokerEpoch
    package internal(set) var settings: PartitionSettings

    package internal(set) var role: Role = .none
    package internal(set) var leaderEpoch: LeaderEpoch = -1
    package internal(set) var partitionEpoch: PartitionEpoch = -1
    package internal(set) var highWatermark: Offset
    /// Leader: the log's end when this epoch began. Nil otherwise.
    package internal(set) var epochStartOffset: Offset?
    /// The newest committed state, from the metadata log or from an AlterPartition answer.
    package internal(set) var registration: PartitionRegistration?
    /// When `ticked` has something to do.
    package internal(set) var nextDeadline: Instant = .distantFuture

    var brokers = SortedMap<NodeID, BrokerView>()
    // Leader.
    var followers = SortedMap<NodeID, FollowerProgress>()
    var pending: PendingISR?
    /// After a refusal, no new proposal before this: the metadata that explains it is on its way.
    var proposalsHeldUntil: Instant = .zero
    /// Where the log is to start, and the start that all who may lead next have reached.
    var startTarget: Offset = 0
    var startAgreed: Offset = 0
    // Follower.
    var leaderHighWatermark: Offset = -1
    var leaderLogStart: Offset = -1
    /// Whether the high watermark was learned in this life and every leader since was seen to be elected cleanly. Then
    /// no leader can ask for a cut below it.
    var highWatermarkIsBinding = false

    /// An ISR change that the controller has not confirmed.
    struct PendingISR: Hashable, Sendable {
        var proposal: ISRProposal
        /// When to send it again; nil: an answer, or metadata, is awaited.
        var retryAt: Instant?
    }

    /// How long a proposal that failed waits, in milliseconds.
    package static let isrRetryBackoffMs: Int64 = 50

    /// - Parameter highWatermark: the checkpointed one; nil: the log's start. Brought inside the log either way.
    package init(
        _ topicPartition: TopicPartition, me: NodeID, myBrokerEpoch: BrokerEpoch, settings: PartitionSettings,
        log: LogView,
        highWatermark: Offset? = nil
    ) {
        self.topicPartition = topicPartition
        self.me = me
        self.myBrokerEpoch = myBrokerEpoch
        self.settings = settings
        // Damage takes nothing away from what was known to be committed.
        let end = settings.synchronous && !log.isDamaged ? log.flushedEnd : log.endOffset
        self.highWatermark = max(log.startOffset, min(highWatermark ?? log.startOffset, end))
    }

    // MARK: What is known

    /// The committed ISR.
    package var isr: [NodeID] { registration?.isr ?? [] }

    /// The committed ISR and, while a change is in flight, the members it would add: what acknowledgement must count
    /// (KIP-497).
    package var maximalISR: [NodeID] {
        guard let pending else { return isr }
        return isr + pending.proposal.isr.lazy.map(\.id).filter { !isr.contains($0) }
    }

    package var isLeader: Bool { role == .leader }

    /// The ISR change that the controller has not confirmed, if there is one.
    package var pendingProposal: ISRProposal? { pending?.proposal }

    /// How far that follower has shown to be in this epoch; nil: it has not fetched, or this is no leader.
    package func shownEnd(of follower: NodeID) -> Offset? { followers[follower]?.endOffset }

    /// The image names this node leader, but in an epoch that another incarnation may have led, or that the log has
    /// outlived.
    package var refusesLeadership: Bool { registration?.leader == me && role != .leader && leaderEpoch >= 0 }

    /// `min.insync.replicas`, but never more than there are replicas.
    package var effectiveMinISR: Int { min(settings.minInSyncReplicas, registration?.replicas.count ?? 1) }

    /// What of the own log counts.
    func ownEnd(_ log: LogView) -> Offset {
        // Mutant: what only the page cache holds is acknowledged (P6).
        if settings.plantedBug == .leaderCountsUnflushed { return log.endOffset }
        return settings.synchronous ? log.flushedEnd : log.endOffset
    }

    // MARK: Inputs for every role

    /// The metadata changed this partition, or a broker that it names. Give the newest image; older states are ignored.
    package mutating func assigned(
        _ next: PartitionRegistration, brokers: SortedMap<NodeID, BrokerView>, log: LogView, at now: Instant,
        into effects: inout [PartitionEffect]
    ) {
        self.brokers = brokers
        defer { rearm(log, at: now) }
        // An AlterPartition answer may have told of a newer state than the image has; only the brokers are news then.
        guard next.partitionEpoch >= partitionEpoch, next.leaderEpoch >= leaderEpoch else {
            if role == .leader { refreshFollowers(at: now) }
            return
        }
        let isNewEpoch = next.leaderEpoch > leaderEpoch
        if isNewEpoch { judgeElection(next) }
        // A newer state settles the change in flight: it was part of it, or it can never be applied any more.
        if isNewEpoch || next.partitionEpoch > partitionEpoch { pending = nil }
        let before = role
        registration = next
        leaderEpoch = next.leaderEpoch
        partitionEpoch = next.partitionEpoch
        role = roleGranted(by: next, isNewEpoch: isNewEpoch, before: before, log: log)
        if before == .leader, role != .leader { resign(into: &effects) }
        switch role {
        case .none:
            if case .follower(.some) = before { effects.append(.stopFetching) }
        case .leader:
            if case .follower(.some) = before { effects.append(.stopFetching) }
            lead(isNewEpoch: isNewEpoch, wasLeader: before == .leader, log: log, at: now, into: &effects)
        case .follower(let leader):
            follow(leader, isNewEpoch: isNewEpoch, before: before, log: log, into: &effects)
        }
    }

    /// The topic's settings changed. `synchronous` is fixed when the topic is created.
    package mutating func settingsChanged(
        _ next: PartitionSettings, log: LogView, at now: Instant, into effects: inout [PartitionEffect]
    ) {
        settings = next
        if role == .leader {
            advanceLeaderHighWatermark(log, at: now, into: &effects)
            advanceLeaderStart(log, into: &effects)
        }
        rearm(log, at: now)
    }

    /// The own log grew: a leader's by a produce, a follower's by what it fetched.
    package mutating func appended(log: LogView, at now: Instant, into effects: inout [PartitionEffect]) {
        switch role {
        case .leader:
            if settings.synchronous, log.hasUnflushedTail { effects.append(.flush) }
            if followers.count > 0 { effects.append(.wakeFetches) }
            advanceLeaderHighWatermark(log, at: now, into: &effects)
            rearm(log, at: now)
        case .follower: advanceFollower(log, into: &effects)
        case .none: break
        }
    }

    /// The log's durable end moved.
    package mutating func flushed(log: LogView, at now: Instant, into effects: inout [PartitionEffect]) {
        switch role {
        case .leader:
            advanceLeaderHighWatermark(log, at: now, into: &effects)
            rearm(log, at: now)
        case .follower: advanceFollower(log, into: &effects)
        case .none: break
        }
    }

    /// Time has passed `nextDeadline`: removes laggards from the ISR, sends a failed proposal again, stops waiting for
    /// a joiner.
    package mutating func ticked(log: LogView, at now: Instant, into effects: inout [PartitionEffect]) {
        if role == .leader {
            resendProposal(at: now, into: &effects)
            proposeShrink(log, at: now, into: &effects)
            advanceLeaderHighWatermark(log, at: now, into: &effects)
            advanceLeaderStart(log, into: &effects)
        }
        rearm(log, at: now)
    }
}
