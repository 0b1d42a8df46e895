// Offsets: committing, fetching, deleting, and what runs out (KIP-211, KIP-496).

import Model
import Wire

extension Group {
    // MARK: OffsetCommit

    mutating func commitRequested(
        _ request: OffsetCommitRequest, _ call: GroupCall, _ topics: any TopicLookup, _ step: inout GroupStep
    ) {
        step.isRearmed = false
        if let error = commitRefusal(request, version: call.version, step.settings.plantedBug) {
            return step.reply(call.ticket, .offsetCommit(request.answered { _, _ in error }))
        }
        // A commit shows that the member lives, as a heartbeat does.
        if request.generationIDOrMemberEpoch >= 0 { members[request.memberID]?.heard(at: step.now) }
        let consumer = consumer?.members[request.memberID]
        if consumer?.classic != nil { self.consumer?.members[request.memberID]?.heard(step) }
        var records: [GroupRecord] = []
        var places: [OffsetTable.Key: Int] = [:]
        let response = request.answered { topic, partition in
            let known = call.version >= 10 ? topics.topic(topic.topicID) : topics.topic(named: topic.name)
            guard let known else { return call.version >= 10 ? .unknownTopicId : .unknownTopicOrPartition }
            let index = partition.partitionIndex
            guard index >= 0, index < known.partitions else { return .unknownTopicOrPartition }
            if let consumer, request.generationIDOrMemberEpoch < consumer.epoch,
                step.settings.plantedBug != .commitEpochUnchecked,
                !consumer.has(
                    TopicPartition(known.id, partition.partitionIndex), since: request.generationIDOrMemberEpoch)
            {
                return .staleMemberEpoch
            }
            let metadata = partition.committedMetadata ?? ""
            guard metadata.utf8.count <= step.settings.offsetMetadataBytesMax else { return .offsetMetadataTooLarge }
            var value = OffsetCommitValue()
            value.offset = partition.committedOffset
            value.leaderEpoch = partition.committedLeaderEpoch
            value.metadata = metadata
            value.commitTimestamp = step.at.wallMs
            value.expireTimestamp = request.expireTimestamp(at: step.at)
            // By name it may be another topic of that name than this node knows: then it says nothing.
            value.topicID = call.version >= 10 ? topic.topicID : .zero
            let record = GroupRecord.offsetCommit(offsetKey(known.name, index), value)
            // Of what is committed twice in one request the last counts: written once, however often it is named.
            let key = OffsetTable.Key(topic: known.name, partition: index)
            if let place = places[key] {
                records[place] = record
            } else {
                places[key] = records.count
                records.append(record)
            }
            return .none
        }
        if records.isEmpty { return step.reply(call.ticket, .offsetCommit(response)) }
        step.write = GroupWrite(records: records, then: .offsetsCommitted(call.ticket, response))
    }

    /// Who may commit: the members of this generation, and anyone while there are none (G2).
    private func commitRefusal(
        _ request: OffsetCommitRequest, version: Int16, _ bug: PlantedBug
    ) -> ErrorCode? {
        let asked = request.generationIDOrMemberEpoch
        if let consumer { return consumer.commitRefusal(request, version: version) }
        if isVoid, asked >= 0 { return version >= 9 ? .groupIdNotFound : .illegalGeneration }
        if asked < 0, state == .empty { return nil }
        if asked < 0, request.memberID.isEmpty, request.groupInstanceID == nil { return .unknownMemberId }
        if let error = refusal(of: request.memberID, instanceID: request.groupInstanceID) { return error }
        guard asked == generation || bug == .commitGenerationUnchecked else { return .illegalGeneration }
        if bug == .commitTakenWhileCompleting { return nil }
        // It has joined and does not know yet what it owns. In a rebalance that only begins, it still owns it.
        return state == .completingRebalance ? .rebalanceInProgress : nil
    }

    // MARK: OffsetFetch

    /// The offsets asked for; all when `asked` is nil. What was never committed is −1, without an error.
    func fetched(
        _ asked: [OffsetFetchRequest.Topic]?, version: Int16, _ topics: any TopicLookup
    ) -> [OffsetFetchResponse.Topic] {
        guard let asked else { return fetchedAll(version: version, topics) }
        // A partition is told once, however often it is asked for: what was committed beside it may be long.
        struct Asked: Hashable {
            var name: String
            var topicID: UUID128
        }
        var told: [Asked: Set<PartitionIndex>] = [:]
        return asked.compactMap { topic in
            let one = Asked(name: version >= 10 ? "" : topic.name, topicID: version >= 10 ? topic.topicID : .zero)
            let isNew = told[one] == nil
            let partitions = topic.partitionIndexes.filter { told[one, default: []].insert($0).inserted }
            guard isNew || !partitions.isEmpty else { return nil }
            var answer = OffsetFetchResponse.Topic()
            answer.name = topic.name
            answer.topicID = topic.topicID
            let known = version >= 10 ? topics.topic(topic.topicID) : topics.topic(named: topic.name)
            let name = version >= 10 ? known?.name : topic.name
            answer.partitions = partitions.map { partition in
                guard let name else { return .missing(partition, .unknownTopicId) }
                return fetched(name, partition, of: known)
            }
            return answer
        }
    }

    private func fetchedAll(version: Int16, _ topics: any TopicLookup) -> [OffsetFetchResponse.Topic] {
        offsets.topicNames.compactMap { name in
            var answer = OffsetFetchResponse.Topic()
            answer.name = name
            let known = topics.topic(named: name)
            if version >= 10 {
                guard let known else { return nil }
                answer.topicID = known.id
            }
            answer.partitions = offsets.partitions(of: name).map { fetched(name, $0, of: known) }
                .filter { $0.committedOffset >= 0 }
            return answer.partitions.isEmpty ? nil : answer
        }
    }

    /// - Parameter known: the topic that has the name now.
    private func fetched(
        _ topic: String, _ partition: PartitionIndex, of known: KnownTopic?
    ) -> OffsetFetchResponse.Partition {
        guard let committed = offsets[topic, partition] else { return .missing(partition) }
        // Of another topic that had this name, and is about to be swept away.
        if committed.topicID != .zero, committed.topicID != known?.id { return .missing(partition) }
        var answer = OffsetFetchResponse.Partition()
        answer.partitionIndex = partition
        answer.committedOffset = committed.offset
        answer.committedLeaderEpoch = committed.leaderEpoch
        answer.metadata = committed.metadata
        return answer
    }

    /// A member that asks from version 9 on shows that it is one.
    func fetchRefusal(_ asked: OffsetFetchRequest.Group) -> ErrorCode {
        guard let consumer, asked.memberID != nil || asked.memberEpoch >= 0 else { return .none }
        guard let member = consumer.members[asked.memberID ?? ""] else { return .unknownMemberId }
        return asked.memberEpoch == member.epoch || asked.memberEpoch == member.previousEpoch
            ? .none : .staleMemberEpoch
    }

    // MARK: OffsetDelete

    mutating func offsetDeleteRequested(
        _ request: OffsetDeleteRequest, _ call: GroupCall, _ topics: any TopicLookup, _ step: inout GroupStep
    ) {
        step.isRearmed = false
        if isVoid || (!members.isEmpty && protocolType != ConsumerProtocol.type) {
            let error: ErrorCode = isVoid ? .groupIdNotFound : .nonEmptyGroup
            return step.reply(call.ticket, .offsetDelete(OffsetDeleteResponse(error: error)))
        }
        // Where nobody can tell what the members read, all of it is taken for read.
        let subscribed = hasMembers ? subscribedTopics(step) : []
        var records: [GroupRecord] = []
        var named: Set<OffsetTable.Key> = []
        var response = OffsetDeleteResponse()
        response.topics = request.topics.map { topic in
            var answer = OffsetDeleteResponse.Topic()
            answer.name = topic.name
            let known = topics.topic(named: topic.name)
            answer.partitions = topic.partitions.map { partition in
                var result = OffsetDeleteResponse.Partition()
                result.partitionIndex = partition.partitionIndex
                if known == nil {
                    result.errorCode = .unknownTopicOrPartition
                } else if subscribed?.contains(topic.name) ?? true {
                    result.errorCode = .groupSubscribedToTopic
                } else if offsets[topic.name, partition.partitionIndex] != nil,
                    named.insert(.init(topic: topic.name, partition: partition.partitionIndex)).inserted
                {
                    records.append(.offsetCommit(offsetKey(topic.name, partition.partitionIndex), nil))
                }
                return result
            }
            return answer
        }
        // Mutant: the next coordinator knows the offsets again (G2).
        if step.settings.plantedBug == .offsetDeletionNotWritten {
            for case .offsetCommit(let key, _) in records { offsets.take(nil, key.topic, key.partition) }
            records = []
        }
        if records.isEmpty { return step.reply(call.ticket, .offsetDelete(response), after: offsetsEnd) }
        step.write = GroupWrite(records: records, then: .offsetsDeleted(call.ticket, response))
    }

    // MARK: What runs out

    /// Offsets of a group without members run out a retention after the last of them left, or after the commit where
    /// that was later; of a simple consumer, and of topics that a stable group no longer reads, after the commit. The
    /// group goes with its last offset.
    mutating func expire(_ step: inout GroupStep) {
        let expired = expiredKeys(step)
        var records = offsetTombstones(expired, step.settings)
        let count = records.count
        let isLast = count == offsets.count && state == .empty && !hasMembers && pendingMembers.isEmpty
        if isLast { records += endRecords }
        guard !records.isEmpty else { return }
        step.write = GroupWrite(records: records, then: .offsetsExpired(count))
    }

    private func expiredKeys(_ step: GroupStep) -> [OffsetTable.Key] {
        let nowMs = step.at.wallMs
        let before = nowMs - step.settings.offsetsRetentionMs
        let isSimple = protocolType == nil
        let isLiving = state != .empty || hasMembers
        let reads = state == .stable || consumer != nil ? subscribedTopics(step) : nil
        return offsets.keys { topic, offset in
            if isLiving {
                guard let reads, !reads.contains(topic) else { return false }
            }
            if offset.expireTimestampMs >= 0 { return offset.expireTimestampMs <= nowMs }
            let since = isSimple || isLiving ? 0 : stateChangedMs ?? 0
            return max(since, offset.commitTimestampMs) <= before
        }
    }

    /// A topic is gone, and its offsets with it. One that was committed to a later topic of that name stays.
    mutating func topicDeleted(_ topic: TopicGone, _ step: inout GroupStep) {
        let records = offsetTombstones(offsets.keys(of: topic), step.settings)
        guard !records.isEmpty else { return }
        step.write = GroupWrite(records: records, then: .topicsRemoved(records.count))
    }
}

extension OffsetCommitRequest {
    /// Clients of old (versions 2 to 4) may say how long each of their commits is to last; −1: as the configuration
    /// says. A record of version 1 has room for it.
    fileprivate func expireTimestamp(at reading: ClockReading) -> Int64 {
        guard retentionTimeMs >= 0 else { return -1 }
        let (end, isTooLate) = reading.wallMs.addingReportingOverflow(retentionTimeMs)
        return isTooLate ? .max : end
    }
}

extension ConsumerGroup {
    /// A member may commit in an epoch that is past, as long as the partition has been its own since then: its
    /// heartbeat and its commit overtake each other (KIP-1251). That is looked at for each partition.
    fileprivate func commitRefusal(_ request: OffsetCommitRequest, version: Int16) -> ErrorCode? {
        let asked = request.generationIDOrMemberEpoch
        if asked < 0, members.isEmpty { return nil }
        if let instanceID = request.groupInstanceID {
            guard let current = instances[instanceID] else { return .unknownMemberId }
            if current != request.memberID { return .fencedInstanceId }
        }
        guard let member = members[request.memberID] else { return .unknownMemberId }
        if member.classic != nil { return asked == member.epoch ? nil : .illegalGeneration }
        if version < 9 { return .unsupportedVersion }
        return (0...max(0, member.epoch)).contains(asked) && member.epoch >= 0 ? nil : .staleMemberEpoch
    }
}

extension ConsumerMember {
    fileprivate func has(_ partition: TopicPartition, since epoch: Int32) -> Bool {
        assigned[partition] ?? revoking[partition] ?? .max <= epoch
    }
}
