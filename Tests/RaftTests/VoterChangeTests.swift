// One change of voters at a time, begun by a leader that has committed in its own epoch.

import Model
import Raft
import Testing

struct VoterChangeTests {
    let four = Voter(key: replica(4), endpoint: Cluster.endpoint(4))

    var settled: RaftNode {
        var leader = RaftNode.leader()
        _ = leader.take(.fetchReceived(fetch(replica(2), 11), 1))
        return leader
    }

    @Test func changeWaitsForACommitOfTheOwnEpoch() {
        var leader = RaftNode.leader()
        #expect(leader.take(.voterRemovalRequested(replica(3), 9)) == ["answerVoterChange #9 REQUEST_TIMED_OUT"])
    }

    @Test func newVoterMustHaveCaughtUp() {
        var leader = settled
        #expect(leader.take(.voterAdditionRequested(four, 9)) == ["answerVoterChange #9 REQUEST_TIMED_OUT"])
        _ = leader.take(.fetchReceived(fetch(replica(4), 5, last: 1), 2))
        #expect(leader.take(.voterAdditionRequested(four, 9)) == ["answerVoterChange #9 REQUEST_TIMED_OUT"])
        _ = leader.take(.fetchReceived(fetch(replica(4), 11), 3))
        #expect(leader.take(.voterAdditionRequested(four, 9)) == ["appendVoters [1@1 2@2 3@3 4@4] epoch=4"])
    }

    @Test func changeRulesAtOnceAndIsAnsweredWhenTheNewMajorityHoldsIt() {
        var leader = settled
        _ = leader.take(.fetchReceived(fetch(replica(4), 11), 2))
        _ = leader.take(.voterAdditionRequested(four, 9))
        _ = leader.take(
            .appended(
                endOffset: 12, epochs: [], voters: [VotersAt(offset: 11, voters: voterSet(1, 2, 3, 4))]))
        #expect(leader.voters == voterSet(1, 2, 3, 4))
        #expect(leader.take(.voterRemovalRequested(replica(3), 10)) == ["answerVoterChange #10 REQUEST_TIMED_OUT"])
        _ = leader.take(.flushed(through: 12))
        #expect(
            !leader.take(.fetchReceived(fetch(replica(2), 12), 3)).contains("answerVoterChange #9 NONE"), "two of four")
        #expect(leader.take(.fetchReceived(fetch(replica(4), 12), 4)).contains("answerVoterChange #9 NONE"))
    }

    @Test func idsAndKeysAreChecked() {
        var leader = settled
        let twin = Voter(key: replica(3, 33), endpoint: Cluster.endpoint(3))
        #expect(leader.take(.voterAdditionRequested(twin, 9)) == ["answerVoterChange #9 DUPLICATE_VOTER"])
        #expect(leader.take(.voterRemovalRequested(replica(3, 33), 9)) == ["answerVoterChange #9 VOTER_NOT_FOUND"])
        var follower = RaftNode.follower()
        #expect(follower.take(.voterRemovalRequested(replica(3), 9)) == ["answerVoterChange #9 NOT_LEADER_OR_FOLLOWER"])
    }

    @Test func leaderThatRemovedItselfResignsOnceThatIsCommitted() {
        var leader = settled
        _ = leader.take(.voterRemovalRequested(replica(1), 9))
        _ = leader.take(.appended(endOffset: 12, epochs: [], voters: [VotersAt(offset: 11, voters: voterSet(2, 3))]))
        _ = leader.take(.flushed(through: 12))
        _ = leader.take(.fetchReceived(fetch(replica(2), 12), 3))
        #expect(leader.isLeader, "one of two is no majority, and its own copy counts no more")
        let effects = leader.take(.fetchReceived(fetch(replica(3), 12), 4))
        #expect(effects.contains("answerVoterChange #9 NONE"))
        #expect(effects.contains("sendEndQuorumEpoch n2 epoch=4 preferred=[2@2 3@3]"))
        #expect(leader.role == .observer)
    }

    @Test func orderlyStopNamesTheLongestLogsFirst() {
        var leader = settled
        _ = leader.take(.fetchReceived(fetch(replica(3), 11), 2))
        _ = leader.take(.appended(endOffset: 15, epochs: [], voters: []))
        _ = leader.take(.fetchReceived(fetch(replica(3), 15), 3))
        let effects = leader.take(.resignationRequested)
        #expect(effects.contains("sendEndQuorumEpoch n2 epoch=4 preferred=[3@3 2@2]"))
        var successor = RaftNode.follower(id: 3)
        let stands = successor.take(
            .endQuorumEpochReceived(leader: 2, epoch: 3, preferredCandidates: [replica(3), replica(1)], 5))
        #expect(stands.contains("answerEndQuorumEpoch #5 NONE epoch=3 leader=none"))
        #expect(stands.contains("sendVote n1 pre of 1@1 epoch=3 log=10/3"))
    }

    @Test func soleVoterLeadsAndCommitsAlone() {
        let leader = RaftNode.leader(voters: voterSet(1))
        #expect(leader.isLeader && leader.highWatermark == 11)
        #expect(leader.nextDeadline == .distantFuture)
    }
}
