// What a leader counts as committed, and what it answers to those who produce.

import Model
import Replication
import Testing

@Suite struct HighWatermarkTests {
    @Test func aSynchronousLeaderCountsItsOwnFlushedEnd() {
        var f = Fixture()
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.append(3) == [.flush, .wakeFetches])
        #expect(f.fetch(2, 3) == (.read(below: 3, highWatermark: 0), []))
        #expect(f.fetch(3, 3).1 == [])
        #expect(f.flush() == [.advanceHighWatermark(to: 3)])
        #expect(f.partition.verdict(forWaiterAt: 2) == nil)
    }

    @Test func anAsynchronousLeaderCountsItsEnd() {
        var f = Fixture(synchronous: false)
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.append(3) == [.wakeFetches])
        #expect(f.fetch(2, 3).1 == [])
        #expect(f.fetch(3, 2) == (.read(below: 3, highWatermark: 2), [.advanceHighWatermark(to: 2)]))
    }

    @Test func nothingIsCommittedBelowTheMinimumISR() {
        var f = Fixture(isr: [1])
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.partition.admission(acks: -1) == .notEnoughReplicas)
        #expect(f.partition.admission(acks: 1) == nil)
        _ = f.append(2)
        #expect(f.flush() == [])
        var lax = f.partition.settings
        lax.minInSyncReplicas = 1
        var effects: [PartitionEffect] = []
        f.partition.settingsChanged(lax, log: f.log, at: f.now, into: &effects)
        #expect(effects == [.advanceHighWatermark(to: 2)])
        #expect(f.partition.admission(acks: -1) == nil)
        lax.minInSyncReplicas = 2
        f.partition.settingsChanged(lax, log: f.log, at: f.now, into: &effects)
        #expect(f.partition.verdict(forWaiterAt: 1) == .notEnoughReplicasAfterAppend)
    }

    @Test func theMinimumIsNeverMoreThanTheReplicas() {
        var f = Fixture(replicas: [1], minISR: 3)
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.partition.admission(acks: -1) == nil)
    }

    @Test func otherAcksAndOtherEpochsAreRefused() {
        var f = Fixture()
        _ = f.assign(leader: 1, epoch: 4)
        #expect(f.partition.admission(acks: 2) == .invalidRequiredAcks)
        #expect(f.partition.admission(acks: 1, currentLeaderEpoch: 3) == .fencedLeaderEpoch)
        #expect(f.partition.admission(acks: 1, currentLeaderEpoch: 5) == .unknownLeaderEpoch)
        #expect(f.partition.admission(acks: 1, currentLeaderEpoch: 4) == nil)
    }

    @Test func aFollowerAboutToJoinIsWaitedFor() {
        var f = Fixture(isr: [1, 2])
        _ = f.assign(leader: 1, epoch: 1)
        _ = f.append(1)
        _ = f.flush()
        #expect(f.fetch(2, 1).1 == [.advanceHighWatermark(to: 1)])
        // 3 is refused as a member, yet keeps up: the high watermark does not run away from it.
        let join = f.proposal([1, 2, 3])
        #expect(f.fetch(3, 1).1 == [.proposeISR(join)])
        #expect(f.isrAnswered(.ineligibleReplica, for: join) == [])
        _ = f.append(1)
        _ = f.flush()
        #expect(f.fetch(2, 2).1 == [])
        // Until it has been behind for too long; the deadline wakes the leader, nothing else would.
        #expect(f.partition.nextDeadline == Instant(nanoseconds: 1_000_000_001))
        f.now = f.partition.nextDeadline
        #expect(f.tick() == [.advanceHighWatermark(to: 2)])
        #expect(f.partition.nextDeadline == .distantFuture)
    }

    @Test func theLatestOffsetIsWithheldUntilTheEpochsStartIsCommitted() {
        var f = Fixture(end: 5, highWatermark: 3)
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.partition.latestVisibleOffset(currentLeaderEpoch: 1) == .error(.offsetNotAvailable))
        #expect(
            f.partition.consumerFetch(offset: 4, currentLeaderEpoch: 1, log: f.log) == .read(below: 3, highWatermark: 3)
        )
        _ = f.fetch(2, 5)
        _ = f.fetch(3, 5)
        #expect(f.partition.latestVisibleOffset(currentLeaderEpoch: nil) == .offset(5))
    }
}
