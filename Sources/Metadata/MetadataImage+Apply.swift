// How each metadata record changes the image. Records come off a disk or from another node, so none may trap here.

import Model
import Wire

extension MetadataImage {
    /// Folds one record in. A record that names what does not exist changes nothing and is counted in `changes`.
    package mutating func apply(_ record: MetadataRecord, at offset: Offset, changes: inout ImageChanges) {
        lastOffset = offset
        let applied: Bool
        switch record {
        case .registerBroker(let record): applied = apply(record, &changes)
        case .unregisterBroker(let record): applied = apply(record, &changes)
        case .brokerRegistrationChange(let record): applied = apply(record, &changes)
        case .topic(let record): applied = apply(record, &changes)
        case .removeTopic(let record): applied = apply(record, &changes)
        case .partition(let record): applied = apply(record, &changes)
        case .partitionChange(let record): applied = apply(record, &changes)
        case .config(let record): applied = apply(record, &changes)
        case .featureLevel(let record):
            features[record.name] = record.featureLevel > 0 ? record.featureLevel : nil
            applied = true
        case .producerIDs(let record):
            applied = record.nextProducerID >= nextProducerID
            nextProducerID = max(nextProducerID, record.nextProducerID)
        case .noOp: applied = true
        // One decision is one batch here, so brackets are never written; whole-batch atomicity makes them idle.
        case .beginTransaction, .endTransaction, .abortTransaction: applied = false
        }
        if !applied { changes.ignoreRecord() }
    }

    private mutating func apply(_ record: RegisterBrokerRecord, _ changes: inout ImageChanges) -> Bool {
        guard record.brokerID >= 0 else { return false }
        let endpoint = record.endpoints.first.map { Endpoint(host: $0.host, port: $0.port) }
        brokers[record.brokerID] = BrokerRegistration(
            id: record.brokerID, epoch: record.brokerEpoch, incarnationID: record.incarnationID,
            directoryID: record.directoryID == .zero ? record.logDirs.first ?? .zero : record.directoryID,
            endpoint: endpoint ?? Endpoint(host: "", port: 0), rack: record.rack, fenced: record.fenced,
            inControlledShutdown: record.inControlledShutdown)
        changes.touch(broker: record.brokerID)
        return true
    }

    private mutating func apply(_ record: UnregisterBrokerRecord, _ changes: inout ImageChanges) -> Bool {
        guard let known = brokers[record.brokerID], known.epoch == record.brokerEpoch else { return false }
        brokers[record.brokerID] = nil
        changes.touch(broker: record.brokerID)
        return true
    }

    private mutating func apply(_ record: BrokerRegistrationChangeRecord, _ changes: inout ImageChanges) -> Bool {
        guard var known = brokers[record.brokerID], known.epoch == record.brokerEpoch else { return false }
        // Tagged fields: 0 leaves as it is, 1 sets, −1 clears.
        if record.fenced != 0 { known.fenced = record.fenced > 0 }
        if record.inControlledShutdown != 0 { known.inControlledShutdown = record.inControlledShutdown > 0 }
        brokers[record.brokerID] = known
        changes.touch(broker: record.brokerID)
        return true
    }

    private mutating func apply(_ record: TopicRecord, _ changes: inout ImageChanges) -> Bool {
        guard topics[record.topicID] == nil, idsByName[record.name] == nil else { return false }
        topics[record.topicID] = TopicImage(name: record.name, id: record.topicID)
        idsByName[record.name] = record.topicID
        changes.touch(topic: record.topicID)
        return true
    }

    private mutating func apply(_ record: RemoveTopicRecord, _ changes: inout ImageChanges) -> Bool {
        guard let topic = topics.removeValue(forKey: record.topicID) else { return false }
        idsByName[topic.name] = nil
        let resource = ConfigResource(.topic, topic.name)
        if configs.removeValue(forKey: resource) != nil { changes.touch(config: resource) }
        changes.delete(topic: topic.id)
        return true
    }

    private mutating func apply(_ record: PartitionRecord, _ changes: inout ImageChanges) -> Bool {
        let index = Int(record.partitionID)
        guard let known = topics[record.topicID], index >= 0, index <= known.partitions.count else { return false }
        let partition = PartitionRegistration(
            replicas: record.replicas, directories: record.directories, isr: record.isr,
            removingReplicas: record.removingReplicas, addingReplicas: record.addingReplicas,
            eligibleLeaderReplicas: record.eligibleLeaderReplicas ?? [], lastKnownELR: record.lastKnownElr ?? [],
            leader: record.leader < 0 ? nil : record.leader,
            leaderRecoveryState: LeaderRecoveryState(rawValue: record.leaderRecoveryState) ?? .recovered,
            leaderEpoch: record.leaderEpoch, partitionEpoch: record.partitionEpoch)
        withPartitions(of: record.topicID) { partitions in
            if index < partitions.count { partitions[index] = partition } else { partitions.append(partition) }
        }
        changes.touch(partition: record.partitionID, of: record.topicID)
        return true
    }

    private mutating func apply(_ record: PartitionChangeRecord, _ changes: inout ImageChanges) -> Bool {
        let index = Int(record.partitionID)
        guard topics[record.topicID]?.partitions.indices.contains(index) ?? false else { return false }
        withPartitions(of: record.topicID) { partitions in partitions[index].apply(record) }
        changes.touch(partition: record.partitionID, of: record.topicID)
        return true
    }

    private mutating func apply(_ record: ConfigRecord, _ changes: inout ImageChanges) -> Bool {
        guard let type = ConfigResourceType(rawValue: record.resourceType) else { return false }
        let resource = ConfigResource(type, record.resourceName)
        configs[resource, default: SortedMap()][record.name] = record.value
        if configs[resource]?.isEmpty ?? false { configs[resource] = nil }
        changes.touch(config: resource)
        return true
    }

    /// Changes a known topic's partitions in place, so that the array is not copied for each record.
    private mutating func withPartitions(of id: UUID128, _ body: (inout [PartitionRegistration]) -> Void) {
        body(&topics[id, default: TopicImage(name: "", id: id)].partitions)
    }
}

extension PartitionRegistration {
    /// Only the fields that are present change. Naming a leader raises the leader epoch, even for the same node; every
    /// change raises the
    /// partition epoch (protocol.md §4.8).
    mutating func apply(_ record: PartitionChangeRecord) {
        if let isr = record.isr { self.isr = isr }
        if let replicas = record.replicas { self.replicas = replicas }
        if let removing = record.removingReplicas { removingReplicas = removing }
        if let adding = record.addingReplicas { addingReplicas = adding }
        if let directories = record.directories { self.directories = directories }
        if let elr = record.eligibleLeaderReplicas { eligibleLeaderReplicas = elr }
        if let lastKnown = record.lastKnownElr { lastKnownELR = lastKnown }
        if let state = LeaderRecoveryState(rawValue: record.leaderRecoveryState) { leaderRecoveryState = state }
        if record.leader != PartitionChangeRecord.leaderUnchanged {
            leader = record.leader < 0 ? nil : record.leader
            leaderEpoch &+= 1
        }
        partitionEpoch &+= 1
    }
}

extension PartitionChangeRecord {
    /// The default of the tagged leader field.
    static let leaderUnchanged: NodeID = -2
    static let noLeader: NodeID = -1
}
