// Between a consumer group and its records: what changed from one state to the next, and the way back from the log.

import Model
import NIOCore
import Wire

extension ConsumerGroup {
    // MARK: Writing

    /// The records that lead from `before` (nil: there was no such group) to `after` (nil: it is gone).
    static func records(of group: String, from before: ConsumerGroup?, to after: ConsumerGroup?) -> [GroupRecord] {
        var records: [GroupRecord] = []
        let (old, new) = (before ?? ConsumerGroup(), after ?? ConsumerGroup())
        for id in old.members.keys where new.members[id] == nil { records += tombstones(of: id, group) }
        for member in new.members.values {
            let known = old.members[member.id]
            if known.map(\.metadata) != member.metadata { records.append(member.metadataRecord(group)) }
        }
        if after != nil, before == nil || (old.epoch, old.metadataHash) != (new.epoch, new.metadataHash) {
            records.append(new.epochRecord(group))
        }
        for member in new.members.values where old.members[member.id]?.target ?? [] != member.target {
            records.append(member.targetRecord(group))
        }
        if after != nil, old.assignmentEpoch != new.assignmentEpoch { records.append(new.targetEpochRecord(group)) }
        for member in new.members.values {
            let known = old.members[member.id]
            if known.map(\.current) != member.current { records.append(member.currentRecord(group)) }
        }
        if after == nil, before != nil { records += tombstones(of: group) }
        return records
    }

    private static func tombstones(of member: String, _ group: String) -> [GroupRecord] {
        var current = ConsumerGroupCurrentMemberAssignmentKey()
        current.groupID = group
        current.memberID = member
        var target = ConsumerGroupTargetAssignmentMemberKey()
        target.groupID = group
        target.memberID = member
        var metadata = ConsumerGroupMemberMetadataKey()
        metadata.groupID = group
        metadata.memberID = member
        return [
            .consumerGroupCurrentMemberAssignment(current, nil), .consumerGroupTargetAssignmentMember(target, nil),
            .consumerGroupMemberMetadata(metadata, nil),
        ]
    }

    private static func tombstones(of group: String) -> [GroupRecord] {
        var target = ConsumerGroupTargetAssignmentMetadataKey()
        target.groupID = group
        var epoch = ConsumerGroupMetadataKey()
        epoch.groupID = group
        return [.consumerGroupTargetAssignmentMetadata(target, nil), .consumerGroupMetadata(epoch, nil)]
    }

    private func epochRecord(_ group: String) -> GroupRecord {
        var key = ConsumerGroupMetadataKey()
        key.groupID = group
        var value = ConsumerGroupMetadataValue()
        value.epoch = epoch
        value.metadataHash = metadataHash
        return .consumerGroupMetadata(key, value)
    }

    private func targetEpochRecord(_ group: String) -> GroupRecord {
        var key = ConsumerGroupTargetAssignmentMetadataKey()
        key.groupID = group
        var value = ConsumerGroupTargetAssignmentMetadataValue()
        value.assignmentEpoch = assignmentEpoch
        return .consumerGroupTargetAssignmentMetadata(key, value)
    }

    // MARK: Loading

    /// A record of this group in the log's order; whether it still exists.
    mutating func load(_ record: GroupRecord) {
        switch record {
        case .consumerGroupMetadata(_, let value?):
            isKnown = true
            epoch = value.epoch
            metadataHash = value.metadataHash
        case .consumerGroupTargetAssignmentMetadata(_, let value): assignmentEpoch = value?.assignmentEpoch ?? 0
        case .consumerGroupMemberMetadata(let key, let value):
            guard let value else {
                members[key.memberID] = nil
                return
            }
            change(key.memberID) { $0.take(value) }
        case .consumerGroupTargetAssignmentMember(let key, let value):
            guard value != nil || members[key.memberID] != nil else { return }
            change(key.memberID) { member in
                member.target = (value?.topicPartitions ?? []).flatMap { topic in
                    topic.partitions.map { TopicPartition(topic.topicID, $0) }
                }.sorted()
            }
        case .consumerGroupCurrentMemberAssignment(let key, let value):
            guard value != nil || members[key.memberID] != nil else { return }
            change(key.memberID) { $0.take(value ?? ConsumerGroupCurrentMemberAssignmentValue()) }
        default: break
        }
    }

    private mutating func change(_ id: String, _ change: (inout ConsumerMember) -> Void) {
        var member = members[id] ?? ConsumerMember(id: id)
        if members[id] == nil { member.isKnown = false }
        change(&member)
        members[id] = member
    }

    /// Drops what is left of members whose subscription is gone, and gives the others a fresh session.
    mutating func loadEnded(_ settings: GroupSettings, at now: Instant) {
        for member in members.values where !member.isKnown { members[member.id] = nil }
        instances.removeAll()
        for var member in members.values {
            if let instanceID = member.instanceID { instances[instanceID] = member.id }
            let timeoutMs = member.classic.map { Int64($0.sessionTimeoutMs) } ?? settings.consumerSessionTimeoutMs
            member.sessionDeadline = now.advanced(byMs: timeoutMs)
            if member.state == .unrevoked {
                member.revocationDeadline = now.advanced(byMs: Int64(max(0, member.rebalanceTimeoutMs)))
            }
            members[member.id] = member
        }
        topicsSeen = 0
    }
}

extension ConsumerMember {
    fileprivate var metadata: ConsumerGroupMemberMetadataValue {
        var value = ConsumerGroupMemberMetadataValue()
        value.instanceID = instanceID
        value.rackID = rackID
        value.clientID = clientID
        value.clientHost = clientHost
        value.subscribedTopicNames = topics
        value.subscribedTopicRegex = pattern
        value.rebalanceTimeoutMs = rebalanceTimeoutMs
        value.serverAssignor = serverAssignor
        value.classicMemberMetadata = classic.map { part in
            var written = ConsumerGroupMemberMetadataValue.ClassicMemberMetadata()
            written.sessionTimeoutMs = part.sessionTimeoutMs
            written.supportedProtocols = part.protocols.map { one in
                var offered = ConsumerGroupMemberMetadataValue.ClassicProtocol()
                offered.name = one.name
                offered.metadata = one.metadata
                return offered
            }
            return written
        }
        return value
    }

    fileprivate mutating func take(_ value: ConsumerGroupMemberMetadataValue) {
        isKnown = true
        instanceID = value.instanceID
        rackID = value.rackID
        clientID = value.clientID
        clientHost = value.clientHost
        topics = value.subscribedTopicNames
        pattern = value.subscribedTopicRegex
        rebalanceTimeoutMs = value.rebalanceTimeoutMs
        serverAssignor = value.serverAssignor
        classic = value.classicMemberMetadata.map { written in
            let protocols = written.supportedProtocols.map {
                JoinGroupRequest.GroupProtocol($0.name, copying: $0.metadata)
            }
            return ClassicPart(sessionTimeoutMs: written.sessionTimeoutMs, protocols: protocols)
        }
    }

    fileprivate func metadataRecord(_ group: String) -> GroupRecord {
        var key = ConsumerGroupMemberMetadataKey()
        key.groupID = group
        key.memberID = id
        return .consumerGroupMemberMetadata(key, metadata)
    }

    fileprivate func targetRecord(_ group: String) -> GroupRecord {
        var key = ConsumerGroupTargetAssignmentMemberKey()
        key.groupID = group
        key.memberID = id
        var value = ConsumerGroupTargetAssignmentMemberValue()
        value.topicPartitions = byTopic(target).map { topicID, partitions in
            var topic = ConsumerGroupTargetAssignmentMemberValue.TopicPartitions()
            topic.topicID = topicID
            topic.partitions = partitions
            return topic
        }
        return .consumerGroupTargetAssignmentMember(key, value)
    }

    fileprivate var current: ConsumerGroupCurrentMemberAssignmentValue {
        var value = ConsumerGroupCurrentMemberAssignmentValue()
        value.memberEpoch = epoch
        value.previousMemberEpoch = previousEpoch
        value.state = state.rawValue
        value.assignedPartitions = Self.written(assigned)
        value.partitionsPendingRevocation = Self.written(revoking)
        return value
    }

    fileprivate func currentRecord(_ group: String) -> GroupRecord {
        var key = ConsumerGroupCurrentMemberAssignmentKey()
        key.groupID = group
        key.memberID = id
        return .consumerGroupCurrentMemberAssignment(key, current)
    }

    fileprivate mutating func take(_ value: ConsumerGroupCurrentMemberAssignmentValue) {
        epoch = value.memberEpoch
        previousEpoch = value.previousMemberEpoch
        // A state that is not known here is walked through from its start.
        state = State(rawValue: value.state) ?? .stable
        assigned = read(value.assignedPartitions)
        revoking = read(value.partitionsPendingRevocation)
    }

    private static func written(
        _ partitions: SortedMap<TopicPartition, Int32>
    ) -> [ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions] {
        var topics: [ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions] = []
        for (partition, since) in partitions {
            if topics.last?.topicID != partition.topicID {
                var topic = ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions()
                topic.topicID = partition.topicID
                topic.assignmentEpochs = []
                topics.append(topic)
            }
            topics[topics.count - 1].partitions.append(partition.partition)
            topics[topics.count - 1].assignmentEpochs?.append(since)
        }
        return topics
    }

    /// Where the log does not say since when, it is since this epoch.
    private func read(
        _ topics: [ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions]
    ) -> SortedMap<TopicPartition, Int32> {
        var partitions = SortedMap<TopicPartition, Int32>()
        for topic in topics {
            let epochs = topic.assignmentEpochs ?? []
            for (place, partition) in topic.partitions.enumerated() {
                partitions[TopicPartition(topic.topicID, partition)] = place < epochs.count ? epochs[place] : epoch
            }
        }
        return partitions
    }
}
