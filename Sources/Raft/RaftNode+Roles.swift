// From one role to another: the only places where the epoch, the vote and the followed leader change.

import Model

extension RaftNode {
    /// The role that a start, or a restart with what the disk held, begins in.
    mutating func resumeRole(_ now: Instant) {
        guard isVoter else {
            role = .observer
            if let leader = saved.leaderID, leader != key.id { follow(leader, now) }
            return
        }
        if saved.leaderID == key.id {
            // It led this epoch before it went down and may not remember all that it promised then: this epoch is over
            // for it.
            role = .resigned
            leaderlessEpoch = saved.epoch
        } else if let leader = saved.leaderID {
            role = .follower
            follow(leader, now)
            return
        } else {
            role = .unattached
        }
        if voters.count == 1 {
            electionDeadline = now
        } else if saved.epoch == 0 {
            // A quorum just formed has no leader to disturb and need not wait for one.
            electionDeadline = now.advanced(byMs: rank * settings.electionTimeoutMs / 10)
        } else {
            electionDeadline = now.advanced(byMs: random.below(settings.electionTimeoutMs))
        }
    }

    /// Where this voter stands in the row of voters that are not proved dead, by id.
    var rank: Int64 {
        var rank: Int64 = 0
        for voter in voters.voters where voter.key.id < key.id && !deadPeers.contains(voter.key.id) { rank += 1 }
        return rank
    }

    /// Someone named an epoch, and perhaps who leads it. A higher one ends whatever role this node has.
    mutating func learned(
        _ epoch: LeaderEpoch, leaderID: NodeID?, _ now: Instant, _ effects: inout [RaftEffect]
    ) {
        let leader = leaderID == key.id ? nil : leaderID
        if epoch > self.epoch {
            if let leader {
                becomeFollower(of: leader, epoch: epoch, now, &effects)
            } else {
                becomeUnattached(epoch: epoch, now, &effects)
            }
        } else if epoch == self.epoch, let leader, followed == nil, leading == nil {
            // Within one epoch only news count: a leader named before and lost since would be found lost again.
            let isSearching = role == .observer && saved.leaderID == leader && leaderlessEpoch != epoch
            if saved.leaderID == nil || isSearching { becomeFollower(of: leader, epoch: epoch, now, &effects) }
        }
    }

    /// No leader is known for this epoch: wait for one or, in the end, stand.
    mutating func becomeUnattached(epoch: LeaderEpoch, _ now: Instant, _ effects: inout [RaftEffect]) {
        leaveRole(&effects)
        enter(epoch)
        role = isVoter ? .unattached : .observer
        electionDeadline = isVoter ? randomElectionDeadline(now) : .distantFuture
        if role == .observer { fetchRetryAt = nil }
    }

    mutating func becomeFollower(
        of leader: NodeID, epoch: LeaderEpoch, _ now: Instant, _ effects: inout [RaftEffect]
    ) {
        precondition(leader != key.id, "no node follows itself")
        leaveRole(&effects)
        enter(epoch)
        saved.leaderID = leader
        leaderlessEpoch = nil
        role = isVoter ? .follower : .observer
        follow(leader, now)
    }

    mutating func follow(_ leader: NodeID, _ now: Instant) {
        followed = leader
        if lastLeader?.id != leader { lastLeader = LastLeader(id: leader, heardAt: now) }
        fetchRetryAt = nil
        electionDeadline = fetchDeadline(now)
    }

    /// Followers whom a leader leaves at the same moment stand one after the other, or they would split the vote.
    func fetchDeadline(_ now: Instant) -> Instant {
        now.advanced(byMs: settings.fetchTimeoutMs + rank * settings.deathRankDelayMs)
    }

    mutating func randomElectionDeadline(_ now: Instant) -> Instant {
        now.advanced(byMs: settings.electionTimeoutMs + random.below(settings.electionTimeoutMs))
    }

    /// Ends what belongs to the present role. A deposed leader answers whoever still waits, in the name of the epoch it
    /// led, before it says anything in a later one.
    mutating func leaveRole(_ effects: inout [RaftEffect]) {
        if let reign = leading {
            leading = nil
            for (_, parked) in reign.parked {
                refuseFetch(parked.request, .notLeaderOrFollower, &effects)
            }
            if let change = reign.voterChange {
                answer(.answerVoterChange(change.request, .notLeaderOrFollower), &effects)
            }
        }
        canvass = nil
        followed = nil
        leaderAliveUntil = nil
        leaderHighWatermark = nil
    }

    /// Takes over a higher epoch: a new vote, no leader yet.
    private mutating func enter(_ epoch: LeaderEpoch) {
        precondition(epoch >= saved.epoch, "the epoch never falls")
        guard epoch > saved.epoch else { return }
        saved = QuorumState(epoch: epoch)
        withdrawVotes()
    }

    /// A vote promised in an older epoch that never got to the disk is not promised: its answer turns into a refusal.
    private mutating func withdrawVotes() {
        for (index, effect) in deferredAnswers.enumerated() {
            guard case .answerVote(let id, var response) = effect, response.granted else { continue }
            response.granted = false
            response.epoch = epoch
            response.leaderID = nil
            deferredAnswers[index] = .answerVote(id, response)
        }
    }

    // MARK: Standing

    /// The time this role waits has run out.
    mutating func patienceEnded(_ now: Instant) {
        switch role {
        case .follower, .unattached, .resigned: becomeProspective(now)
        case .prospective, .candidate: loseRound(now)
        case .observer:
            // The leader does not answer: ask around again.
            followed = nil
            leaderHighWatermark = nil
            electionDeadline = .distantFuture
            fetchRetryAt = nil
        case .leader: break
        }
    }

    /// Asks whether an election could be won before anyone's epoch is raised for it (KIP-996).
    mutating func becomeProspective(_ now: Instant) {
        guard isVoter, !isStopping else {
            electionDeadline = .distantFuture
            return
        }
        followed = nil
        leaderHighWatermark = nil
        role = .prospective
        openCanvass(preVote: true, now)
    }

    mutating func becomeCandidate(_ now: Instant) {
        precondition(isVoter && role == .prospective, "only a voter that won its pre-vote stands")
        guard epoch < .max else { return loseRound(now) }
        // Mutant: an epoch that has a leader, or a vote of this very node, gets another (R1, R2).
        if settings.plantedBug != .standsInOldEpoch || epoch == 0 { enter(epoch + 1) }
        leaderAliveUntil = nil
        saved.voted = key
        role = .candidate
        openCanvass(preVote: false, now)
    }

    private mutating func openCanvass(preVote: Bool, _ now: Instant) {
        let others = voters.ids.filter { $0 != key.id }
        canvass = Canvass(preVote: preVote, granted: [key], askAt: SortedMap(others.map { ($0, now) }))
        electionDeadline = randomElectionDeadline(now)
    }

    /// Refused or unanswered: back to what it was, and try again later.
    mutating func loseRound(_ now: Instant) {
        let wasProspective = role == .prospective
        canvass = nil
        // With proof of death the others are about to have it too, and a split vote is settled by standing in a row.
        let backoffMs =
            leaderlessEpoch == epoch || !deadPeers.isEmpty
            ? rank * 2 * settings.deathRankDelayMs + random.below(settings.deathRankDelayMs)
            : random.below(settings.electionBackoffMaxMs)
        let again = now.advanced(byMs: settings.retryBackoffMs + backoffMs)
        if wasProspective, let leader = saved.leaderID, leader != key.id, leaderlessEpoch != epoch {
            role = .follower
            follow(leader, now)
        } else {
            role = .unattached
        }
        electionDeadline = again
    }
}
