// Requests on their way to the groups that they name, and those that look at several.

import Model
import Wire

extension GroupCoordinator {
    /// A client asked. Each call is answered exactly once, perhaps much later.
    package mutating func requested(
        _ call: GroupCall, topics: any TopicLookup, at reading: ClockReading, into effects: inout [GroupEffect]
    ) {
        guard phase == .active else {
            let error: ErrorCode = phase == .loading ? .coordinatorLoadInProgress : .notCoordinator
            return effects.append(.reply(call.ticket, call.request.refused(error, version: call.version)))
        }
        forgiveStall(at: reading.now)
        open[call.ticket] = call
        if let error = refusal(of: call.request) {
            return answer(call.ticket, call.request.refused(error, version: call.version), into: &effects)
        }
        switch call.request {
        case .joinGroup(let request):
            with(request.groupID, at: reading, into: &effects) { $0.joinRequested(request, call, topics, &$1) }
        case .syncGroup(let request):
            with(request.groupID, at: reading, into: &effects) { $0.syncRequested(request, call, topics, &$1) }
        case .heartbeat(let request):
            with(request.groupID, at: reading, into: &effects) { $0.heartbeatReceived(request, call, &$1) }
        case .leaveGroup(let request):
            with(request.groupID, at: reading, into: &effects) { $0.leaveRequested(request, call, &$1) }
        case .offsetCommit(let request):
            with(request.groupID, at: reading, into: &effects) { $0.commitRequested(request, call, topics, &$1) }
        case .offsetDelete(let request):
            with(request.groupID, at: reading, into: &effects) { $0.offsetDeleteRequested(request, call, topics, &$1) }
        case .offsetFetch(let request): offsetFetchRequested(request, call, topics, at: reading.now, into: &effects)
        case .describeGroups(let request): describeRequested(request, call, at: reading.now, into: &effects)
        case .listGroups(let request): listRequested(request, call, at: reading.now, into: &effects)
        case .consumerGroupHeartbeat(let request):
            with(request.groupID, at: reading, into: &effects) { $0.consumerHeartbeat(request, call, topics, &$1) }
        case .consumerGroupDescribe(let request):
            consumersDescribeRequested(request, call, topics, at: reading.now, into: &effects)
        case .deleteGroups(let request):
            let names = withoutRepeats(request.groupsNames)
            let deletion = GroupDeletion(ticket: call.ticket, remaining: names.reversed())
            goOn(with: deletion, at: reading, into: &effects)
        }
    }

    /// What is wrong with a request whatever the group is.
    private func refusal(of request: GroupRequest) -> ErrorCode? {
        switch request {
        case .joinGroup(let request):
            if request.groupID.isEmpty { return .invalidGroupId }
            if request.protocols.count > settings.protocolsMax { return .inconsistentGroupProtocol }
            let bounds = settings.sessionTimeoutMsMin...settings.sessionTimeoutMsMax
            return bounds.contains(request.sessionTimeoutMs) ? nil : .invalidSessionTimeout
        case .syncGroup(let request): return request.groupID.isEmpty ? .invalidGroupId : nil
        case .heartbeat(let request): return request.groupID.isEmpty ? .invalidGroupId : nil
        case .leaveGroup(let request): return request.groupID.isEmpty ? .invalidGroupId : nil
        default: return nil
        }
    }

    /// The connection of this request is gone: nobody reads its answer, and none is given any more.
    package mutating func abandoned(
        _ ticket: GroupTicket, at reading: ClockReading, into effects: inout [GroupEffect]
    ) {
        guard let call = open.removeValue(forKey: ticket) else { return }
        switch call.request {
        case .joinGroup(let request):
            with(request.groupID, at: reading, into: &effects) { $0.abandoned(ticket, &$1) }
        case .syncGroup(let request):
            with(request.groupID, at: reading, into: &effects) { $0.abandoned(ticket, &$1) }
        default: break
        }
    }

    // MARK: Looking at several groups

    private mutating func offsetFetchRequested(
        _ request: OffsetFetchRequest, _ call: GroupCall, _ topics: any TopicLookup, at now: Instant,
        into effects: inout [GroupEffect]
    ) {
        var response = OffsetFetchResponse()
        var after: Offset = 0
        if call.version >= 8 {
            response.groups = withoutRepeats(request.groups, by: \.groupID).map { asked in
                let group = groups[asked.groupID] ?? absent(asked.groupID)
                after = max(after, group.offsetsEnd)
                var answer = OffsetFetchResponse.Group()
                answer.groupID = asked.groupID
                answer.errorCode = group.fetchRefusal(asked)
                if answer.errorCode == .none {
                    answer.topics = group.fetched(asked.topics, version: call.version, topics)
                }
                return answer
            }
        } else {
            let group = groups[request.groupID] ?? absent(request.groupID)
            after = group.offsetsEnd
            response.topics = group.fetched(request.topics, version: call.version, topics)
        }
        reply(call.ticket, .offsetFetch(response), after: after, at: now, into: &effects)
    }

    private mutating func describeRequested(
        _ request: DescribeGroupsRequest, _ call: GroupCall, at now: Instant, into effects: inout [GroupEffect]
    ) {
        var response = DescribeGroupsResponse()
        var after: Offset = 0
        response.groups = withoutRepeats(request.groups).map { id in
            after = max(after, groups[id]?.metadataEnd ?? vanishedEnd)
            if let group = groups[id], group.consumer == nil { return group.described() }
            var answer = DescribeGroupsResponse.Group()
            answer.groupID = id
            answer.groupState = GroupState.dead.rawValue
            if call.version >= 6 {
                answer.errorCode = .groupIdNotFound
                answer.errorMessage = "There is no classic group \(id)."
            }
            return answer
        }
        reply(call.ticket, .describeGroups(response), after: after, at: now, into: &effects)
    }

    private mutating func listRequested(
        _ request: ListGroupsRequest, _ call: GroupCall, at now: Instant, into effects: inout [GroupEffect]
    ) {
        let states = Set(request.statesFilter.map { $0.lowercased() })
        let types = Set(request.typesFilter.map { $0.lowercased() })
        var response = ListGroupsResponse()
        for id in groups.keys.sorted() {
            guard let group = groups[id], types.isEmpty || types.contains(group.type),
                states.isEmpty || states.contains(group.stateName.lowercased())
            else { continue }
            var answer = ListGroupsResponse.Group()
            answer.groupID = id
            answer.protocolType = group.consumer == nil ? group.protocolType ?? "" : ConsumerProtocol.type
            answer.groupState = group.stateName
            answer.groupType = group.type
            response.groups.append(answer)
        }
        reply(call.ticket, .listGroups(response), after: lastEnd, at: now, into: &effects)
    }
}

extension GroupCoordinator {
    private mutating func consumersDescribeRequested(
        _ request: ConsumerGroupDescribeRequest, _ call: GroupCall, _ topics: any TopicLookup, at now: Instant,
        into effects: inout [GroupEffect]
    ) {
        var response = ConsumerGroupDescribeResponse()
        var after: Offset = 0
        response.groups = withoutRepeats(request.groupIDs).map { id in
            after = max(after, groups[id]?.metadataEnd ?? vanishedEnd)
            guard let group = groups[id], let consumer = group.consumer else {
                return .init(id, .groupIdNotFound, "There is no consumer group \(id).")
            }
            var answer = consumer.described(id, topics, settings)
            answer.rebalanceReason = group.lastRebalance?.reason.description
            answer.rebalancedAtMs = group.lastRebalance?.wallMs ?? -1
            return answer
        }
        reply(call.ticket, .consumerGroupDescribe(response), after: after, at: now, into: &effects)
    }

    /// Topics came, or grew, or went: consumer groups look at theirs again with their next heartbeat. Costs nothing
    /// here; each group looks at all that it subscribes to, so nothing else is a reason to call it.
    package mutating func topicsChanged() {
        topicsRevision += 1
        patterns.removeAll()
    }
}

extension ConsumerGroup {
    fileprivate func described(
        _ id: String, _ topics: any TopicLookup, _ settings: GroupSettings
    ) -> ConsumerGroupDescribeResponse.Group {
        func shown(_ partitions: [TopicPartition]) -> ConsumerGroupDescribeResponse.Assignment {
            var assignment = ConsumerGroupDescribeResponse.Assignment()
            assignment.topicPartitions = byTopic(partitions).compactMap { topicID, partitions in
                // What is gone has no name to show.
                guard let topic = topics.topic(topicID) else { return nil }
                var shown = ConsumerGroupDescribeResponse.TopicPartitions()
                shown.topicID = topicID
                shown.topicName = topic.name
                shown.partitions = partitions
                return shown
            }
            return assignment
        }
        var answer = ConsumerGroupDescribeResponse.Group(id, .none)
        answer.groupState = state.rawValue
        answer.groupEpoch = epoch
        answer.assignmentEpoch = assignmentEpoch
        answer.assignorName = assignor(settings).rawValue
        answer.members = members.values.map { member in
            var one = ConsumerGroupDescribeResponse.Member()
            one.memberID = member.id
            one.instanceID = member.instanceID
            one.rackID = member.rackID
            one.memberEpoch = member.epoch
            one.clientID = member.clientID
            one.clientHost = member.clientHost
            one.subscribedTopicNames = member.topics
            one.subscribedTopicRegex = member.pattern
            one.assignment = shown(member.assigned.keys)
            one.targetAssignment = shown(member.target)
            one.memberType = member.classic == nil ? 1 : 0
            return one
        }
        return answer
    }
}

extension Group {
    /// KIP-848's names of the two protocols.
    var type: String { consumer == nil ? "classic" : "consumer" }

    var stateName: String { consumer?.state.rawValue ?? state.rawValue }

    func described() -> DescribeGroupsResponse.Group {
        var answer = DescribeGroupsResponse.Group()
        answer.groupID = id
        answer.groupState = state.rawValue
        answer.protocolType = protocolType ?? ""
        answer.rebalanceReason = lastRebalance?.reason.description
        answer.rebalancedAtMs = lastRebalance?.wallMs ?? -1
        let isStable = state == .stable
        answer.protocolData = isStable ? protocolName ?? "" : ""
        answer.members = membersInOrder.map { member in
            var shown = DescribeGroupsResponse.Member()
            shown.memberID = member.id
            shown.groupInstanceID = member.instanceID
            shown.clientID = member.clientID
            shown.clientHost = member.clientHost
            // Between two generations what is known of either would mislead.
            if isStable {
                shown.memberMetadata = member.metadata(for: protocolName)
                shown.memberAssignment = member.assignment
            }
            return shown
        }
        return answer
    }

    /// Moves every deadline by a time in which nobody was listened to.
    mutating func postpone(byMs lateMs: Int64) {
        for id in members.keys {
            guard let deadline = members[id]?.sessionDeadline else { continue }
            members[id]?.sessionDeadline = deadline.advanced(byMs: lateMs)
        }
        for id in pendingMembers.keys {
            guard var pending = pendingMembers[id] else { continue }
            pending.deadline = pending.deadline.advanced(byMs: lateMs)
            pending.holdsUntil = pending.holdsUntil?.advanced(byMs: lateMs)
            pendingMembers[id] = pending
        }
        for id in consumer?.members.keys ?? [] {
            guard var member = consumer?.members[id] else { continue }
            member.sessionDeadline = member.sessionDeadline.advanced(byMs: lateMs)
            member.revocationDeadline = member.revocationDeadline?.advanced(byMs: lateMs)
            if let deadline = member.classic?.deadline { member.classic?.deadline = deadline.advanced(byMs: lateMs) }
            consumer?.members[id] = member
        }
        syncDeadline = syncDeadline?.advanced(byMs: lateMs)
        if var rebalance {
            rebalance.deadline = rebalance.deadline.advanced(byMs: lateMs)
            rebalance.quietUntil = rebalance.quietUntil?.advanced(byMs: lateMs)
            rebalance.quietEnd = rebalance.quietEnd.advanced(byMs: lateMs)
            self.rebalance = rebalance
        }
    }
}
