// A verdict on a cluster, made of its descriptions.

/// What is wrong with a cluster at one moment. A pure value: `ClusterClient.health()` asks for what it is made of.
public struct ClusterHealth: Equatable, Sendable {
    /// What is wrong with a partition, the worst first.
    public enum Trouble: Int, Comparable, CaseIterable, Sendable, CustomStringConvertible {
        /// No node leads it: nothing can be written or read.
        case offline
        /// Fewer replicas are in sync than `min.insync.replicas`: `acks=all` is refused.
        case belowMinInSync
        /// Not every replica is in sync.
        case underReplicated
        /// Led by another node than its first replica. Nothing is at risk, the load may be uneven.
        case leaderAway

        public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

        public var description: String {
            switch self {
            case .offline: "offline"
            case .belowMinInSync: "below min ISR"
            case .underReplicated: "under-replicated"
            case .leaderAway: "leader away"
            }
        }
    }

    /// A partition that is not as it should be.
    public struct Finding: Equatable, Sendable {
        public var topic: String
        public var partition: PartitionDescription
        /// Never empty; the worst first.
        public var troubles: [Trouble]
        /// `min.insync.replicas`, where it was asked for.
        public var minInSyncReplicas: Int?
    }

    public var cluster: ClusterDescription
    /// Nil while there is no controller, or where the cluster has no quorum of its own.
    public var quorum: QuorumDescription?
    /// False: there is nobody who could take changes of the cluster.
    public var hasController: Bool
    /// Registered nodes that are out of service.
    public var fencedNodes: [Int32]
    /// Nodes that vote or hold replicas and that the cluster does not list.
    public var missingNodes: [Int32]
    public var topicCount: Int
    public var partitionCount: Int
    /// The worst first, then by topic and partition.
    public var findings: [Finding]

    /// Judges what was described; `minInSyncReplicas` by topic. Without `hasQuorum` (the cluster cannot describe its
    /// quorum) the controller that it names is believed.
    public init(
        cluster: ClusterDescription, quorum: QuorumDescription?, hasQuorum: Bool, topics: [TopicDescription],
        minInSyncReplicas: [String: Int]
    ) {
        self.cluster = cluster
        self.quorum = quorum
        hasController = hasQuorum ? quorum != nil : cluster.controller != nil
        fencedNodes = cluster.nodes.filter(\.isFenced).map(\.id)
        let listed = Set(cluster.nodes.map(\.id))
        var needed = Set(topics.flatMap { $0.partitions.flatMap(\.replicas) })
        // Voters of a cluster with controllers of their own are no brokers, and are not listed as such.
        let voters = Set(quorum?.voters.map(\.nodeID) ?? [])
        if !voters.isDisjoint(with: listed) { needed.formUnion(voters) }
        missingNodes = needed.subtracting(listed).sorted()
        topicCount = topics.count
        partitionCount = topics.reduce(0) { $0 + $1.partitions.count }
        findings = []
        for topic in topics {
            let least = minInSyncReplicas[topic.name]
            for partition in topic.partitions {
                let troubles = Self.troubles(of: partition, minInSyncReplicas: least)
                guard !troubles.isEmpty else { continue }
                findings.append(
                    Finding(topic: topic.name, partition: partition, troubles: troubles, minInSyncReplicas: least))
            }
        }
        findings.sort {
            ($0.troubles[0], $0.topic, $0.partition.index) < ($1.troubles[0], $1.topic, $1.partition.index)
        }
    }

    private static func troubles(of partition: PartitionDescription, minInSyncReplicas: Int?) -> [Trouble] {
        var troubles: [Trouble] = []
        if partition.isOffline { troubles.append(.offline) }
        if let minInSyncReplicas, partition.inSyncReplicas.count < minInSyncReplicas {
            troubles.append(.belowMinInSync)
        }
        if partition.isUnderReplicated { troubles.append(.underReplicated) }
        if partition.isLeaderAway { troubles.append(.leaderAway) }
        return troubles
    }

    /// How many partitions have this trouble.
    public func count(of trouble: Trouble) -> Int { findings.filter { $0.troubles.contains(trouble) }.count }

    public var registeredNodeCount: Int { cluster.nodes.filter { !$0.isFenced }.count }

    /// There is a controller, every node is there and in service, and every partition has a leader and all its replicas
    /// in sync. Leaders away from their first replica are no illness: see `isBalanced`.
    public var isHealthy: Bool {
        hasController && !cluster.nodes.isEmpty && fencedNodes.isEmpty && missingNodes.isEmpty
            && findings.allSatisfy { $0.troubles == [.leaderAway] }
    }

    /// Every partition is led by its first replica.
    public var isBalanced: Bool { count(of: .leaderAway) == 0 }
}
