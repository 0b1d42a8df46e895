// The cluster's metadata as a value: a fold of the metadata log's records up to one offset.

import Model
import Wire

/// Cheap to copy: its parts are shared until one of the copies changes. Equal logs give equal images (M1).
package struct MetadataImage: Equatable, Sendable {
    package static let empty = MetadataImage()

    /// The offset of the last record that was applied; −1 when none was.
    package var lastOffset: Offset = -1
    /// The leader epoch of that record; the caller keeps it, because records do not carry it.
    package var lastEpoch: LeaderEpoch = -1
    package internal(set) var topics = SortedMap<UUID128, TopicImage>()
    package internal(set) var brokers = SortedMap<NodeID, BrokerRegistration>()
    package internal(set) var configs = SortedMap<ConfigResource, SortedMap<String, String>>()
    package internal(set) var features = SortedMap<String, Int16>()
    /// The first producer id that no block has been given out for.
    package internal(set) var nextProducerID: ProducerID = 0
    var idsByName = SortedMap<String, UUID128>()

    init() {}

    package func topic(id: UUID128) -> TopicImage? { topics[id] }

    package func topic(named name: String) -> TopicImage? {
        guard let id = idsByName[name] else { return nil }
        return topics[id]
    }

    package func topicID(named name: String) -> UUID128? { idsByName[name] }

    /// In order.
    package var topicNames: [String] { idsByName.keys }

    package func partition(_ key: TopicPartition) -> PartitionRegistration? {
        guard let topic = topics[key.topicID], topic.partitions.indices.contains(Int(key.partition)) else { return nil }
        return topic.partitions[Int(key.partition)]
    }

    package func config(_ type: ConfigResourceType, _ name: String) -> SortedMap<String, String> {
        configs[ConfigResource(type, name)] ?? SortedMap()
    }

    /// Brokers that may lead and be in sync, by id.
    package var eligibleBrokers: [BrokerRegistration] { brokers.values.filter(\.eligible) }

    func isEligible(_ id: NodeID) -> Bool { brokers[id]?.eligible ?? false }

    /// Whether that node may lead the partition, if it is in sync or eligible there.
    func canLead(_ id: NodeID, _ partition: PartitionRegistration) -> Bool { isEligible(id) && !partition.isLost(id) }

    func isUnfenced(_ id: NodeID) -> Bool { brokers[id].map { !$0.fenced } ?? false }

    var partitionCount: Int { topics.values.reduce(0) { $0 + $1.partitions.count } }
}
