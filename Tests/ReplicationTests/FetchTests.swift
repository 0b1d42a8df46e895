// Whom a leader answers, and with what.

import Model
import Replication
import Testing

@Suite struct FetchTests {
    /// Epoch 0 at 0, epoch 2 at 4, epoch 5 at 6; the log ends at 9.
    private func leader() -> Fixture {
        var f = Fixture(end: 6)
        f.log.epochs.assign(2, startOffset: 4)
        _ = f.assign(leader: 1, epoch: 5)
        _ = f.append(3)
        _ = f.flush()
        return f
    }

    @Test func otherEpochsStrangersAndDeadIncarnationsAreRefused() {
        var f = leader()
        #expect(f.fetch(2, 9, epoch: 4) == (.error(.fencedLeaderEpoch), []))
        #expect(f.fetch(2, 9, epoch: -1) == (.error(.fencedLeaderEpoch), []))
        #expect(f.fetch(2, 9, epoch: 6) == (.error(.unknownLeaderEpoch), []))
        #expect(f.fetch(4, 9) == (.error(.unknownLeaderEpoch), []))
        #expect(f.fetch(1, 9) == (.error(.unknownLeaderEpoch), []))
        #expect(f.fetch(2, 9, brokerEpoch: 90) == (.error(.staleBrokerEpoch), []))
        _ = f.assign(leader: 2, epoch: 6)
        #expect(f.fetch(3, 9) == (.error(.notLeaderOrFollower), []))
    }

    @Test(
        arguments: [
            // asked offset, last epoch, answer
            (8, 2, FetchDecision.diverging(epoch: 2, endOffset: 6)),
            (8, 3, .diverging(epoch: 2, endOffset: 6)),
            (5, 1, .diverging(epoch: 0, endOffset: 4)),
            (10, 5, .diverging(epoch: 5, endOffset: 9)),
            (5, 7, .error(.unknownLeaderEpoch)),
            (10, -1, .error(.offsetOutOfRange)),
            (-1, -1, .error(.offsetOutOfRange)),
            (6, 2, .read(below: 9, highWatermark: 0)),
            (4, 0, .read(below: 9, highWatermark: 0)),
        ] as [(Offset, LeaderEpoch, FetchDecision)])
    func aForkIsAnsweredByEpoch(offset: Offset, lastEpoch: LeaderEpoch, decision: FetchDecision) {
        var f = leader()
        #expect(f.fetch(2, offset, lastEpoch: lastEpoch) == (decision, []))
    }

    @Test func aForkCountsForNothing() {
        var f = leader()
        _ = f.fetch(2, 9)
        _ = f.fetch(3, 9, lastEpoch: 2)
        #expect(f.partition.highWatermark == 0)
        #expect(f.fetch(3, 9).1 == [.advanceHighWatermark(to: 9)])
    }

    @Test func belowTheLogsStartIsOutOfRange() {
        var f = leader()
        f.log.startOffset = 5
        f.log.epochs.truncateStart(to: 5)
        #expect(f.fetch(2, 3, lastEpoch: 0).0 == .error(.offsetOutOfRange))
        // Clients are told when the followers have deleted as much.
        #expect(
            f.partition.consumerFetch(offset: 4, currentLeaderEpoch: nil, log: f.log) == .error(.offsetNotAvailable))
        for id in [2, 3] as [NodeID] { _ = f.fetch(id, f.log.endOffset, logStart: 5) }
        #expect(f.partition.consumerFetch(offset: 4, currentLeaderEpoch: nil, log: f.log) == .error(.offsetOutOfRange))
        #expect(f.partition.consumerFetch(offset: 10, currentLeaderEpoch: nil, log: f.log) == .error(.offsetOutOfRange))
    }

    /// Where an epoch ended below the log start is not known any more (seed 113): who is in sync is right about it, and
    /// of anyone else nothing is believed.
    @Test func aForkBelowTheLogsStartSharesNothing() {
        var f = Fixture(end: 10)
        _ = f.assign(leader: 1, epoch: 5, isr: [1, 2])
        _ = f.append(10)
        _ = f.flush()
        f.log.startOffset = 15
        f.log.epochs.truncateStart(to: 15)
        for offset in [15, 18, 25] as [Offset] {
            #expect(f.fetch(3, offset, lastEpoch: 0) == (.diverging(epoch: 0, endOffset: 14), []))
        }
        #expect(f.fetch(3, 14, lastEpoch: 0).0 == .error(.offsetOutOfRange))
        #expect(f.fetch(3, 15, lastEpoch: -1).0 == .read(below: 20, highWatermark: 0))
        #expect(f.fetch(3, 18, lastEpoch: 5).0 == .read(below: 20, highWatermark: 0))
        #expect(f.fetch(2, 15, lastEpoch: 0).0 == .read(below: 20, highWatermark: 15))
        #expect(f.fetch(2, 18, lastEpoch: 0).0 == .diverging(epoch: 0, endOffset: 15))
    }

    @Test func aConsumerIsFencedAndReadsBelowTheHighWatermark() {
        var f = leader()
        #expect(f.partition.consumerFetch(offset: 0, currentLeaderEpoch: 4, log: f.log) == .error(.fencedLeaderEpoch))
        #expect(f.partition.consumerFetch(offset: 0, currentLeaderEpoch: 6, log: f.log) == .error(.unknownLeaderEpoch))
        _ = f.fetch(2, 9)
        _ = f.fetch(3, 7)
        #expect(
            f.partition.consumerFetch(offset: 9, currentLeaderEpoch: 5, log: f.log) == .read(below: 7, highWatermark: 7)
        )
        let fork = f.partition.consumerFetch(offset: 8, currentLeaderEpoch: 5, lastFetchedEpoch: 2, log: f.log)
        #expect(fork == .diverging(epoch: 2, endOffset: 6))
    }

    @Test func theEndOfAnEpochIsToldByTheLeaderAlone() {
        var f = leader()
        #expect(
            f.partition.epochEnd(of: 5, currentLeaderEpoch: 5, log: f.log) == EpochEndAnswer(epoch: 5, endOffset: 9))
        #expect(
            f.partition.epochEnd(of: 3, currentLeaderEpoch: nil, log: f.log) == EpochEndAnswer(epoch: 2, endOffset: 6))
        #expect(f.partition.epochEnd(of: 6, currentLeaderEpoch: 5, log: f.log) == EpochEndAnswer())
        #expect(f.partition.epochEnd(of: -1, currentLeaderEpoch: 5, log: f.log) == EpochEndAnswer())
        #expect(
            f.partition.epochEnd(of: 5, currentLeaderEpoch: 4, log: f.log) == EpochEndAnswer(error: .fencedLeaderEpoch))
        _ = f.assign(leader: 2, epoch: 6)
        #expect(f.partition.epochEnd(of: 5, currentLeaderEpoch: nil, log: f.log).error == .notLeaderOrFollower)
    }
}
