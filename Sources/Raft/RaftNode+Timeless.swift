// A quorum member without a clock, for the exhaustive search: what time could bring may come at any moment.

import Model

/// What time does to a quorum member, as far as it can matter to safety.
package enum RaftTimer: Hashable, Sendable {
    /// The role's patience ends: a follower asks for pre-votes, a round of votes is lost.
    case patience
    /// No majority fetched for too long: the leader resigns.
    case quorumCheck
    /// A voter is told of the reign once more.
    case beginQuorumEpoch(NodeID)
}

extension RaftNode {
    /// When the search steps every node: always.
    package static let searchMoment = Instant(nanoseconds: 1 << 50)
    private static let later = Instant(nanoseconds: 1 << 60)

    /// Reduces every time to "due" or "at some moment", and drops those that only tell an operator something. A pause
    /// before a request is sent again is over at once: a request that stays on its way for as long says the same. A
    /// leader is never taken for alive, so a pre-vote is refused for the log only: a refusal for a live leader is a
    /// vote request that got lost.
    package mutating func forgetTimes() {
        let now = Self.searchMoment
        if electionDeadline != .distantFuture { electionDeadline = Self.later }
        leaderAliveUntil = nil
        lastLeader = nil
        fetchRetryAt = nil
        random = SeededRandom(seed: 0)
        for id in canvass?.askAt.keys ?? [] { canvass?.askAt[id] = now }
        guard var reign = leading else { return }
        for key in reign.replicas.keys {
            guard let known = reign.replicas[key] else { continue }
            var timeless = ReplicaProgress(key: key, at: now)
            timeless.fetchedOffset = known.fetchedOffset
            reign.replicas[key] = timeless
        }
        for key in reign.parked.keys { reign.parked[key]?.deadline = Self.later }
        for id in reign.beginAt.keys {
            if let at = reign.beginAt[id], at > now { reign.beginAt[id] = Self.later }
        }
        leading = reign
    }

    /// Which timers run, in a fixed order.
    package var timers: [RaftTimer] {
        guard let reign = leading else { return electionDeadline == .distantFuture ? [] : [.patience] }
        return [.quorumCheck] + reign.beginAt.keys.map { .beginQuorumEpoch($0) }
    }

    /// Lets one timer run out; the next input, `.ticked` for instance, does what follows.
    package mutating func expire(_ timer: RaftTimer) {
        switch timer {
        case .patience: electionDeadline = Self.searchMoment
        case .quorumCheck:
            for key in leading?.replicas.keys ?? [] { leading?.replicas[key]?.lastContact = .zero }
        case .beginQuorumEpoch(let id): leading?.beginAt[id] = Self.searchMoment
        }
    }

    /// Whether the answer to that request waits for the disk.
    package func owesAnswer(to id: RequestID) -> Bool {
        deferredAnswers.contains { effect in
            switch effect {
            case .answerVote(let owed, _), .answerBeginQuorumEpoch(let owed, _, _, _),
                .answerEndQuorumEpoch(let owed, _, _, _), .answerFetch(let owed, _, _, _, _),
                .answerVoterChange(let owed, _):
                owed == id
            default: false
            }
        }
    }
}
