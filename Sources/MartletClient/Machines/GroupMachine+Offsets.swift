// Committed offsets: read where reading begins, written where it stands.

import Model
import Wire

extension GroupMachine {
    // MARK: Where reading begins

    mutating func askOffsets(at now: Instant) {
        guard coordinator != nil, membership == .member, offsetsAt <= now, !isClosing else { return }
        let partitions = owned.filter { $0.value.phase == .needsOffset }.map(\.key)
        guard !partitions.isEmpty else { return }
        for partition in partitions { owned[partition]?.phase = .isAsked }
        let topics = byTopic(partitions).map { name, indexes in
            var topic = OffsetFetchRequest.Topic()
            (topic.name, topic.partitionIndexes) = (name, indexes)
            return topic
        }
        var group = OffsetFetchRequest.Group()
        (group.groupID, group.topics) = (groupID, topics)
        if isNextGeneration { (group.memberID, group.memberEpoch) = (memberID, generation) }
        var request = OffsetFetchRequest()
        (request.groupID, request.topics, request.groups) = (groupID, topics, [group])
        request.requireStable = true
        ask(.offsets(partitions), .fetchOffsets(request), at: now)
    }

    mutating func fetched(_ partitions: [TopicPartition], _ response: OffsetFetchResponse, at now: Instant) {
        let answer = response.groups.first
        let code = answer?.errorCode ?? response.errorCode
        var found = SortedMap<TopicPartition, OffsetFetchResponse.Partition>()
        for topic in answer?.topics ?? response.topics {
            for partition in topic.partitions {
                found[TopicPartition(topic.name, partition.partitionIndex)] = partition
            }
        }
        var beginnings: [Beginning] = []
        var trouble = code
        for name in partitions where owned[name]?.phase == .isAsked {
            guard code == .none, let partition = found[name], partition.errorCode == .none else {
                if trouble == .none { trouble = found[name]?.errorCode ?? .unknownServerError }
                owned[name]?.phase = .needsOffset
                continue
            }
            owned[name]?.phase = .reading
            var committed: OffsetAndMetadata?
            if partition.committedOffset >= 0 {
                committed = OffsetAndMetadata(
                    partition.committedOffset, leaderEpoch: partition.committedLeaderEpoch.unlessNegative,
                    metadata: partition.metadata ?? "")
            }
            owned[name]?.committed = committed?.offset
            beginnings.append(Beginning(partition: name, committed: committed))
        }
        if !beginnings.isEmpty { waiting.append(.begin(beginnings)) }
        guard trouble != .none else {
            troubles[.offsets] = nil
            return offsetsBackoff.reset()
        }
        struggle(.offsets, "read the committed offsets of group \(groupID): \(trouble)", at: now)
        if isOfCoordinator(trouble, at: now) { return }
        switch trouble {
        // The next heartbeat finds out what became of this member.
        case .unknownMemberId, .staleMemberEpoch, .illegalGeneration, .fencedMemberEpoch: break
        case _ where trouble.isRetriable: break
        default:
            return fail(
                .refused(what: "read the committed offsets of group \(groupID)", trouble, message: nil), at: now)
        }
        offsetsAt = offsetsBackoff.pause(configuration.retryPauseMs, from: now)
    }

    // MARK: Commits

    mutating func commitByItself(at now: Instant) {
        guard let autoCommitAt, autoCommitAt <= now, let ms = configuration.autoCommitIntervalMs else { return }
        self.autoCommitAt = now.advanced(byMs: ms)
        guard membership == .member, !isClosing, !commits.contains(where: { $0.reason == .automatic }) else { return }
        if owned.contains(where: { $0.value.phase == .reading }) { waiting.append(.givePositions) }
    }

    mutating func sendCommits(at now: Instant) {
        guard coordinator != nil, !isCommitAsked, !memberID.isEmpty, generation >= 0 else { return }
        // Joining anew: nothing could be committed in the group's name.
        guard !isNextGeneration || generation > 0 else { return }
        while let place = commits.firstIndex(where: { $0.retryAt <= now && !$0.waitsForMember && !isOvertaking($0) }) {
            let commit = commits[place]
            if let anew = commit.offsets.keys.first(where: { isOfAnEarlierTopic($0, commit) }) {
                commits[place].offsets[anew] = nil
                // Nobody waits for the offset of a topic that was deleted, unless it was asked for.
                if commit.reason == .asked || commits[place].offsets.isEmpty {
                    endCommit(commit.id, refusal(anew, .unknownTopicId), at: now)
                }
                continue
            }
            guard commit.reason != .release, commit.generation != generation,
                let gone = commit.offsets.keys.first(where: { owned[$0] == nil })
            else { return send(commitAt: place, at: now) }
            let error = ClientError.refused(
                what: "commit the offset of \(gone) in group \(groupID)", .illegalGeneration,
                message: "a rebalance gave it to another member")
            endCommit(commit.id, error, at: now)
        }
    }

    private mutating func send(commitAt place: Int, at now: Instant) {
        isCommitAsked = true
        // It goes first, so that the answer belongs to the first.
        commits.insert(commits.remove(at: place), at: 0)
        commits[0].generation = generation
        var request = OffsetCommitRequest()
        (request.groupID, request.memberID) = (groupID, memberID)
        request.generationIDOrMemberEpoch = generation
        request.groupInstanceID = configuration.groupInstanceID
        request.topics = offsetTopics(commits[0].offsets)
        if isNextGeneration {
            for place in request.topics.indices {
                request.topics[place].topicID = topicID(in: request.topics[place], commits[0])
            }
        }
        ask(.commit, .commit(request), at: now)
    }

    /// Which topic of the name it was that was read; zero where that is not known of all its partitions.
    private func topicID(in topic: OffsetCommitRequest.Topic, _ commit: Commit) -> UUID128 {
        let ids = Set(
            topic.partitions.map { commit.topicIDs[TopicPartition(topic.name, $0.partitionIndex)] ?? .zero })
        return ids.count == 1 ? ids.first ?? .zero : .zero
    }

    /// The topic was made anew under its name since.
    private func isOfAnEarlierTopic(_ partition: TopicPartition, _ commit: Commit) -> Bool {
        guard let id = commit.topicIDs[partition], id != .zero,
            let now = owned[partition]?.topicID, now != .zero
        else { return false }
        return id != now
    }

    /// An older one of the same partition comes first, or it would set the offset back when its turn comes again.
    private func isOvertaking(_ commit: Commit) -> Bool {
        commits.contains { other in
            other.id < commit.id && commit.offsets.keys.contains { other.offsets[$0] != nil }
        }
    }

    mutating func endLateCommits(at now: Instant) {
        for commit in commits where commit.deadline <= now {
            let last = commit.lastError?.description ?? "the coordinator of the group did not answer"
            let error = ClientError.gaveUp(
                what: "commit offsets of group \(groupID)", afterMs: commit.patienceMs, last: last)
            endCommit(commit.id, error, at: now)
        }
    }

    private mutating func endCommit(_ id: Int, _ error: ClientError?, at now: Instant) {
        guard let place = commits.firstIndex(where: { $0.id == id }) else { return }
        let commit = commits.remove(at: place)
        if isCommitAsked, place == 0, let asked = requests.first(where: { $0.value.kind == .commit }) {
            requests[asked.key] = nil
            isCommitAsked = false
        }
        if error == nil { note(commit.offsets) }
        waiting.append(.committed(id, error))
        if releasing?.commitID == id { endRelease(at: now) }
    }

    mutating func committed(_ response: OffsetCommitResponse, at now: Instant) {
        guard let commit = commits.first else { return }
        var codes = SortedMap<TopicPartition, ErrorCode>()
        for topic in response.topics {
            for partition in topic.partitions where partition.errorCode != .none {
                let name = TopicPartition(topic.name, partition.partitionIndex)
                if commit.offsets[name] != nil { codes[name] = partition.errorCode }
            }
        }
        // What the coordinator has it has: only what it refused goes out again.
        note(SortedMap(commit.offsets.filter { codes[$0.key] == nil }.map { ($0.key, $0.value) }))
        // Nobody waits for the offset of a topic that was deleted, unless it was asked for.
        let open = codes.filter { commit.reason == .asked || !$0.value.tellsOfNoTopic }
        guard let worst = open.first(where: { !$0.value.isRetriable }) ?? open.first else {
            findBackoff.reset()
            return endCommit(commit.id, codes.first { _ in true }.map { refusal($0.key, $0.value) }, at: now)
        }
        commits[0].offsets = SortedMap(open.compactMap { one in commit.offsets[one.key].map { (one.key, $0) } })
        let error = refusal(worst.key, worst.value)
        commits[0].lastError = error
        refused(commits[0], worst.value, error, at: now)
    }

    private func refusal(_ partition: TopicPartition, _ code: ErrorCode) -> ClientError {
        .refused(what: "commit the offset of \(partition) in group \(groupID)", code, message: nil)
    }

    private mutating func note(_ offsets: SortedMap<TopicPartition, OffsetAndMetadata>) {
        for (partition, position) in offsets { owned[partition]?.committed = position.offset }
    }

    private mutating func refused(_ commit: Commit, _ code: ErrorCode, _ error: ClientError, at now: Instant) {
        switch code {
        case .illegalGeneration, .unknownMemberId, .fencedMemberEpoch, .rebalanceInProgress, .staleMemberEpoch:
            outdated(commit, code, error, at: now)
        case .fencedInstanceId: fail(error, at: now)
        case _ where isOfCoordinator(code, at: now): break
        case _ where code.isRetriable: pauseCommit(at: now)
        default: endCommit(commit.id, error, at: now)
        }
    }

    private mutating func pauseCommit(at now: Instant) {
        var backoff = commits[0].backoff
        commits[0].retryAt = backoff.pause(configuration.retryPauseMs, from: now)
        commits[0].backoff = backoff
    }

    /// The group has moved on since the commit was made, or moves on now.
    private mutating func outdated(_ commit: Commit, _ code: ErrorCode, _ error: ClientError, at now: Instant) {
        let isCurrent = membership == .member && commit.generation == generation
        if isCurrent, code == .illegalGeneration || code == .unknownMemberId || code == .fencedMemberEpoch {
            if code == .unknownMemberId, !isNextGeneration { memberID = "" }
            losePlace("a commit was refused", at: now)
            return endCommit(commit.id, error, at: now)
        }
        // What goes to somebody else cannot be committed any more after that.
        let isStillOwned = commit.offsets.allSatisfy { owned[$0.key] != nil }
        let isLate = code == .staleMemberEpoch || (code == .rebalanceInProgress && membership == .member)
        guard isStillOwned || (commit.reason == .release && isLate) else { return endCommit(commit.id, error, at: now) }
        commits[0].waitsForMember = membership != .member
        pauseCommit(at: now)
    }
}

func offsetTopics(_ offsets: SortedMap<TopicPartition, OffsetAndMetadata>) -> [OffsetCommitRequest.Topic] {
    var topics = SortedMap<String, [OffsetCommitRequest.Partition]>()
    for (name, position) in offsets {
        var entry = OffsetCommitRequest.Partition()
        entry.partitionIndex = name.partition
        entry.committedOffset = position.offset
        entry.committedLeaderEpoch = position.leaderEpoch ?? -1
        entry.committedMetadata = position.metadata
        topics[name.topic, default: []].append(entry)
    }
    return topics.map { name, partitions in
        var topic = OffsetCommitRequest.Topic()
        (topic.name, topic.partitions) = (name, partitions)
        return topic
    }
}

extension ErrorCode {
    fileprivate var tellsOfNoTopic: Bool { self == .unknownTopicOrPartition || self == .unknownTopicId }
}
