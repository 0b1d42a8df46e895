// Who is granted a vote, and what must be on disk before it is told.

import Model
import Raft
import Testing

struct VoteRequestedTests {
    func request(
        _ candidate: ReplicaKey, epoch: LeaderEpoch, log: LogEnd, preVote: Bool = false, voter: ReplicaKey = replica(1)
    ) -> RaftInput {
        .voteRequested(VoteRequest(candidate: candidate, voter: voter, epoch: epoch, logEnd: log, preVote: preVote), 7)
    }

    let end = LogEnd(offset: 10, epoch: 3)
    var unattached: RaftNode {
        var one = node(saved: QuorumState(epoch: 3), log: positions([(1, 0), (3, 5)], end: 10))
        _ = one.take(.ticked)
        return one
    }

    @Test func voteIsDurableBeforeItIsTold() {
        var voter = unattached
        let first = voter.take(request(replica(2), epoch: 4, log: end))
        #expect(first == ["save epoch=4 leader=none voted=2@2", "changeRole unattached epoch=4 leader=none"])
        let second = voter.take(.saved(QuorumState(epoch: 4, voted: replica(2))))
        #expect(second == ["answerVote #7 granted epoch=4 leader=none"])
    }

    @Test func secondCandidateOfAnEpochIsRefused() {
        var voter = unattached
        _ = voter.take(request(replica(2), epoch: 4, log: end))
        _ = voter.take(.saved(QuorumState(epoch: 4, voted: replica(2))))
        #expect(voter.take(request(replica(3), epoch: 4, log: end)) == ["answerVote #7 refused epoch=4 leader=none"])
        #expect(voter.take(request(replica(2), epoch: 4, log: end)) == ["answerVote #7 granted epoch=4 leader=none"])
    }

    @Test func sameCandidateOnAnotherDiskIsAnotherCandidate() {
        var voter = unattached
        _ = voter.take(request(replica(2), epoch: 4, log: end))
        _ = voter.take(.saved(QuorumState(epoch: 4, voted: replica(2))))
        #expect(
            voter.take(request(replica(2, 99), epoch: 4, log: end)) == ["answerVote #7 refused epoch=4 leader=none"])
    }

    @Test func shorterOrOlderLogIsRefusedButItsEpochIsTaken() {
        for log in [LogEnd(offset: 9, epoch: 3), LogEnd(offset: 99, epoch: 2)] {
            var voter = unattached
            let effects = voter.take(request(replica(2), epoch: 4, log: log))
            #expect(effects == ["save epoch=4 leader=none voted=-", "changeRole unattached epoch=4 leader=none"])
            #expect(voter.take(.saved(QuorumState(epoch: 4))) == ["answerVote #7 refused epoch=4 leader=none"])
        }
    }

    @Test func undurableTailOfTheVoterCounts() {
        var voter = node(saved: QuorumState(epoch: 3), log: positions([(3, 0)], end: 10, flushed: 5))
        _ = voter.take(.ticked)
        let shorter = request(replica(2), epoch: 3, log: LogEnd(offset: 9, epoch: 3), preVote: true)
        #expect(voter.take(shorter) == ["answerVote #7 pre refused epoch=3 leader=none"])
    }

    @Test func anotherDisksVoteIsNotForThisOneToGive() {
        var voter = unattached
        let effects = voter.take(request(replica(2), epoch: 9, log: end, voter: replica(1, 77)))
        #expect(effects == ["answerVote #7 refused INVALID_VOTER_KEY epoch=3 leader=none"])
    }

    @Test func oldEpochIsFenced() {
        var voter = unattached
        let effects = voter.take(request(replica(2), epoch: 2, log: LogEnd(offset: 1, epoch: 1)))
        #expect(effects == ["answerVote #7 refused FENCED_LEADER_EPOCH epoch=3 leader=none"])
    }

    @Test func voteOvertakenByAHigherEpochIsWithdrawn() {
        var voter = unattached
        _ = voter.take(request(replica(2), epoch: 4, log: end))
        _ = voter.take(.beginQuorumEpochReceived(leader: 3, epoch: 5, voter: replica(1), 8))
        let effects = voter.take(.saved(QuorumState(epoch: 5, leaderID: 3)))
        #expect(
            effects.prefix(2) == [
                "answerVote #7 refused epoch=5 leader=none", "answerBeginQuorumEpoch #8 NONE epoch=5 leader=n3",
            ])
    }

    @Test func observerVotesOnlyUnderItsOwnFullKey() {
        var observer = node(9, saved: QuorumState(epoch: 3), log: positions([(3, 0)], end: 10))
        _ = observer.take(.ticked)
        _ = observer.take(request(replica(2), epoch: 4, log: end, voter: replica(9)))
        let answers = observer.take(.saved(QuorumState(epoch: 4, voted: replica(2))))
        #expect(answers.first == "answerVote #7 granted epoch=4 leader=none")
        #expect(observer.role == .observer)
    }

    @Test func preVoteIsRefusedWhileTheLeaderAnswersAndGrantedOnProofOfItsDeath() {
        var follower = RaftNode.follower(id: 3)
        _ = follower.take(
            .fetchAnswered(
                QuorumFetchAnswer(
                    from: 2, verdict: .read(from: 10), leaderID: 2, epoch: 3, highWatermark: 8, hasRecords: false)))
        let ask = request(replica(1), epoch: 3, log: end, preVote: true, voter: replica(3))
        #expect(follower.take(ask) == ["answerVote #7 pre refused epoch=3 leader=n2"])
        let deadline = follower.nextDeadline
        _ = follower.take(ask)
        #expect(follower.nextDeadline == deadline, "a pre-vote moves no deadline")
        #expect(follower.take(.peerDied(2)) == ["changeRole unattached epoch=3 leader=none"])
        #expect(follower.nextDeadline == start.advanced(byMs: 15), "the second of the living waits one rank")
        #expect(follower.take(ask) == ["answerVote #7 pre granted epoch=3 leader=none"])
    }

    @Test func leaderRefusesPreVotes() {
        var leader = RaftNode.leader()
        let ask = request(replica(2), epoch: 4, log: LogEnd(offset: 99, epoch: 4), preVote: true)
        #expect(leader.take(ask) == ["answerVote #7 pre refused epoch=4 leader=n1"])
    }
}
