// How a member of a group takes part in it, and what it commits.

import Model

/// Settings of a `GroupConsumer`.
public struct GroupConsumerConfiguration: Sendable {
    /// Nil: `nextGeneration` where the cluster serves it, else `classic`.
    public var groupProtocol: GroupProtocol?
    /// The name of a static member (KIP-345): who comes back under it within the session timeout gets its former
    /// partitions, without a rebalance. Nil: a dynamic member.
    public var groupInstanceID: String?
    /// What the member offers in the classic protocol; the coordinator picks one that all members offer. With `range`
    /// among them every rebalance takes all partitions from everybody first.
    public var assignors: [ClientAssignor] = [.cooperativeSticky]
    /// Which of the coordinator's assignors shall be used in the next-generation protocol, `uniform` or `range`; nil
    /// leaves the choice to it.
    public var serverAssignor: String?
    /// After this time without a sign of life the coordinator gives a member's partitions to others. In the
    /// next-generation protocol the cluster sets it (`group.consumer.session.timeout.ms`).
    public var sessionTimeoutMs: Int32 = 45_000
    /// How long a member may take to give up partitions in a rebalance.
    public var rebalanceTimeoutMs: Int32 = 60_000
    /// By its heartbeat a member of the classic protocol learns that a rebalance has begun. At most a third of the
    /// session timeout. In the next-generation protocol the cluster sets it.
    public var heartbeatIntervalMs: Int64 = 1_000
    /// Where reading starts in a partition of which the group has committed nothing, or nothing that is still there.
    public var offsetReset = OffsetReset.latest
    /// How often what the reader is done with is committed; it is committed too before partitions are given up and by
    /// `close`. Nil: `commit` alone does it.
    public var autoCommitIntervalMs: Int64? = 5_000
    /// Leaving when closed gives partitions to others at once. Nil: dynamic members do, static ones do not.
    public var leavesOnClose: Bool?
    /// How long `close` may take for the last commit and for leaving, which has the last quarter of it.
    public var closePatienceMs: Int64 = 5_000
    /// How long one commit is tried again before it fails; that of what a rebalance takes away for a quarter of
    /// `rebalanceTimeoutMs` at most.
    public var commitPatienceMs: Int64 = 30_000
    /// After this time without an answer that is due the member asks who coordinates the group now.
    public var lateAnswerMs: Int64 = 1_500
    public var retryPauseMs: ClosedRange<Int64> = 50...1_000
    /// How often the leader of a classic group looks for partitions that were added, and a member with a pattern for
    /// topics.
    public var metadataMaxAgeMs: Int64 = 60_000
    /// How records are read. What happens at an offset that the log does not hold follows from `offsetReset`.
    public var consumer = ConsumerConfiguration()

    public init() {}
}

/// By which protocol a member takes part in its group.
public enum GroupProtocol: String, Sendable {
    /// JoinGroup, SyncGroup and Heartbeat: a member, the leader, assigns partitions.
    case classic
    /// ConsumerGroupHeartbeat: the coordinator assigns partitions, one member after the other (KIP-848).
    case nextGeneration = "consumer"
}

/// Kafka's `auto.offset.reset`.
public enum OffsetReset: String, Sendable {
    case earliest, latest
    /// Reading the partition fails with `noCommittedOffset`; `seek` goes on.
    case none
}

/// Where a group stands in a partition.
public struct OffsetAndMetadata: Equatable, Sendable {
    /// Of the next record to read.
    public var offset: Int64
    /// The epoch of the leader that wrote the record before it; nil where that is not known. With it the next reader
    /// notices when the log was cut off since (KIP-320).
    public var leaderEpoch: Int32?
    /// Anything that shall be kept beside it; the cluster limits its size.
    public var metadata: String

    public init(_ offset: Int64, leaderEpoch: Int32? = nil, metadata: String = "") {
        self.offset = offset
        self.leaderEpoch = leaderEpoch
        self.metadata = metadata
    }
}

/// What a rebalance does to one member.
public enum AssignmentChange: Equatable, Sendable {
    /// Reading of these begins when the handler has returned.
    case assigned([TopicPartition])
    /// Nothing more of these is given out, and they go to others when the handler has returned: the last moment to
    /// commit.
    case revoked([TopicPartition])
    /// They may be with others already: the group went on without this member. A commit would be refused.
    case lost([TopicPartition])
}
