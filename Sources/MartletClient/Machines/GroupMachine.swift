// What a member of a group decides, without a socket, a clock or a lock: when to join, what to give up and to take
// over, what to commit, and whom to ask. Inputs change the state; `drain` gives the effects.

import Model
import Wire

package struct GroupMachine: Sendable {
    package enum Effect: Sendable {
        /// Answered by `found` or `notFound`.
        case findCoordinator
        /// Answered by `answered` or `lost`.
        case ask(Question)
        /// Answered by `learned` or `failedToLearn`.
        case askTopics([String])
        /// Answered by `took`, at once.
        case givePositions
        /// Stop reading these; answered by `released`.
        case release([TopicPartition], isLost: Bool)
        /// Start reading these.
        case begin([Beginning])
        case committed(Int, ClientError?)
        /// The member is out of its group for good.
        case fail(ClientError)
        case closed
    }

    package struct Question: Sendable {
        package let id: Int
        package let node: NodeID
        package let call: Call
        /// What the node may hold the answer back.
        package let waitMs: Int64
    }

    package enum Call: Sendable {
        case join(JoinGroupRequest)
        case sync(SyncGroupRequest)
        case heartbeat(HeartbeatRequest)
        case consumerHeartbeat(ConsumerGroupHeartbeatRequest)
        case leave(LeaveGroupRequest)
        case commit(OffsetCommitRequest)
        case fetchOffsets(OffsetFetchRequest)
    }

    package enum Answer: Sendable {
        case join(JoinGroupResponse)
        case sync(SyncGroupResponse)
        case heartbeat(HeartbeatResponse)
        case consumerHeartbeat(ConsumerGroupHeartbeatResponse)
        case leave(LeaveGroupResponse)
        case commit(OffsetCommitResponse)
        case fetchOffsets(OffsetFetchResponse)
    }

    /// Where reading of a partition begins.
    package struct Beginning: Equatable, Sendable {
        package let partition: TopicPartition
        /// Nil: the group has committed nothing here.
        package let committed: OffsetAndMetadata?
    }

    package enum Membership: Equatable, Sendable {
        /// To join, again or anew. What is owned is kept where the protocol lets it.
        case outside
        case joining
        /// As the leader of a classic group: the partitions of its topics are asked for.
        case assigning
        case syncing
        case member
        case failed
        case closed
    }

    package enum OwnedPhase: Equatable, Sendable {
        case needsOffset, isAsked, reading
        /// It is to go, and its reading never began: an answer that comes late must not begin it.
        case releasing
    }

    package struct Owned: Equatable, Sendable {
        /// Zero in the classic protocol, which knows no topic ids.
        package var topicID: UUID128
        package var phase = OwnedPhase.needsOffset
        /// What was committed last, by this member.
        package var committed: Offset?
    }

    package enum ReleaseReason: Equatable, Sendable { case surplus, beforeJoin, closing, lost }

    package struct Release: Sendable {
        package let partitions: [TopicPartition]
        package let reason: ReleaseReason
        /// What each belongs to. Until what was read is committed, the coordinator is told that it is owned.
        package let topicIDs: SortedMap<TopicPartition, UUID128>
        /// The commit of what was read, under way.
        package var commitID: Int?
    }

    package enum CommitReason: Equatable, Sendable { case asked, automatic, release }

    package struct Commit: Sendable {
        package let id: Int
        package let reason: CommitReason
        package var offsets: SortedMap<TopicPartition, OffsetAndMetadata>
        package let deadline: Instant
        /// When it was made, or sent last.
        package var generation: Int32
        package var retryAt = Instant.zero
        package var backoff = Backoff()
        /// A rebalance is under way: what is still owned after it goes out again then.
        package var waitsForMember = false
        package var lastError: ClientError?
    }

    package enum Kind: Equatable, Sendable { case membership, offsets([TopicPartition]), commit, leave }

    package struct Asked: Sendable {
        package let kind: Kind
        package let node: NodeID
        package var lateAt: Instant
    }

    /// Pauses that grow while something goes wrong; the first attempt after success has none.
    package struct Backoff: Sendable {
        package private(set) var pauseMs: Int64 = 0

        package mutating func next(_ range: ClosedRange<Int64>) -> Int64 {
            defer { pauseMs = min(max(range.lowerBound, pauseMs * 2), range.upperBound) }
            return pauseMs
        }

        /// A pause in any case.
        package mutating func pause(_ range: ClosedRange<Int64>, from now: Instant) -> Instant {
            now.advanced(byMs: max(next(range), range.lowerBound))
        }

        package mutating func reset() { pauseMs = 0 }
    }

    package struct KnownTopic: Equatable, Sendable {
        package var name: String
        package var id: UUID128
        package var partitions: Int32

        package init(name: String, id: UUID128 = .zero, partitions: Int32) {
            self.name = name
            self.id = id
            self.partitions = partitions
        }
    }

    package let configuration: GroupConsumerConfiguration
    package let groupID: String
    /// Sorted.
    package let topics: [String]

    // MARK: Coordinator
    package var coordinator: NodeID?
    package var servesNextGeneration = false
    /// A coordinator that serves it said that it is switched off.
    package var isNextGenerationRefused = false
    package var isFinding = false
    package var findAt = Instant.zero
    package var findBackoff = Backoff()
    package var requests = SortedMap<Int, Asked>()
    package var lastRequestID = 0
    package var strugglingSince: Instant?
    package var struggle = ""

    // MARK: Membership
    package var membership = Membership.outside
    /// The protocol of this stay in the group.
    package var chosen: GroupProtocol?
    package var memberID = ""
    /// The id that this process brings where members make their ids themselves (KIP-1082).
    package let ownMemberID: String
    /// Of a classic group the generation, else the member epoch.
    package var generation: Int32 = -1
    package var membershipAt = Instant.zero
    package var membershipBackoff = Backoff()
    package var isMembershipAsked = false
    package var joinReason = ""
    /// Why a member of a classic group has to join again.
    package var rejoinReason: String?
    /// The group went on without this member: what it owns is gone.
    package var hasLostPlace = false
    package var syncRequest: SyncGroupRequest?
    /// The answer that made this member the leader.
    package var leadership: JoinGroupResponse?
    package var isLeader = false
    /// Next generation: the assignment as it came, until its topics are known.
    package var unresolved: [ConsumerGroupHeartbeatResponse.TopicPartitions]?
    /// What the coordinator was last told that is owned; nil: tell everything.
    package var told: [TopicPartition]?
    package var heartbeatPauseMs: Int64

    // MARK: Partitions
    package var target: SortedMap<TopicPartition, UUID128>?
    package var owned = SortedMap<TopicPartition, Owned>()
    package var releasing: Release?
    package var offsetsAt = Instant.zero
    package var offsetsBackoff = Backoff()

    // MARK: Topics
    package var known = SortedMap<String, KnownTopic>()
    package var wantedTopics: [String]?
    package var askedTopics: [String]?
    package var topicsAt = Instant.zero
    package var topicsBackoff = Backoff()
    package var topicsLearnedAt = Instant.zero
    /// How many partitions the leader dealt out of each topic.
    package var dealt: SortedMap<String, Int32>?

    // MARK: Commits
    package var commits: [Commit] = []
    package var isCommitAsked = false
    package var lastCommitID = 0
    package var autoCommitAt: Instant?

    // MARK: End
    package var closeBy: Instant?
    package var hasLeft = false
    package var failure: ClientError?
    package var waiting: [Effect] = []

    package init(
        configuration: GroupConsumerConfiguration, groupID: String, topics: [String], memberID: String
    ) {
        self.configuration = configuration
        self.groupID = groupID
        self.topics = Set(topics).sorted()
        ownMemberID = memberID
        heartbeatPauseMs = 0
    }

    /// Of the classic protocol. One that is late shall not end a session.
    var ownHeartbeatPauseMs: Int64 {
        max(1, min(configuration.heartbeatIntervalMs, Int64(configuration.sessionTimeoutMs) / 3))
    }

    package var isOver: Bool { membership == .closed || membership == .failed }
    package var isClosing: Bool { closeBy != nil }
    var isEager: Bool { chosen == .classic && configuration.assignors.contains { $0 != .cooperativeSticky } }
    var isNextGeneration: Bool { chosen == .nextGeneration }

    /// What the coordinator must not give to anybody else yet.
    var holds: SortedMap<TopicPartition, UUID128> {
        var held = SortedMap(owned.map { ($0.key, $0.value.topicID) })
        if let releasing, releasing.reason != .lost {
            for (partition, id) in releasing.topicIDs { held[partition] = id }
        }
        return held
    }

    // MARK: The user

    /// Commits these; `committed` with the id that is returned tells the outcome.
    package mutating func commit(
        _ offsets: SortedMap<TopicPartition, OffsetAndMetadata>, at now: Instant, reason: CommitReason = .asked
    ) -> Int {
        lastCommitID += 1
        if let failure {
            waiting.append(.committed(lastCommitID, failure))
        } else if isOver {
            waiting.append(.committed(lastCommitID, .closed))
        } else if offsets.isEmpty {
            waiting.append(.committed(lastCommitID, nil))
        } else {
            commits.append(
                Commit(
                    id: lastCommitID, reason: reason, offsets: offsets,
                    deadline: now.advanced(byMs: configuration.commitPatienceMs), generation: generation))
        }
        return lastCommitID
    }

    /// Gives everything up in order, leaves, and ends with the effect `closed`.
    package mutating func close(at now: Instant) {
        guard !isClosing else { return }
        closeBy = now.advanced(byMs: configuration.closePatienceMs)
        rejoinReason = nil
    }

    /// Where reading of what is owned stands, for the automatic commit.
    package mutating func took(_ positions: SortedMap<TopicPartition, OffsetAndMetadata>, at now: Instant) {
        let fresh = news(in: positions)
        if !fresh.isEmpty { _ = commit(fresh, at: now, reason: .automatic) }
    }

    /// Nothing more of what `release` named is given out, and `positions` is where reading of it ended.
    package mutating func released(_ positions: SortedMap<TopicPartition, OffsetAndMetadata>, at now: Instant) {
        guard let release = releasing else { return }
        let fresh = news(in: positions)
        for partition in release.partitions { owned[partition] = nil }
        let isInTime = release.reason != .lost && !isOver && !hasLostPlace
        if isInTime, configuration.autoCommitIntervalMs != nil, !fresh.isEmpty {
            let id = commit(fresh, at: now, reason: .release)
            releasing?.commitID = id
        } else {
            endRelease(at: now)
        }
    }

    private func news(
        in positions: SortedMap<TopicPartition, OffsetAndMetadata>
    ) -> SortedMap<TopicPartition, OffsetAndMetadata> {
        var fresh = SortedMap<TopicPartition, OffsetAndMetadata>()
        for (partition, position) in positions {
            guard let known = owned[partition], known.phase == .reading, known.committed != position.offset else {
                continue
            }
            fresh[partition] = position
        }
        return fresh
    }

    mutating func endRelease(at now: Instant) {
        guard let release = releasing else { return }
        releasing = nil
        guard membership == .member, release.reason == .surplus || release.reason == .beforeJoin else { return }
        membershipAt = now
        if !isNextGeneration { rejoinReason = rejoinReason ?? "gave up partitions that others are to have" }
    }

    // MARK: The coordinator

    package mutating func found(_ node: NodeID, servesNextGeneration: Bool, at now: Instant) {
        isFinding = false
        self.servesNextGeneration = servesNextGeneration && !isNextGenerationRefused
        if coordinator == node {
            // It is slow, and still the one.
            for id in requests.keys { requests[id]?.lateAt = now.advanced(byMs: configuration.lateAnswerMs) }
            return
        }
        if coordinator != nil { forgetCoordinator() }
        coordinator = node
    }

    package mutating func notFound(_ error: ClientError, at now: Instant) {
        isFinding = false
        if !error.isRetriable { return fail(error, at: now) }
        struggles(error.description, at: now)
        findAt = findBackoff.pause(configuration.retryPauseMs, from: now)
    }

    /// Nothing goes forward; for how long is remembered.
    mutating func struggles(_ why: String, at now: Instant) {
        strugglingSince = strugglingSince ?? now
        struggle = why
    }

    /// Ends the membership where the reader wants to be told rather than wait for ever.
    mutating func losePatience(at now: Instant) {
        guard let patienceMs = configuration.consumer.patienceMs, let since = strugglingSince else { return }
        let spentMs = now.milliseconds(since: since)
        guard spentMs >= patienceMs else { return }
        fail(.gaveUp(what: "take part in group \(groupID)", afterMs: spentMs, last: struggle), at: now)
    }

    /// The node coordinates the group no longer, or cannot be reached. Whatever it was asked is asked again.
    mutating func lostCoordinator(at now: Instant) {
        guard coordinator != nil else { return }
        struggles("the coordinator moved or does not answer", at: now)
        forgetCoordinator()
        findAt = max(findAt, now.advanced(byMs: findBackoff.next(configuration.retryPauseMs)))
    }

    private mutating func forgetCoordinator() {
        coordinator = nil
        for (_, asked) in requests {
            switch asked.kind {
            case .membership: isMembershipAsked = false
            case .commit: isCommitAsked = false
            case .offsets(let partitions): askOffsetsAgain(partitions)
            case .leave: hasLeft = false
            }
        }
        requests.removeAll()
        told = nil
    }

    func isLate(at now: Instant) -> Bool { requests.contains { $0.value.lateAt <= now } }

    mutating func askOffsetsAgain(_ partitions: [TopicPartition]) {
        for partition in partitions where owned[partition]?.phase == .isAsked { owned[partition]?.phase = .needsOffset }
    }

    // MARK: Topics

    /// What the cluster says of the topics that were asked for; those that are not there are left out.
    package mutating func learned(topics found: [KnownTopic], at now: Instant) {
        guard let asked = askedTopics else { return }
        askedTopics = nil
        topicsLearnedAt = now
        for name in asked { known[name] = nil }
        for topic in found { known[topic.name] = topic }
        if wantedTopics == asked {
            wantedTopics = nil
            if membership == .assigning { deal(at: now) }
            resolve()
            if unresolved == nil {
                topicsBackoff.reset()
            } else {
                topicsAt = topicsBackoff.pause(configuration.retryPauseMs, from: now)
            }
        }
        if isLeader, membership == .member, let dealt,
            dealt.contains(where: { known[$0.key]?.partitions ?? 0 != $0.value })
        {
            rejoinReason = rejoinReason ?? "topics came, went or grew"
            membershipAt = now
        }
    }

    package mutating func failedToLearn(at now: Instant) {
        askedTopics = nil
        topicsAt = topicsBackoff.pause(configuration.retryPauseMs, from: now)
    }

    // MARK: The end

    /// Nothing helps: readers and whoever waits for a commit are told.
    mutating func fail(_ error: ClientError, at now: Instant) {
        guard !isOver else { return }
        membership = .failed
        failure = error
        hasLostPlace = true
        requests.removeAll()
        (isMembershipAsked, isCommitAsked) = (false, false)
        endCommits(error)
        waiting.append(.fail(error))
    }

    mutating func endCommits(_ error: ClientError) {
        for commit in commits { waiting.append(.committed(commit.id, error)) }
        commits = []
        if releasing?.commitID != nil { releasing = nil }
    }

    /// The group went on without this member.
    mutating func losePlace(_ reason: String, at now: Instant) {
        hasLostPlace = true
        membership = .outside
        (target, syncRequest, leadership, unresolved, told, isLeader) = (nil, nil, nil, nil, nil, false)
        rejoinReason = nil
        joinReason = reason
        // What it was to commit may be with others already, who know better.
        for (id, asked) in requests where asked.kind == .commit { requests[id] = nil }
        isCommitAsked = false
        endCommits(
            .refused(
                what: "commit offsets of group \(groupID)", .illegalGeneration, message: "lost its place: \(reason)"))
        if isNextGeneration { generation = 0 } else { generation = -1 }
        membershipAt = now.advanced(byMs: membershipBackoff.next(configuration.retryPauseMs))
    }
}
