// Joining and leaving the ISR, and the controller's answers.

import Model
import Replication
import Testing

@Suite struct ISRTests {
    /// Node 1 leads epoch 1 with five records, all committed in {1, 2}; 3 is outside.
    private func leader() -> Fixture {
        var f = Fixture(isr: [1, 2])
        _ = f.assign(leader: 1, epoch: 1)
        _ = f.append(5)
        _ = f.flush()
        _ = f.fetch(2, 5)
        return f
    }

    @Test func aFollowerJoinsAtTheHighWatermark() {
        var f = leader()
        #expect(f.fetch(3, 4).1 == [])
        let join = f.proposal([1, 2, 3])
        #expect(f.fetch(3, 5).1 == [.proposeISR(join)])
        #expect(f.partition.maximalISR == [1, 2, 3])
        #expect(f.partition.isr == [1, 2])
        // One change at a time.
        #expect(f.fetch(3, 5).1 == [])
        #expect(f.isrAnswered(.none, f.accepted([1, 2, 3]), for: join) == [])
        #expect(f.partition.isr == [1, 2, 3])
        #expect(f.partition.partitionEpoch == join.partitionEpoch + 1)
    }

    @Test func aFollowerJoinsOnlyBeyondTheEpochsStart() {
        // The high watermark of a new leader lags: records 3 and 4 are committed, and 3 lacks them.
        var f = Fixture(isr: [1, 2], end: 5, highWatermark: 3)
        _ = f.assign(leader: 1, epoch: 1)
        #expect(f.fetch(3, 3).1 == [])
        #expect(f.fetch(3, 5).1 == [.proposeISR(f.proposal([1, 2, 3]))])
    }

    @Test func theFencedAndTheRebootedDoNotJoin() {
        var fenced = leader()
        fenced.brokers[3]?.eligible = false
        _ = fenced.publish()
        #expect(fenced.fetch(3, 5).1 == [])
        // Its fetch comes from a newer incarnation than the metadata has: neither is right.
        var ahead = leader()
        #expect(ahead.fetch(3, 5, brokerEpoch: 200).1 == [])
        ahead.brokers[3]?.epoch = 200
        _ = ahead.publish()
        #expect(
            ahead.fetch(3, 5, brokerEpoch: 200).1 == [.proposeISR(ahead.proposal([1, 2, 3], brokerEpochs: [3: 200]))])
    }

    @Test func aRebootedMemberMustShowItsLogAgain() {
        var f = leader()
        _ = f.append(1)
        _ = f.fetch(2, 6)
        f.brokers[2]?.epoch = 300
        _ = f.publish()
        #expect(f.flush() == [])
        #expect(f.fetch(2, 6).0 == .error(.staleBrokerEpoch))
        #expect(f.fetch(2, 5, brokerEpoch: 300).1 == [])
        #expect(f.fetch(2, 6, brokerEpoch: 300).1 == [.advanceHighWatermark(to: 6)])
    }

    @Test func aProposedMemberCountsBeforeItIsConfirmedAndALeavingOneUntilItIsGone() {
        var f = leader()
        let join = f.proposal([1, 2, 3])
        _ = f.fetch(3, 5)
        _ = f.append(1)
        _ = f.flush()
        #expect(f.fetch(2, 6).1 == [])
        // Nobody knows whether it was applied, for as long as that may last.
        #expect(f.isrAnswered(.invalidUpdateVersion, for: join) == [])
        f.now = f.now.advanced(byMs: 60_000)
        #expect(f.tick() == [])
        #expect(f.partition.highWatermark == 5)

        var lone = Fixture(minISR: 1)
        _ = lone.assign(leader: 1, epoch: 1)
        _ = lone.append(1)
        _ = lone.flush()
        lone.now = lone.partition.nextDeadline
        let shrink = lone.proposal([1])
        #expect(lone.tick() == [.proposeISR(shrink)])
        #expect(lone.partition.highWatermark == 0)
        #expect(lone.isrAnswered(.none, lone.accepted([1]), for: shrink) == [.advanceHighWatermark(to: 1)])
    }

    @Test func aLaggardLeavesAfterTheLagTimeAndNotWithIt() {
        var f = leader()
        f.now = Instant.zero.advanced(byMs: 500)
        _ = f.fetch(2, 5)
        _ = f.append(1)
        #expect(f.partition.nextDeadline == Instant(nanoseconds: 1_500_000_001))
        f.now = Instant.zero.advanced(byMs: 1_500)
        #expect(f.tick() == [])
        f.now = f.partition.nextDeadline
        #expect(f.tick() == [.proposeISR(f.proposal([1]))])
    }

    @Test func oneFetchBehindIsKeepingUp() {
        var f = leader()
        for round in 1...5 {
            f.now = Instant.zero.advanced(byMs: Int64(round) * 450)
            let reached = f.log.endOffset
            _ = f.append(1)
            _ = f.flush()
            #expect(f.tick() == [])
            _ = f.fetch(2, reached)
        }
        #expect(f.partition.isr == [1, 2])
    }

    @Test func aRefusedProposalIsRevertedAndHeldBack() {
        var f = leader()
        let join = f.proposal([1, 2, 3])
        _ = f.fetch(3, 5)
        #expect(f.isrAnswered(.ineligibleReplica, for: join) == [])
        #expect(f.partition.maximalISR == [1, 2])
        #expect(f.fetch(3, 5).1 == [])
        f.now = f.now.advanced(byMs: Partition.isrRetryBackoffMs)
        #expect(f.fetch(3, 5).1 == [.proposeISR(join)])
    }

    @Test func aFailedAskingIsRepeated() {
        var f = leader()
        let join = f.proposal([1, 2, 3])
        _ = f.fetch(3, 5)
        #expect(f.isrAnswered(.requestTimedOut, for: join) == [])
        #expect(f.partition.nextDeadline == f.now.advanced(byMs: Partition.isrRetryBackoffMs))
        #expect(f.tick() == [])
        f.now = f.partition.nextDeadline
        #expect(f.tick() == [.proposeISR(join)])
        #expect(f.tick() == [])
    }

    @Test func anAnswerToSomethingElseIsIgnored() {
        var f = leader()
        let join = f.proposal([1, 2, 3])
        _ = f.fetch(3, 5)
        _ = f.assign(leader: 1, epoch: 1, partitionEpoch: 9, isr: [1, 2])
        let before = f.partition
        #expect(f.isrAnswered(.none, f.accepted([1, 2, 3]), for: join) == [])
        #expect(f.partition == before)
        // The same proposal, but a new leadership answers: the metadata log will tell.
        let again = f.proposal([1, 2, 3])
        #expect(f.fetch(3, 5).1 == [.proposeISR(again)])
        var other = f.accepted([1, 2, 3])
        other.leaderEpoch = 2
        #expect(f.isrAnswered(.none, other, for: again) == [])
        #expect(f.partition.isr == [1, 2])
        #expect(f.partition.maximalISR == [1, 2, 3])
    }
}
