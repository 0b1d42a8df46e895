// One quorum member brought into a role by hand, for tests that ask for the exact effects of one input.

import Model
import Raft

let start = Instant(nanoseconds: 5_000_000_000)

func replica(_ id: NodeID, _ directory: UInt64? = nil) -> ReplicaKey {
    ReplicaKey(id: id, directoryID: UUID128(low: directory ?? UInt64(id)))
}

func voterSet(_ ids: NodeID...) -> VoterSet {
    VoterSet(ids.map { Voter(key: replica($0), endpoint: Cluster.endpoint($0)) })
}

/// A log of the given (epoch, first offset) pairs that ends at `end`, durable as far as said.
func positions(_ epochs: [(LeaderEpoch, Offset)], end: Offset, flushed: Offset? = nil) -> LogPositions {
    var history = EpochHistory()
    for (epoch, offset) in epochs { history.assign(epoch, startOffset: offset) }
    return LogPositions(endOffset: end, flushedEnd: flushed ?? end, epochs: history)
}

func node(
    _ id: NodeID = 1, saved: QuorumState = QuorumState(), log: LogPositions = LogPositions(),
    voters: VoterSet = voterSet(1, 2, 3), at now: Instant = start
) -> RaftNode {
    RaftNode(
        key: replica(id), settings: RaftSettings(), saved: saved, log: log, voters: voters, laterVoters: [],
        bootstrap: [], seed: 1, now: now)
}

extension RaftNode {
    /// Takes one input, demands sound state, and returns the effects as lines of the golden scripts.
    mutating func take(_ input: RaftInput, at now: Instant = start) -> [String] {
        var effects: [RaftEffect] = []
        step(input, at: now, into: &effects)
        precondition(violations().isEmpty, "\(violations())")
        return effects.map(render)
    }

    /// A follower of node 2 in epoch 3, its first Fetch on its way.
    static func follower(log: LogPositions = positions([(1, 0), (3, 5)], end: 10), id: NodeID = 1) -> RaftNode {
        var follower = node(id, saved: QuorumState(epoch: 3, leaderID: 2), log: log)
        _ = follower.take(.ticked)
        return follower
    }

    /// Node 1 leading epoch 4 of voters 1, 2, 3 with its LeaderChange at offset 10 appended and durable.
    static func leader(voters: VoterSet = voterSet(1, 2, 3)) -> RaftNode {
        var leader = node(1, saved: QuorumState(epoch: 3), log: positions([(1, 0), (3, 5)], end: 10), voters: voters)
        let later = leader.nextDeadline.advanced(byMs: 1_000)
        _ = leader.take(.ticked, at: later)
        for preVote in [true, false] where voters.count > 1 {
            let epoch: LeaderEpoch = preVote ? 3 : 4
            _ = leader.take(
                .voteAnswered(
                    VoteResponse(
                        granted: true, epoch: epoch, leaderID: nil, preVote: preVote, requestEpoch: epoch),
                    from: 2), at: later)
            if preVote { _ = leader.take(.saved(QuorumState(epoch: 4, voted: replica(1))), at: later) }
        }
        if voters.count == 1 { _ = leader.take(.saved(QuorumState(epoch: 4, voted: replica(1))), at: later) }
        _ = leader.take(
            .appended(endOffset: 11, epochs: [EpochHistory.Entry(epoch: 4, startOffset: 10)], voters: []), at: later)
        _ = leader.take(.flushed(through: 11), at: later)
        return leader
    }
}

func fetch(
    _ replica: ReplicaKey, _ offset: Offset, last: LeaderEpoch = 4, epoch: LeaderEpoch = 4, highWatermark: Offset = 0
) -> QuorumFetch {
    QuorumFetch(
        replica: replica, fetchOffset: offset, lastFetchedEpoch: last, currentLeaderEpoch: epoch,
        highWatermark: highWatermark, maxWaitMs: 500)
}
