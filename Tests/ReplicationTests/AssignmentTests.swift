// Taking, keeping and losing a role.

import Model
import Replication
import Testing

@Suite struct AssignmentTests {
    @Test func aNewLeaderNotesItsEpochAndFlushesItsTail() {
        var f = Fixture(end: 5)
        f.log.endOffset = 7
        #expect(f.assign(leader: 1, epoch: 3) == [.assignEpoch(3), .flush])
        #expect(f.partition.role == .leader)
        #expect(f.partition.epochStartOffset == 7)
    }

    @Test func aLoneLeaderCommitsWhatItHas() {
        var f = Fixture(replicas: [1], minISR: 2, end: 5)
        #expect(f.assign(leader: 1, epoch: 1) == [.assignEpoch(1), .advanceHighWatermark(to: 5)])
    }

    @Test func aFollowerFetchesFromTheLeaderOfItsEpoch() {
        var f = Fixture(end: 5)
        #expect(f.assign(leader: 2, epoch: 1) == [.startFetching(leader: 2, epoch: 1)])
        #expect(f.assign(leader: 2, epoch: 2) == [.startFetching(leader: 2, epoch: 2)])
        // An ISR change is nothing to it.
        #expect(f.assign(leader: 2, epoch: 2, isr: [2, 3]) == [])
        #expect(f.assign(leader: nil, epoch: 3) == [.stopFetching])
        #expect(f.assign(leader: nil, epoch: 4) == [])
    }

    @Test func aLostLeadershipFailsWhoWaits() {
        var f = Fixture()
        _ = f.assign(leader: 1, epoch: 1)
        let effects = f.assign(leader: 2, epoch: 2)
        #expect(effects == [.failWaiters(.notLeaderOrFollower), .startFetching(leader: 2, epoch: 2)])
        #expect(f.partition.epochStartOffset == nil)
        #expect(f.partition.admission(acks: 1) == .notLeaderOrFollower)
        f.registration.replicas = [2, 3]
        #expect(f.assign(leader: 2, epoch: 3) == [.stopFetching])
        #expect(f.partition.role == .none)
    }

    @Test func anOlderStateIsIgnored() {
        var f = Fixture()
        _ = f.assign(leader: 1, epoch: 2, partitionEpoch: 8)
        let before = f.partition
        #expect(f.assign(leader: 2, epoch: 1, partitionEpoch: 7) == [])
        #expect(f.partition == before)
    }

    @Test func theSameLeaderInANewEpochForgetsWhatFollowersShowed() {
        var f = Fixture(minISR: 2)
        _ = f.assign(leader: 1, epoch: 1)
        _ = f.append(2)
        _ = f.flush()
        _ = f.fetch(2, 2)
        #expect(f.assign(leader: 1, epoch: 2) == [.assignEpoch(2), .wakeFetches])
        // 3 alone is not enough: 2 has to show again what it holds.
        #expect(f.fetch(3, 2).1 == [])
        #expect(f.fetch(2, 2).1 == [.advanceHighWatermark(to: 2)])
    }

    @Test func noIncarnationLeadsUnderAnEpochOfAnother() {
        var stale = Fixture()
        stale.brokers[1] = BrokerView(epoch: 55, eligible: true)
        #expect(stale.assign(leader: 1, epoch: 4) == [])
        #expect(stale.partition.refusesLeadership)
        stale.brokers[1] = BrokerView(epoch: 101, eligible: true)
        // The image catches up, the epoch stays another's.
        #expect(stale.assign(leader: 1, epoch: 4) == [])
        #expect(stale.partition.role == .follower(leader: nil))
        #expect(stale.assign(leader: 1, epoch: 5) == [.assignEpoch(5)])

        // The log tells of epoch 4 although this life never led.
        var known = Fixture(end: 3)
        known.log.epochs.assign(4, startOffset: 2)
        #expect(known.assign(leader: 1, epoch: 4) == [])
        #expect(known.partition.refusesLeadership)
    }

    @Test func theCheckpointedHighWatermarkIsBroughtInsideTheDurableLog() {
        #expect(Fixture(end: 5, highWatermark: 9).partition.highWatermark == 5)
        #expect(Fixture(end: 5).partition.highWatermark == 0)
    }
}
