// Leading: who has fetched how far, what is committed by that, and whether anyone still follows.

import Model

extension RaftNode {
    mutating func becomeLeader(granting: [ReplicaKey], _ now: Instant, _ effects: inout [RaftEffect]) {
        precondition(role == .candidate && saved.voted == key && mayTalk, "a leader won a vote that its own disk holds")
        precondition((log.epochs.latestEpoch ?? -1) < epoch, "a leader never meets records of its own epoch")
        canvass = nil
        role = .leader
        saved.leaderID = key.id
        electionDeadline = .distantFuture
        var reign = Leading()
        reign.granting = granting
        for voter in voters.voters where voter.key != key {
            reign.replicas[voter.key] = ReplicaProgress(key: voter.key, at: now)
            reign.beginAt[voter.key.id] = now
        }
        leading = reign
        pendingAppends.append(.leaderChange(epoch))
        effects.append(.appendLeaderChange(epoch: epoch, voters: voters, granting: granting))
    }

    // MARK: Making the reign known

    /// Tells every voter that does not fetch that this epoch has a leader, again and again.
    mutating func announceReign(_ now: Instant, _ effects: inout [RaftEffect]) {
        guard let reign = leading else { return }
        for (id, at) in reign.beginAt where at <= now {
            guard let voter = voters.voter(id) else { continue }
            leading?.beginAt[id] = now.advanced(byMs: settings.fetchTimeoutMs / 2)
            effects.append(.sendBeginQuorumEpoch(epoch: epoch, to: voter.key))
        }
    }

    mutating func beginQuorumEpochAnswered(
        _ from: NodeID, _ error: ErrorCode, _ epoch: LeaderEpoch, _ leaderID: NodeID?, _ now: Instant,
        _ effects: inout [RaftEffect]
    ) {
        heard(from: from, now)
        learned(epoch, leaderID: leaderID, now, &effects)
    }

    // MARK: Fetches

    mutating func fetchReceived(
        _ fetch: QuorumFetch, _ id: RequestID, _ now: Instant, _ effects: inout [RaftEffect]
    ) {
        heard(from: fetch.replica.id, now)
        if fetch.currentLeaderEpoch > epoch {
            learned(fetch.currentLeaderEpoch, leaderID: nil, now, &effects)
            return refuseFetch(id, .unknownLeaderEpoch, &effects)
        }
        guard fetch.currentLeaderEpoch == epoch else { return refuseFetch(id, .fencedLeaderEpoch, &effects) }
        guard leading != nil else { return refuseFetch(id, .notLeaderOrFollower, &effects) }
        guard fetch.fetchOffset >= 0, fetch.replica != key else { return refuseFetch(id, .invalidRequest, &effects) }
        // One Fetch of a replica waits at a time: this one says that the earlier is forgotten there.
        release(fetch.replica, &effects)
        noteContact(fetch.replica, now)
        var comparison = log.compare(offset: fetch.fetchOffset, lastEpoch: fetch.lastFetchedEpoch)
        // Mutant: the follower goes on behind records that this log does not have (R3).
        if settings.plantedBug == .quorumIgnoresDivergence, fetch.fetchOffset <= log.endOffset,
            case .diverges = comparison
        {
            comparison = .continues
        }
        switch comparison {
        case .diverges(let epoch, let endOffset):
            answerFetch(id, .diverging(epoch: epoch, endOffset: endOffset), &effects)
        case .gone:
            answerFetch(id, log.snapshotEnd.map(FetchVerdict.snapshot) ?? .error(.offsetOutOfRange), &effects)
        case .continues:
            noteFetch(fetch, now)
            // First what this Fetch commits, so that its own answer tells of it; a leader that was voted out may end by
            // it.
            commit(now, &effects)
            guard leading != nil else { return refuseFetch(id, .notLeaderOrFollower, &effects) }
            let isNews = fetch.fetchOffset < log.endOffset || fetch.highWatermark < highWatermark
            if isNews || fetch.maxWaitMs <= 0 || (leading?.parked.count ?? 0) >= RaftSettings.observersMax {
                answerFetch(id, .read(from: fetch.fetchOffset), &effects)
            } else {
                let wait = min(fetch.maxWaitMs, settings.fetchMaxWaitMs)
                leading?.parked[fetch.replica] = ParkedFetch(
                    request: id, fetchOffset: fetch.fetchOffset, knownHighWatermark: fetch.highWatermark,
                    deadline: now.advanced(byMs: wait))
            }
        }
    }

    mutating func fetchCancelled(_ id: RequestID) {
        guard let parked = leading?.parked, let index = parked.values.firstIndex(where: { $0.request == id }) else {
            return
        }
        leading?.parked[parked.keys[index]] = nil
    }

    mutating func refuseFetch(_ id: RequestID, _ error: ErrorCode, _ effects: inout [RaftEffect]) {
        answerFetch(id, .error(error), &effects)
    }

    private mutating func answerFetch(_ id: RequestID, _ verdict: FetchVerdict, _ effects: inout [RaftEffect]) {
        answer(
            .answerFetch(id, verdict, highWatermark: highWatermark, epoch: epoch, leaderID: leaderID), &effects)
    }

    /// Answers the waiting Fetch of that replica with whatever there is by now.
    private mutating func release(_ replica: ReplicaKey, _ effects: inout [RaftEffect]) {
        guard let parked = leading?.parked.removeValue(forKey: replica) else { return }
        answerFetch(parked.request, .read(from: parked.fetchOffset), &effects)
    }

    /// Answers the Fetches for which there is something new now: records, a higher watermark, or the end of their time.
    mutating func wakeFetches(_ now: Instant, _ effects: inout [RaftEffect]) {
        guard let waiting = leading?.parked else { return }
        for (replica, parked) in waiting {
            let isNews = parked.fetchOffset < log.endOffset || parked.knownHighWatermark < highWatermark
            if isNews || parked.deadline <= now { release(replica, &effects) }
        }
    }

    // MARK: Progress

    /// A voter's sign of life defers the quorum check and the next BeginQuorumEpoch. The same id on another disk is
    /// someone else.
    private mutating func noteContact(_ replica: ReplicaKey, _ now: Instant) {
        if leading?.replicas[replica] == nil {
            guard voters.contains(replica) || (leading?.replicas.count ?? 0) < RaftSettings.observersMax else { return }
            leading?.replicas[replica] = ReplicaProgress(key: replica, at: now)
        }
        leading?.replicas[replica]?.lastContact = now
        if voters.contains(replica), replica != key {
            leading?.beginAt[replica.id] = now.advanced(byMs: settings.fetchTimeoutMs)
        }
    }

    mutating func snapshotChunkFetched(_ replica: ReplicaKey, _ epoch: LeaderEpoch, _ now: Instant) {
        guard leading != nil, epoch == self.epoch, replica != key else { return }
        noteContact(replica, now)
    }

    /// The newest Fetch counts even when an earlier one said more: a replica is held to hold what it says it holds.
    private mutating func noteFetch(_ fetch: QuorumFetch, _ now: Instant) {
        guard var progress = leading?.replicas[fetch.replica] else { return }
        if fetch.fetchOffset >= log.endOffset {
            progress.lastCaughtUp = now
        } else if fetch.fetchOffset >= progress.endAtLastFetch, let last = progress.lastFetch {
            progress.lastCaughtUp = last
        }
        progress.fetchedOffset = fetch.fetchOffset
        progress.knownHighWatermark = fetch.highWatermark
        progress.endAtLastFetch = log.endOffset
        progress.lastFetch = now
        leading?.replicas[fetch.replica] = progress
    }

    /// Every replica this leader knows of, itself included, sorted by key; empty on others. For itself the times are
    /// nil and the offset is its durable end.
    package var progress: [ReplicaProgress] {
        guard let reign = leading else { return [] }
        var own = ReplicaProgress(key: key, at: startedAt)
        own.fetchedOffset = log.flushedEnd
        own.knownHighWatermark = highWatermark
        return (reign.replicas.values + [own]).sorted { $0.key < $1.key }
    }

    /// That replica as this leader knows it; nil on others, and for one that was not heard of.
    package func progress(of replica: ReplicaKey) -> ReplicaProgress? { progress.first { $0.key == replica } }

    // MARK: Committing

    /// What a majority of the voters in force holds durably is committed, once it reaches into this leader's own epoch
    /// (R4, R6).
    mutating func commit(_ now: Instant, _ effects: inout [RaftEffect]) {
        guard let start = leading?.epochStartOffset else { return }
        // Mutant: what only the page cache holds is committed (R6).
        let own = settings.plantedBug == .quorumLeaderCountsUnflushed ? log.endOffset : log.flushedEnd
        var ends: [Offset] = []
        for voter in voters.voters {
            ends.append(voter.key == key ? own : leading?.replicas[voter.key]?.fetchedOffset ?? 0)
        }
        ends.sort(by: >)
        guard voters.majority <= ends.count else { return }
        let held = ends[voters.majority - 1]
        // Mutant: figure 8 of the Raft paper (R4).
        guard held > start || settings.plantedBug == .commitsOldEpochByCount, held > highWatermark else { return }
        raiseHighWatermark(to: held, &effects)
        wakeFetches(now, &effects)
        voterChangeCommitted(now, &effects)
    }

    // MARK: Time, and the end

    mutating func leaderTicked(_ now: Instant, _ effects: inout [RaftEffect]) {
        wakeFetches(now, &effects)
        let forgotten = settings.observerForgottenMs
        for progress in leading?.replicas.values ?? [] where !voters.contains(progress.key) {
            if progress.lastContact.advanced(byMs: forgotten) <= now { leading?.replicas[progress.key] = nil }
        }
        if quorumDeadline <= now { resign(now, &effects) }
    }

    var nextLeaderDeadline: Instant {
        guard let reign = leading else { return .distantFuture }
        var next = quorumDeadline
        if mayTalk { next = reign.beginAt.values.reduce(next, min) }
        for parked in reign.parked.values { next = min(next, parked.deadline) }
        for progress in reign.replicas.values where !voters.contains(progress.key) {
            next = min(next, progress.lastContact.advanced(byMs: settings.observerForgottenMs))
        }
        return next
    }

    /// When this leader must take it that a majority follows someone else: it counts the voters that it heard of
    /// lately, and itself.
    private var quorumDeadline: Instant {
        guard let reign = leading else { return .distantFuture }
        var contacts: [Instant] = []
        for voter in voters.voters {
            contacts.append(voter.key == key ? .distantFuture : reign.replicas[voter.key]?.lastContact ?? .zero)
        }
        contacts.sort(by: >)
        guard voters.majority <= contacts.count else { return .distantFuture }
        return contacts[voters.majority - 1].advanced(byMs: settings.checkQuorumMs)
    }

    mutating func resignationRequested(_ now: Instant, _ effects: inout [RaftEffect]) {
        isStopping = true
        if leading != nil {
            resign(now, &effects)
        } else if role == .prospective || role == .candidate {
            becomeUnattached(epoch: epoch, now, &effects)
        }
        if followed == nil { electionDeadline = .distantFuture }
    }

    /// Gives up this epoch for good and names the voters that hold most of the log as those to stand first.
    mutating func resign(_ now: Instant, _ effects: inout [RaftEffect]) {
        guard let reign = leading else { return }
        let others = voters.voters.map(\.key).filter { $0 != key }
        func held(_ key: ReplicaKey) -> Offset { reign.replicas[key]?.fetchedOffset ?? -1 }
        let preferred = others.sorted { held($0) == held($1) ? $0 < $1 : held($0) > held($1) }
        if mayTalk {
            for voter in others {
                effects.append(.sendEndQuorumEpoch(epoch: epoch, preferredCandidates: preferred, to: voter.id))
            }
        }
        leaveRole(&effects)
        leaderlessEpoch = epoch
        role = isVoter ? .resigned : .observer
        electionDeadline = isVoter && !isStopping ? randomElectionDeadline(now) : .distantFuture
        fetchRetryAt = nil
    }
}
