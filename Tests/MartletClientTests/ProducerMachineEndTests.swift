// The producer's rules one by one: time that runs out, batches that are too large, leaders, nodes and the buffer.

import MartletClient
import Model
import NIOCore
import Records
import Testing

@Suite struct ProducerMachineEndTests {
    @Test func timeRunsOutWithAReason() throws {
        let bench = ProducerBench { $0.deliveryTimeoutMs = 1_000 }
        bench.machine.learned(topics: [ProducerBench.topic(leader: nil, epoch: 2)], at: bench.now)
        try bench.append()
        _ = bench.drain(afterMs: 999)
        #expect(bench.errors.isEmpty)
        _ = bench.drain(afterMs: 1)
        let reason = "the partition has no leader"
        #expect(bench.errors == [.deliveryTimedOut(topic: "t", 0, afterMs: 1_000, last: reason)])
        #expect(bench.machine.bufferedBytes == 0)
    }

    /// Found by reading: the pause outlived the batch that had earned it, and nothing looked again at its end.
    @Test func whatFollowsAnExpiredBatchIsLookedAtWhenThePauseEnds() throws {
        let bench = ProducerBench {
            $0.deliveryTimeoutMs = 1_000
            $0.retryPauseMs = 600...600
        }
        try bench.append()
        let first = try #require(bench.sent().first)
        _ = bench.drain(afterMs: 900)
        bench.answer(first, .notEnoughReplicas)
        try bench.append()
        _ = bench.drain(afterMs: 100)
        #expect(bench.errors.count == 1)
        #expect(bench.wakeAt == bench.now.advanced(byMs: 500))
        #expect(bench.sent(afterMs: 500).map(\.sequences) == [[[1, 0, 1]]])
    }

    @Test func aBatchThatIsTooLargeGoesAsTwo() throws {
        let bench = ProducerBench()
        for _ in 0..<3 { try bench.append() }
        let first = try #require(bench.sent().first)
        #expect(first.sequences == [[0, 0, 3]])
        bench.answer(first, .messageTooLarge)
        let halves = bench.sent()
        #expect(halves.map(\.sequences) == [[[0, 0, 1]], [[0, 1, 2]]])
        bench.answer(halves[0], .messageTooLarge)
        bench.answer(halves[1], .none, offset: 8)
        _ = bench.drain()
        #expect(bench.ended.map(\.tokens) == [[1], [2, 3]])
        #expect(bench.errors == [.refused(what: "produce to t-0", .messageTooLarge, message: nil)])
        #expect(bench.machine.bufferedBytes == 0)
    }

    /// Found by the world (seed 1014): a cluster that holds the whole recognises no half of it.
    @Test func halvesOfABatchInDoubtAreNeverNumberedAnew() throws {
        let bench = ProducerBench()
        for _ in 0..<2 { try bench.append() }
        let first = try #require(bench.sent().first)
        bench.lose(first)
        bench.machine.learned(topics: [ProducerBench.topic(leader: 1, epoch: 1)], at: bench.now)
        let again = try #require(bench.sent(afterMs: 100).first)
        bench.answer(again, .messageTooLarge)
        let halves = bench.sent()
        #expect(halves.count == 2)
        for half in halves { bench.answer(half, .outOfOrderSequenceNumber) }
        #expect(bench.sent(afterMs: 1_000).isEmpty)
        #expect(bench.errors.count == 2)
    }

    @Test func newerHintsCountAtOnceAndOlderOnesNever() throws {
        let bench = ProducerBench()
        try bench.append()
        let first = try #require(bench.sent().first)
        var hint = PartitionAnswer(code: .notLeaderOrFollower)
        hint.leaderHint = (2, 5)
        bench.machine.answered(first.id, [hint], at: bench.now)
        let second = try #require(bench.sent().first)
        #expect(second.node == 2)
        bench.machine.learned(topics: [ProducerBench.topic(leader: 1, epoch: 4)], at: bench.now)
        #expect(bench.machine.queues[0].leader == 2)
        hint.leaderHint = (1, 3)
        bench.machine.answered(second.id, [hint], at: bench.now)
        let effects = bench.drain()
        #expect(bench.machine.queues[0].leader == 2)
        #expect(effects.contains { if case .askMetadata(["t"]) = $0 { true } else { false } })
    }

    @Test func aLateAnswerIsGivenUpOnlyWhenAnotherLeads() throws {
        let bench = ProducerBench()
        try bench.append()
        #expect(bench.sent().count == 1)
        let late = bench.drain(afterMs: 1_000)
        #expect(late.contains { if case .askMetadata = $0 { true } else { false } })
        bench.machine.learned(topics: [ProducerBench.topic(leader: 1, epoch: 1)], at: bench.now)
        #expect(!bench.drain().contains { if case .abandon = $0 { true } else { false } })
        bench.machine.learned(topics: [ProducerBench.topic(leader: 2, epoch: 2)], at: bench.now)
        #expect(bench.drain().contains { if case .abandon(1) = $0 { true } else { false } })
    }

    /// Found by reading: who had moved before the answer was late kept the batch until its request timed out.
    @Test func aLateAnswerOfAFormerLeaderIsGivenUp() throws {
        let bench = ProducerBench()
        try bench.append()
        #expect(bench.sent().count == 1)
        bench.machine.learned(topics: [ProducerBench.topic(leader: 2, epoch: 2)], at: bench.now)
        #expect(!bench.drain().contains { if case .abandon = $0 { true } else { false } })
        #expect(bench.drain(afterMs: 1_000).contains { if case .abandon(1) = $0 { true } else { false } })
    }

    @Test func pausesBetweenConnectionsDouble() {
        var links = LinkTable(pauseMs: 10...35)
        var pauses: [Int64] = []
        var now = Instant.zero
        for _ in 0..<4 {
            let answers = [links.shouldConnect(1, at: now), links.shouldConnect(1, at: now)]
            #expect(answers == [true, false])
            links.disconnected(1, at: now)
            let retryAt = links.retryAt(1) ?? now
            pauses.append(retryAt.milliseconds(since: now))
            now = retryAt
        }
        #expect(pauses == [10, 20, 35, 35])
        links.connected(1)
        links.disconnected(1, at: now)
        #expect(links.retryAt(1) == now.advanced(byMs: 10))
    }

    @Test func theBufferIsBoundedAndALargeRecordMayHaveItAlone() throws {
        let bench = ProducerBench { $0.bufferBytesMax = 100 }
        guard case .appended = try bench.append(sizeBytes: 300) else { return #expect(Bool(false)) }
        guard case .bufferIsFull = try bench.append() else { return #expect(Bool(false)) }
        let first = try #require(bench.sent().first)
        bench.answer(first, .none)
        #expect(bench.machine.bufferedBytes == 0)
        #expect(throws: ClientError.noSuchPartition(topic: "t", 9, count: 3)) { try bench.append(9) }
        #expect(throws: ClientError.recordTooLarge(sizeBytes: 2_000_032, limitBytes: 1_048_000)) {
            try bench.append(sizeBytes: 2_000_000)
        }
    }

    @Test func aFlushEndsTheLingerAndSettlesWhenEndsWereGivenOut() throws {
        let bench = ProducerBench { $0.lingerMs = 10_000 }
        try bench.append()
        let first = try #require(bench.sent().first)
        try bench.append()
        #expect(bench.sent().isEmpty)
        let mark = bench.machine.flush()
        let second = try #require(bench.sent().first)
        bench.answer(first, .none)
        try bench.append(1)
        bench.answer(second, .none)
        #expect(!bench.machine.isSettled(upTo: mark), "the ends are not told yet")
        _ = bench.drain()
        #expect(bench.machine.isSettled(upTo: mark))
    }

    @Test func withoutAnIdentityForGoodEverythingFails() throws {
        let bench = ProducerBench(isReady: false)
        try bench.append()
        try bench.append(1)
        #expect(bench.drain().contains { if case .askProducerIdentity = $0 { true } else { false } })
        bench.machine.failedToIdentify(.noLeader(topic: "t", 0), at: bench.now)
        _ = bench.drain()
        #expect(bench.errors.isEmpty)
        #expect(bench.drain(afterMs: 20).contains { if case .askProducerIdentity = $0 { true } else { false } })
        bench.machine.failedToIdentify(.unsupported("InitProducerId", Endpoint(host: "n", port: 1)), at: bench.now)
        _ = bench.drain()
        #expect(bench.errors.count == 2)
        #expect(bench.machine.bufferedBytes == 0)
    }
}
