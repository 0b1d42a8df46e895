// The whole image as records, for a snapshot. Folding them into an empty image gives this one back.

import Model
import Wire

extension MetadataImage {
    /// In one fixed order: features, brokers, topics with their partitions, settings, producer ids. `lastOffset` and
    /// `lastEpoch` are not
    /// among them: they are the snapshot's name.
    package func records() -> [MetadataRecord] {
        var records: [MetadataRecord] = []
        records.reserveCapacity(features.count + brokers.count + topics.count + partitionCount + 16)
        for (name, level) in features {
            var record = FeatureLevelRecord()
            record.name = name
            record.featureLevel = level
            records.append(.featureLevel(record))
        }
        for broker in brokers.values { records.append(.registerBroker(RegisterBrokerRecord(broker))) }
        for topic in topics.values {
            records.append(.topic(TopicRecord(name: topic.name, id: topic.id)))
            for (index, partition) in topic.partitions.enumerated() {
                let key = TopicPartition(topic.id, PartitionIndex(index))
                records.append(.partition(PartitionRecord(key, partition)))
            }
        }
        for (resource, settings) in configs {
            for (name, value) in settings {
                records.append(.config(ConfigRecord(resource, name: name, value: value)))
            }
        }
        if nextProducerID > 0 {
            var record = ProducerIDsRecord()
            record.brokerID = -1
            record.nextProducerID = nextProducerID
            records.append(.producerIDs(record))
        }
        return records
    }
}

extension RegisterBrokerRecord {
    /// The record that makes this registration.
    init(_ broker: BrokerRegistration) {
        self.init()
        brokerID = broker.id
        incarnationID = broker.incarnationID
        brokerEpoch = broker.epoch
        var endpoint = BrokerEndpoint()
        endpoint.name = "PLAINTEXT"
        endpoint.host = broker.endpoint.host
        endpoint.port = broker.endpoint.port
        endpoints = [endpoint]
        rack = broker.rack
        fenced = broker.fenced
        inControlledShutdown = broker.inControlledShutdown
        logDirs = [broker.directoryID]
        directoryID = broker.directoryID
    }
}

extension TopicRecord {
    init(name: String, id: UUID128) {
        self.init()
        self.name = name
        topicID = id
    }
}

extension PartitionRecord {
    init(_ key: TopicPartition, _ partition: PartitionRegistration) {
        self.init()
        partitionID = key.partition
        topicID = key.topicID
        replicas = partition.replicas
        isr = partition.isr
        removingReplicas = partition.removingReplicas
        addingReplicas = partition.addingReplicas
        leader = partition.leader ?? -1
        leaderRecoveryState = partition.leaderRecoveryState.rawValue
        leaderEpoch = partition.leaderEpoch
        partitionEpoch = partition.partitionEpoch
        directories = partition.directories
        eligibleLeaderReplicas = partition.eligibleLeaderReplicas.isEmpty ? nil : partition.eligibleLeaderReplicas
        lastKnownElr = partition.lastKnownELR.isEmpty ? nil : partition.lastKnownELR
    }
}

extension ConfigRecord {
    init(_ resource: ConfigResource, name: String, value: String?) {
        self.init()
        resourceType = resource.type.rawValue
        resourceName = resource.name
        self.name = name
        self.value = value
    }
}

extension BrokerRegistrationChangeRecord {
    init(_ broker: BrokerRegistration, fenced: Int8 = 0, inControlledShutdown: Int8 = 0) {
        self.init()
        brokerID = broker.id
        brokerEpoch = broker.epoch
        self.fenced = fenced
        self.inControlledShutdown = inControlledShutdown
    }
}
