// What the coordinator's answers about membership mean.

import Model
import NIOCore
import Wire

extension GroupMachine {
    package mutating func answered(_ id: Int, _ answer: Answer, at now: Instant) {
        guard let asked = requests.removeValue(forKey: id) else { return }
        switch (asked.kind, answer) {
        case (.membership, .join(let response)):
            isMembershipAsked = false
            joined(response, at: now)
        case (.membership, .sync(let response)):
            isMembershipAsked = false
            synced(response, at: now)
        case (.membership, .heartbeat(let response)):
            isMembershipAsked = false
            heartbeatAnswered(response.errorCode, at: now)
        case (.membership, .consumerHeartbeat(let response)):
            isMembershipAsked = false
            consumerHeartbeatAnswered(response, at: now)
        case (.commit, .commit(let response)):
            isCommitAsked = false
            committed(response, at: now)
        case (.offsets(let partitions), .fetchOffsets(let response)): fetched(partitions, response, at: now)
        case (.leave, .leave(let response)):
            let code = response.errorCode == .none ? response.members.first?.errorCode ?? .none : response.errorCode
            leftAnswered(code, at: now)
        case (.leave, .consumerHeartbeat(let response)): leftAnswered(response.errorCode, at: now)
        default: break
        }
    }

    /// Request `id` came to nothing.
    package mutating func lost(_ id: Int, _ error: ClientError, at now: Instant) {
        guard let asked = requests[id] else { return }
        // An older coordinator than the one that was asked for what it serves.
        if error.isUnsupported, isNextGeneration, asked.kind == .membership, configuration.groupProtocol == nil {
            requests[id] = nil
            isMembershipAsked = false
            servesNextGeneration = false
            return losePlace("the coordinator serves no next-generation groups", at: now)
        }
        guard error.isRetriable else { return fail(error, at: now) }
        lostCoordinator(at: now)
    }

    private mutating func leftAnswered(_ code: ErrorCode, at now: Instant) {
        hasLeft = false
        guard isOfCoordinator(code, at: now) || code == .coordinatorLoadInProgress else { return end() }
        if code == .coordinatorLoadInProgress { lostCoordinator(at: now) }
    }

    // MARK: Errors that all answers share

    /// The coordinator is another one now.
    mutating func isOfCoordinator(_ code: ErrorCode, at now: Instant) -> Bool {
        guard code == .notCoordinator || code == .coordinatorNotAvailable else { return false }
        lostCoordinator(at: now)
        return true
    }

    mutating func pauseMembership(at now: Instant) {
        membershipAt = membershipBackoff.pause(configuration.retryPauseMs, from: now)
    }

    /// What passes by itself is tried again; what does not ends membership.
    private mutating func refused(_ what: String, _ code: ErrorCode, _ message: String? = nil, at now: Instant) {
        if isOfCoordinator(code, at: now) { return }
        guard code.isRetriable else {
            return fail(.refused(what: "\(what) group \(groupID)", code, message: message), at: now)
        }
        struggle(.membership, "\(what) group \(groupID): \(code)", at: now)
        pauseMembership(at: now)
    }

    private mutating func succeeded() {
        troubles[.membership] = nil
        membershipBackoff.reset()
        findBackoff.reset()
    }

    // MARK: Classic

    func joinRequest() -> JoinGroupRequest {
        var said = ConsumerProtocolSubscription()
        said.topics = topics
        said.rackID = configuration.consumer.rack.isEmpty ? nil : configuration.consumer.rack
        if !isEager {
            said.generationID = generation
            said.ownedPartitions = byTopic(owned.keys).map { topic, partitions in
                var entry = ConsumerProtocolSubscription.TopicPartitions()
                (entry.topic, entry.partitions) = (topic, partitions)
                return entry
            }
        }
        var request = JoinGroupRequest()
        request.groupID = groupID
        request.sessionTimeoutMs = configuration.sessionTimeoutMs
        request.rebalanceTimeoutMs = configuration.rebalanceTimeoutMs
        request.memberID = memberID
        request.groupInstanceID = configuration.groupInstanceID
        request.protocolType = ConsumerProtocol.type
        request.protocols = configuration.assignors.map { assignor in
            var entry = JoinGroupRequest.GroupProtocol()
            (entry.name, entry.metadata) = (assignor.rawValue, said.encode())
            return entry
        }
        request.reason = joinReason.isEmpty ? nil : joinReason
        return request
    }

    private mutating func joined(_ response: JoinGroupResponse, at now: Instant) {
        switch response.errorCode {
        case .none: break
        case .memberIdRequired:
            memberID = response.memberID
            return
        case .unknownMemberId:
            memberID = ""
            return losePlace("the coordinator does not know the member", at: now)
        case .rebalanceInProgress: return pauseMembership(at: now)
        default: return refused("join", response.errorCode, at: now)
        }
        succeeded()
        (memberID, generation) = (response.memberID, response.generationID)
        var request = SyncGroupRequest()
        (request.groupID, request.memberID, request.generationID) = (groupID, memberID, generation)
        request.groupInstanceID = configuration.groupInstanceID
        request.protocolType = response.protocolType ?? ConsumerProtocol.type
        request.protocolName = response.protocolName
        syncRequest = request
        isLeader = response.leader == response.memberID
        membership = .syncing
        dealt = nil
        doubted.removeAll()
        guard isLeader else { return }
        want(response.members.flatMap { ClientAssignor.Subscriber($0).topics })
        // Its assignment of before stands, and from now on it looks for partitions that are added.
        guard !response.skipAssignment else { return }
        membership = .assigning
        leadership = response
        if wantedTopics?.isEmpty == true {
            wantedTopics = nil
            deal(at: now)
        }
    }

    /// The leader's part: who reads what.
    mutating func deal(at now: Instant) {
        guard let leadership, membership == .assigning else { return }
        guard let name = leadership.protocolName, let assignor = ClientAssignor(rawValue: name) else {
            return fail(
                .refused(
                    what: "assign partitions of group \(groupID)", .inconsistentGroupProtocol,
                    message: "the group uses \(leadership.protocolName ?? "no assignor"), which was not offered"),
                at: now)
        }
        let subscribers = leadership.members.map { ClientAssignor.Subscriber($0) }
        let counts = counts(of: subscribers.flatMap(\.topics))
        let assigned = assignor.assign(subscribers, counts: counts)
        syncRequest?.assignments = leadership.members.map { member in
            var said = ConsumerProtocolAssignment()
            said.assignedPartitions = byTopic(assigned[member.memberID] ?? []).map { topic, partitions in
                var entry = ConsumerProtocolAssignment.TopicPartitions()
                (entry.topic, entry.partitions) = (topic, partitions)
                return entry
            }
            var entry = SyncGroupRequest.Assignment()
            (entry.memberID, entry.assignment) = (member.memberID, said.encode(version: 0))
            return entry
        }
        dealt = counts
        topicsLearnedAt = now
        self.leadership = nil
        membership = .syncing
    }

    private mutating func synced(_ response: SyncGroupResponse, at now: Instant) {
        switch response.errorCode {
        case .none: break
        case .unknownMemberId:
            memberID = ""
            return losePlace("the coordinator does not know the member", at: now)
        case .illegalGeneration: return losePlace("the generation is over", at: now)
        case .rebalanceInProgress:
            membership = .outside
            joinReason = "another rebalance has begun"
            return
        default: return refused("sync with", response.errorCode, at: now)
        }
        succeeded()
        var target = SortedMap<TopicPartition, UUID128>()
        if response.assignment.readableBytes > 0 {
            do throws(WireError) {
                let said = try ConsumerProtocolAssignment.decode(response.assignment)
                for topic in said.assignedPartitions {
                    for partition in topic.partitions { target[TopicPartition(topic.topic, partition)] = .zero }
                }
            } catch {
                return fail(
                    .refused(
                        what: "read the assignment in group \(groupID)", .inconsistentGroupProtocol,
                        message: "its leader wrote what cannot be read: \(error)"), at: now)
            }
        }
        self.target = target
        becameMember(at: now)
        membershipAt = now.advanced(byMs: heartbeatPauseMs)
    }

    private mutating func becameMember(at now: Instant) {
        membership = .member
        for place in commits.indices { commits[place].waitsForMember = false }
        if autoCommitAt == nil, let ms = configuration.autoCommitIntervalMs { autoCommitAt = now.advanced(byMs: ms) }
    }

    private mutating func heartbeatAnswered(_ code: ErrorCode, at now: Instant) {
        guard membership == .member else { return }
        membershipAt = now.advanced(byMs: heartbeatPauseMs)
        switch code {
        case .none: succeeded()
        case .rebalanceInProgress:
            succeeded()
            if !isClosing { rejoinReason = rejoinReason ?? "the group rebalances" }
            if releasing == nil, !isClosing { membershipAt = now }
        case .unknownMemberId:
            memberID = ""
            losePlace("the coordinator does not know the member", at: now)
        case .illegalGeneration: losePlace("the generation is over", at: now)
        default: refused("stay in", code, at: now)
        }
    }

    // MARK: Next generation

    mutating func askConsumerHeartbeat(at now: Instant) {
        var request = ConsumerGroupHeartbeatRequest()
        (request.groupID, request.memberID, request.memberEpoch) = (groupID, memberID, generation)
        request.instanceID = configuration.groupInstanceID
        let isJoining = membership != .member
        if isJoining { (membership, generation, request.memberEpoch) = (.joining, 0, 0) }
        if isJoining || told == nil {
            request.rackID = configuration.consumer.rack.isEmpty ? nil : configuration.consumer.rack
            request.rebalanceTimeoutMs = configuration.rebalanceTimeoutMs
            if let pattern { request.subscribedTopicRegex = pattern } else { request.subscribedTopicNames = topics }
            request.serverAssignor = configuration.serverAssignor
        }
        let holds = holds
        if told != holds || isJoining {
            var topics = SortedMap<UUID128, [Int32]>()
            for (partition, id) in holds { topics[id, default: []].append(partition.partition) }
            request.topicPartitions = topics.map { id, partitions in
                var entry = ConsumerGroupHeartbeatRequest.TopicPartitions()
                (entry.topicID, entry.partitions) = (id, partitions)
                return entry
            }
        }
        // Where the answer is lost all is told again.
        told = holds
        ask(.membership, .consumerHeartbeat(request), at: now)
    }

    private mutating func consumerHeartbeatAnswered(_ response: ConsumerGroupHeartbeatResponse, at now: Instant) {
        guard membership == .member || membership == .joining else { return }
        switch response.errorCode {
        case .none: break
        case .unknownMemberId, .fencedMemberEpoch:
            return losePlace("the coordinator does not know the member at this epoch", at: now)
        case .groupIdNotFound where generation > 0: return losePlace("the group is not there any more", at: now)
        // Apache Kafka advertises the request also where the protocol is switched off.
        case .unsupportedVersion where configuration.groupProtocol == nil:
            isNextGenerationRefused = true
            servesNextGeneration = false
            return losePlace("next-generation groups are switched off there", at: now)
        default:
            told = nil
            return refused("take part in", response.errorCode, response.errorMessage, at: now)
        }
        succeeded()
        memberID = response.memberID ?? memberID
        generation = response.memberEpoch
        heartbeatPauseMs = max(1, Int64(response.heartbeatIntervalMs))
        becameMember(at: now)
        membershipAt = now.advanced(byMs: told == holds ? heartbeatPauseMs : 0)
        guard let assignment = response.assignment else { return }
        unresolved = assignment.topicPartitions
        resolve()
    }

    /// The assignment names topics by id. A topic that no metadata names yet is asked for again.
    mutating func resolve() {
        guard let unresolved, membership == .member else { return }
        var names = others
        for topic in known.values { names[topic.id] = topic.name }
        guard unresolved.allSatisfy({ names[$0.topicID] != nil }) else {
            if pattern != nil { matchAt = .zero } else if wantedTopics == nil { want(topics) }
            return
        }
        var target = SortedMap<TopicPartition, UUID128>()
        for topic in unresolved {
            guard let name = names[topic.topicID] else { continue }
            for partition in topic.partitions { target[TopicPartition(name, partition)] = topic.topicID }
        }
        self.unresolved = nil
        self.target = target
    }
}
