// SyncGroup, Heartbeat and LeaveGroup: what members of a generation say.

import Model
import NIOCore
import Wire

extension Group {
    /// Why someone may not speak for this member; nil: it may.
    func refusal(of memberID: String, instanceID: String?) -> ErrorCode? {
        if let instanceID {
            guard let current = instances[instanceID] else { return .unknownMemberId }
            if current != memberID { return .fencedInstanceId }
        }
        return members[memberID] == nil ? .unknownMemberId : nil
    }

    private func refusal(of memberID: String, instanceID: String?, generation asked: Int32) -> ErrorCode? {
        refusal(of: memberID, instanceID: instanceID) ?? (asked == generation ? nil : .illegalGeneration)
    }

    // MARK: SyncGroup

    mutating func syncRequested(
        _ request: SyncGroupRequest, _ call: GroupCall, _ topics: any TopicLookup, _ step: inout GroupStep
    ) {
        if consumer != nil { return syncConsumers(request, call, topics, &step) }
        if let error = syncRefusal(request) {
            return step.reply(call.ticket, .syncGroup(SyncGroupResponse(error: error)))
        }
        guard var member = members[request.memberID] else { return }
        member.heard(at: step.now)
        member.owesSync = false
        if state == .stable {
            members[member.id] = member
            settleSyncDeadline()
            return step.reply(call.ticket, .syncGroup(syncResponse(for: member)), after: metadataEnd)
        }
        if let earlier = member.parkedSync {
            step.reply(earlier.ticket, .syncGroup(SyncGroupResponse(error: .rebalanceInProgress)))
        }
        member.parkedSync = ParkedRequest(call)
        members[member.id] = member
        guard member.id == leaderID else { return }
        var given = SortedMap<String, ByteBuffer>()
        for one in request.assignments where members[one.memberID] != nil {
            given[one.memberID] = ByteBuffer(bytes: one.assignment.readableBytesView)
        }
        step.write = GroupWrite(
            records: obsolete + [metadataRecord(at: step.at, assignments: given)], then: .assigned(given))
    }

    private func syncRefusal(_ request: SyncGroupRequest) -> ErrorCode? {
        let error = refusal(
            of: request.memberID, instanceID: request.groupInstanceID, generation: request.generationID)
        if let error { return error }
        if let type = request.protocolType, type != protocolType { return .inconsistentGroupProtocol }
        if let name = request.protocolName, name != protocolName { return .inconsistentGroupProtocol }
        switch state {
        case .empty, .dead: return .unknownMemberId
        case .preparingRebalance: return .rebalanceInProgress
        case .completingRebalance, .stable: return nil
        }
    }

    private func syncResponse(for member: GroupMember) -> SyncGroupResponse {
        var response = SyncGroupResponse()
        response.protocolType = protocolType
        response.protocolName = protocolName
        response.assignment = member.assignment
        return response
    }

    /// The assignment is in the log: everyone who asked gets its part once it is committed.
    mutating func assigned(_ given: SortedMap<String, ByteBuffer>, _ step: inout GroupStep) {
        isAssignmentUnknown = false
        move(to: .stable, step)
        step.log(.stabilized(generation, tookMs: step.now.milliseconds(since: generationBeganAt)))
        for var member in members.values {
            let keepsOld = step.settings.plantedBug == .oldAssignmentKept && member.assignment.readableBytes > 0
            if !keepsOld { member.assignment = given[member.id] ?? ByteBuffer() }
            member.carried = []
            if let parked = member.parkedSync, step.settings.plantedBug != .parkedSyncsForgotten {
                member.parkedSync = nil
                member.heard(at: step.now)
                step.reply(parked.ticket, .syncGroup(syncResponse(for: member)), after: metadataEnd)
            }
            members[member.id] = member
        }
        settleSyncDeadline()
    }

    mutating func assignmentRefused(_ error: ErrorCode, _ step: inout GroupStep) {
        answerParkedSyncs(error, &step)
        beginRebalance(.assignmentNotStored(error), &step)
    }

    func answerParkedSync(_ member: GroupMember, _ error: ErrorCode, _ step: inout GroupStep) {
        guard let parked = member.parkedSync else { return }
        step.reply(parked.ticket, .syncGroup(SyncGroupResponse(error: error)))
    }

    mutating func answerParkedSyncs(_ error: ErrorCode, _ step: inout GroupStep) {
        for var member in members.values where member.parkedSync != nil {
            answerParkedSync(member, error, &step)
            member.parkedSync = nil
            member.heard(at: step.now)
            members[member.id] = member
        }
    }

    mutating func settleSyncDeadline() {
        if !members.values.contains(where: \.owesSync) { syncDeadline = nil }
    }

    // MARK: Heartbeat

    mutating func heartbeatReceived(_ request: HeartbeatRequest, _ call: GroupCall, _ step: inout GroupStep) {
        if consumer != nil { return heartbeatOfConsumer(request, call, &step) }
        step.isRearmed = false
        var error = refusal(
            of: request.memberID, instanceID: request.groupInstanceID, generation: request.generationID)
        if error == nil {
            members[request.memberID]?.heard(at: step.now)
            // While the assignment is computed nobody need join again; only a rebalance asks for that.
            if state == .preparingRebalance { error = .rebalanceInProgress }
        }
        step.reply(call.ticket, .heartbeat(HeartbeatResponse(error: error ?? .none)))
    }

    // MARK: LeaveGroup

    mutating func leaveRequested(_ request: LeaveGroupRequest, _ call: GroupCall, _ step: inout GroupStep) {
        var leaving = request.members
        if call.version < 3 {
            var one = LeaveGroupRequest.Member()
            one.memberID = request.memberID
            leaving = [one]
        }
        if consumer != nil { return leaveConsumers(leaving, call, &step) }
        var gone: [MemberName] = []
        var answers: [LeaveGroupResponse.Member] = []
        for one in leaving {
            var answer = LeaveGroupResponse.Member()
            answer.memberID = one.memberID
            answer.groupInstanceID = one.groupInstanceID
            answer.errorCode = leave(one, &gone, &step)
            answers.append(answer)
        }
        step.reply(call.ticket, .leaveGroup(LeaveGroupResponse(of: answers, version: call.version)))
        if gone.isEmpty {
            tryCompleteJoin(&step)
        } else {
            membersRemoved(.membersLeft(gone, said: leaving.compactMap(\.reason).first), &step)
        }
    }

    private mutating func leave(
        _ one: LeaveGroupRequest.Member, _ gone: inout [MemberName], _ step: inout GroupStep
    ) -> ErrorCode {
        var id = one.memberID
        if one.groupInstanceID == nil, pendingMembers[id] != nil {
            pendingMembers[id] = nil
            return .none
        }
        if let instanceID = one.groupInstanceID {
            guard let current = instances[instanceID] else { return .unknownMemberId }
            // An administrator removes by the instance alone.
            if !id.isEmpty, current != id { return .fencedInstanceId }
            id = current
        }
        guard let member = members[id] else { return .unknownMemberId }
        remove(id, &step)
        gone.append(member.name)
        return .none
    }

    /// Takes the member out and answers what it has waiting here. `membersRemoved` is to follow.
    mutating func remove(_ id: String, _ step: inout GroupStep) {
        guard let member = members.removeValue(forKey: id) else { return }
        if let instanceID = member.instanceID, instances[instanceID] == id { instances[instanceID] = nil }
        if let parked = member.parkedJoin {
            let response = JoinGroupResponse(error: .unknownMemberId, memberID: id, version: parked.version)
            step.reply(parked.ticket, .joinGroup(response))
        }
        answerParkedSync(member, .unknownMemberId, &step)
        if leaderID == id {
            leaderID = membersInOrder.first?.id
        }
    }

    /// The connection of a waiting request is gone: nobody will read the answer, and whoever asked may be dead. From
    /// here on its session counts.
    mutating func abandoned(_ ticket: GroupTicket, _ step: inout GroupStep) {
        for var member in members.values {
            if member.parkedJoin?.ticket == ticket {
                member.parkedJoin = nil
            } else if member.parkedSync?.ticket == ticket {
                member.parkedSync = nil
            } else {
                continue
            }
            member.heard(at: step.now)
            members[member.id] = member
            return
        }
    }
}
