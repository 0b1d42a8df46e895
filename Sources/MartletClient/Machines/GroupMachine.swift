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
        /// Which topics there are that match the pattern; answered by `matched` or `failedToMatch`.
        case matchTopics
        /// Answered by `took`, at once.
        case givePositions
        /// Stop reading these; answered by `released`.
        case release([TopicPartition], isLost: Bool)
        /// What is being released is with others already: the reader need not come back from it first.
        case releaseNow
        /// Start reading these.
        case begin([Beginning])
        case committed(Int, ClientError?)
        /// The node holds back an answer that is of no use any more: what it is asked next shall not wait behind it.
        case abandon(NodeID)
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
        /// Of the topics that were read, where they are known: under the same name there may be another one later.
        package let topicIDs: SortedMap<TopicPartition, UUID128>
        package let patienceMs: Int64
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
        /// The node may hold its answer back.
        package let isHeldBack: Bool
    }

    /// What can stand still by itself: heartbeats that are answered say nothing of offsets that are not.
    package enum Trouble: Comparable, Hashable, Sendable { case membership, offsets, topics }

    package struct Struggle: Sendable {
        package let since: Instant
        package var why: String
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
    /// Sorted. With a pattern those that matched at the last look.
    package internal(set) var topics: [String]
    /// What the whole name of a topic must match, where topics are not named.
    package let pattern: String?

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
    package var troubles = SortedMap<Trouble, Struggle>()

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
    package var told: SortedMap<TopicPartition, UUID128>?
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
    package var isMatching = false
    package var matchAt = Instant.zero
    package var hasMatched = false
    /// What there is beside the topics that match, as of the last look.
    package var others: [UUID128: String] = [:]
    /// Classic: what the group was told that this member reads.
    package var subscribed: [String]?
    /// Since when nodes tell of fewer partitions, or of none, of a topic that is `known` to have more.
    package var doubted = SortedMap<String, Instant>()
    /// How many partitions the leader dealt out of each topic.
    package var dealt: SortedMap<String, Int32>?

    // MARK: Commits
    package var commits: [Commit] = []
    package var isCommitAsked = false
    package var lastCommitID = 0
    package var autoCommitAt: Instant?

    // MARK: End
    package var closeBy: Instant?
    /// When closing waits no longer for what is being given up and committed. Who does not leave is waited for by the
    /// group until its session ends.
    package var leaveBy: Instant?
    package var hasLeft = false
    package var failure: ClientError?
    package var waiting: [Effect] = []

    package init(
        configuration: GroupConsumerConfiguration, groupID: String, topics: [String], pattern: String? = nil,
        memberID: String
    ) {
        self.configuration = configuration
        self.groupID = groupID
        self.topics = Set(topics).sorted()
        self.pattern = pattern
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
        } else if hasLostPlace || offsets.keys.contains(where: isBeingLost) {
            waiting.append(.committed(lastCommitID, lostPlace("it may be with others")))
        } else {
            // A rebalance waits for what was given up, and for the reader before that.
            let patienceMs =
                reason == .release
                ? min(configuration.commitPatienceMs, Int64(configuration.rebalanceTimeoutMs) / 4)
                : configuration.commitPatienceMs
            commits.append(
                Commit(
                    id: lastCommitID, reason: reason, offsets: offsets,
                    topicIDs: SortedMap(offsets.keys.map { ($0, topicID(of: $0)) }), patienceMs: patienceMs,
                    deadline: now.advanced(byMs: patienceMs), generation: generation))
        }
        return lastCommitID
    }

    /// Which topic of the name it is that is read; zero where that is not known.
    private func topicID(of partition: TopicPartition) -> UUID128 {
        releasing?.topicIDs[partition] ?? owned[partition]?.topicID ?? .zero
    }

    private func isBeingLost(_ partition: TopicPartition) -> Bool {
        releasing.map { $0.reason == .lost && $0.partitions.contains(partition) } ?? false
    }

    private func lostPlace(_ why: String) -> ClientError {
        .refused(what: "commit offsets of group \(groupID)", .illegalGeneration, message: "lost its place: \(why)")
    }

    /// Gives everything up in order, leaves, and ends with the effect `closed`.
    package mutating func close(patienceMs: Int64? = nil, at now: Instant) {
        guard !isClosing else { return }
        let patienceMs = patienceMs ?? configuration.closePatienceMs
        closeBy = now.advanced(byMs: patienceMs)
        leaveBy = now.advanced(byMs: patienceMs - patienceMs / 4)
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
        guard membership == .member, release.reason != .closing else { return }
        membershipAt = now
        if !isNextGeneration { rejoinReason = rejoinReason ?? "gave up partitions that others are to have" }
    }

    // MARK: The coordinator

    package mutating func found(_ node: NodeID, servesNextGeneration: Bool, at now: Instant) {
        isFinding = false
        self.servesNextGeneration = servesNextGeneration && !isNextGenerationRefused
        if coordinator == node {
            // It is slow, and still the one; or holds back, as it may, what it will answer when others have joined.
            if requests.values.allSatisfy({ $0.isHeldBack || $0.lateAt > now }) { troubles[.membership] = nil }
            for id in requests.keys { requests[id]?.lateAt = now.advanced(byMs: configuration.lateAnswerMs) }
            return
        }
        if coordinator != nil { forgetCoordinator() }
        coordinator = node
    }

    package mutating func notFound(_ error: ClientError, at now: Instant) {
        isFinding = false
        if !error.isRetriable { return fail(error, at: now) }
        struggle(.membership, error.description, at: now)
        findAt = findBackoff.pause(configuration.retryPauseMs, from: now)
    }

    /// Nothing goes forward; for how long is remembered.
    mutating func struggle(_ trouble: Trouble, _ why: String, at now: Instant) {
        troubles[trouble] = Struggle(since: troubles[trouble]?.since ?? now, why: why)
    }

    /// Ends the membership where the reader wants to be told rather than wait for ever.
    mutating func losePatience(at now: Instant) {
        if !owned.values.contains(where: { $0.phase == .needsOffset || $0.phase == .isAsked }) {
            troubles[.offsets] = nil
        }
        guard let patienceMs = configuration.consumer.patienceMs,
            let longest = troubles.values.min(by: { $0.since < $1.since })
        else { return }
        let spentMs = now.milliseconds(since: longest.since)
        guard spentMs >= patienceMs else { return }
        fail(.gaveUp(what: "take part in group \(groupID)", afterMs: spentMs, last: longest.why), at: now)
    }

    /// The node coordinates the group no longer, or cannot be reached. Whatever it was asked is asked again.
    mutating func lostCoordinator(at now: Instant) {
        guard coordinator != nil else { return }
        struggle(.membership, "the coordinator moved or does not answer", at: now)
        forgetCoordinator()
        findAt = max(findAt, now.advanced(byMs: findBackoff.next(configuration.retryPauseMs)))
    }

    private mutating func forgetCoordinator() {
        if let coordinator, requests.values.contains(where: \.isHeldBack) { waiting.append(.abandon(coordinator)) }
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

    /// What a node says of the topics that were asked for: those that it does not name are not there.
    /// - Parameter unclear: those of which it cannot say anything now.
    package mutating func learned(topics found: [KnownTopic], unclear: [String] = [], at now: Instant) {
        guard let asked = askedTopics else { return }
        askedTopics = nil
        topicsLearnedAt = now
        troubles[.topics] = nil
        let news = SortedMap(found.map { ($0.name, $0) })
        for name in asked where news[name] != nil || !unclear.contains(name) { learn(news[name], of: name, at: now) }
        if wantedTopics == asked {
            wantedTopics = nil
            if membership == .assigning {
                deal(at: now)
            } else if isLeader, dealt == nil {
                // It came back to a group where it had dealt before (KIP-814).
                dealt = counts(of: asked)
            }
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

    /// A node that lags behind knows less than there is, and a rebalance for that would be followed by another: less is
    /// believed when it is said again some time later.
    mutating func learn(_ topic: KnownTopic?, of name: String, at now: Instant) {
        if let before = known[name], before.partitions > topic?.partitions ?? 0,
            topic.map({ $0.id == before.id }) ?? true
        {
            let since = doubted[name] ?? now
            doubted[name] = since
            guard now.milliseconds(since: since) >= secondLookMs else { return }
        }
        doubted[name] = nil
        known[name] = topic
    }

    func counts(of topics: [String]) -> SortedMap<String, Int32> {
        SortedMap(topics.map { ($0, known[$0]?.partitions ?? 0) })
    }

    private var secondLookMs: Int64 { min(2_000, configuration.metadataMaxAgeMs) }

    /// Between two looks of the leader at the topics; it looks sooner where one is waited for or doubted.
    var lookPauseMs: Int64 {
        let isSoon = !doubted.isEmpty || dealt?.values.contains(0) ?? false
        return isSoon ? secondLookMs : configuration.metadataMaxAgeMs
    }

    package mutating func failedToLearn(_ error: ClientError, at now: Instant) {
        askedTopics = nil
        // The group waits for its leader, and reading for the names of what was assigned.
        if membership == .assigning || unresolved != nil { struggle(.topics, error.description, at: now) }
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
        if releasing != nil { waiting.append(.releaseNow) }
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
        for (id, asked) in requests {
            switch asked.kind {
            case .commit: requests[id] = nil
            case .offsets(let partitions):
                requests[id] = nil
                askOffsetsAgain(partitions)
            case .membership, .leave: break
            }
        }
        isCommitAsked = false
        troubles[.topics] = nil
        endCommits(lostPlace(reason))
        if releasing != nil { waiting.append(.releaseNow) }
        if isNextGeneration { generation = 0 } else { generation = -1 }
        membershipAt = now.advanced(byMs: membershipBackoff.next(configuration.retryPauseMs))
    }
}
