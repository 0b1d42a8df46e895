// Who votes: one change at a time, in force from the moment it is in the log (KIP-853, Ongaro's thesis §4.1).

import Model

extension RaftNode {
    mutating func voterAdditionRequested(
        _ voter: Voter, _ id: RequestID, _ now: Instant, _ effects: inout [RaftEffect]
    ) {
        if let error = voterChangeRefusal { return answer(.answerVoterChange(id, error), &effects) }
        guard voters.voter(voter.key.id) == nil else {
            return answer(.answerVoterChange(id, .duplicateVoter), &effects)
        }
        // A voter that lags would have every commit wait for it.
        guard let progress = leading?.replicas[voter.key], let end = progress.fetchedOffset, end >= highWatermark,
            let last = progress.lastFetch, last.advanced(byMs: settings.checkQuorumMs) > now
        else { return answer(.answerVoterChange(id, .requestTimedOut), &effects) }
        changeVoters(to: voters.adding(voter), id, &effects)
    }

    mutating func voterRemovalRequested(_ replica: ReplicaKey, _ id: RequestID, _ effects: inout [RaftEffect]) {
        if let error = voterChangeRefusal { return answer(.answerVoterChange(id, error), &effects) }
        guard voters.contains(replica) else { return answer(.answerVoterChange(id, .voterNotFound), &effects) }
        guard voters.count > 1 else { return answer(.answerVoterChange(id, .invalidRequest), &effects) }
        changeVoters(to: voters.removing(replica), id, &effects)
    }

    /// Why no change can begin now. Two changes under way, or one begun before this leader committed in its own epoch,
    /// could leave two majorities that do not meet (R8).
    private var voterChangeRefusal: ErrorCode? {
        guard let reign = leading else { return .notLeaderOrFollower }
        let isSettled = laterVoters.last.map { $0.offset < highWatermark } ?? true
        return reign.voterChange == nil && isHighWatermarkOfEpoch && isSettled ? nil : .requestTimedOut
    }

    private mutating func changeVoters(to voters: VoterSet, _ id: RequestID, _ effects: inout [RaftEffect]) {
        leading?.voterChange = VoterChange(request: id, offset: nil)
        pendingAppends.append(.voters)
        effects.append(.appendVoters(voters, epoch: epoch))
    }

    /// Voters records were appended to the log; the newest rules at once.
    mutating func votersFound(_ found: [VotersAt], _ now: Instant, _ effects: inout [RaftEffect]) {
        if let change = leading?.voterChange, change.offset == nil {
            leading?.voterChange?.offset = found.last?.offset
        }
        votersInForceChanged(now, &effects)
    }

    /// Takes the newest voters of the log into force, which may make this node a voter, or one no more.
    mutating func votersInForceChanged(_ now: Instant, _ effects: inout [RaftEffect]) {
        let wasVoter = role != .observer && leading == nil
        voters = laterVoters.last?.voters ?? baseVoters
        if leading != nil { return reignVotersChanged(now) }
        if isVoter, role == .observer {
            role = followed == nil ? .unattached : .follower
            if followed == nil { electionDeadline = randomElectionDeadline(now) }
        } else if !isVoter, wasVoter {
            canvass = nil
            role = .observer
            if followed == nil { electionDeadline = .distantFuture }
        }
    }

    private mutating func reignVotersChanged(_ now: Instant) {
        for voter in voters.voters where voter.key != key {
            if leading?.replicas[voter.key] == nil {
                leading?.replicas[voter.key] = ReplicaProgress(key: voter.key, at: now)
            }
            if leading?.beginAt[voter.key.id] == nil { leading?.beginAt[voter.key.id] = now }
        }
        for id in leading?.beginAt.keys ?? [] where voters.voter(id) == nil { leading?.beginAt[id] = nil }
    }

    /// The high watermark moved: the change under way may be done, and a leader outside the committed voters has done
    /// its last service.
    mutating func voterChangeCommitted(_ now: Instant, _ effects: inout [RaftEffect]) {
        if let change = leading?.voterChange, let offset = change.offset, offset < highWatermark {
            leading?.voterChange = nil
            answer(.answerVoterChange(change.request, .none), &effects)
        }
        let isSettled = laterVoters.last.map { $0.offset < highWatermark } ?? true
        if isSettled, !isVoter, leading != nil { resign(now, &effects) }
    }
}
