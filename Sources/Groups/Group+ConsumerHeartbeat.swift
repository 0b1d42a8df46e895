// ConsumerGroupHeartbeat: the one request with which a consumer joins, follows its assignment, and leaves (KIP-848).

import Model
import Wire

/// A heartbeat that is not taken, and the sentence beside the error.
struct ConsumerRefusal: Error, Equatable {
    var code: ErrorCode
    var sentence: String

    init(_ code: ErrorCode, _ sentence: String) {
        self.code = code
        self.sentence = sentence
    }
}

/// What a heartbeat or a deadline makes of a consumer group, once its records are written.
struct ConsumerChange: Equatable, Sendable {
    var next: ConsumerGroup?
    var reason: RebalanceReason?
    /// Who asked for it, and what it is answered when it is done.
    var call: GroupCall?
    var response: GroupResponse?
}

extension Group {
    mutating func consumerHeartbeat(
        _ request: ConsumerGroupHeartbeatRequest, _ call: GroupCall, _ topics: any TopicLookup, _ step: inout GroupStep
    ) {
        do throws(ConsumerRefusal) {
            try check(request, version: call.version, step.settings)
            guard consumer != nil || request.memberEpoch == 0 else {
                throw ConsumerRefusal(.groupIdNotFound, "There is no consumer group \(id).")
            }
            if request.memberEpoch < 0 {
                try consumerLeft(request, call, &step)
            } else {
                try consumerAlive(request, call, topics, &step)
            }
        } catch {
            let response = ConsumerGroupHeartbeatResponse(error: error.code, error.sentence)
            step.reply(call.ticket, .consumerGroupHeartbeat(response))
        }
    }

    private func check(
        _ request: ConsumerGroupHeartbeatRequest, version: Int16, _ settings: GroupSettings
    ) throws(ConsumerRefusal) {
        func demand(_ holds: Bool, _ sentence: String) throws(ConsumerRefusal) {
            if !holds { throw ConsumerRefusal(.invalidRequest, sentence) }
        }
        try demand(!request.groupID.isEmpty, "GroupId cannot be empty.")
        let isNamed = !request.memberID.isEmpty || (version == 0 && request.memberEpoch == 0)
        try demand(isNamed, "MemberId cannot be empty.")
        try demand(request.instanceID?.isEmpty != true, "InstanceId cannot be empty.")
        try demand(request.rackID?.isEmpty != true, "RackId cannot be empty.")
        try demand(request.memberEpoch >= -2, "MemberEpoch is \(request.memberEpoch).")
        try demand(request.memberEpoch != -2 || request.instanceID != nil, "Only a static member leaves for a while.")
        if request.memberEpoch == 0 {
            try demand(request.rebalanceTimeoutMs >= 0, "RebalanceTimeoutMs must be given when joining.")
            try demand(request.topicPartitions?.isEmpty == true, "TopicPartitions must be empty when joining.")
            try demand(
                request.subscribedTopicNames != nil || request.subscribedTopicRegex != nil,
                "Topics or an expression must be given when joining.")
        }
        if let name = request.serverAssignor,
            !settings.consumerAssignors.contains(where: { $0.rawValue == name })
        {
            let names = settings.consumerAssignors.map(\.rawValue).joined(separator: ", ")
            throw ConsumerRefusal(.unsupportedAssignor, "The assignor \(name) is not one of \(names).")
        }
        if let text = request.subscribedTopicRegex, !text.isEmpty, TopicPattern(text) == nil {
            throw ConsumerRefusal(.invalidRegularExpression, "The expression \(text) cannot be read.")
        }
    }

    // MARK: Alive

    private mutating func consumerAlive(
        _ request: ConsumerGroupHeartbeatRequest, _ call: GroupCall, _ topics: any TopicLookup, _ step: inout GroupStep
    ) throws(ConsumerRefusal) {
        let owned = request.topicPartitions.map { listed in
            Set(listed.flatMap { topic in topic.partitions.map { TopicPartition(topic.topicID, $0) } })
        }
        if try answerAtRest(request, call, owned, &step) { return }
        var next = consumer ?? ConsumerGroup()
        // Members of the classic protocol come along as they are.
        if !members.isEmpty {
            // To give on what a member has that cannot say so yet would make two readers of one partition.
            guard !isAssignmentUnknown else {
                throw ConsumerRefusal(
                    .coordinatorLoadInProgress, "What the members of the group \(id) have is not known yet.")
            }
            next = try convertedMembers(topics, step)
        }
        var reason: RebalanceReason?
        var member: ConsumerMember
        if request.memberEpoch == 0 {
            (member, reason) = try next.admit(request, call, &step)
        } else {
            member = try next.recognise(request, owned: owned)
        }
        let before = member
        let isSameSubscription = member.take(request, call)
        if !isSameSubscription { reason = reason ?? .metadataChanged(member.name) }
        member.heard(step)
        next.carryOn(with: &member, owned: owned, &reason, topics, &step)
        let response = answer(to: request, member, before, step)
        askToJoinAgain(&step)
        write(
            ConsumerChange(next: next, reason: reason, call: call, response: .consumerGroupHeartbeat(response)), &step)
    }

    /// Nearly all heartbeats: nothing is to be decided and nothing to be written, and the member is answered. No copy
    /// of the group lives on beside it, or that the member was heard would cost a copy of all of them.
    private mutating func answerAtRest(
        _ request: ConsumerGroupHeartbeatRequest, _ call: GroupCall, _ owned: Set<TopicPartition>?,
        _ step: inout GroupStep
    ) throws(ConsumerRefusal) -> Bool {
        guard request.memberEpoch > 0, members.isEmpty, let before = try recognised(request, owned: owned) else {
            return false
        }
        var member = before
        guard member.take(request, call) else { return false }
        member.heard(step)
        guard member == before.heard(as: member), isAtRest(member, step) else { return false }
        consumer?.members[member.id] = member
        step.isRearmed = false
        step.reply(
            call.ticket, .consumerGroupHeartbeat(answer(to: request, member, before, step)), after: metadataEnd)
        return true
    }

    private func recognised(
        _ request: ConsumerGroupHeartbeatRequest, owned: Set<TopicPartition>?
    ) throws(ConsumerRefusal) -> ConsumerMember? {
        try consumer?.recognise(request, owned: owned)
    }

    private func isAtRest(_ member: ConsumerMember, _ step: GroupStep) -> Bool {
        consumer?.isAtRest(member, step) ?? false
    }

    /// A change without records is made at once.
    mutating func write(_ change: ConsumerChange, _ step: inout GroupStep) {
        if let next = change.next, next.isClassicAlone { return writeClassic(change, next, &step) }
        // A group that was a classic one before ends as that.
        let ended = consumer == nil && isPersisted ? [tombstone] : []
        let records = ended + ConsumerGroup.records(of: id, from: consumer, to: change.next)
        if records.isEmpty {
            consumerChanged(change, &step)
        } else {
            step.write = GroupWrite(records: records, then: .consumerChanged(change))
        }
    }

    mutating func consumerChanged(_ change: ConsumerChange, _ step: inout GroupStep) {
        if consumer == nil, change.next != nil { forgetMembership() }
        consumer = change.next
        for id in pendingMembers.keys where consumer?.members[id] != nil { pendingMembers[id] = nil }
        if let reason = change.reason, let consumer {
            lastRebalance = LastRebalance(reason: reason, wallMs: step.at.wallMs)
            step.log(.groupEpochRaised(consumer.epoch, members: consumer.members.count, reason))
        }
        answer(change, &step)
    }

    func answer(_ change: ConsumerChange, _ step: inout GroupStep) {
        guard let call = change.call, let response = change.response else { return }
        step.reply(call.ticket, response, after: metadataEnd)
    }

    mutating func consumerChangeRefused(_ change: ConsumerChange, _ error: ErrorCode, _ step: inout GroupStep) {
        if let call = change.call {
            // It was heard all the same.
            for member in consumer?.members.values ?? [] {
                let heard = change.next?.members[member.id]?.sessionDeadline ?? member.sessionDeadline
                consumer?.members[member.id]?.sessionDeadline = max(heard, member.sessionDeadline)
            }
            return step.reply(call.ticket, call.request.refused(error, version: call.version))
        }
        // Whoever was to be removed is looked at again in a while.
        let later = step.now.advanced(byMs: 5_000)
        for id in consumer?.members.keys ?? [] {
            guard var member = consumer?.members[id] else { continue }
            if member.sessionDeadline <= step.now { member.sessionDeadline = later }
            if let deadline = member.revocationDeadline, deadline <= step.now { member.revocationDeadline = later }
            if let deadline = member.classic?.deadline, deadline <= step.now { member.classic?.deadline = later }
            consumer?.members[id] = member
        }
    }

    /// The assignment is told to who joins, who asks for everything, and who has another one now.
    private func answer(
        to request: ConsumerGroupHeartbeatRequest, _ member: ConsumerMember, _ before: ConsumerMember, _ step: GroupStep
    ) -> ConsumerGroupHeartbeatResponse {
        var response = ConsumerGroupHeartbeatResponse()
        response.memberID = member.id
        response.memberEpoch = member.epoch
        response.heartbeatIntervalMs = Int32(clamping: step.settings.consumerHeartbeatIntervalMs)
        let isFull =
            request.rebalanceTimeoutMs != -1 && request.topicPartitions != nil
            && (request.subscribedTopicNames != nil || request.subscribedTopicRegex != nil)
        guard request.memberEpoch == 0 || isFull || member.assigned.keys != before.assigned.keys else {
            return response
        }
        var assignment = ConsumerGroupHeartbeatResponse.Assignment()
        assignment.topicPartitions = byTopic(member.assigned.keys).map { topicID, partitions in
            var topic = ConsumerGroupHeartbeatResponse.TopicPartitions()
            topic.topicID = topicID
            topic.partitions = partitions
            return topic
        }
        response.assignment = assignment
        return response
    }

    // MARK: Leaving

    private mutating func consumerLeft(
        _ request: ConsumerGroupHeartbeatRequest, _ call: GroupCall, _ step: inout GroupStep
    ) throws(ConsumerRefusal) {
        guard var next = consumer else { return }
        var member = try next.known(request.memberID, instanceID: request.instanceID)
        var change = ConsumerChange(call: call)
        if request.memberEpoch == ConsumerMember.awayEpoch {
            // Its partitions wait for it until its session ends.
            member.epoch = ConsumerMember.awayEpoch
            member.state = .stable
            member.revoking = SortedMap()
            member.revocationDeadline = nil
            member.sessionDeadline = step.now.advanced(byMs: step.settings.consumerSessionTimeoutMs)
            next.members[member.id] = member
        } else {
            next.remove(member)
            change.reason = .membersLeft([member.name], said: nil)
        }
        change.next = next
        var response = ConsumerGroupHeartbeatResponse()
        response.memberID = request.memberID
        response.memberEpoch = request.memberEpoch
        change.response = .consumerGroupHeartbeat(response)
        write(change, &step)
    }

    /// Removes who was silent, and who did not give up what it was told to.
    mutating func tickConsumers(_ step: inout GroupStep) {
        guard var next = consumer else { return }
        let silent = next.members.values.filter { $0.sessionDeadline <= step.now }
        let stubborn = next.members.values.filter {
            let deadline = min($0.revocationDeadline ?? .distantFuture, $0.classic?.deadline ?? .distantFuture)
            return $0.sessionDeadline > step.now && deadline <= step.now
        }
        guard !silent.isEmpty || !stubborn.isEmpty else { return }
        if metadataEnd > step.committed {
            // Answers wait for a commit; who has not got its own cannot be blamed.
            for var member in silent + stubborn {
                member.heard(step)
                let deadline = step.now.advanced(byMs: Int64(member.rebalanceTimeoutMs))
                if member.revocationDeadline != nil { member.revocationDeadline = deadline }
                if member.classic?.deadline != nil { member.classic?.deadline = deadline }
                consumer?.members[member.id] = member
            }
            return
        }
        for member in silent + stubborn { next.remove(member) }
        let reason: RebalanceReason =
            silent.isEmpty ? .revocationMissing(stubborn.map(\.name)) : .membersSilent(silent.map(\.name))
        write(ConsumerChange(next: next, reason: reason), &step)
    }
}

extension ConsumerGroup {
    /// The member is here and has said what it has: the group moves on if there is a reason to, and the member takes
    /// its next step.
    mutating func carryOn(
        with member: inout ConsumerMember, owned: Set<TopicPartition>?, _ reason: inout RebalanceReason?,
        _ topics: any TopicLookup, _ step: inout GroupStep
    ) {
        let before = member
        members[member.id] = member
        if reason != nil || topicsSeen != step.topicsRevision {
            resolvePatterns(topics, &step.patterns)
            member.patternTopics = members[member.id]?.patternTopics ?? []
            let hash = hash(of: topics)
            if hash != metadataHash { reason = reason ?? .topicsChanged }
            metadataHash = hash
            topicsSeen = step.topicsRevision
        }
        if reason != nil { raiseEpoch() }
        if epoch != assignmentEpoch {
            assign(topics, step.settings)
            member.target = members[member.id]?.target ?? []
        }
        let isBlind = step.settings.plantedBug == .givenOnBeforeGivenUp
        member = reconciled(member, owned: isBlind ? [] : owned, step.settings.plantedBug)
        if member.state != .unrevoked {
            member.revocationDeadline = nil
        } else if member.revoking != before.revoking || member.revocationDeadline == nil {
            member.revocationDeadline = step.now.advanced(byMs: Int64(member.rebalanceTimeoutMs))
        }
        members[member.id] = member
    }

    /// Nothing is to be decided for this member: it is where it is to be, and the group has not moved.
    fileprivate func isAtRest(_ member: ConsumerMember, _ step: GroupStep) -> Bool {
        topicsSeen == step.topicsRevision && epoch == assignmentEpoch && member.state == .stable
            && member.epoch == assignmentEpoch
    }

    /// Takes the member out; the others move to a new epoch.
    mutating func remove(_ member: ConsumerMember) {
        members[member.id] = nil
        if let instanceID = member.instanceID, instances[instanceID] == member.id { instances[instanceID] = nil }
        raiseEpoch()
    }

    /// A log may say anything.
    fileprivate mutating func raiseEpoch() { epoch = epoch == .max ? 1 : epoch + 1 }

    func known(_ id: String, instanceID: String?) throws(ConsumerRefusal) -> ConsumerMember {
        if let instanceID {
            guard let current = instances[instanceID] else {
                throw ConsumerRefusal(.unknownMemberId, "There is no member with the instance \(instanceID).")
            }
            guard current == id else {
                throw ConsumerRefusal(.fencedInstanceId, "The instance \(instanceID) is another member now.")
            }
        }
        guard let member = members[id] else {
            throw ConsumerRefusal(.unknownMemberId, "There is no member \(id).")
        }
        return member
    }

    /// A member of this epoch, or of the one before whose answer was lost: then it has nothing that it should not have.
    fileprivate func recognise(
        _ request: ConsumerGroupHeartbeatRequest, owned: Set<TopicPartition>?
    ) throws(ConsumerRefusal) -> ConsumerMember {
        let member = try known(request.memberID, instanceID: request.instanceID)
        if request.memberEpoch == member.epoch { return member }
        let isLate =
            request.memberEpoch == member.previousEpoch && owned?.allSatisfy { member.assigned[$0] != nil } ?? false
        guard isLate else {
            throw ConsumerRefusal(
                .fencedMemberEpoch, "The member's epoch is \(member.epoch), not \(request.memberEpoch).")
        }
        return member
    }

    /// A member that joins, again or anew. The reason is nil where it takes a place that it had.
    fileprivate mutating func admit(
        _ request: ConsumerGroupHeartbeatRequest, _ call: GroupCall, _ step: inout GroupStep
    ) throws(ConsumerRefusal) -> (ConsumerMember, RebalanceReason?) {
        let id = request.memberID.isEmpty ? UUID128.random(using: &step.random).description : request.memberID
        let place = request.instanceID.flatMap { instances[$0] } ?? id
        if var member = members[place], member.instanceID == request.instanceID {
            let isAway = member.epoch == ConsumerMember.awayEpoch
            // Who changes the protocol does not say goodbye as a static member.
            guard member.id == id || isAway || member.classic != nil else {
                throw ConsumerRefusal(
                    .unreleasedInstanceId, "The instance \(request.instanceID ?? "") is still in use by another member."
                )
            }
            if isAway || member.id != id {
                member = member.returned(as: id)
                members[place] = nil
                if let instanceID = member.instanceID { instances[instanceID] = id }
            }
            return (member, nil)
        }
        guard members[id] == nil else {
            throw ConsumerRefusal(.invalidRequest, "The member \(id) has another instance id.")
        }
        guard members.count < step.settings.consumerSizeMax else {
            throw ConsumerRefusal(.groupMaxSizeReached, "The group has \(members.count) members.")
        }
        var member = ConsumerMember(id: id)
        member.instanceID = request.instanceID
        member.clientHost = call.clientHost
        if let instanceID = request.instanceID { instances[instanceID] = id }
        return (member, .memberJoined(member.name))
    }
}

extension ConsumerMember {
    /// The same place under the id of the new process.
    func returned(as id: String) -> ConsumerMember {
        var member = ConsumerMember(id: id)
        (member.instanceID, member.rackID) = (instanceID, rackID)
        (member.topics, member.pattern, member.patternTopics) = (topics, pattern, patternTopics)
        (member.rebalanceTimeoutMs, member.serverAssignor) = (rebalanceTimeoutMs, serverAssignor)
        (member.clientID, member.clientHost) = (clientID, clientHost)
        (member.assigned, member.target) = (assigned, target)
        return member
    }

    fileprivate func heard(as other: ConsumerMember) -> ConsumerMember {
        var member = self
        member.sessionDeadline = other.sessionDeadline
        return member
    }

    mutating func heard(_ step: GroupStep) { heard(step.settings, at: step.now) }

    /// Its session begins anew.
    mutating func heard(_ settings: GroupSettings, at now: Instant) {
        let timeoutMs = classic.map { Int64($0.sessionTimeoutMs) } ?? settings.consumerSessionTimeoutMs
        sessionDeadline = now.advanced(byMs: timeoutMs)
    }

    /// Takes over what the request says; nil and −1 mean that it has not changed. Whether the subscription is the same.
    fileprivate mutating func take(_ request: ConsumerGroupHeartbeatRequest, _ call: GroupCall) -> Bool {
        classic = nil
        clientID = call.clientID
        clientHost = call.clientHost
        if let rack = request.rackID { rackID = rack }
        if request.rebalanceTimeoutMs >= 0 { rebalanceTimeoutMs = request.rebalanceTimeoutMs }
        if let assignor = request.serverAssignor { serverAssignor = assignor }
        let before = (topics, pattern)
        if let names = request.subscribedTopicNames { topics = Set(names).sorted() }
        // An empty expression ends the subscription by expression.
        if let text = request.subscribedTopicRegex { pattern = text.isEmpty ? nil : text }
        if pattern == nil { patternTopics = [] }
        return before == (topics, pattern)
    }
}
