// JoinGroup: who may join, under which id, and what a join leads to (protocol.md §4.13; KIP-345, KIP-394, KIP-814).

import Model
import NIOCore
import Wire

extension Group {
    mutating func joinRequested(
        _ request: JoinGroupRequest, _ call: GroupCall, _ topics: any TopicLookup, _ step: inout GroupStep
    ) {
        if consumer?.members.isEmpty == false { return joinConsumers(request, call, topics, &step) }
        guard accepts(request.memberID, step.settings) else {
            refuse(request, call, .groupMaxSizeReached, &step)
            if let member = members[request.memberID] {
                remove(member.id, &step)
                membersRemoved(.memberTurnedAway(member.name), &step)
            }
            return
        }
        let replaced = request.memberID.isEmpty ? request.groupInstanceID.flatMap { instances[$0] } : request.memberID
        guard supports(request, replacing: replaced) else {
            let isKnown = !supports(request, replacing: replaced, withLoaded: false)
            refuse(request, call, isKnown ? .inconsistentGroupProtocol : .coordinatorLoadInProgress, &step)
            if !isKnown { rebalanceOrCompleteJoin(.protocolsUnknown(call.clientID), &step) }
            return
        }
        if !request.memberID.isEmpty {
            rejoin(request, call, &step)
        } else if let instanceID = request.groupInstanceID {
            let id = drawnMemberID(instanceID, &step)
            if let old = instances[instanceID], let member = members[old] {
                replace(member, by: id, request, call, &step)
            } else {
                add(id, request, call, &step)
            }
        } else {
            let id = drawnMemberID(call.clientID, &step)
            if call.version >= 4 {
                announce(id, request, call, &step)
            } else {
                add(id, request, call, &step)
            }
        }
    }

    func refuse(
        _ request: JoinGroupRequest, _ call: GroupCall, _ error: ErrorCode, _ step: inout GroupStep
    ) {
        step.reply(call.ticket, .joinGroup(request.refused(error, version: call.version)))
    }

    /// `group.max.size`. During a rebalance the seats go to those who have joined, first come first served.
    private func accepts(_ memberID: String, _ settings: GroupSettings) -> Bool {
        switch state {
        case .empty, .dead: true
        case .preparingRebalance:
            members[memberID]?.hasJoined == true
                || members.values.count(where: { $0.hasJoined }) < settings.groupSizeMax
        case .completingRebalance, .stable: members[memberID] != nil || members.count < settings.groupSizeMax
        }
    }

    /// KIP-394: the client is told its id and joins with it, so that one whose answers get lost leaves no ghosts.
    mutating func announce(
        _ id: String, _ request: JoinGroupRequest, _ call: GroupCall, _ step: inout GroupStep
    ) {
        while pendingMembers.count >= step.settings.pendingMembersMax {
            guard let oldest = pendingMembers.min(by: { $0.value.deadline < $1.value.deadline }) else { break }
            pendingMembers[oldest.key] = nil
        }
        pendingMembers[id] = PendingMember(
            holdsUntil: step.now.advanced(byMs: step.settings.pendingHoldMs),
            deadline: step.now.advanced(
                byMs: min(Int64(request.sessionTimeoutMs), step.settings.pendingMemberTimeoutMs)))
        extendQuiet(step)
        let response = request.refused(.memberIdRequired, version: call.version, memberID: id)
        step.reply(call.ticket, .joinGroup(response))
    }

    private mutating func add(
        _ id: String, _ request: JoinGroupRequest, _ call: GroupCall, _ step: inout GroupStep
    ) {
        if members.isEmpty {
            protocolType = request.protocolType
            // The consumers of the other protocol are all gone.
            obsolete += ConsumerGroup.records(of: self.id, from: consumer, to: nil)
            consumer = nil
        }
        joinSequence += 1
        var member = GroupMember(id: id, request, call, sequence: joinSequence, at: step.now)
        member.parkedJoin = ParkedRequest(call)
        member.joinedAt = step.now
        members[id] = member
        pendingMembers[id] = nil
        if let instanceID = member.instanceID { instances[instanceID] = id }
        if leaderID == nil { leaderID = id }
        extendQuiet(step)
        rebalanceOrCompleteJoin(.memberJoined(member.name), &step)
    }

    private mutating func rejoin(_ request: JoinGroupRequest, _ call: GroupCall, _ step: inout GroupStep) {
        let id = request.memberID
        if pendingMembers[id] != nil, request.groupInstanceID == nil {
            return add(id, request, call, &step)
        }
        if let error = refusal(of: id, instanceID: request.groupInstanceID) {
            return refuse(request, call, error, &step)
        }
        guard var member = members[id] else { return refuse(request, call, .unknownMemberId, &step) }
        if member.isLoaded, request.metadata(for: protocolName) == member.metadata(for: protocolName) {
            // It says as much as is known of it, and more.
            member.take(request, call, at: step.now)
            members[id] = member
        }
        let isUnchanged = member.protocols == request.protocols
        switch state {
        case .preparingRebalance:
            join(member, request, call, &step)
            tryCompleteJoin(&step)
        case .completingRebalance where isUnchanged:
            // The answer was lost on the way.
            answerJoin(id, ParkedRequest(call), &step)
        case .stable where isUnchanged && id != leaderID:
            answerJoin(id, ParkedRequest(call), &step)
        case .stable, .completingRebalance:
            // A leader joins again when something changed that only it sees: partitions, for one.
            let isLeaders = state == .stable && id == leaderID && isUnchanged
            let reason: RebalanceReason =
                isLeaders
                ? .leaderRejoined(member.name, said: request.reason) : .metadataChanged(member.name)
            join(member, request, call, &step)
            rebalanceOrCompleteJoin(reason, &step)
        case .empty, .dead: refuse(request, call, .unknownMemberId, &step)
        }
    }

    /// A member takes part in the rebalance that is under way, or that it begins.
    private mutating func join(
        _ member: GroupMember, _ request: JoinGroupRequest, _ call: GroupCall, _ step: inout GroupStep
    ) {
        var member = member
        if let earlier = member.parkedJoin { refuseAgain(earlier, request, &step) }
        member.take(request, call, at: step.now)
        member.parkedJoin = ParkedRequest(call)
        member.joinedAt = step.now
        members[member.id] = member
    }

    /// The client gave the earlier request up and asks anew.
    private func refuseAgain(_ earlier: ParkedRequest, _ request: JoinGroupRequest, _ step: inout GroupStep) {
        step.reply(
            earlier.ticket, .joinGroup(request.refused(.rebalanceInProgress, version: earlier.version)))
    }

    // MARK: Static members

    /// A static member's new process takes the place of the old one, whose requests are fenced from here on.
    private mutating func replace(
        _ old: GroupMember, by id: String, _ request: JoinGroupRequest, _ call: GroupCall, _ step: inout GroupStep
    ) {
        if let parked = old.parkedJoin {
            let response = request.refused(.fencedInstanceId, version: parked.version, memberID: old.id)
            step.reply(parked.ticket, .joinGroup(response))
        }
        if let parked = old.parkedSync {
            step.reply(parked.ticket, .syncGroup(SyncGroupResponse(error: .fencedInstanceId)))
        }
        var member = old.renamed(id)
        member.take(request, call, at: step.now)
        let leaderBefore = leaderID
        swap(old, for: member)
        let keeps = state == .stable && keepsAssignment(old, member)
        step.log(.staticMemberReplaced(old.name, by: id, keepsAssignment: keeps))
        if keeps, step.settings.plantedBug == .replacedMemberNotWritten {
            return answerJoin(id, ParkedRequest(call), &step)
        }
        if keeps {
            step.write = GroupWrite(
                records: obsolete + [metadataRecord(at: step.at)],
                then: .replaced(
                    StaticReplacement(
                        old: old, memberID: id, leaderBefore: leaderBefore, parked: ParkedRequest(call))))
            return
        }
        member.parkedJoin = ParkedRequest(call)
        member.joinedAt = step.now
        members[id] = member
        rebalanceOrCompleteJoin(
            state == .stable ? .staticMemberChanged(member.name) : .staticMemberReturned(member.name), &step)
    }

    private mutating func swap(_ old: GroupMember, for new: GroupMember) {
        members[old.id] = nil
        members[new.id] = new
        if let instanceID = new.instanceID { instances[instanceID] = new.id }
        if leaderID == old.id { leaderID = new.id }
    }

    /// Whether the assignment it has still fits: the group would choose the same protocol, and it asks for the same
    /// topics. Bytes are not compared, because a consumer's metadata tells what it owns, and a new process owns
    /// nothing.
    private func keepsAssignment(_ old: GroupMember, _ new: GroupMember) -> Bool {
        guard chosenProtocol() == protocolName else { return false }
        guard protocolType == ConsumerProtocol.type else { return true }
        guard let now = Subscription.topics(in: new.metadata(for: protocolName)) else { return true }
        return now == Subscription.topics(in: old.metadata(for: protocolName))
    }

    /// The record with the new id is written: the member goes on where the old process was.
    mutating func staticMemberReplaced(_ replacement: StaticReplacement, _ step: inout GroupStep) {
        guard var member = members[replacement.memberID] else {
            var response = JoinGroupResponse()
            response.errorCode = .unknownMemberId
            return step.reply(replacement.parked.ticket, .joinGroup(response))
        }
        member.heard(at: step.now)
        members[member.id] = member
        let parked = replacement.parked
        var response = joinResponse(for: member, version: parked.version, withMembers: false)
        if parked.version >= 9 {
            // KIP-814: it leads again, and need not assign.
            response.skipAssignment = member.id == leaderID
            if response.skipAssignment { response.members = joinMembers() }
        } else {
            // An older client that found itself leader would assign, and nobody would listen.
            response.leader = replacement.leaderBefore ?? ""
        }
        step.reply(parked.ticket, .joinGroup(response), after: metadataEnd)
    }

    mutating func staticReplacementRefused(
        _ replacement: StaticReplacement, _ error: ErrorCode, _ step: inout GroupStep
    ) {
        if let member = members[replacement.memberID] { swap(member, for: replacement.old) }
        leaderID = replacement.leaderBefore
        let response = JoinGroupResponse(error: error, memberID: "", version: replacement.parked.version)
        step.reply(replacement.parked.ticket, .joinGroup(response))
    }

    // MARK: Answers

    /// Answers a JoinGroup with the generation as it stands.
    mutating func answerJoin(_ id: String, _ parked: ParkedRequest, _ step: inout GroupStep) {
        guard var member = members[id] else { return }
        member.heard(at: step.now)
        members[id] = member
        let isLeaders = id == leaderID && state == .completingRebalance
        let response = joinResponse(for: member, version: parked.version, withMembers: isLeaders)
        step.reply(parked.ticket, .joinGroup(response), after: metadataEnd)
    }

    private func joinResponse(for member: GroupMember, version: Int16, withMembers: Bool) -> JoinGroupResponse {
        var response = JoinGroupResponse()
        response.generationID = generation
        response.protocolType = protocolType
        response.protocolName = protocolName ?? ""
        response.leader = leaderID ?? ""
        response.memberID = member.id
        if withMembers { response.members = joinMembers() }
        return response
    }

    /// All members with their metadata, for the leader; in the order in which they came.
    private func joinMembers() -> [JoinGroupResponse.Member] {
        membersInOrder.map { member in
            var shown = JoinGroupResponse.Member()
            shown.memberID = member.id
            shown.groupInstanceID = member.instanceID
            shown.metadata = member.metadata(for: protocolName)
            return shown
        }
    }
}

/// A static member's new process that waits for its record to be written.
struct StaticReplacement: Equatable, Sendable {
    var old: GroupMember
    var memberID: String
    var leaderBefore: String?
    var parked: ParkedRequest
}

/// A new member id: the client's or the instance's name, as far as it is worth remembering, and a UUID.
func drawnMemberID(_ name: String, _ step: inout GroupStep) -> String {
    let stem = String(String.UnicodeScalarView(name.unicodeScalars.prefix(shownMax)))
    return "\(stem)-\(hyphenated(.random(using: &step.random)))"
}

/// The common notation of a UUID, as in Kafka's member ids.
func hyphenated(_ id: UUID128) -> String {
    func hex(_ value: UInt64, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    let parts = [
        hex(id.high >> 32, 8), hex(id.high >> 16 & 0xFFFF, 4), hex(id.high & 0xFFFF, 4), hex(id.low >> 48, 4),
        hex(id.low & 0xFFFF_FFFF_FFFF, 12),
    ]
    return parts.joined(separator: "-")
}
