// What a follower does with an answer to its Fetch.

import Model
import Raft
import Testing

struct FetchAnsweredTests {
    func answer(
        _ verdict: FetchVerdict, from: NodeID = 2, epoch: LeaderEpoch = 3, highWatermark: Offset = 0,
        records: Bool = false
    ) -> RaftInput {
        .fetchAnswered(
            QuorumFetchAnswer(
                from: from, verdict: verdict, leaderID: 2, epoch: epoch, highWatermark: highWatermark,
                hasRecords: records))
    }

    @Test func recordsAreDurableBeforeTheNextFetchAcknowledgesThem() {
        var follower = RaftNode.follower()
        #expect(
            follower.take(answer(.read(from: 10), highWatermark: 12, records: true)) == [
                "advanceHighWatermark 10", "appendFetched",
            ])
        #expect(follower.take(.appended(endOffset: 14, epochs: [], voters: [])) == ["flush"])
        #expect(follower.take(.ticked) == [])
        #expect(
            follower.take(.flushed(through: 14)) == [
                "advanceHighWatermark 12", "sendFetch n2 1@1 offset=14 last=3 epoch=3 hw=12",
            ])
    }

    @Test func highWatermarkNeverPassesTheOwnDurableEnd() {
        var follower = RaftNode.follower()
        #expect(follower.take(answer(.read(from: 10), highWatermark: 99)).first == "advanceHighWatermark 10")
        #expect(follower.highWatermark == 10)
    }

    @Test func divergenceStepsDownTheEpochs() {
        var follower = RaftNode.follower(log: positions([(1, 0), (2, 5), (3, 8)], end: 10))
        #expect(
            follower.take(answer(.diverging(epoch: 1, endOffset: 7))) == [
                "truncate 5", "sendFetch n2 1@1 offset=5 last=1 epoch=3 hw=0",
            ])
    }

    @Test func truncationRevertsTheVoters() {
        var follower = RaftNode(
            key: replica(4), settings: RaftSettings(), saved: QuorumState(epoch: 3, leaderID: 2),
            log: positions([(1, 0), (2, 5)], end: 10), voters: voterSet(1, 2, 3),
            laterVoters: [VotersAt(offset: 7, voters: voterSet(1, 2, 3, 4))], bootstrap: [], seed: 1, now: start)
        _ = follower.take(.ticked)
        #expect(follower.role == .follower)
        let effects = follower.take(answer(.diverging(epoch: 2, endOffset: 6)))
        #expect(
            effects == [
                "truncate 6", "sendFetch n2 4@4 offset=6 last=2 epoch=3 hw=0", "changeRole observer epoch=3 leader=n2",
            ])
        #expect(follower.voters == voterSet(1, 2, 3))
    }

    @Test func strangersAndOldEpochsAreIgnored() {
        var follower = RaftNode.follower()
        #expect(follower.take(answer(.diverging(epoch: 1, endOffset: 0), from: 3)) == [])
        #expect(follower.take(answer(.diverging(epoch: 1, endOffset: 0), epoch: 2)) == [])
        #expect(follower.log.endOffset == 10)
    }

    @Test func answerToAFetchOfAnEarlierEpochDoesNothing() {
        var follower = RaftNode.follower()
        _ = follower.take(.beginQuorumEpochReceived(leader: 2, epoch: 4, voter: replica(1), 1))
        _ = follower.take(.saved(QuorumState(epoch: 4, leaderID: 2)))
        #expect(follower.take(answer(.diverging(epoch: 1, endOffset: 0), epoch: 4)) == [])
        #expect(follower.take(answer(.read(from: 10), epoch: 4, highWatermark: 3)).first == "advanceHighWatermark 3")
    }

    @Test func snapshotTakesTheLogsPlace() {
        var follower = RaftNode.follower()
        #expect(follower.take(answer(.snapshot(LogEnd(offset: 50, epoch: 3)))) == ["fetchSnapshot 50/3 n2"])
        #expect(follower.take(.ticked, at: start.advanced(byMs: 9_000)) == [], "no Fetch and no election meanwhile")
        let end = LogEnd(offset: 50, epoch: 3)
        #expect(
            follower.take(.snapshotInstalled(end: end, voters: voterSet(1, 2, 3))) == [
                "advanceHighWatermark 50", "sendFetch n2 1@1 offset=50 last=3 epoch=3 hw=50",
            ])
    }

    @Test func silentLeaderLeadsToPreVotesWithoutANewEpoch() {
        var follower = RaftNode.follower()
        let effects = follower.take(.ticked, at: start.advanced(byMs: 1_000))
        #expect(
            effects == [
                "sendVote n2 pre of 2@2 epoch=3 log=10/3", "sendVote n3 pre of 3@3 epoch=3 log=10/3",
                "changeRole prospective epoch=3 leader=none",
            ])
    }

    /// Its successor takes that time from its session.
    @Test func whenTheLeaderWasHeardOfLastIsKnownWhoeverLeadsThen() {
        var follower = RaftNode.follower()
        let heard = start.advanced(byMs: 300)
        _ = follower.take(answer(.read(from: 10)), at: heard)
        _ = follower.take(.ticked, at: start.advanced(byMs: 1_400))
        #expect(follower.role == .prospective)
        #expect(follower.lastLeader?.id == 2 && follower.lastLeader?.heardAt == heard)
        // Others answer: that says nothing of it.
        let now = start.advanced(byMs: 1_410)
        func answered(_ granted: Bool, from: NodeID) -> RaftInput {
            .voteAnswered(
                VoteResponse(granted: granted, epoch: 3, leaderID: nil, preVote: true, requestEpoch: 3), from: from)
        }
        _ = follower.take(answered(true, from: 3), at: now)
        #expect(follower.role == .candidate)
        #expect(follower.lastLeader?.heardAt == heard)
        _ = follower.take(answered(false, from: 2), at: now)
        #expect(follower.lastLeader?.heardAt == now)
    }

    @Test func restartedLeaderDoesNotLeadItsEpochAgain() {
        var restarted = node(
            saved: QuorumState(epoch: 3, leaderID: 1, voted: replica(1)), log: positions([(3, 0)], end: 4))
        #expect(restarted.take(.ticked) == ["changeRole resigned epoch=3 leader=none"])
        #expect(
            restarted.take(.fetchReceived(fetch(replica(2), 4, last: 3, epoch: 3), 1)) == [
                "answerFetch #1 NOT_LEADER_OR_FOLLOWER hw=0 epoch=3 leader=none"
            ])
    }
}
