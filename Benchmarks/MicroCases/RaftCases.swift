// A record on its way through the metadata quorum, as its leader and as a follower step it. Effects go into a new array
// each time, as Control's do.

import Model
import Raft

func raftCases() -> [MicroCase] {
    [
        MicroCase("Raft leader of 3, one append: written, flushed, fetched by a follower", calls: 400) {
            let member = QuorumMember.leader()
            return { count in
                for _ in 0..<count { member.appendAndCommit() }
                precondition(member.node.highWatermark == member.end, "committed")
            }
        },
        MicroCase("Raft follower, one answer: received, written, flushed", calls: 1_000) {
            let member = QuorumMember.follower()
            return { count in
                for _ in 0..<count { member.takeAnswer() }
                precondition(member.node.highWatermark == member.end - 1, "one behind what was fetched last")
            }
        },
    ]
}

private final class QuorumMember {
    var node: RaftNode
    var end: Offset
    private var request: RequestID = 0
    private let now: Instant

    private init(_ node: RaftNode, end: Offset, now: Instant) {
        self.node = node
        self.end = end
        self.now = now
    }

    private static let start = Instant(nanoseconds: 5_000_000_000)

    private static func key(_ id: NodeID) -> ReplicaKey { ReplicaKey(id: id, directoryID: UUID128(low: UInt64(id))) }

    /// Node 1 of the voters 1, 2 and 3, with ten records of epoch 3, all durable.
    private static func member(_ saved: QuorumState) -> RaftNode {
        var epochs = EpochHistory()
        epochs.assign(3, startOffset: 0)
        let voters = (1...3).map { id in
            Voter(key: key(id), endpoint: Endpoint(host: "n\(id)", port: 9_000 + UInt16(id)))
        }
        return RaftNode(
            key: key(1), settings: RaftSettings(), saved: saved,
            log: LogPositions(endOffset: 10, flushedEnd: 10, epochs: epochs), voters: VoterSet(voters),
            laterVoters: [], bootstrap: [], seed: 1, now: start)
    }

    /// Elected for epoch 4, its LeaderChange at offset 10 durable and fetched.
    static func leader() -> QuorumMember {
        let node = member(QuorumState(epoch: 3))
        let member = QuorumMember(node, end: 11, now: node.nextDeadline.advanced(byMs: 1_000))
        let saved = QuorumState(epoch: 4, voted: key(1))
        func vote(_ epoch: LeaderEpoch, preVote: Bool) -> RaftInput {
            .voteAnswered(
                VoteResponse(granted: true, epoch: epoch, leaderID: nil, preVote: preVote, requestEpoch: epoch),
                from: 2)
        }
        member.step(.ticked)
        member.step(vote(3, preVote: true))
        member.step(.saved(saved))
        member.step(vote(4, preVote: false))
        member.step(.appended(endOffset: 11, epochs: [EpochHistory.Entry(epoch: 4, startOffset: 10)], voters: []))
        member.step(.flushed(through: 11))
        precondition(member.node.isLeader, "elected")
        return member
    }

    /// Of node 2 in epoch 3, its first Fetch on its way.
    static func follower() -> QuorumMember {
        let member = QuorumMember(member(QuorumState(epoch: 3, leaderID: 2)), end: 10, now: start)
        member.step(.ticked)
        return member
    }

    private func step(_ input: RaftInput) {
        var effects: [RaftEffect] = []
        node.step(input, at: now, into: &effects)
        Sink.total += effects.count
    }

    func appendAndCommit() {
        end += 1
        request += 1
        step(.appended(endOffset: end, epochs: [], voters: []))
        step(.flushed(through: end))
        let fetch = QuorumFetch(
            replica: Self.key(2), fetchOffset: end, lastFetchedEpoch: 4, currentLeaderEpoch: 4, highWatermark: end - 1,
            maxWaitMs: 500)
        step(.fetchReceived(fetch, request))
    }

    /// One record; the leader has committed all before it.
    func takeAnswer() {
        step(
            .fetchAnswered(
                QuorumFetchAnswer(
                    from: 2, verdict: .read(from: end), leaderID: 2, epoch: 3, highWatermark: end, hasRecords: true)))
        end += 1
        step(.appended(endOffset: end, epochs: [], voters: []))
        step(.flushed(through: end))
    }
}
