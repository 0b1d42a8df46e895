// One partition as the metadata log has it: who holds it, who is in sync, who leads. Kafka's PartitionRegistration.

public enum LeaderRecoveryState: Int8, Hashable, Sendable {
    case recovered = 0
    /// Elected uncleanly; the ISR stays the leader alone until it has checked its log (KIP-704).
    case recovering = 1
}

public struct PartitionRegistration: Hashable, Sendable {
    /// In assignment order: the first is the preferred leader.
    public var replicas: [NodeID]
    /// Beside each replica where it lies; a damaged copy is `DirectoryID.lost`.
    public var directories: [UUID128]
    public var isr: [NodeID]
    public var removingReplicas: [NodeID]
    public var addingReplicas: [NodeID]
    /// KIP-966: not in sync by name, but known to hold all that is committed.
    public var eligibleLeaderReplicas: [NodeID]
    public var lastKnownELR: [NodeID]
    public var leader: NodeID?
    public var leaderRecoveryState: LeaderRecoveryState
    public var leaderEpoch: LeaderEpoch
    public var partitionEpoch: PartitionEpoch

    public init(
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
    public func directory(of node: NodeID) -> UUID128 {
        guard let index = replicas.firstIndex(of: node), directories.indices.contains(index) else {
            return DirectoryID.unassigned
        }
        return directories[index]
    }

    /// Whether that node's replica is damaged or gone: it must not lead or join the ISR.
    public func isLost(_ node: NodeID) -> Bool { directory(of: node) == DirectoryID.lost }

    /// `directories` with that of these nodes' replicas replaced.
    public func directories(with directory: UUID128, of nodes: [NodeID]) -> [UUID128] {
        replicas.map { nodes.contains($0) ? directory : self.directory(of: $0) }
    }
}
