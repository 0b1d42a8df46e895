// The log start: shown only when all who may lead next have it. And which segments retention picks.

import Model
import Replication
import Testing

@Suite struct StartTests {
    /// Leads epoch 1 with ten records that everyone holds.
    private func leader(minISR: Int = 2, isr: [NodeID]? = nil) -> Fixture {
        var f = Fixture(isr: isr, minISR: minISR, end: 10)
        _ = f.assign(leader: 1, epoch: 1)
        for id in [2, 3] as [NodeID] { _ = f.fetch(id, 10) }
        return f
    }

    @Test func aLoneLeaderRaisesItAtOnce() {
        var f = Fixture(replicas: [1], minISR: 1, end: 10)
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.requestStart(4) == [.advanceStart(to: 4)])
    }

    @Test func itIsRaisedWhenTheWholeISRHas() {
        var f = leader()
        #expect(f.partition.highWatermark == 10)
        #expect(f.requestStart(6) == [.wakeFetches])
        #expect(f.partition.startForFollowers(log: f.log) == 6)
        #expect(f.fetch(2, 10, logStart: 6).1 == [])
        #expect(f.fetch(3, 10, logStart: 4).1 == [.advanceStart(to: 4)])
        #expect(f.partition.visibleStart(log: f.log) == 0, "not before the log has it")
        #expect(f.fetch(3, 10, logStart: 6).1 == [.advanceStart(to: 6)])
        f.log.startOffset = 6
        #expect(f.partition.visibleStart(log: f.log) == 6)
        #expect(f.requestStart(5) == [], "never back")
    }

    @Test func aNewLeaderShowsItsStartWhenTheISRHasReachedItToo() {
        var f = Fixture(end: 10, highWatermark: 8)
        f.log.startOffset = 6
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.partition.visibleStart(log: f.log) == nil)
        #expect(
            f.partition.consumerFetch(offset: 5, currentLeaderEpoch: nil, log: f.log) == .error(.offsetNotAvailable))
        _ = f.fetch(2, 10, logStart: 6)
        #expect(f.partition.visibleStart(log: f.log) == nil)
        #expect(f.fetch(3, 10, logStart: 7).1.contains(.advanceStart(to: 6)))
        #expect(f.partition.visibleStart(log: f.log) == 6)
        #expect(f.partition.consumerFetch(offset: 5, currentLeaderEpoch: nil, log: f.log) == .error(.offsetOutOfRange))
    }

    @Test func nothingUncommittedIsDeleted() {
        var f = leader()
        _ = f.append(5)
        _ = f.requestStart(15)
        #expect(f.partition.startForFollowers(log: f.log) == 10)
    }

    @Test func belowTheMinimumNothingIsDeleted() {
        var f = leader()
        _ = f.assign(leader: 1, epoch: 1, isr: [1])
        #expect(f.requestStart(6) == [.wakeFetches])
        #expect(f.tick() == [])
        #expect(f.assign(leader: 1, epoch: 1, isr: [1, 2]) == [])
        #expect(f.fetch(2, 10, logStart: 6).1.contains(.advanceStart(to: 6)))
    }

    @Test func aMemberThatLeftDoesNotHoldItUp() {
        var f = leader()
        _ = f.requestStart(6)
        _ = f.fetch(2, 10, logStart: 6)
        #expect(f.assign(leader: 1, epoch: 1, isr: [1, 2]).contains(.advanceStart(to: 6)))
    }

    @Test func whoHasNotDeletedDoesNotJoin() {
        var f = leader()
        _ = f.assign(leader: 1, epoch: 1, isr: [1, 2])
        _ = f.fetch(2, 10, logStart: 6)
        #expect(f.requestStart(6).contains(.advanceStart(to: 6)))
        // Agreed on, though not on disk yet.
        #expect(f.fetch(3, 10, logStart: 0).1 == [])
        #expect(f.fetch(3, 10, logStart: 6).1 == [.proposeISR(f.proposal([1, 2, 3]))])
    }

    @Test func aJoinerInFlightIsCounted() {
        var f = leader()
        _ = f.assign(leader: 1, epoch: 1, isr: [1, 2])
        #expect(f.fetch(3, 10).1 == [.proposeISR(f.proposal([1, 2, 3]))])
        _ = f.requestStart(6)
        #expect(f.fetch(2, 10, logStart: 6).1 == [])
        #expect(f.fetch(3, 10, logStart: 6).1.contains(.advanceStart(to: 6)))
    }

    @Test func theSameLeaderGoesOnUnderItsNextEpoch() {
        var f = leader()
        _ = f.requestStart(6)
        _ = f.fetch(2, 10, logStart: 6)
        #expect(!f.assign(leader: 1, epoch: 2).contains(.advanceStart(to: 6)))
        _ = f.fetch(2, 10, logStart: 6)
        #expect(f.fetch(3, 10, logStart: 6).1.contains(.advanceStart(to: 6)))
        var other = leader()
        _ = other.requestStart(6)
        _ = other.assign(leader: 2, epoch: 2)
        _ = other.assign(leader: 1, epoch: 3)
        #expect(other.partition.startForFollowers(log: other.log) == 0)
    }

    @Test func aFollowerThatBeginsInsideABatchTakesItWhole() {
        var f = Fixture(me: 2, end: 0)
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.answer(.offsetOutOfRange, logStart: 6) == [.truncateFully(startingAt: 6)])
        (f.log.startOffset, f.log.endOffset, f.log.flushedEnd) = (6, 6, 6)
        #expect(
            f.answer(logStart: 6, batches: BatchSpan(baseOffset: 4, nextOffset: 9))
                == [.truncateFully(startingAt: 4), .appendFetched])
        #expect(f.partition.highWatermark == 6)
        #expect(f.answer(logStart: 6, batches: BatchSpan(baseOffset: 4, nextOffset: 6)) == [])
    }

    @Test func aFollowerGoesNoFurtherThanItsHighWatermark() {
        var f = Fixture(me: 2, end: 10, highWatermark: 3)
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.answer(highWatermark: 5, logStart: 8) == [.advanceHighWatermark(to: 5), .advanceStart(to: 5)])
        f.log.startOffset = 5
        #expect(f.answer(highWatermark: 9, logStart: 8) == [.advanceHighWatermark(to: 9), .advanceStart(to: 8)])
    }
}

@Suite struct RetentionTests {
    /// Ten records and a thousand bytes each; the largest timestamps are 100, 200, 300, …
    private func start(
        _ count: Int, ms: Int64 = -1, bytes: Int64 = -1, highWatermark: Offset? = nil, now: Int64 = 1_000,
        timestamps: [Int64]? = nil
    ) -> Offset? {
        let segments = (0..<count).map {
            RetainedSegment(baseOffset: Offset($0) * 10, nextOffset: Offset($0) * 10 + 10, sizeBytes: 1_000)
        }
        return RetentionSettings(retentionMs: ms, retentionBytes: bytes).start(
            segments: segments, highWatermark: highWatermark ?? Offset(count) * 10, wallMs: now,
            timestamp: { timestamps?[Int($0 / 10)] ?? ($0 / 10 + 1) * 100 })
    }

    @Test func minusOneKeepsAll() {
        #expect(start(5) == nil)
    }

    @Test func byTimeTheOldestGoUpToTheFirstYoungOne() {
        #expect(start(5, ms: 700) == 20)
        #expect(start(5, ms: 800) == 10, "exactly as old is not too old")
        #expect(start(5, ms: 5_000) == nil)
        #expect(start(5, ms: 700, timestamps: [100, 900, 100, 100, 100]) == 10)
    }

    @Test func byTimeTheActiveOneGoesToo() {
        #expect(start(3, ms: 100) == 30)
        #expect(start(1, ms: 0) == 10)
    }

    @Test func aTimestampInTheFutureHoldsItsSegmentUntilTheClockHasPassedIt() {
        #expect(start(3, ms: 100, timestamps: [5_000, 1, 1]) == nil)
        #expect(start(3, ms: 100, now: 5_100, timestamps: [5_000, 1, 1]) == nil)
        #expect(start(3, ms: 100, now: 5_101, timestamps: [5_000, 1, 1]) == 30)
        #expect(start(3, ms: 100, now: .min, timestamps: [.max, 1, 1]) == nil)
    }

    @Test func bySizeWholeSegmentsGoWhileEnoughIsLeft() {
        #expect(start(5, bytes: 2_500) == 20)
        #expect(start(5, bytes: 2_000) == 30)
        #expect(start(5, bytes: 5_000) == nil)
        #expect(start(5, bytes: 0) == 50)
    }

    @Test func nothingAboveTheHighWatermarkGoes() {
        #expect(start(5, bytes: 0, highWatermark: 29) == 20)
        #expect(start(5, ms: 0, highWatermark: 9) == nil)
    }
}
