// A member by ConsumerGroupHeartbeat (KIP-848): it says what it has, and is told what it is to have.

import Broker
import Model
import Wire

extension SimulatedMember {
    /// Every third process gives an expression that names the same topics, by the lot of its id.
    private var saysPattern: Bool { (memberID.utf8.last ?? 0) % 3 == 0 }

    /// Joins, as a new process or after it was fenced.
    func enter() {
        turn(.joining)
        (generation, owned, target) = (0, [], [])
        (isReconciling, mustTell, tellsAll) = (false, false, true)
        heartbeat()
    }

    /// One at a time.
    func heartbeat() {
        guard !isBeating else { return }
        isBeating = true
        guard let coordinator else {
            return find { [unowned self] in
                isBeating = false
                heartbeat()
            }
        }
        var request = ConsumerGroupHeartbeatRequest()
        request.groupID = group.name
        request.memberID = memberID
        request.memberEpoch = generation
        request.instanceID = instanceID
        if tellsAll {
            request.rebalanceTimeoutMs = SimulatedGroup.rebalanceTimeoutMs
            // Who changes from one to the other under the same instance id says both.
            request.subscribedTopicNames = saysPattern ? [] : group.topics.sorted()
            request.subscribedTopicRegex = saysPattern ? SimulatedGroup.topicPattern : ""
        }
        if tellsAll || mustTell { request.topicPartitions = listed(owned) }
        // A later change is to be told as well.
        let toldAll = tellsAll
        (mustTell, tellsAll) = (false, false)
        let memberID = memberID
        ask(
            request, version: 1, of: coordinator,
            peek: { [unowned self] answer, _ in
                guard answer.errorCode == .none, let given = answer.assignment else { return }
                world.checkers.groups.assignmentTold(
                    memberID, in: answer.memberEpoch, has: places(in: given), group, world)
            },
            then: { [unowned self] answer in
                isBeating = false
                heard(answer, toldAll: toldAll)
            })
    }

    private func heard(_ answer: ConsumerGroupHeartbeatResponse?, toldAll: Bool) {
        guard let answer, answer.errorCode == .none else { return refused(answer?.errorCode) }
        let isNew = phase == .joining
        if isNew { turn(.member) }
        generation = answer.memberEpoch
        if let given = answer.assignment {
            target = places(in: given)
            note("is to have \(target.sorted()) in epoch \(generation)")
            reconcile()
        }
        if isNew { settle() }
        if mustTell { return heartbeat() }
        later(SimulatedGroup.heartbeatMs, "beats") { [unowned self] in heartbeat() }
    }

    private func refused(_ error: ErrorCode?) {
        tellsAll = true
        var pauseMs = Self.backoffMs
        switch error {
        case nil, .notCoordinator, .coordinatorNotAvailable: lost()
        case .unknownMemberId, .fencedMemberEpoch, .groupIdNotFound:
            note("is no member any more: \(error?.description ?? "")")
            return enter()
        case .fencedInstanceId: return fenced()
        case .coordinatorLoadInProgress: break
        case .unreleasedInstanceId: pauseMs = 400
        default: note("does not understand \(error?.description ?? "")")
        }
        later(pauseMs, "beats again") { [unowned self] in heartbeat() }
    }

    /// Gives up what it is to lose, which may take a while, and then takes what it is to have.
    func reconcile() {
        guard !isReconciling, owned != target else { return }
        let lost = owned.subtracting(target)
        guard !lost.isEmpty else { return take() }
        isReconciling = true
        if lots.oneIn(2) { commit(lost) }
        if lots.oneIn(3) {
            // Some thread of the application was slow.
            let epoch = generation
            later(100 + lots.below(600), "commits what it had") { [unowned self] in
                if coordinator != nil { commit(lost, in: epoch) }
            }
        }
        let isStubborn = world.isLoaded && lots.oneIn(10)
        let ms = isStubborn ? Int64(SimulatedGroup.rebalanceTimeoutMs) * 3 / 2 : 1 + lots.below(150)
        later(ms, "has given up \(lost.sorted())") { [unowned self] in
            isReconciling = false
            take()
            heartbeat()
        }
    }

    private func take() {
        owned = target
        mustTell = true
    }

    /// After a stall: what it had begun is not done.
    func resumeReconciling() {
        isReconciling = false
        reconcile()
    }

    func leaveConsumers() {
        guard let coordinator else { return }
        var request = ConsumerGroupHeartbeatRequest()
        request.groupID = group.name
        request.memberID = memberID
        request.memberEpoch = instanceID == nil ? -1 : -2
        request.instanceID = instanceID
        ask(request, version: 1, of: coordinator) { _ in }
    }

    // MARK: Partitions by topic id

    private func listed(_ places: Set<GroupPlace>) -> [ConsumerGroupHeartbeatRequest.TopicPartitions] {
        places.sorted().compactMap { place in
            guard let id = topicID(place.topic) else { return nil }
            var topic = ConsumerGroupHeartbeatRequest.TopicPartitions()
            topic.topicID = id
            topic.partitions = [place.partition]
            return topic
        }
    }

    private func places(in assignment: ConsumerGroupHeartbeatResponse.Assignment) -> Set<GroupPlace> {
        Set(
            assignment.topicPartitions.flatMap { topic -> [GroupPlace] in
                guard let name = world.checkers.metadata.newest.topic(id: topic.topicID)?.name else { return [] }
                return topic.partitions.map { GroupPlace(topic: name, partition: $0) }
            })
    }
}
