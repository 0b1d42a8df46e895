// A coordinator with one group in memory, a member's machine driven against it in virtual time, and faults between
// them.

import MartletClient
import Model
import NIOCore
import Wire

/// What becomes of one question.
enum GroupFault: Equatable, Sendable, CaseIterable {
    /// It never arrives.
    case lostBefore
    /// It is done, and the answer is lost.
    case lostAfter
    case notCoordinator
    case loading
    /// The node stands still; the next one coordinates when the member asks.
    case silent
    /// The session ended meanwhile: the coordinator knows the member no more.
    case forgotten
}

/// One group, as its coordinator keeps it. Other members are what a test says they are.
struct FakeGroup {
    var topics: [GroupMachine.KnownTopic] = [
        GroupMachine.KnownTopic(name: "a", id: UUID128(high: 1, low: 1), partitions: 2),
        GroupMachine.KnownTopic(name: "b", id: UUID128(high: 1, low: 2), partitions: 1),
    ]
    var memberID = ""
    var lastMember = 0
    var generation: Int32 = 0
    var isJoined = false
    var assignment = ByteBuffer()
    var offsets: [TopicPartition: Offset] = [:]
    /// What every acknowledged commit said, in order.
    var commits: [(partition: TopicPartition, offset: Offset)] = []
    var commitEpochs: [LeaderEpoch] = []
    /// Next generation: what the member shall have.
    var target: [TopicPartition]
    /// Next generation: what it said last that it has.
    var owned: [TopicPartition]?
    var rebalances = false
    /// "Not now", to these questions alone.
    var refusesCommits = false
    var refusesOffsets = false
    /// Of commits of these partitions alone.
    var refusals: [TopicPartition: ErrorCode] = [:]
    /// Classic: who leads need not assign.
    var skipsAssignment = false
    /// Next generation: what the member said last.
    var pattern: String?
    var left = false
    var heartbeatIntervalMs: Int32 = 500
    var heartbeats = 0

    init() {
        target = [TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)]
    }

    mutating func answer(_ call: GroupMachine.Call) -> GroupMachine.Answer {
        switch call {
        case .join(let request): .join(join(request))
        case .sync(let request): .sync(sync(request))
        case .heartbeat(let request): .heartbeat(heartbeat(request))
        case .consumerHeartbeat(let request): .consumerHeartbeat(consumerHeartbeat(request))
        case .leave(let request): .leave(leave(request))
        case .commit(let request): .commit(commit(request))
        case .fetchOffsets(let request): .fetchOffsets(fetch(request))
        }
    }

    private mutating func newMember() -> String {
        lastMember += 1
        return "member-\(lastMember)"
    }

    private mutating func join(_ request: JoinGroupRequest) -> JoinGroupResponse {
        var response = JoinGroupResponse()
        if request.memberID.isEmpty {
            memberID = newMember()
            (response.errorCode, response.memberID) = (.memberIdRequired, memberID)
            return response
        }
        guard request.memberID == memberID else {
            response.errorCode = .unknownMemberId
            return response
        }
        generation += 1
        (isJoined, rebalances) = (true, false)
        response.generationID = generation
        response.protocolName = request.protocols.first?.name
        (response.leader, response.memberID) = (memberID, memberID)
        var member = JoinGroupResponse.Member()
        (member.memberID, member.metadata) = (memberID, request.protocols.first?.metadata ?? ByteBuffer())
        response.members = [member]
        response.skipAssignment = skipsAssignment
        return response
    }

    private func check(_ id: String, _ generation: Int32) -> ErrorCode {
        if id != memberID { return .unknownMemberId }
        return generation == self.generation && isJoined ? .none : .illegalGeneration
    }

    private mutating func sync(_ request: SyncGroupRequest) -> SyncGroupResponse {
        var response = SyncGroupResponse()
        response.errorCode = check(request.memberID, request.generationID)
        guard response.errorCode == .none else { return response }
        for entry in request.assignments where entry.memberID == memberID { assignment = entry.assignment }
        response.assignment = assignment
        return response
    }

    private mutating func heartbeat(_ request: HeartbeatRequest) -> HeartbeatResponse {
        heartbeats += 1
        var response = HeartbeatResponse()
        response.errorCode = check(request.memberID, request.generationID)
        if response.errorCode == .none, rebalances { response.errorCode = .rebalanceInProgress }
        return response
    }

    private mutating func leave(_ request: LeaveGroupRequest) -> LeaveGroupResponse {
        var member = LeaveGroupResponse.Member()
        member.errorCode = request.members.first?.memberID == memberID ? .none : .unknownMemberId
        if member.errorCode == .none { forget() }
        left = true
        var response = LeaveGroupResponse()
        response.members = [member]
        return response
    }

    mutating func forget() {
        (memberID, isJoined, owned, left) = ("", false, nil, false)
        generation += 1
    }

    private mutating func commit(_ request: OffsetCommitRequest) -> OffsetCommitResponse {
        let code: ErrorCode =
            refusesCommits
            ? .coordinatorLoadInProgress : check(request.memberID, request.generationIDOrMemberEpoch)
        var response = OffsetCommitResponse()
        for topic in request.topics {
            var answer = OffsetCommitResponse.Topic()
            (answer.name, answer.topicID) = (topic.name, topic.topicID)
            let known = topics.first { topic.topicID == .zero ? $0.name == topic.name : $0.id == topic.topicID }
            for partition in topic.partitions {
                var entry = OffsetCommitResponse.Partition()
                entry.partitionIndex = partition.partitionIndex
                let name = TopicPartition(known?.name ?? topic.name, partition.partitionIndex)
                entry.errorCode = code == .none ? known == nil ? .unknownTopicId : refusals[name] ?? .none : code
                answer.partitions.append(entry)
                guard entry.errorCode == .none else { continue }
                offsets[name] = partition.committedOffset
                commits.append((name, partition.committedOffset))
                commitEpochs.append(partition.committedLeaderEpoch)
            }
            response.topics.append(answer)
        }
        return response
    }

    private func fetch(_ request: OffsetFetchRequest) -> OffsetFetchResponse {
        var group = OffsetFetchResponse.Group()
        group.errorCode = refusesOffsets ? .coordinatorLoadInProgress : .none
        group.topics = (request.groups.first?.topics ?? []).map { topic in
            var answer = OffsetFetchResponse.Topic()
            answer.name = topic.name
            answer.partitions = topic.partitionIndexes.map { index in
                var entry = OffsetFetchResponse.Partition()
                entry.partitionIndex = index
                entry.committedOffset = offsets[TopicPartition(topic.name, index)] ?? -1
                return entry
            }
            return answer
        }
        var response = OffsetFetchResponse()
        response.groups = [group]
        return response
    }

    private mutating func consumerHeartbeat(
        _ request: ConsumerGroupHeartbeatRequest
    ) -> ConsumerGroupHeartbeatResponse {
        var response = ConsumerGroupHeartbeatResponse()
        response.heartbeatIntervalMs = heartbeatIntervalMs
        heartbeats += 1
        response.memberID = request.memberID
        if request.memberEpoch < 0 {
            if request.memberID == memberID { forget() } else { response.errorCode = .unknownMemberId }
            left = true
            return response
        }
        var isNews = false
        if request.memberEpoch == 0 {
            (memberID, isJoined, isNews) = (request.memberID, true, true)
            generation += 1
        } else if request.memberID != memberID {
            response.errorCode = .unknownMemberId
            return response
        } else if request.memberEpoch != generation {
            response.errorCode = .fencedMemberEpoch
            return response
        }
        if let told = request.topicPartitions {
            owned = told.flatMap { topic in
                topic.partitions.map { TopicPartition(topics.first { $0.id == topic.topicID }?.name ?? "?", $0) }
            }.sorted()
        }
        if rebalances {
            (rebalances, isNews) = (false, true)
        }
        response.memberEpoch = generation
        // Told again to who tells everything, as after a lost answer.
        if let regex = request.subscribedTopicRegex { pattern = regex }
        guard isNews || request.subscribedTopicNames != nil || request.subscribedTopicRegex != nil else {
            return response
        }
        var assignment = ConsumerGroupHeartbeatResponse.Assignment()
        assignment.topicPartitions = topics.map { topic in
            var entry = ConsumerGroupHeartbeatResponse.TopicPartitions()
            entry.topicID = topic.id
            entry.partitions = target.filter { $0.topic == topic.name }.map(\.partition)
            return entry
        }
        response.assignment = assignment
        return response
    }
}

/// The machine, its shell and the coordinator in one. Nothing takes time but what waits on purpose.
struct GroupWorld {
    var machine: GroupMachine
    var group = FakeGroup()
    var now = Instant.zero.advanced(byMs: 1_000_000)
    var node: NodeID = 1
    var servesNextGeneration: Bool
    /// Where the reader stands.
    var positions = SortedMap<TopicPartition, Offset>()
    /// By the number of the question.
    var faults: [Int: GroupFault] = [:]
    /// An answer that a test puts in the place of the coordinator's.
    var override: (@Sendable (GroupMachine.Call) -> GroupMachine.Answer?)?
    var asked: [String] = []
    var changes: [String] = []
    var begun: [GroupMachine.Beginning] = []
    var committed: [Int: ClientError?] = [:]
    var failure: ClientError?
    var isClosed = false
    /// Releases wait for the test.
    var holdsReleases = false
    /// They wait for a handler, not for the reader.
    var hasSlowHandler = false
    var heldRelease: [TopicPartition]?
    /// The numbers of questions that the node never answers.
    var heldBack: Set<Int> = []
    var holdsOffsets = false
    var abandoned: [NodeID] = []
    /// Looks at topics, and how the next ones go: nobody answers, or a node that cannot say anything of these.
    var looks = 0
    var failsTopics = false
    /// Topics that do not match, as the member reads the pattern.
    var unmatched: Set<String> = []
    /// And those that no node tells of.
    var hidden: Set<String> = []
    var unclearTopics: [String] = []
    private var pending: [Input] = []
    private var isFed = false
    private var lastWake: Instant?

    enum Input {
        case found, topics([String]), matching
        case answer(Int, GroupMachine.Answer)
        case lost(Int)
        case released([TopicPartition])
    }

    init(
        isNextGeneration: Bool = false, topics: [String] = ["a", "b"], pattern: String? = nil,
        configure: (inout GroupConsumerConfiguration) -> Void = { _ in }
    ) {
        servesNextGeneration = isNextGeneration
        var configuration = GroupConsumerConfiguration()
        configuration.autoCommitIntervalMs = 1_000
        configuration.lateAnswerMs = 200
        configuration.retryPauseMs = 10...100
        configure(&configuration)
        machine = GroupMachine(
            configuration: configuration, groupID: "g", topics: topics, pattern: pattern, memberID: "own-id")
    }

    /// Runs until `isDone`, or for a minute of virtual time. Whether it was done.
    mutating func run(until isDone: (GroupWorld) -> Bool) -> Bool {
        let end = now.advanced(byMs: 60_000)
        while now < end {
            settle()
            if isDone(self) { return true }
            guard let wake = lastWake else { return false }
            now = max(wake, now.advanced(byMs: 1))
        }
        return false
    }

    mutating func run(forMs ms: Int64) {
        let end = now.advanced(byMs: ms)
        _ = run { $0.now >= end }
        now = max(now, end)
        settle()
    }

    /// Until nothing more happens at this moment.
    mutating func settle() {
        for _ in 0..<1_000 {
            let (effects, wakeAt) = machine.drain(at: now)
            lastWake = wakeAt
            isFed = false
            for effect in effects { perform(effect) }
            // As the shell, which looks again when something came in.
            if !isFed, pending.isEmpty { return }
            let inputs = pending
            pending = []
            for input in inputs { take(input) }
        }
        asked.append("does not come to rest")
    }

    private mutating func perform(_ effect: GroupMachine.Effect) {
        switch effect {
        case .findCoordinator: pending.append(.found)
        case .ask(let question): answer(question)
        case .askTopics(let names): pending.append(.topics(names))
        case .matchTopics: pending.append(.matching)
        case .givePositions:
            machine.took(positions.mapped(Array(positions.keys)), at: now)
            isFed = true
        case .release(let partitions, let isLost):
            changes.append("\(isLost ? "lost" : "revoked") \(list(partitions))")
            if holdsReleases { heldRelease = partitions } else { pending.append(.released(partitions)) }
        case .releaseNow: if let heldRelease, !hasSlowHandler { pending.append(.released(heldRelease)) }
        case .abandon(let node): abandoned.append(node)
        case .begin(let beginnings):
            changes.append("begun \(list(beginnings.map(\.partition)))")
            begun += beginnings
            for beginning in beginnings { positions[beginning.partition] = beginning.committed?.offset ?? 0 }
        case .committed(let id, let error): committed[id] = .some(error)
        case .fail(let error): failure = error
        case .closed: isClosed = true
        }
    }

    private mutating func take(_ input: Input) {
        switch input {
        case .found: machine.found(node, servesNextGeneration: servesNextGeneration, at: now)
        case .topics(let names):
            looks += 1
            if failsTopics { return machine.failedToLearn(.noNodeAnswered([], reason: "no reason"), at: now) }
            let found = group.topics.filter { names.contains($0.name) && !unclearTopics.contains($0.name) }
            machine.learned(topics: found, unclear: unclearTopics, at: now)
        case .matching:
            looks += 1
            if failsTopics { return machine.failedToMatch(.noNodeAnswered([], reason: "no reason"), at: now) }
            let told = group.topics.filter { !hidden.contains($0.name) }
            machine.matched(
                told.filter { !unmatched.contains($0.name) },
                others: Dictionary(
                    uniqueKeysWithValues: told.filter { unmatched.contains($0.name) }.map { ($0.id, $0.name) }), at: now
            )
        case .answer(let id, let answer): machine.answered(id, answer, at: now)
        case .lost(let id): machine.lost(id, .connectionLost(Endpoint(host: "n", port: 1)), at: now)
        case .released(let partitions): release(partitions)
        }
    }

    mutating func release(_ partitions: [TopicPartition]) {
        heldRelease = nil
        let left = positions.mapped(partitions)
        for partition in partitions { positions[partition] = nil }
        machine.released(left, at: now)
    }

    private mutating func answer(_ question: GroupMachine.Question) {
        asked.append(question.call.name)
        let fault = faults[asked.count - 1]
        if fault == .forgotten { group.forget() }
        if fault == .silent {
            // Nothing comes, and another one coordinates from now on.
            node += 1
            return
        }
        if heldBack.contains(asked.count - 1) || (holdsOffsets && asked.last == "fetch") { return }
        if fault == .lostBefore { return pending.append(.lost(question.id)) }
        guard question.node == node else { return pending.append(.lost(question.id)) }
        if fault == .notCoordinator || fault == .loading {
            let code: ErrorCode = fault == .loading ? .coordinatorLoadInProgress : .notCoordinator
            return pending.append(.answer(question.id, question.call.refused(code)))
        }
        let answer = override?(question.call) ?? group.answer(question.call)
        pending.append(fault == .lostAfter ? .lost(question.id) : .answer(question.id, answer))
    }

    private func list(_ partitions: [TopicPartition]) -> String {
        partitions.map(\.description).joined(separator: " ")
    }
}

extension SortedMap<TopicPartition, Offset> {
    fileprivate func mapped(_ keys: [TopicPartition]) -> SortedMap<TopicPartition, OffsetAndMetadata> {
        SortedMap<TopicPartition, OffsetAndMetadata>(
            keys.compactMap { key in self[key].map { (key, OffsetAndMetadata($0)) } })
    }
}

extension GroupMachine.Call {
    var name: String {
        switch self {
        case .join(let request): request.memberID.isEmpty ? "join anew" : "join"
        case .sync: "sync"
        case .heartbeat: "heartbeat"
        case .consumerHeartbeat(let request):
            switch request.memberEpoch {
            case 0: "join"
            case ..<0: "leave"
            default: request.topicPartitions == nil ? "heartbeat" : "tell"
            }
        case .leave: "leave"
        case .commit: "commit"
        case .fetchOffsets: "fetch"
        }
    }

    /// The answer with this code wherever it goes.
    func refused(_ code: ErrorCode) -> GroupMachine.Answer {
        switch self {
        case .join:
            var response = JoinGroupResponse()
            response.errorCode = code
            return .join(response)
        case .sync:
            var response = SyncGroupResponse()
            response.errorCode = code
            return .sync(response)
        case .heartbeat:
            var response = HeartbeatResponse()
            response.errorCode = code
            return .heartbeat(response)
        case .consumerHeartbeat:
            var response = ConsumerGroupHeartbeatResponse()
            response.errorCode = code
            return .consumerHeartbeat(response)
        case .leave:
            var response = LeaveGroupResponse()
            response.errorCode = code
            return .leave(response)
        case .commit(let request):
            var response = OffsetCommitResponse()
            response.topics = request.topics.map { topic in
                var answer = OffsetCommitResponse.Topic()
                answer.name = topic.name
                answer.partitions = topic.partitions.map { partition in
                    var entry = OffsetCommitResponse.Partition()
                    (entry.partitionIndex, entry.errorCode) = (partition.partitionIndex, code)
                    return entry
                }
                return answer
            }
            return .commit(response)
        case .fetchOffsets:
            var group = OffsetFetchResponse.Group()
            group.errorCode = code
            var response = OffsetFetchResponse()
            response.groups = [group]
            return .fetchOffsets(response)
        }
    }
}
