// A member by JoinGroup, SyncGroup and Heartbeat, as the Java client and librdkafka go about it.

import Broker
import Model
import NIOCore
import Wire

extension SimulatedMember {
    private var protocolName: String { isCooperative ? "cooperative-sticky" : "range" }

    private var isCooperative: Bool { group.kind != .eager }

    private var subscription: ByteBuffer {
        var subscription = ConsumerProtocolSubscription()
        subscription.topics = group.topics.sorted()
        subscription.generationID = generation
        if isCooperative {
            subscription.ownedPartitions = owned.sorted().map { place in
                var own = ConsumerProtocolSubscription.TopicPartitions()
                own.topic = place.topic
                own.partitions = [place.partition]
                return own
            }
        }
        return subscription.encode()
    }

    // MARK: Joining

    func join() {
        turn(.joining)
        guard let coordinator else { return find { [unowned self] in join() } }
        if !isCooperative { owned = [] }
        var offered = JoinGroupRequest.GroupProtocol()
        offered.name = protocolName
        offered.metadata = subscription
        var request = JoinGroupRequest()
        request.groupID = group.name
        request.sessionTimeoutMs = group.sessionTimeoutMs
        request.rebalanceTimeoutMs = SimulatedGroup.rebalanceTimeoutMs
        request.memberID = memberID
        request.groupInstanceID = instanceID
        request.protocolType = ConsumerProtocol.type
        request.protocols = [offered]
        let asked = asked()
        ask(
            request, version: 9, of: coordinator, timeoutMs: Int64(SimulatedGroup.rebalanceTimeoutMs) + 3_000,
            peek: { [unowned world, unowned group] answer, node in
                guard answer.errorCode == .none else { return }
                world.checkers.groups.joinAnswered(
                    answer.memberID, in: answer.generationID, group.name, asked, by: node, world)
            },
            then: { [unowned self] answer in joined(answer) })
    }

    private func joined(_ answer: JoinGroupResponse?) {
        note("hears of its join: " + (answer.map { "\($0.errorCode), generation \($0.generationID)" } ?? "nothing"))
        guard let answer, answer.errorCode == .none else {
            if answer?.errorCode == .memberIdRequired {
                memberID = answer?.memberID ?? ""
                return join()
            }
            return refused(answer?.errorCode)
        }
        memberID = answer.memberID
        generation = answer.generationID
        // Before it is told what it has in this generation it has nothing to commit in it; not every client knows.
        if lots.oneIn(4) { commit(Set(group.places)) }
        sync(answer)
    }

    private func sync(_ joined: JoinGroupResponse) {
        guard let coordinator else { return join() }
        var request = SyncGroupRequest()
        request.groupID = group.name
        request.generationID = generation
        request.memberID = memberID
        request.groupInstanceID = instanceID
        request.protocolType = joined.protocolType
        request.protocolName = joined.protocolName
        dealt = nil
        leads = joined.leader == memberID
        if joined.leader == memberID, !joined.skipAssignment {
            let places = knownPlaces
            dealt = places
            request.assignments = ClientAssignor.assign(places, to: joined.members, isCooperative: isCooperative)
        }
        let asked = asked()
        let (memberID, generation) = (memberID, generation)
        ask(
            request, version: 5, of: coordinator, timeoutMs: Int64(SimulatedGroup.rebalanceTimeoutMs) + 3_000,
            peek: { [unowned world, unowned group, instanceID] answer, node in
                guard answer.errorCode == .none else { return }
                world.checkers.groups.syncAnswered(
                    memberID, instanceID, in: generation, has: CommittedGroup.places(in: answer.assignment), group.name,
                    asked, by: node, world)
            },
            then: { [unowned self] answer in synced(answer) })
    }

    /// Its topics' partitions, as far as this client has heard.
    private var knownPlaces: [GroupPlace] {
        client.refresh()
        return group.topics.sorted().flatMap { topic in
            (0..<(client.partitionCounts[topic] ?? 0)).map { GroupPlace(topic: topic, partition: Int32($0)) }
        }
    }

    private func synced(_ answer: SyncGroupResponse?) {
        guard let answer, answer.errorCode == .none else {
            note("hears of its sync: \(answer?.errorCode.description ?? "nothing")")
            return refused(answer?.errorCode)
        }
        let given = CommittedGroup.places(in: answer.assignment)
        note("has \(given.sorted()) in generation \(generation)")
        let revoked = owned.subtracting(given)
        owned = given
        // Who gives something up joins again, so that somebody else may have it (KIP-429).
        if isCooperative, !revoked.isEmpty { return join() }
        turn(.member)
        beat()
        // It may be joining again by now: what it does as a member is not for then.
        if phase == .member { settle() }
    }

    /// What an error makes of a member that joins or thinks that it is one.
    private func refused(_ error: ErrorCode?) {
        switch error {
        case nil, .notCoordinator, .coordinatorNotAvailable: lost()
        case .unknownMemberId: (memberID, generation, owned) = ("", -1, [])
        case .illegalGeneration: (generation, owned) = (-1, [])
        case .fencedInstanceId: return fenced()
        case .coordinatorLoadInProgress: break
        case .rebalanceInProgress: return join()
        default: note("does not understand \(error?.description ?? "")")
        }
        turn(.joining)
        later(Self.backoffMs, "joins again") { [unowned self] in join() }
    }

    // MARK: Living

    func beat() {
        guard let coordinator else { return find { [unowned self] in beat() } }
        // A leader looks after what was dealt out: topics may have grown.
        if let dealt, dealt != knownPlaces { return join() }
        // One that came back as the leader and need not deal does not know what was dealt out: at last it looks.
        if leads, dealt == nil, !world.isLoaded { return join() }
        var request = HeartbeatRequest()
        request.groupID = group.name
        request.generationID = generation
        request.memberID = memberID
        request.groupInstanceID = instanceID
        ask(request, version: 4, of: coordinator) { [unowned self] answer in
            switch answer?.errorCode {
            case ErrorCode.none?: break
            case nil, .notCoordinator, .coordinatorNotAvailable:
                lost()
                return later(Self.backoffMs, "beats again") { [unowned self] in beat() }
            case .rebalanceInProgress?:
                note("is told to join again")
                if lots.oneIn(2) { commit() }
                return join()
            case .coordinatorLoadInProgress?: break
            case let error:
                note("is no member any more: \(error?.description ?? "")")
                return refused(error)
            }
            later(SimulatedGroup.heartbeatMs, "beats") { [unowned self] in beat() }
        }
    }

    func leaveClassic() {
        guard let coordinator else { return }
        var one = LeaveGroupRequest.Member()
        one.memberID = memberID
        one.groupInstanceID = instanceID
        var request = LeaveGroupRequest()
        request.groupID = group.name
        request.members = [one]
        ask(request, version: 5, of: coordinator) { _ in }
    }
}
