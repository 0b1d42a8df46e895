// One partition as the metadata log has it: who holds it, who is in sync, who leads. Kafka's PartitionRegistration.

package enum LeaderRecoveryState: Int8, Hashable, Sendable {
    case recovered = 0
    /// Elected uncleanly; the ISR stays the leader alone until it has checked its log (KIP-704).
    case recovering = 1
}

package struct PartitionRegistration: Hashable, Sendable {
    /// In assignment order: the first is the preferred leader.
    package var replicas: [NodeID]
    /// Beside each replica where it lies; a damaged copy is `DirectoryID.lost`.
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

    /// Where that node's replica lies; unassigned when it has none.
    package func directory(of node: NodeID) -> UUID128 {
        guard let index = replicas.firstIndex(of: node), directories.indices.contains(index) else {
            return DirectoryID.unassigned
        }
        return directories[index]
    }

    /// Whether that node's replica is damaged or gone: it must not lead or join the ISR.
    package func isLost(_ node: NodeID) -> Bool { directory(of: node) == DirectoryID.lost }

    /// `directories` with that of these nodes' replicas replaced.
    package func directories(with directory: UUID128, of nodes: [NodeID]) -> [UUID128] {
        replicas.map { nodes.contains($0) ? directory : self.directory(of: $0) }
    }
}
