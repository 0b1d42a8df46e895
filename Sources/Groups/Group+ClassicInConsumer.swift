// Members of the classic protocol in a consumer group: a group that is rolled from one protocol to the other goes on
// working (KIP-848, "online migration").

import Model
import NIOCore
import Wire

/// A consumer group whose last member of that protocol is gone, as the classic group that it becomes.
struct ClassicReturn: Equatable, Sendable {
    var group: Group
    var change: ConsumerChange
}

extension ConsumerGroup {
    /// Only members of the classic protocol are left.
    var isClassicAlone: Bool { !members.isEmpty && members.values.allSatisfy { $0.classic != nil } }

    /// Every partition that somebody subscribed to is somebody's.
    fileprivate func readsAll(of topics: any TopicLookup) -> Bool {
        let read = Set(members.values.flatMap(\.assigned.keys))
        return Set(members.values.flatMap(\.allTopics)).allSatisfy { name in
            guard let topic = topics.topic(named: name) else { return true }
            return (0..<topic.partitions).allSatisfy { read.contains(TopicPartition(topic.id, $0)) }
        }
    }

    /// Whether all members of the classic protocol speak one of these.
    fileprivate func supports(_ request: JoinGroupRequest, replacing replaced: String?) -> Bool {
        let others = members.values.lazy.filter { $0.id != replaced }.compactMap { $0.classic?.protocols }
        return !commonProtocols(of: request.protocols, with: others).isEmpty
    }

    /// Whether the member is to join again: the group has moved, or it is to give up, or what it waits for is free.
    fileprivate func isCalled(_ member: ConsumerMember) -> Bool {
        if member.epoch != epoch || member.state == .unrevoked { return true }
        guard member.state == .unreleased else { return false }
        return !member.target.contains { member.assigned[$0] == nil && owner(of: $0, besides: member.id) != nil }
    }
}

extension Group {
    // MARK: From classic to consumer

    /// The members as a consumer group has them: each in the generation as its epoch, with what the leader gave it.
    func convertedMembers(_ topics: any TopicLookup, _ step: GroupStep) throws(ConsumerRefusal) -> ConsumerGroup {
        var next = ConsumerGroup()
        next.epoch = max(1, generation)
        next.assignmentEpoch = next.epoch
        next.instances = instances
        for member in members.values {
            guard protocolType == ConsumerProtocol.type, let offered = member.protocols.first,
                let subscription = try? ConsumerProtocolSubscription.decode(offered.metadata)
            else {
                throw ConsumerRefusal(.groupIdNotFound, "The group \(id) has members that are no consumers.")
            }
            var one = ConsumerMember(id: member.id)
            one.instanceID = member.instanceID
            (one.clientID, one.clientHost) = (member.clientID, member.clientHost)
            one.topics = Set(subscription.topics).sorted()
            one.rackID = subscription.rackID
            one.rebalanceTimeoutMs = member.rebalanceTimeoutMs
            one.epoch = next.epoch
            one.previousEpoch = next.epoch
            one.sessionDeadline = member.sessionDeadline
            one.classic = ConsumerMember.ClassicPart(
                sessionTimeoutMs: member.sessionTimeoutMs, protocols: member.protocols)
            for given in (try? ConsumerProtocolAssignment.decode(member.assignment))?.assignedPartitions ?? [] {
                guard let topic = topics.topic(named: given.topic) else { continue }
                for partition in given.partitions { one.assigned[TopicPartition(topic.id, partition)] = next.epoch }
            }
            for partition in member.carried { one.assigned[partition] = next.epoch }
            one.target = one.assigned.keys
            next.members[one.id] = one
        }
        // The leader dealt out what it had heard of. Where that is less than there is, the group is yet to look.
        if next.readsAll(of: topics) {
            next.metadataHash = next.hash(of: topics)
            next.topicsSeen = step.topicsRevision
        }
        return next
    }

    /// The group changes under those who wait in it: they ask again, and find it changed.
    mutating func askToJoinAgain(_ step: inout GroupStep) {
        guard consumer == nil else { return }
        answerParkedSyncs(.rebalanceInProgress, &step)
        for var member in members.values {
            guard let parked = member.parkedJoin else { continue }
            member.parkedJoin = nil
            member.heard(at: step.now)
            members[member.id] = member
            let response = JoinGroupResponse(
                error: .rebalanceInProgress, memberID: member.id, version: parked.version)
            step.reply(parked.ticket, .joinGroup(response))
        }
    }

    // MARK: In a consumer group

    mutating func joinConsumers(
        _ request: JoinGroupRequest, _ call: GroupCall, _ topics: any TopicLookup, _ step: inout GroupStep
    ) {
        guard var next = consumer else { return }
        do throws(ConsumerRefusal) {
            var (member, reason) = try next.admit(request, call, pending: pendingMembers, &step)
            if member.id != request.memberID, request.groupInstanceID == nil, call.version >= 4 {
                return announce(member.id, request, call, &step)
            }
            guard request.protocolType == ConsumerProtocol.type, let offered = request.protocols.first,
                let subscription = try? ConsumerProtocolSubscription.decode(offered.metadata),
                next.supports(request, replacing: member.id)
            else { throw ConsumerRefusal(.inconsistentGroupProtocol, "") }
            let topicsBefore = member.allTopics
            member.take(request, subscription, call)
            member.heard(step)
            member.classic?.deadline = step.now.advanced(byMs: Int64(member.rebalanceTimeoutMs))
            if member.allTopics != topicsBefore { reason = reason ?? .metadataChanged(member.name) }
            let owned = subscription.ownedPartitions.flatMap { one in
                let topic = topics.topic(named: one.topic)
                return topic.map { topic in one.partitions.map { TopicPartition(topic.id, $0) } } ?? []
            }
            next.carryOn(with: &member, owned: Set(owned), &reason, topics, &step)
            var response = JoinGroupResponse()
            response.generationID = member.epoch
            response.protocolType = ConsumerProtocol.type
            response.protocolName = offered.name
            // Nobody leads: the coordinator assigns.
            response.memberID = member.id
            write(ConsumerChange(next: next, reason: reason, call: call, response: .joinGroup(response)), &step)
        } catch {
            refuse(request, call, error.code, &step)
        }
    }

    mutating func syncConsumers(
        _ request: SyncGroupRequest, _ call: GroupCall, _ topics: any TopicLookup, _ step: inout GroupStep
    ) {
        do throws(ConsumerRefusal) {
            guard let epoch = consumer?.epoch else { return }
            var member = try knownClassic(
                request.memberID, instanceID: request.groupInstanceID, generation: request.generationID)
            let offered = member.classic?.protocols.first
            if (request.protocolType ?? ConsumerProtocol.type) != ConsumerProtocol.type
                || (request.protocolName ?? offered?.name) != offered?.name
            {
                throw ConsumerRefusal(.inconsistentGroupProtocol, "")
            }
            member.heard(step)
            member.classic?.deadline = nil
            // Who is to give something up learns by this answer what it keeps.
            let isBehind = member.epoch != epoch && member.state != .unrevoked
            if isBehind { member.classic?.deadline = step.now.advanced(byMs: Int64(member.rebalanceTimeoutMs)) }
            consumer?.members[member.id] = member
            if isBehind { throw ConsumerRefusal(.rebalanceInProgress, "") }
            var response = SyncGroupResponse()
            response.protocolType = ConsumerProtocol.type
            response.protocolName = offered?.name
            response.assignment = member.classicAssignment(topics)
            step.reply(call.ticket, .syncGroup(response), after: metadataEnd)
        } catch {
            step.reply(call.ticket, .syncGroup(SyncGroupResponse(error: error.code)))
        }
    }

    mutating func heartbeatOfConsumer(_ request: HeartbeatRequest, _ call: GroupCall, _ step: inout GroupStep) {
        var answer = ErrorCode.none
        do throws(ConsumerRefusal) {
            var member = try knownClassic(
                request.memberID, instanceID: request.groupInstanceID, generation: request.generationID)
            member.heard(step)
            if isCalled(member) {
                answer = .rebalanceInProgress
                if member.classic?.deadline == nil {
                    let deadline = step.now.advanced(byMs: Int64(member.rebalanceTimeoutMs))
                    member.classic?.deadline = deadline
                }
            }
            consumer?.members[member.id] = member
        } catch {
            answer = error.code
        }
        step.reply(call.ticket, .heartbeat(HeartbeatResponse(error: answer)))
    }

    // What is looked up is all that is taken out: a copy of the group beside it would make each change one of all.

    private func knownClassic(
        _ id: String, instanceID: String?, generation: Int32
    ) throws(ConsumerRefusal) -> ConsumerMember {
        guard let consumer else { throw ConsumerRefusal(.unknownMemberId, "") }
        return try consumer.knownClassic(id, instanceID: instanceID, generation: generation)
    }

    private func isCalled(_ member: ConsumerMember) -> Bool { consumer?.isCalled(member) ?? false }

    mutating func leaveConsumers(
        _ leaving: [LeaveGroupRequest.Member], _ call: GroupCall, _ step: inout GroupStep
    ) {
        guard var next = consumer else { return }
        var gone: [MemberName] = []
        var answers: [LeaveGroupResponse.Member] = []
        for one in leaving {
            var answer = LeaveGroupResponse.Member()
            answer.memberID = one.memberID
            answer.groupInstanceID = one.groupInstanceID
            let id = one.memberID.isEmpty ? one.groupInstanceID.flatMap { next.instances[$0] } ?? "" : one.memberID
            do throws(ConsumerRefusal) {
                if pendingMembers.removeValue(forKey: id) == nil {
                    let member = try next.known(id, instanceID: one.groupInstanceID)
                    guard member.classic != nil else { throw ConsumerRefusal(.unknownMemberId, "") }
                    next.remove(member)
                    gone.append(member.name)
                }
            } catch {
                answer.errorCode = error.code
            }
            answers.append(answer)
        }
        let response = LeaveGroupResponse(of: answers, version: call.version)
        let reason = gone.isEmpty ? nil : RebalanceReason.membersLeft(gone, said: leaving.compactMap(\.reason).first)
        write(ConsumerChange(next: next, reason: reason, call: call, response: .leaveGroup(response)), &step)
    }

    // MARK: From consumer to classic

    /// The group as a classic one, in the epoch as its generation. Everyone is to join again, so nobody's part is
    /// written down.
    func writeClassic(_ change: ConsumerChange, _ last: ConsumerGroup, _ step: inout GroupStep) {
        var classic = Group(id)
        classic.protocolType = ConsumerProtocol.type
        classic.generation = last.epoch
        classic.instances = last.instances
        classic.companyBefore = last.members.count
        for member in last.members.values {
            classic.joinSequence += 1
            var one = GroupMember(
                id: member.id, instanceID: member.instanceID, clientID: member.clientID, clientHost: member.clientHost,
                sessionTimeoutMs: member.classic?.sessionTimeoutMs ?? 0, rebalanceTimeoutMs: member.rebalanceTimeoutMs,
                protocols: member.classic?.protocols ?? [])
            one.joinSequence = classic.joinSequence
            one.carried = member.assigned.keys + member.revoking.keys
            one.heard(at: step.now)
            classic.members[one.id] = one
        }
        classic.leaderID = classic.members.keys.first
        classic.protocolName = classic.chosenProtocol()
        classic.isPersisted = true
        classic.move(to: .stable, step)
        step.write = GroupWrite(
            records: ConsumerGroup.records(of: id, from: consumer, to: nil) + [classic.metadataRecord(at: step.at)],
            then: .becameClassic(ClassicReturn(group: classic, change: change)))
    }

    mutating func becameClassic(_ classic: ClassicReturn, _ step: inout GroupStep) {
        let before = self
        self = classic.group
        (offsets, offsetsEnd, metadataEnd) = (before.offsets, before.offsetsEnd, before.metadataEnd)
        pendingMembers = before.pendingMembers
        answer(classic.change, &step)
        beginRebalance(classic.change.reason ?? .topicsChanged, &step)
    }
}

extension ConsumerGroup {
    /// A member that joins by JoinGroup. One that was never here must come with an id that it was given.
    fileprivate mutating func admit(
        _ request: JoinGroupRequest, _ call: GroupCall, pending: SortedMap<String, PendingMember>,
        _ step: inout GroupStep
    ) throws(ConsumerRefusal) -> (ConsumerMember, RebalanceReason?) {
        var id = request.memberID
        if !id.isEmpty, pending[id] == nil {
            return (try known(id, instanceID: request.groupInstanceID), nil)
        }
        if id.isEmpty {
            id = drawnMemberID(request.groupInstanceID ?? call.clientID, &step)
        }
        if let instanceID = request.groupInstanceID, let old = instances[instanceID], let member = members[old] {
            // The place of a static member goes to its newest process.
            members[old] = nil
            instances[instanceID] = id
            return (member.returned(as: id), nil)
        }
        guard members.count < step.settings.consumerSizeMax else { throw ConsumerRefusal(.groupMaxSizeReached, "") }
        var member = ConsumerMember(id: id)
        member.instanceID = request.groupInstanceID
        member.clientHost = call.clientHost
        if let instanceID = request.groupInstanceID { instances[instanceID] = id }
        return (member, .memberJoined(member.name))
    }

    fileprivate func knownClassic(
        _ id: String, instanceID: String?, generation: Int32
    ) throws(ConsumerRefusal) -> ConsumerMember {
        let member = try known(id, instanceID: instanceID)
        guard member.classic != nil else { throw ConsumerRefusal(.unknownMemberId, "") }
        guard member.epoch == generation else { throw ConsumerRefusal(.illegalGeneration, "") }
        return member
    }
}

extension ConsumerMember {
    fileprivate mutating func take(
        _ request: JoinGroupRequest, _ subscription: ConsumerProtocolSubscription, _ call: GroupCall
    ) {
        clientID = call.clientID
        clientHost = call.clientHost
        rackID = subscription.rackID
        rebalanceTimeoutMs = request.effectiveRebalanceTimeoutMs
        topics = Set(subscription.topics).sorted()
        (pattern, patternTopics, serverAssignor) = (nil, [], nil)
        classic = ClassicPart(sessionTimeoutMs: request.sessionTimeoutMs, protocols: request.ownProtocols)
    }

    /// What it has, as a leader would have written it, in the version of the member's own subscription.
    fileprivate func classicAssignment(_ topics: any TopicLookup) -> ByteBuffer {
        var assignment = ConsumerProtocolAssignment()
        assignment.assignedPartitions = byTopic(assigned.keys).compactMap { topicID, partitions in
            guard let topic = topics.topic(topicID) else { return nil }
            var given = ConsumerProtocolAssignment.TopicPartitions()
            given.topic = topic.name
            given.partitions = partitions
            return given
        }
        let subscription = classic?.protocols.first?.metadata
        let version = subscription?.getInteger(at: subscription?.readerIndex ?? 0, as: Int16.self) ?? 0
        return assignment.encode(version: min(max(version, 0), 3))
    }
}
