// What a coordinator is told by the node's configuration, under Kafka's names.

import Model

package struct GroupSettings: Hashable, Sendable {
    /// `group.min.session.timeout.ms`.
    package var sessionTimeoutMsMin: Int32 = 6_000
    /// `group.max.session.timeout.ms`.
    package var sessionTimeoutMsMax: Int32 = 1_800_000
    /// `group.max.size`: members of one group.
    package var groupSizeMax = Int(Int32.max)
    /// `group.initial.rebalance.delay.ms`: the longest that the first members of a group wait for company. They stop
    /// waiting as soon as nobody has come for `quietMs` (decision 0023).
    package var initialRebalanceDelayMs: Int64 = 3_000
    /// `offset.metadata.max.bytes`.
    package var offsetMetadataBytesMax = 4_096
    /// `offsets.retention.minutes`, in milliseconds.
    package var offsetsRetentionMs: Int64 = 10_080 * 60_000
    /// `offsets.retention.check.interval.ms`.
    package var offsetsRetentionCheckIntervalMs: Int64 = 600_000
    /// `group.consumer.session.timeout.ms`.
    package var consumerSessionTimeoutMs: Int64 = 45_000
    /// `group.consumer.heartbeat.interval.ms`.
    package var consumerHeartbeatIntervalMs: Int64 = 5_000
    /// `group.consumer.max.size`.
    package var consumerSizeMax = Int(Int32.max)
    /// `group.consumer.assignors`; the first is the one that nobody asked for.
    package var consumerAssignors = [ConsumerAssignor.uniform, .range]
    /// How long any answer waits for the commit of what it tells; then the client is told to try again. Kafka's default
    /// of `offsets.commit.timeout.ms`.
    package var offsetsCommitTimeoutMs: Int64 = 5_000
    /// Protocols that a member may offer in a JoinGroup.
    package var protocolsMax = 100
    /// How long someone who was just given a member id, and has not come back with it, holds a rebalance up.
    package var pendingHoldMs: Int64 = 3_000
    /// Ids given and not used yet that a group remembers; the oldest goes first.
    package var pendingMembersMax = 1_000
    /// How long such an id is remembered, however long a session was asked for.
    package var pendingMemberTimeoutMs: Int64 = 60_000
    /// Groups of which nothing is known but ids given and not used, and such ids in all of them; the oldest go first.
    package var handshakeGroupsMax = 1_000
    package var handshakesMax = 10_000
    /// Tombstones of one append, in bytes of their keys.
    package var tombstoneBytesMax = 256 * 1_024
    /// Groups that one tick looks at for offsets that ran out.
    package var expiryGroupsPerTick = 200

    /// For the simulator alone.
    package var plantedBug = PlantedBug.none

    package init() {}

    /// How long nobody may have come before a new group begins.
    package var quietMs: Int64 { initialRebalanceDelayMs / 20 }
}
