// What a member does now: find its coordinator, take part, give up and take over partitions, commit, leave.

import Model
import Wire

extension GroupMachine {
    /// The effects of everything that came in, in order, and when `drain` should run again without new input.
    package mutating func drain(at now: Instant) -> (effects: [Effect], wakeAt: Instant?) {
        endLateCommits(at: now)
        losePatience(at: now)
        if isClosing { close(step: now) }
        reconcile(at: now)
        if !isOver {
            match(at: now)
            find(at: now)
            rejoinForOtherTopics(at: now)
            takePart(at: now)
            askOffsets(at: now)
            sendCommits(at: now)
            commitByItself(at: now)
            askTopics(at: now)
        }
        let effects = waiting
        waiting = []
        return (effects, nextLook(after: now))
    }

    // MARK: Coordinator

    private mutating func find(at now: Instant) {
        guard !isFinding, findAt <= now, coordinator == nil || isLate(at: now) else { return }
        isFinding = true
        waiting.append(.findCoordinator)
    }

    mutating func ask(_ kind: Kind, _ call: Call, waitMs: Int64 = 0, at now: Instant) {
        guard let coordinator else { return }
        lastRequestID += 1
        requests[lastRequestID] = Asked(
            kind: kind, node: coordinator, lateAt: now.advanced(byMs: configuration.lateAnswerMs),
            isHeldBack: waitMs > 0)
        waiting.append(.ask(Question(id: lastRequestID, node: coordinator, call: call, waitMs: waitMs)))
    }

    // MARK: Membership

    private mutating func takePart(at now: Instant) {
        guard coordinator != nil, !isMembershipAsked, membershipAt <= now else { return }
        if membership == .member, rejoinReason != nil, releasing == nil, !isClosing {
            if isEager, !owned.isEmpty {
                // It is a member until that is done.
                target = nil
                release(Array(owned.keys), .beforeJoin)
            } else {
                leaveGeneration()
            }
        }
        switch membership {
        case .outside, .joining:
            guard !isClosing, isReadyToJoin() else { return }
            isMembershipAsked = true
            if isNextGeneration { return askConsumerHeartbeat(at: now) }
            membership = .joining
            subscribed = topics
            // Room for an answer that leaves at the last moment.
            ask(.membership, .join(joinRequest()), waitMs: Int64(configuration.rebalanceTimeoutMs) + 5_000, at: now)
        case .syncing:
            guard !isClosing, let syncRequest else { return }
            isMembershipAsked = true
            ask(.membership, .sync(syncRequest), waitMs: Int64(configuration.rebalanceTimeoutMs), at: now)
        case .member:
            guard !hasLeft else { return }
            isMembershipAsked = true
            if isNextGeneration { return askConsumerHeartbeat(at: now) }
            var request = HeartbeatRequest()
            (request.groupID, request.generationID) = (groupID, generation)
            (request.memberID, request.groupInstanceID) = (memberID, configuration.groupInstanceID)
            ask(.membership, .heartbeat(request), at: now)
        case .assigning, .failed, .closed: break
        }
    }

    private mutating func leaveGeneration() {
        membership = .outside
        joinReason = rejoinReason ?? ""
        rejoinReason = nil
        isLeader = false
    }

    /// What must be given up before is given up, and the protocol is chosen.
    private mutating func isReadyToJoin() -> Bool {
        guard releasing == nil, !hasLostPlace, pattern == nil || hasMatched else { return false }
        if chosen == nil || generation <= 0 {
            let next = configuration.groupProtocol ?? (servesNextGeneration ? .nextGeneration : .classic)
            if next != chosen { begin(stayIn: next) }
        }
        return true
    }

    private mutating func begin(stayIn next: GroupProtocol) {
        chosen = next
        heartbeatPauseMs = ownHeartbeatPauseMs
        (memberID, generation) = next == .nextGeneration ? (ownMemberID, 0) : ("", -1)
        (target, told, unresolved, syncRequest) = (nil, nil, nil, nil)
        membership = .outside
    }

    // MARK: Partitions

    mutating func release(_ partitions: [TopicPartition], _ reason: ReleaseReason) {
        releasing = Release(
            partitions: partitions, reason: reason,
            topicIDs: SortedMap(partitions.map { ($0, owned[$0]?.topicID ?? .zero) }))
        for partition in partitions where owned[partition]?.phase != .reading {
            owned[partition]?.phase = .releasing
        }
        waiting.append(.release(partitions, isLost: reason == .lost))
    }

    /// Brings what is owned to what was assigned: first what is to go, then what is new.
    private mutating func reconcile(at now: Instant) {
        guard releasing == nil else { return }
        if hasLostPlace {
            hasLostPlace = false
            if !owned.isEmpty { return release(Array(owned.keys), .lost) }
        }
        guard !isClosing, membership == .member, let target else { return }
        let surplus = owned.filter { target[$0.key] != $0.value.topicID }.map(\.key)
        // Of a topic that was made anew under its name: a commit would say of the new one what was read of the old.
        let gone = surplus.filter { owned[$0]?.topicID != known[$0.topic]?.id && known[$0.topic] != nil }
        if isNextGeneration, !gone.isEmpty { return release(gone, .lost) }
        if !surplus.isEmpty { return release(surplus, .surplus) }
        for (partition, topicID) in target where owned[partition] == nil {
            owned[partition] = Owned(topicID: topicID)
            // The coordinator of the next generation waits to hear of it.
            if isNextGeneration { membershipAt = now }
        }
    }

    // MARK: Topics

    mutating func want(_ topics: [String]) { wantedTopics = Set(topics).sorted() }

    private mutating func askTopics(at now: Instant) {
        if isLeader, membership == .member, wantedTopics == nil, let dealt {
            if now.milliseconds(since: topicsLearnedAt) >= lookPauseMs { want(dealt.keys) }
        }
        guard let wantedTopics, askedTopics == nil, topicsAt <= now else { return }
        askedTopics = wantedTopics
        waiting.append(.askTopics(wantedTopics))
    }

    // MARK: Leaving

    private mutating func close(step now: Instant) {
        guard let closeBy, membership != .closed else { return }
        if closeBy <= now || membership == .failed { return end() }
        if let leaveBy, leaveBy <= now {
            endCommits(.closed)
        } else {
            guard releasing == nil else { return }
            if !owned.isEmpty { return release(Array(owned.keys), .closing) }
            guard commits.isEmpty else { return }
        }
        let leaves = configuration.leavesOnClose ?? (configuration.groupInstanceID == nil)
        // A static member of the next generation says that it will be back.
        let isBeingAdmitted = isMembershipAsked && membership == .joining && (memberID.isEmpty || generation == 0)
        if isBeingAdmitted { return }
        guard !memberID.isEmpty, generation > 0 || !isNextGeneration, leaves || isNextGeneration else { return end() }
        guard !hasLeft, coordinator != nil else { return }
        hasLeft = true
        if isNextGeneration {
            var request = ConsumerGroupHeartbeatRequest()
            (request.groupID, request.memberID) = (groupID, memberID)
            request.memberEpoch = leaves ? -1 : -2
            request.instanceID = configuration.groupInstanceID
            return ask(.leave, .consumerHeartbeat(request), at: now)
        }
        var member = LeaveGroupRequest.Member()
        (member.memberID, member.groupInstanceID) = (memberID, configuration.groupInstanceID)
        member.reason = "the consumer was closed"
        var request = LeaveGroupRequest()
        (request.groupID, request.memberID, request.members) = (groupID, memberID, [member])
        ask(.leave, .leave(request), at: now)
    }

    package mutating func end() {
        guard membership != .closed else { return }
        endCommits(.closed)
        membership = .closed
        requests.removeAll()
        waiting.append(.closed)
    }

    // MARK: Time

    private func nextLook(after now: Instant) -> Instant? {
        guard !isOver else { return nil }
        var moments: [Instant] = commits.map(\.deadline)
        if let patienceMs = configuration.consumer.patienceMs {
            moments += troubles.values.map { $0.since.advanced(byMs: patienceMs) }
        }
        moments += [closeBy, leaveBy].compactMap { $0 }
        if !isFinding {
            if coordinator == nil { moments.append(findAt) }
            moments += requests.values.map { max($0.lateAt, findAt) }
        }
        if coordinator != nil {
            if !isMembershipAsked { moments.append(membershipAt) }
            if owned.contains(where: { $0.value.phase == .needsOffset }) { moments.append(offsetsAt) }
            if !isCommitAsked { moments += commits.filter { !$0.waitsForMember }.map(\.retryAt) }
        }
        if let autoCommitAt { moments.append(autoCommitAt) }
        if wantedTopics != nil, askedTopics == nil { moments.append(topicsAt) }
        if pattern != nil, !isMatching { moments.append(matchAt) }
        if isLeader, membership == .member, dealt != nil, wantedTopics == nil {
            moments.append(topicsLearnedAt.advanced(byMs: lookPauseMs))
        }
        // What is due and waits for something else is no reason to look again.
        return moments.filter { $0 > now }.min()
    }
}
