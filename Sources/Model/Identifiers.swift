// The shared numbers of the house, under Kafka's own names.

/// A node's configured id. −1 means "none" on the wire; inside, an optional says so.
public typealias NodeID = Int32
/// A record's position in its partition's log.
public typealias Offset = Int64
/// Counts the leaders of one partition, or the terms of the metadata quorum. −1: none.
public typealias LeaderEpoch = Int32
/// Counts every change of a partition's state in the metadata log.
public typealias PartitionEpoch = Int32
/// The metadata-log offset of a broker's registration: its fencing token for one incarnation. −1: unknown.
public typealias BrokerEpoch = Int64
public typealias ProducerID = Int64
public typealias PartitionIndex = Int32

/// A topic's partition by topic id, the key of everything inside a node: a re-created topic never meets its
/// predecessor.
public struct TopicPartition: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var topicID: UUID128
    public var partition: PartitionIndex

    public init(_ topicID: UUID128, _ partition: PartitionIndex) {
        self.topicID = topicID
        self.partition = partition
    }

    public static func < (a: Self, b: Self) -> Bool {
        a.topicID == b.topicID ? a.partition < b.partition : a.topicID < b.topicID
    }

    public var description: String { "\(topicID)-\(partition)" }
}

/// The metadata quorum's topic, by Kafka's reserved name and id.
public enum MetadataTopic {
    public static let name = "__cluster_metadata"
    public static let id = UUID128(high: 0, low: 1)
}

/// Kafka's directory ids that name no directory (KIP-858).
public enum DirectoryID {
    /// Not known yet.
    public static let unassigned = UUID128(high: 0, low: 0)
    /// The directory of a copy that cannot be used: it neither leads nor is in sync until it is assigned anew.
    public static let lost = UUID128(high: 0, low: 1)
    /// Kafka's mark of a cluster on its way to several directories a broker.
    public static let migrating = UUID128(high: 0, low: 2)
}

/// A voter or replica of the metadata quorum: the node and the disk it answers for. A wiped disk is another replica
/// (KIP-853).
public struct ReplicaKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var id: NodeID
    public var directoryID: UUID128

    public init(id: NodeID, directoryID: UUID128) {
        self.id = id
        self.directoryID = directoryID
    }

    public static func < (a: Self, b: Self) -> Bool {
        a.id == b.id ? a.directoryID < b.directoryID : a.id < b.id
    }

    public var description: String { "\(id)@\(directoryID)" }
}

/// Where a node can be reached.
public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    public var host: String
    public var port: UInt16

    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    public var description: String { "\(host):\(port)" }
}
