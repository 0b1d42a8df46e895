// What an operator says and reads about topics: one to be made, and one as the cluster describes it.

import Model
import Wire

/// A topic to be created.
public struct NewTopic: Equatable, Sendable {
    /// 1 to 249 letters, digits, `.`, `_` and `-`.
    public var name: String
    /// Nil: the cluster's `num.partitions`.
    public var partitions: Int32?
    /// Copies of each partition. Nil: the cluster's `default.replication.factor`.
    public var replicationFactor: Int16?
    /// Topic configs by Kafka's names, for example `min.insync.replicas`.
    public var configs: [String: String]

    public init(
        name: String, partitions: Int32? = nil, replicationFactor: Int16? = nil, configs: [String: String] = [:]
    ) {
        self.name = name
        self.partitions = partitions
        self.replicationFactor = replicationFactor
        self.configs = configs
    }
}

/// What a cluster made of a `NewTopic`.
public struct CreatedTopic: Equatable, Sendable {
    public var name: String
    /// Nil where the node does not say (CreateTopics before version 5).
    public var partitions: Int32?
    public var replicationFactor: Int16?
}

/// A topic and where its partitions stand.
public struct TopicDescription: Equatable, Sendable {
    public var name: String
    /// Kafka's 22 characters; nil where the cluster has no topic ids (before 2.8).
    public var topicID: String?
    /// Kafka's own topics, such as `__consumer_offsets`.
    public var isInternal: Bool
    /// By index.
    public var partitions: [PartitionDescription]

    public init(name: String, topicID: String? = nil, isInternal: Bool = false, partitions: [PartitionDescription]) {
        self.name = name
        self.topicID = topicID
        self.isInternal = isInternal
        self.partitions = partitions
    }

    /// The largest number of replicas that one of its partitions has.
    public var replicationFactor: Int { partitions.map(\.replicas.count).max() ?? 0 }
}

/// One partition: who leads it, who holds it, and who of these is in sync.
public struct PartitionDescription: Equatable, Sendable {
    public var index: Int32
    /// Nil: no node leads it now, so that nothing can be written or read.
    public var leader: Int32?
    /// Counts the leaders; nil where the node does not say (Metadata before version 7).
    public var leaderEpoch: Int32?
    /// The nodes that hold a copy; the first is the preferred leader.
    public var replicas: [Int32]
    /// The in-sync replicas (ISR).
    public var inSyncReplicas: [Int32]
    /// Replicas on nodes or disks that are away.
    public var offlineReplicas: [Int32]

    public init(
        index: Int32, leader: Int32?, leaderEpoch: Int32? = nil, replicas: [Int32], inSyncReplicas: [Int32],
        offlineReplicas: [Int32] = []
    ) {
        self.index = index
        self.leader = leader
        self.leaderEpoch = leaderEpoch
        self.replicas = replicas
        self.inSyncReplicas = inSyncReplicas
        self.offlineReplicas = offlineReplicas
    }

    public var isOffline: Bool { leader == nil }
    public var isUnderReplicated: Bool { inSyncReplicas.count < replicas.count }
    /// There is a leader, and it is not the first replica.
    public var isLeaderAway: Bool { leader != nil && leader != replicas.first }
}

extension TopicDescription {
    /// Nil for an entry of a Metadata answer that carries an error instead of a topic.
    init?(_ topic: MetadataResponse.Topic) {
        guard topic.errorCode == .none, let name = topic.name else { return nil }
        self.init(
            name: name, topicID: topic.topicID == .zero ? nil : "\(topic.topicID)", isInternal: topic.isInternal,
            partitions: topic.partitions.sorted { $0.partitionIndex < $1.partitionIndex }.map { partition in
                PartitionDescription(
                    index: partition.partitionIndex, leader: partition.leaderID.unlessNegative,
                    leaderEpoch: partition.leaderEpoch.unlessNegative, replicas: partition.replicaNodes,
                    inSyncReplicas: partition.isrNodes, offlineReplicas: partition.offlineReplicas)
            })
    }
}

extension FixedWidthInteger {
    /// Nil for the −1 by which Kafka says that there is none.
    var unlessNegative: Self? { self < 0 ? nil : self }
}
