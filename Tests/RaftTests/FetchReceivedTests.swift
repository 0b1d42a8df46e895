// What a leader answers to a Fetch, and what it makes of it.

import Model
import Raft
import Testing

struct FetchReceivedTests {
    @Test func epochsAreChecked() {
        var leader = RaftNode.leader()
        #expect(
            leader.take(.fetchReceived(fetch(replica(2), 10, epoch: 3), 1)) == [
                "answerFetch #1 FENCED_LEADER_EPOCH hw=0 epoch=4 leader=n1"
            ])
        let deposed = leader.take(.fetchReceived(fetch(replica(2), 10, epoch: 5), 2))
        #expect(deposed == ["save epoch=5 leader=none voted=-", "changeRole unattached epoch=5 leader=none"])
        #expect(
            leader.take(.saved(QuorumState(epoch: 5))) == [
                "answerFetch #2 UNKNOWN_LEADER_EPOCH hw=0 epoch=5 leader=none"
            ])
    }

    @Test func followerNamesTheLeader() {
        var follower = RaftNode.follower()
        #expect(
            follower.take(.fetchReceived(fetch(replica(3), 1, epoch: 3), 1)) == [
                "answerFetch #1 NOT_LEADER_OR_FOLLOWER hw=0 epoch=3 leader=n2"
            ])
    }

    @Test func majorityMovesTheHighWatermarkOnlyBeyondTheEpochsStart() {
        var leader = RaftNode.leader()
        let old = leader.take(.fetchReceived(fetch(replica(2), 10, last: 3), 1))
        #expect(old == ["answerFetch #1 read 10 hw=0 epoch=4 leader=n1"], "offset 10 holds nothing of epoch 4")
        let own = leader.take(.fetchReceived(fetch(replica(2), 11), 2))
        #expect(own == ["advanceHighWatermark 11", "answerFetch #2 read 11 hw=11 epoch=4 leader=n1"])
    }

    @Test func leaderCountsItselfOnlyAsFarAsItsOwnDiskGoes() {
        var leader = RaftNode.leader()
        _ = leader.take(.fetchReceived(fetch(replica(2), 11), 1))
        _ = leader.take(.appended(endOffset: 20, epochs: [], voters: []))
        let ahead = leader.take(.fetchReceived(fetch(replica(2), 20, highWatermark: 11), 2))
        #expect(!ahead.contains("advanceHighWatermark 20"))
        #expect(
            leader.take(.flushed(through: 20)) == [
                "advanceHighWatermark 20", "answerFetch #2 read 20 hw=20 epoch=4 leader=n1",
            ])
    }

    @Test func observersAndOldDisksCountForNothing() {
        var leader = RaftNode.leader()
        #expect(!leader.take(.fetchReceived(fetch(replica(9), 11), 1)).contains("advanceHighWatermark 11"))
        #expect(!leader.take(.fetchReceived(fetch(replica(2, 99), 11), 2)).contains("advanceHighWatermark 11"))
        #expect(leader.progress.map(\.key) == [replica(1), replica(2), replica(2, 99), replica(3), replica(9)])
    }

    @Test func divergingReplicaIsToldWhereAndCountsForNothing() {
        var leader = RaftNode.leader()
        #expect(
            leader.take(.fetchReceived(fetch(replica(2), 8, last: 2), 1)) == [
                "answerFetch #1 diverging epoch=1 end=5 hw=0 epoch=4 leader=n1"
            ])
        #expect(leader.progress(of: replica(2))?.fetchedOffset == nil)
    }

    @Test func replicaBehindTheLogsStartIsSentToTheSnapshot() {
        var leader = RaftNode.leader()
        _ = leader.take(.fetchReceived(fetch(replica(2), 11), 1))
        _ = leader.take(.logStartAdvanced(to: 8))
        #expect(
            leader.take(.fetchReceived(fetch(replica(3), 4, last: 1), 2)) == [
                "answerFetch #2 snapshot 8/3 hw=11 epoch=4 leader=n1"
            ])
        let atStart = leader.take(.fetchReceived(fetch(replica(3), 8, last: 3), 3))
        #expect(atStart == ["answerFetch #3 read 8 hw=11 epoch=4 leader=n1"])
        let strange = leader.take(.fetchReceived(fetch(replica(3), 8, last: 2), 4))
        #expect(strange == ["answerFetch #4 snapshot 8/3 hw=11 epoch=4 leader=n1"])
    }

    @Test func fetchWaitsForRecordsForTheHighWatermarkOrItsTime() {
        var leader = RaftNode.leader()
        #expect(leader.take(.fetchReceived(fetch(replica(3), 11), 1)).first == "advanceHighWatermark 11")
        #expect(leader.take(.fetchReceived(fetch(replica(3), 11, highWatermark: 11), 2)) == [])
        #expect(
            leader.take(.fetchReceived(fetch(replica(3), 11, highWatermark: 11), 3)) == [
                "answerFetch #2 read 11 hw=11 epoch=4 leader=n1"
            ], "a later Fetch ends the earlier one")
        #expect(
            leader.take(.appended(endOffset: 12, epochs: [], voters: [])) == [
                "answerFetch #3 read 11 hw=11 epoch=4 leader=n1", "flush",
            ])
        _ = leader.take(.fetchReceived(fetch(replica(9), 12, highWatermark: 11), 4))
        let late = leader.take(.ticked, at: start.advanced(byMs: 500))
        #expect(late.contains("answerFetch #4 read 12 hw=11 epoch=4 leader=n1"))
    }

    @Test func deposedLeaderAnswersWhoeverWaits() {
        var leader = RaftNode.leader()
        _ = leader.take(.fetchReceived(fetch(replica(2), 11), 1))
        _ = leader.take(.fetchReceived(fetch(replica(2), 11, highWatermark: 11), 2))
        let effects = leader.take(.beginQuorumEpochReceived(leader: 3, epoch: 6, voter: replica(1), 3))
        #expect(effects.first == "answerFetch #2 NOT_LEADER_OR_FOLLOWER hw=11 epoch=4 leader=none")
        #expect(effects.last == "changeRole follower epoch=6 leader=n3")
    }

    @Test func leaderThatNobodyFetchesFromResigns() {
        var leader = RaftNode.leader()
        let begun = start.advanced(byMs: 3_000)
        _ = leader.take(.fetchReceived(fetch(replica(2), 11), 1), at: begun)
        #expect(!leader.take(.ticked, at: begun.advanced(byMs: 1_499)).contains { $0.hasPrefix("changeRole") })
        let end = leader.take(.ticked, at: begun.advanced(byMs: 1_500))
        #expect(end.contains("sendEndQuorumEpoch n2 epoch=4 preferred=[2@2 3@3]"))
        #expect(end.last == "changeRole resigned epoch=4 leader=none")
    }
}
