// Votes: who is granted one, how a round is counted, and how a leader's end is learned of.

import Model

extension RaftNode {
    // MARK: Granting

    mutating func voteRequested(
        _ request: VoteRequest, _ id: RequestID, _ now: Instant, _ effects: inout [RaftEffect]
    ) {
        heard(from: request.candidate.id, now)
        // A replaced disk must not speak for the one before it (R5).
        // Mutant: it does (R5).
        guard request.voter == key || settings.plantedBug == .emptiedDiskVotes else {
            return refuseVote(request, id, .invalidVoterKey, &effects)
        }
        guard request.epoch >= epoch else { return refuseVote(request, id, .fencedLeaderEpoch, &effects) }
        // A candidate stands for an epoch that no log has yet; a pre-vote names the epoch its sender is in.
        let isSound = request.preVote ? request.epoch >= request.logEnd.epoch : request.epoch > request.logEnd.epoch
        guard isSound, request.candidate.id != key.id else {
            return refuseVote(request, id, .invalidRequest, &effects)
        }
        learned(request.epoch, leaderID: nil, now, &effects)
        let granted = request.preVote ? wouldVote(for: request, now) : vote(for: request, now, &effects)
        let response = VoteResponse(
            granted: granted, epoch: epoch, leaderID: leaderID, preVote: request.preVote, requestEpoch: request.epoch)
        answer(.answerVote(id, response), &effects)
    }

    private mutating func refuseVote(
        _ request: VoteRequest, _ id: RequestID, _ error: ErrorCode, _ effects: inout [RaftEffect]
    ) {
        let response = VoteResponse(
            error: error, granted: false, epoch: epoch, leaderID: leaderID, preVote: request.preVote,
            requestEpoch: request.epoch)
        answer(.answerVote(id, response), &effects)
    }

    /// Whether a candidate's log may lead mine. My whole log counts, durable or not: what is committed is durable on a
    /// majority, so it lies in the durable part of some voter and both measures are safe; but candidates state their
    /// whole log too, and only like compared with like leaves always one voter, the one with the greatest end, whom
    /// nobody refuses.
    private func isUpToDate(_ candidate: LogEnd) -> Bool {
        // Mutant: a shorter log of the same epoch leads (R4).
        if settings.plantedBug == .electionByEpochOnly { return candidate.epoch >= log.end.epoch }
        return candidate >= log.end
    }

    /// KIP-996: a pre-vote binds to nothing, is written nowhere and moves no deadline.
    private func wouldVote(for request: VoteRequest, _ now: Instant) -> Bool {
        if leading != nil { return false }
        if followed != nil, leaderlessEpoch != epoch, let alive = leaderAliveUntil, now < alive { return false }
        return isUpToDate(request.logEnd)
    }

    /// Once per epoch, and not when the epoch has its leader. An observer is asked only by a candidate whose log holds
    /// the Voters record that makes it a voter, by its full key: it must vote before it has that record itself, or a
    /// quorum that just grew could not replace its leader (Ongaro's thesis §4.1; KIP-853).
    private mutating func vote(
        for request: VoteRequest, _ now: Instant, _ effects: inout [RaftEffect]
    ) -> Bool {
        if saved.voted == request.candidate { return true }
        guard saved.voted == nil, saved.leaderID == nil, leading == nil, isUpToDate(request.logEnd) else {
            return false
        }
        becomeUnattached(epoch: epoch, now, &effects)
        saved.voted = request.candidate
        return true
    }

    // MARK: Asking

    mutating func askForVotes(_ now: Instant, _ effects: inout [RaftEffect]) {
        guard var round = canvass else { return }
        for (id, at) in round.askAt where at <= now {
            round.askAt[id] = nil
            guard let voter = voters.voter(id) else { continue }
            effects.append(
                .sendVote(
                    VoteRequest(
                        candidate: key, voter: voter.key, epoch: epoch, logEnd: log.end, preVote: round.preVote),
                    to: id))
        }
        canvass = round
    }

    mutating func voteAnswered(
        _ response: VoteResponse, _ from: NodeID, _ now: Instant, _ effects: inout [RaftEffect]
    ) {
        heard(from: from, now)
        learned(response.epoch, leaderID: response.leaderID, now, &effects)
        if response.epoch == epoch, response.leaderID == from, saved.leaderID == from, leaderlessEpoch == epoch {
            // The leader itself says that it still leads: the proof of its end was none.
            becomeFollower(of: from, epoch: epoch, now, &effects)
        }
        guard let round = canvass, round.preVote == response.preVote, response.requestEpoch == epoch,
            let voter = voters.voter(from), from != key.id
        else { return }
        if response.granted, response.error == .none {
            if !round.granted.contains(voter.key) {
                canvass?.granted.append(voter.key)
                canvass?.granted.sort()
            }
        } else if !round.granted.contains(voter.key), !round.refused.contains(voter.key) {
            canvass?.refused.append(voter.key)
        }
    }

    /// Counts only the votes of voters in force now (R5, R8). A candidate's own vote counts once it is durable.
    mutating func countVotes(_ now: Instant, _ effects: inout [RaftEffect]) {
        while let round = canvass {
            let granted = round.granted.filter(voters.contains)
            let refused = round.refused.filter(voters.contains)
            if granted.count >= voters.majority {
                if round.preVote {
                    becomeCandidate(now)
                    continue
                }
                if mayTalk { becomeLeader(granting: granted, now, &effects) }
            } else if voters.count - refused.count - deadSilent(granted, refused) < voters.majority {
                loseRound(now)
            }
            return
        }
    }

    /// Voters known to be gone that have not answered: they will not.
    private func deadSilent(_ granted: [ReplicaKey], _ refused: [ReplicaKey]) -> Int {
        voters.voters.count {
            deadPeers.contains($0.key.id) && !granted.contains($0.key) && !refused.contains($0.key)
        }
    }

    // MARK: The end of a leader

    /// With proof that the leader is gone the voters stand one after the other, so that the first meets no rival.
    mutating func peerDied(_ id: NodeID, _ now: Instant) {
        guard id != key.id else { return }
        if !deadPeers.contains(id) {
            deadPeers.append(id)
            deadPeers.sort()
        }
        guard leading == nil, saved.leaderID == id, leaderlessEpoch != epoch else { return }
        leaderEnded(standAfterMs: rank * settings.deathRankDelayMs, now)
    }

    /// The leader of this epoch leads no more. A voter stands after the given time; an observer asks around.
    mutating func leaderEnded(standAfterMs delayMs: Int64, _ now: Instant) {
        leaderlessEpoch = epoch
        followed = nil
        leaderAliveUntil = nil
        leaderHighWatermark = nil
        guard isVoter else {
            fetchRetryAt = now.advanced(byMs: settings.retryBackoffMs)
            electionDeadline = .distantFuture
            return
        }
        guard role != .prospective else { return }
        role = .unattached
        electionDeadline = isStopping ? .distantFuture : now.advanced(byMs: delayMs)
        if delayMs == 0 { patienceEnded(now) }
    }

    mutating func endQuorumEpochReceived(
        _ leader: NodeID, _ epoch: LeaderEpoch, _ preferred: [ReplicaKey], _ id: RequestID, _ now: Instant,
        _ effects: inout [RaftEffect]
    ) {
        heard(from: leader, now)
        var error = ErrorCode.none
        if epoch < self.epoch {
            error = .fencedLeaderEpoch
        } else if leader == key.id || (epoch == self.epoch && (saved.leaderID ?? leader) != leader) {
            error = .invalidRequest
        } else {
            if epoch > self.epoch || canvass?.preVote == false {
                becomeUnattached(epoch: epoch, now, &effects)
            }
            saved.leaderID = leader
            if leaderlessEpoch != epoch {
                let place = preferred.firstIndex(of: key) ?? preferred.count
                leaderEnded(standAfterMs: Int64(place) * settings.deathRankDelayMs, now)
            }
        }
        answer(
            .answerEndQuorumEpoch(id, error: error, epoch: self.epoch, leaderID: leaderID), &effects)
    }
}
