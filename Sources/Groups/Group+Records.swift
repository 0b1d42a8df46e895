// Between a group and its records: what it writes down, what it takes from the log, and what an append leads to.

import Model
import NIOCore
import Wire

extension Group {
    // MARK: Writing

    /// The group as it stands, with the assignments given or those that its members have.
    func metadataRecord(at reading: ClockReading, assignments: SortedMap<String, ByteBuffer>? = nil) -> GroupRecord {
        var key = GroupMetadataKey()
        key.groupID = id
        var value = GroupMetadataValue()
        value.protocolType = protocolType ?? ""
        value.generation = generation
        value.protocolName = protocolName
        value.leader = leaderID
        value.currentStateTimestamp = reading.wallMs
        value.members = membersInOrder.map { member in
            var written = GroupMetadataValue.Member()
            written.memberID = member.id
            written.groupInstanceID = member.instanceID
            written.clientID = member.clientID
            written.clientHost = member.clientHost
            written.rebalanceTimeoutMs = member.rebalanceTimeoutMs
            written.sessionTimeoutMs = member.sessionTimeoutMs
            written.subscription = member.metadata(for: protocolName)
            written.assignment = assignments.map { $0[member.id] ?? ByteBuffer() } ?? member.assignment
            return written
        }
        return .groupMetadata(key, value)
    }

    /// The tombstones of all that the log holds of it but its offsets.
    var endRecords: [GroupRecord] {
        (isPersisted ? [tombstone] : []) + obsolete + ConsumerGroup.records(of: id, from: consumer, to: nil)
    }

    var tombstone: GroupRecord {
        var key = GroupMetadataKey()
        key.groupID = id
        return .groupMetadata(key, nil)
    }

    func offsetKey(_ topic: String, _ partition: PartitionIndex) -> OffsetCommitKey {
        var key = OffsetCommitKey()
        key.groupID = id
        key.topic = topic
        key.partition = partition
        return key
    }

    /// Tombstones for the first of these offsets, as many as one append may hold.
    func offsetTombstones(_ keys: [OffsetTable.Key], _ settings: GroupSettings) -> [GroupRecord] {
        var records: [GroupRecord] = []
        var bytes = 0
        for key in keys {
            bytes += id.utf8.count + key.topic.utf8.count + 24
            if bytes > settings.tombstoneBytesMax, !records.isEmpty { break }
            records.append(.offsetCommit(offsetKey(key.topic, key.partition), nil))
        }
        return records
    }

    // MARK: What an append leads to

    /// The records stand in the log below `endOffset`.
    mutating func appended(_ write: GroupWrite, endOffset: Offset, _ step: inout GroupStep) {
        for record in write.records {
            switch record {
            case .offsetCommit(let key, let value):
                offsets.take(value.map(CommittedOffset.init), key.topic, key.partition, end: endOffset)
                offsetsEnd = max(offsetsEnd, endOffset)
            case .groupMetadata(_, let value):
                metadataEnd = max(metadataEnd, endOffset)
                isPersisted = value != nil
                if value == nil { forgetMembership() } else { obsolete = [] }
            case .consumerGroupMetadata(_, nil):
                metadataEnd = max(metadataEnd, endOffset)
                consumer = nil
                obsolete = []
            default: metadataEnd = max(metadataEnd, endOffset)
            }
        }
        switch write.then {
        case .emptied: break
        case .assigned(let given): assigned(given, &step)
        case .replaced(let replacement): staticMemberReplaced(replacement, &step)
        case .offsetsCommitted(let ticket, let response):
            step.reply(ticket, .offsetCommit(response), after: offsetsEnd)
        case .offsetsDeleted(let ticket, let response):
            step.reply(ticket, .offsetDelete(response), after: offsetsEnd)
        case .offsetsExpired(let count): if count > 0 { step.log(.offsetsExpired(count)) }
        case .topicsRemoved(let count): step.log(.offsetsOfDeletedTopicsRemoved(count))
        case .consumerChanged(let change): consumerChanged(change, &step)
        case .becameClassic(let classic): becameClassic(classic, &step)
        case .deleting: break
        }
        if isVoid { step.log(.deleted) }
    }

    /// Nothing was written, and nothing may be taken for written.
    mutating func refused(_ write: GroupWrite, _ error: ErrorCode, _ step: inout GroupStep) {
        switch write.then {
        case .emptied: step.log(.appendRefused(error, what: "its end"))
        case .assigned:
            step.log(.appendRefused(error, what: "the assignment"))
            assignmentRefused(error.told(tooLarge: .unknownServerError), &step)
        case .replaced(let replacement):
            step.log(.appendRefused(error, what: "a static member's new id"))
            staticReplacementRefused(replacement, error.told(tooLarge: .unknownServerError), &step)
        case .offsetsCommitted(let ticket, let response):
            let told = error.told(tooLarge: .invalidCommitOffsetSize)
            if step.settings.plantedBug == .refusedCommitKept {
                for case .offsetCommit(let key, let value) in write.records {
                    offsets.take(value.map(CommittedOffset.init), key.topic, key.partition)
                }
            }
            step.reply(ticket, .offsetCommit(response.refusing(told)))
        case .offsetsDeleted(let ticket, _):
            let told = error.told(tooLarge: .unknownServerError)
            step.reply(ticket, .offsetDelete(OffsetDeleteResponse(error: told)))
        case .offsetsExpired, .topicsRemoved: step.log(.appendRefused(error, what: "the end of old offsets"))
        case .becameClassic(let classic):
            step.log(.appendRefused(error, what: "its change of protocol"))
            consumerChangeRefused(classic.change, error.told(tooLarge: .unknownServerError), &step)
        case .consumerChanged(let change):
            step.log(.appendRefused(error, what: "a change of its members"))
            consumerChangeRefused(change, error.told(tooLarge: .unknownServerError), &step)
        case .deleting: step.log(.appendRefused(error, what: "its deletion"))
        }
    }

    /// The group's tombstone stands in the log. Offsets, where there are any, are a simple consumer's from here on.
    mutating func forgetMembership() {
        let (offsets, consumer, ends) = (offsets, consumer, (metadataEnd, offsetsEnd))
        self = Group(id)
        (self.offsets, self.consumer) = (offsets, consumer)
        (metadataEnd, offsetsEnd) = ends
    }

    // MARK: Loading

    mutating func load(_ value: GroupMetadataValue?) {
        forgetMembership()
        guard let value else { return }
        isPersisted = true
        protocolType = value.protocolType.isEmpty ? nil : value.protocolType
        protocolName = value.protocolName
        generation = value.generation
        leaderID = value.leader
        stateChangedMs = value.currentStateTimestamp < 0 ? nil : value.currentStateTimestamp
        for written in value.members {
            let offered = JoinGroupRequest.GroupProtocol(value.protocolName ?? "", copying: written.subscription)
            joinSequence += 1
            var member = GroupMember(
                id: written.memberID, instanceID: written.groupInstanceID, clientID: written.clientID,
                clientHost: written.clientHost, sessionTimeoutMs: written.sessionTimeoutMs,
                rebalanceTimeoutMs: written.rebalanceTimeoutMs, protocols: [offered],
                assignment: ByteBuffer(bytes: written.assignment.readableBytesView))
            if member.rebalanceTimeoutMs < 0 { member.rebalanceTimeoutMs = member.sessionTimeoutMs }
            member.joinSequence = joinSequence
            member.isLoaded = true
            members[member.id] = member
            if let instanceID = member.instanceID { instances[instanceID] = member.id }
        }
        state = members.isEmpty ? .empty : .stable
        companyBefore = members.count
    }

    /// The log was read to its end. What it says of members was true when it was written: each gets a fresh session.
    mutating func loadEnded(endOffset: Offset, _ step: inout GroupStep) {
        metadataEnd = endOffset
        offsetsEnd = endOffset
        generationBeganAt = step.now
        for id in members.keys { members[id]?.heard(at: step.now) }
        if consumer?.isKnown == false { consumer = nil }
        consumer?.loadEnded(step.settings, at: step.now)
        // A group that had just become a classic one again was about to rebalance: nobody reads anything.
        let isIdle = state == .stable && members.values.allSatisfy { $0.assignment.readableBytes == 0 }
        isAssignmentUnknown = isIdle
        if isIdle { beginRebalance(.assignmentMissing, &step) }
    }
}

extension ErrorCode {
    /// What a client is told when its coordinator could not append.
    func told(tooLarge: ErrorCode) -> ErrorCode {
        switch self {
        case .unknownTopicOrPartition, .notEnoughReplicas, .notEnoughReplicasAfterAppend, .requestTimedOut:
            .coordinatorNotAvailable
        case .notLeaderOrFollower, .kafkaStorageError: .notCoordinator
        case .messageTooLarge, .recordListTooLarge, .invalidFetchSize: tooLarge
        default: self
        }
    }
}

extension OffsetCommitResponse {
    /// The same answer where it was an error, and this error where it was none.
    func refusing(_ error: ErrorCode) -> OffsetCommitResponse {
        var response = self
        for topic in response.topics.indices {
            for partition in response.topics[topic].partitions.indices
            where response.topics[topic].partitions[partition].errorCode == .none {
                response.topics[topic].partitions[partition].errorCode = error
            }
        }
        return response
    }
}
