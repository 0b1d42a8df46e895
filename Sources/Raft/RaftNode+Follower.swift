// Following: one Fetch at a time, each saying what is durable here; records, truncation or a snapshot in answer.

import Model

extension RaftNode {
    mutating func beginQuorumEpochReceived(
        _ leader: NodeID, _ epoch: LeaderEpoch, _ voter: ReplicaKey, _ id: RequestID, _ now: Instant,
        _ effects: inout [RaftEffect]
    ) {
        heard(from: leader, now)
        var error = ErrorCode.none
        if voter != key {
            error = .invalidVoterKey
        } else if epoch < self.epoch {
            error = .fencedLeaderEpoch
        } else if leader == key.id || (epoch == self.epoch && (saved.leaderID ?? leader) != leader) {
            error = .invalidRequest
        } else if epoch > self.epoch || followed != leader {
            becomeFollower(of: leader, epoch: epoch, now, &effects)
        }
        answer(
            .answerBeginQuorumEpoch(id, error: error, epoch: self.epoch, leaderID: leaderID), &effects)
    }

    // MARK: Fetching

    /// Whom to fetch from now: the leader, or for an observer that knows none the next node that may know it.
    private var fetchTarget: NodeID? {
        if let followed { return followed }
        guard role == .observer else { return nil }
        let candidates = searchTargets
        return candidates.isEmpty ? nil : candidates[searchIndex % candidates.count]
    }

    private var searchTargets: [NodeID] {
        var targets = bootstrap.filter { $0 != key.id }
        for id in voters.ids where id != key.id && !targets.contains(id) { targets.append(id) }
        return targets
    }

    /// Whether nothing but a pause stands against the next Fetch. Its offset vouches for everything below, so the log
    /// must be at rest and durable.
    var canFetch: Bool {
        guard mayTalk, pendingAppends.isEmpty, pendingSnapshot == nil,
            // Mutant: it vouches for what the power may take (R6).
            log.flushedEnd == log.endOffset || settings.plantedBug == .quorumFollowerClaimsUnflushed,
            let target = fetchTarget
        else { return false }
        return !fetches.contains { $0.to == target && $0.epoch == epoch }
    }

    mutating func fetchIfDue(_ now: Instant, _ effects: inout [RaftEffect]) {
        guard canFetch, fetchRetryAt.map({ $0 <= now }) ?? true, let target = fetchTarget else { return }
        fetchRetryAt = nil
        fetches.append(FetchInFlight(to: target, epoch: epoch, logEnd: log.end))
        let fetch = QuorumFetch(
            replica: key, fetchOffset: log.endOffset, lastFetchedEpoch: log.end.epoch, currentLeaderEpoch: epoch,
            highWatermark: highWatermark, maxWaitMs: followed == nil ? 0 : settings.fetchMaxWaitMs)
        effects.append(.sendFetch(fetch, to: target))
    }

    /// The answers of one node come in the order of the requests, so the oldest one is meant.
    private mutating func resolveFetch(to id: NodeID) -> FetchInFlight? {
        guard let index = fetches.firstIndex(where: { $0.to == id }) else { return nil }
        return fetches.remove(at: index)
    }

    mutating func fetchAnswered(
        _ answer: QuorumFetchAnswer, _ now: Instant, _ effects: inout [RaftEffect]
    ) {
        heard(from: answer.from, now)
        let fetch = resolveFetch(to: answer.from)
        let wasSearching = role == .observer && followed == nil
        learned(answer.epoch, leaderID: answer.leaderID, now, &effects)
        guard let fetch else { return }
        let again = now.advanced(byMs: settings.retryBackoffMs)
        if wasSearching {
            // Who leads was all that was asked; a leader learned of is fetched from in settle.
            if followed == nil {
                searchIndex += 1
                fetchRetryAt = again
            }
            return
        }
        guard fetch.epoch == epoch, followed == answer.from else { return }
        guard answer.epoch == epoch else {
            fetchRetryAt = again
            return
        }
        switch answer.verdict {
        case .error(.notLeaderOrFollower):
            // Its own word that this epoch is over, for an epoch is led once.
            let delayMs = isVoter ? rank * settings.deathRankDelayMs : 0
            leaderEnded(standAfterMs: delayMs, now)
        case .error:
            fetchRetryAt = again
        case .diverging(let epoch, let endOffset):
            guard fetch.logEnd == log.end else { return }
            leaderAnswered(now)
            diverged(epoch: epoch, endOffset: endOffset, now, &effects)
        case .snapshot(let end):
            guard fetch.logEnd == log.end, end.offset >= highWatermark, end.offset > 0 else {
                fetchRetryAt = again
                return
            }
            leaderAnswered(now)
            // The shell takes the chunks and reports the end of it, good or bad; until then no Fetch can prove the
            // leader alive.
            electionDeadline = .distantFuture
            pendingSnapshot = end
            effects.append(.fetchSnapshot(end, from: answer.from))
        case .read(let offset):
            guard offset == log.endOffset else {
                fetchRetryAt = again
                return
            }
            leaderAnswered(now)
            leaderHighWatermark = answer.highWatermark
            followHighWatermark(&effects)
            if answer.hasRecords {
                pendingAppends.append(.fetched)
                effects.append(.appendFetched)
            }
        }
    }

    private mutating func leaderAnswered(_ now: Instant) {
        leaderAliveUntil = now.advanced(byMs: settings.fetchTimeoutMs)
        electionDeadline = fetchDeadline(now)
    }

    mutating func requestFailed(_ request: RaftRequest, _ to: NodeID, _ now: Instant) {
        let again = now.advanced(byMs: settings.retryBackoffMs)
        switch request {
        case .fetch:
            guard let fetch = resolveFetch(to: to), fetch.epoch == epoch else { return }
            if role == .observer, followed == nil { searchIndex += 1 }
            if followed == nil || followed == to { fetchRetryAt = again }
        case .fetchSnapshot:
            guard pendingSnapshot != nil else { return }
            pendingSnapshot = nil
            fetchRetryAt = again
            if followed != nil { electionDeadline = fetchDeadline(now) }
        case .vote(let epoch, let preVote):
            guard let round = canvass, epoch == self.epoch, preVote == round.preVote, voters.voter(to) != nil else {
                return
            }
            let hasAnswered = round.granted.contains { $0.id == to } || round.refused.contains { $0.id == to }
            if !hasAnswered { canvass?.askAt[to] = again }
        case .beginQuorumEpoch(let epoch):
            guard epoch == self.epoch, leading?.beginAt[to] != nil else { return }
            leading?.beginAt[to] = now.advanced(byMs: settings.retryBackoffMs * 5)
        }
    }

    // MARK: The log

    /// Records were written, by this leader or from its answer. They count nowhere before they are flushed, but their
    /// Voters rule at once.
    mutating func appended(
        _ end: Offset, _ epochs: [EpochHistory.Entry], _ found: [VotersAt], _ now: Instant,
        _ effects: inout [RaftEffect]
    ) {
        precondition(end >= log.endOffset, "an append never shortens the log")
        if let first = pendingAppends.first, first.isMet(epochs: epochs, voters: found) { pendingAppends.removeFirst() }
        for entry in epochs { log.epochs.assign(entry.epoch, startOffset: entry.startOffset) }
        log.endOffset = end
        if leading != nil, let own = epochs.first(where: { $0.epoch == epoch }) {
            leading?.epochStartOffset = own.startOffset
        }
        if !found.isEmpty {
            laterVoters.append(contentsOf: found)
            votersFound(found, now, &effects)
        }
        if leading != nil { wakeFetches(now, &effects) }
    }

    /// Follower: min of what the leader committed and what is durable here. Leader: its own end counts like any
    /// voter's.
    mutating func flushed(_ through: Offset, _ now: Instant, _ effects: inout [RaftEffect]) {
        isFlushing = false
        log.flushedEnd = max(log.flushedEnd, min(through, log.endOffset))
        followHighWatermark(&effects)
        if leading != nil { commit(now, &effects) }
    }

    private mutating func followHighWatermark(_ effects: inout [RaftEffect]) {
        guard let committed = leaderHighWatermark else { return }
        // Mutant: committed here is what is not even there (R8, R3).
        let isUnclamped = settings.plantedBug == .quorumFollowerCommitsUnclamped
        raiseHighWatermark(to: isUnclamped ? committed : min(committed, log.flushedEnd), &effects)
    }

    /// KIP-279's step down the epochs: cut to where the leader's log and this one may last have been the same, and ask
    /// again.
    private mutating func diverged(
        epoch: LeaderEpoch, endOffset: Offset, _ now: Instant, _ effects: inout [RaftEffect]
    ) {
        guard let own = log.epochs.end(of: epoch, logEndOffset: log.endOffset) else {
            fetchRetryAt = now.advanced(byMs: settings.retryBackoffMs)
            return
        }
        var target = own.epoch == epoch ? min(endOffset, own.endOffset) : own.endOffset
        // Mutant: what this voter was counted for is gone for a while (R6, R4).
        if settings.plantedBug == .quorumTruncatesToHighWatermark { target = min(target, highWatermark) }
        guard target < log.endOffset else {
            fetchRetryAt = now.advanced(byMs: settings.retryBackoffMs)
            return
        }
        precondition(target >= highWatermark, "committed records are never cut: \(target) < \(highWatermark)")
        effects.append(.truncate(to: target))
        log.endOffset = target
        log.flushedEnd = min(log.flushedEnd, target)
        log.epochs.truncate(to: target)
        isFlushing = false
        leaderHighWatermark = nil
        let count = laterVoters.count
        laterVoters.removeAll { $0.offset >= target }
        if laterVoters.count != count { votersInForceChanged(now, &effects) }
    }

    mutating func snapshotInstalled(
        _ end: LogEnd, _ voters: VoterSet, _ now: Instant, _ effects: inout [RaftEffect]
    ) {
        precondition(leading == nil, "a leader never loads a snapshot")
        precondition(end.offset >= highWatermark, "a snapshot never takes back what is committed")
        pendingSnapshot = nil
        isFlushing = false
        var epochs = EpochHistory()
        epochs.assign(end.epoch, startOffset: end.offset)
        log = LogPositions(
            startOffset: end.offset, endOffset: end.offset, flushedEnd: end.offset, epochs: epochs, snapshotEnd: end)
        raiseHighWatermark(to: end.offset, &effects)
        baseVoters = voters
        laterVoters = []
        votersInForceChanged(now, &effects)
        if followed != nil { electionDeadline = fetchDeadline(now) }
    }

    /// A snapshot of ours ends at `offset`, and the log now begins there.
    mutating func logStartAdvanced(_ offset: Offset) {
        precondition(
            offset <= highWatermark && offset >= log.startOffset, "only what is committed goes into a snapshot")
        guard offset > log.startOffset else { return }
        log.snapshotEnd = LogEnd(offset: offset, epoch: log.epochs.epoch(at: offset - 1) ?? 0)
        log.startOffset = offset
        log.epochs.truncateStart(to: offset)
        if let covered = laterVoters.lastIndex(where: { $0.offset < offset }) {
            baseVoters = laterVoters[covered].voters
            laterVoters.removeFirst(covered + 1)
        }
    }
}

extension PendingAppend {
    /// Whether this report is the one waited for.
    func isMet(epochs: [EpochHistory.Entry], voters: [VotersAt]) -> Bool {
        switch self {
        case .leaderChange(let epoch): epochs.contains { $0.epoch == epoch }
        case .voters: !voters.isEmpty
        case .fetched: true
        }
    }
}
