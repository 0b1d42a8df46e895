// What a follower asks, and what an answer does to its log.

import Model
import Replication
import Testing

@Suite struct FollowerTests {
    /// Node 1 follows 2 in epoch 5; its log: epoch 0 at 0, epoch 2 at 4, epoch 4 at 6, ends at 8.
    private func follower(synchronous: Bool = true) -> Fixture {
        var f = Fixture(synchronous: synchronous, end: 8)
        f.log.epochs.assign(2, startOffset: 4)
        f.log.epochs.assign(4, startOffset: 6)
        _ = f.assign(leader: 2, epoch: 5)
        return f
    }

    @Test func itAsksFromItsEndAndOnlyOnceThatIsDurable() {
        var f = follower()
        let ask = FollowerFetch(offset: 8, lastFetchedEpoch: 4, currentLeaderEpoch: 5)
        #expect(f.partition.nextFetch(log: f.log) == ask)
        f.log.flushedEnd = 7
        #expect(f.partition.nextFetch(log: f.log) == nil)
        #expect(f.assign(leader: 2, epoch: 6) == [.flush, .startFetching(leader: 2, epoch: 6)])
        var lax = follower(synchronous: false)
        lax.log.flushedEnd = 0
        #expect(lax.partition.nextFetch(log: lax.log) == ask)
    }

    @Test func itAsksNothingWhileItsMetadataIsOlderThanItsLog() {
        var f = follower()
        f.log.epochs.assign(6, startOffset: 8)
        #expect(f.partition.nextFetch(log: f.log) == nil)
    }

    @Test func receivedBatchesCountWhenTheyAreDurable() {
        var f = follower()
        #expect(f.answer(highWatermark: 5) == [.advanceHighWatermark(to: 5)])
        let batches = BatchSpan(baseOffset: 8, nextOffset: 10)
        #expect(f.answer(highWatermark: 9, batches: batches) == [.appendFetched, .advanceHighWatermark(to: 8)])
        #expect(f.append(2, epoch: 5) == [])
        #expect(f.flush() == [.advanceHighWatermark(to: 9)])
        // The leader is new and lags behind: a high watermark never goes back.
        #expect(f.answer(highWatermark: 3) == [])
        #expect(f.partition.highWatermark == 9)
    }

    @Test func anAsynchronousFollowerCountsWhatItHolds() {
        var f = follower(synchronous: false)
        _ = f.answer(highWatermark: 10, batches: BatchSpan(baseOffset: 8, nextOffset: 10))
        #expect(f.append(2, epoch: 5) == [.advanceHighWatermark(to: 10)])
    }

    @Test func batchesThatDoNotContinueTheLogAreDropped() {
        var f = follower()
        #expect(f.answer(highWatermark: 8, batches: BatchSpan(baseOffset: 7, nextOffset: 10)) == [])
        #expect(f.answer(highWatermark: 8, batches: BatchSpan(baseOffset: 9, nextOffset: 10)) == [])
        #expect(f.answer(epoch: 4, highWatermark: 8) == [])
        #expect(f.answer(.notLeaderOrFollower, highWatermark: 8) == [])
        #expect(f.partition.highWatermark == 0)
    }

    @Test func itCutsByEpochAndNeverByHighWatermark() {
        // Both know epoch 4: the shorter end.
        var both = follower()
        #expect(both.answer(diverging: EpochEnd(epoch: 4, endOffset: 7)) == [.truncate(to: 7)])
        // The leader's epoch 3 is unknown here: back to the end of 2, then ask again (KIP-279).
        var step = follower()
        #expect(step.answer(diverging: EpochEnd(epoch: 3, endOffset: 9)) == [.truncate(to: 6)])
        // An epoch that began here without a record is cut at the log's very end.
        var empty = follower()
        empty.log.epochs.assign(5, startOffset: 8)
        #expect(empty.answer(diverging: EpochEnd(epoch: 4, endOffset: 12)) == [.truncate(to: 8)])
    }

    @Test func aCutLowersAnAsynchronousHighWatermark() {
        var f = follower(synchronous: false)
        _ = f.answer(highWatermark: 8)
        #expect(f.answer(diverging: EpochEnd(epoch: 4, endOffset: 7)) == [.truncate(to: 7)])
        #expect(f.partition.highWatermark == 7)
    }

    @Test func anUncleanLeaderMayCutWhatWasCommitted() {
        var f = follower()
        _ = f.answer(highWatermark: 8)
        f.registration.leaderRecoveryState = .recovering
        _ = f.assign(leader: 3, epoch: 6, isr: [3])
        #expect(f.answer(diverging: EpochEnd(epoch: 4, endOffset: 7)) == [.truncate(to: 7)])
        #expect(f.partition.highWatermark == 7)
    }

    @Test func aCleanLeaderMayNot() async {
        await #expect(processExitsWith: .failure) {
            var f = Fixture(end: 8)
            _ = f.assign(leader: 2, epoch: 1)
            _ = f.answer(highWatermark: 8)
            _ = f.assign(leader: 3, epoch: 2)
            _ = f.answer(diverging: EpochEnd(epoch: 0, endOffset: 7))
        }
    }

    @Test func itStartsAnewWhereTheLeadersLogStarts() {
        var f = follower()
        #expect(f.answer(.offsetOutOfRange, logStart: 20) == [.truncateFully(startingAt: 20)])
        #expect(f.partition.highWatermark == 20)
        // Its records lie inside the leader's log: not a reason to drop them.
        var inside = follower()
        #expect(inside.answer(.offsetOutOfRange, logStart: 3) == [])
        #expect(inside.answer(.offsetOutOfRange, logStart: -1) == [])
    }

    @Test func aForkBelowTheLeadersStartLeavesNothingOfIt() {
        var below = follower()
        #expect(
            below.answer(logStart: 7, diverging: EpochEnd(epoch: 4, endOffset: 6)) == [.truncateFully(startingAt: 7)])
        #expect(below.partition.highWatermark == 7)
        var beyond = follower()
        #expect(
            beyond.answer(logStart: 20, diverging: EpochEnd(epoch: 3, endOffset: 19))
                == [.truncateFully(startingAt: 20)])
        var at = follower()
        #expect(at.answer(logStart: 7, diverging: EpochEnd(epoch: 4, endOffset: 7)) == [.truncate(to: 7)])
        // What is committed here may lie just below that start: it was deleted there.
        var committed = follower()
        _ = committed.answer(highWatermark: 8)
        _ = committed.assign(leader: 3, epoch: 6)
        #expect(
            committed.answer(logStart: 8, diverging: EpochEnd(epoch: 4, endOffset: 7))
                == [.truncateFully(startingAt: 8)])
    }

    @Test func itsStartFollowsTheLeadersAsFarAsRecordsAreCommittedHere() {
        var f = follower()
        #expect(f.answer(highWatermark: 7, logStart: 3) == [.advanceHighWatermark(to: 7), .advanceStart(to: 3)])
        f.log.startOffset = 3
        #expect(f.answer(highWatermark: 7, logStart: 3) == [])
    }
}
