// One partition as the metadata log has it: who holds it, who is in sync, who leads. Kafka's PartitionRegistration.

package enum LeaderRecoveryState: Int8, Hashable, Sendable {
    case recovered = 0
    /// Elected uncleanly; the ISR stays the leader alone until it has checked its log (KIP-704).
    case recovering = 1
}

package struct PartitionRegistration: Hashable, Sendable {
    /// In assignment order: the first is the preferred leader.
    package var replicas: [NodeID]
    package var directories: [UUID128]
    package var isr: [NodeID]
    package var removingReplicas: [NodeID]
    package var addingReplicas: [NodeID]
    /// KIP-966: not in sync by name, but known to hold all that is committed.
    package var eligibleLeaderReplicas: [NodeID]
    package var lastKnownELR: [NodeID]
    package var leader: NodeID?
    package var leaderRecoveryState: LeaderRecoveryState
    package var leaderEpoch: LeaderEpoch
    package var partitionEpoch: PartitionEpoch

    package init(
        replicas: [NodeID], directories: [UUID128] = [], isr: [NodeID], removingReplicas: [NodeID] = [],
        addingReplicas: [NodeID] = [], eligibleLeaderReplicas: [NodeID] = [], lastKnownELR: [NodeID] = [],
        leader: NodeID?, leaderRecoveryState: LeaderRecoveryState = .recovered, leaderEpoch: LeaderEpoch = 0,
        partitionEpoch: PartitionEpoch = 0
    ) {
        self.replicas = replicas
        self.directories = directories
        self.isr = isr
        self.removingReplicas = removingReplicas
        self.addingReplicas = addingReplicas
        self.eligibleLeaderReplicas = eligibleLeaderReplicas
        self.lastKnownELR = lastKnownELR
        self.leader = leader
        self.leaderRecoveryState = leaderRecoveryState
        self.leaderEpoch = leaderEpoch
        self.partitionEpoch = partitionEpoch
    }
}
