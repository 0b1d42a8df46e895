// What a fresh reading of the machines found: each of these once lost, stalled or repeated something.

import Model
import NIOCore
import Records
import Testing

import MartletClient

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)

private func mark(at offset: Offset, of producer: ProducerID, commits: Bool) -> ByteBuffer {
    var builder = RecordBatchBuilder(
        baseOffset: offset, leaderEpoch: 1, producerID: producer, producerEpoch: 0, isTransactional: true,
        isControl: true)
    var key = ByteBuffer()
    key.writeInteger(Int16(0))
    key.writeInteger(Int16(commits ? 1 : 0))
    builder.append(timestamp: 1_000, key: key, value: ByteBuffer(repeating: 0, count: 6))
    return builder.build()
}

private func topic(leader: NodeID?, epoch: LeaderEpoch, id: UInt64 = 1, count: Int32 = 2) -> ClusterView.Topic {
    ClusterView.Topic(
        name: "t", id: UUID128(high: id, low: id),
        partitions: (0..<count).map { .init(index: $0, leader: leader, leaderEpoch: epoch) })
}

@Suite struct ConsumerMachineFindingTests {
    /// Aborted 0…1, marker 2, committed 3, 4 as two batches; the reader pauses after record 3.
    @Test func aPutBackChunkKeepsCommittedRecords() throws {
        let bytes = joined([
            batch(at: 0, ["a", "b"], transactionOf: 9), mark(at: 2, of: 9, commits: false),
            batch(at: 3, ["c"], transactionOf: 9), batch(at: 4, ["d"], transactionOf: 9),
            mark(at: 5, of: 9, commits: true),
        ])
        let bench = ConsumerBench { $0.isolation = .readCommitted }
        let id = try bench.fetch().id
        var answer = ConsumerMachine.FetchAnswer(highWatermark: 6, bytes: bytes)
        answer.aborted = [.init(producerID: 9, firstOffset: 0)]
        bench.fetched(id, [p0: answer])
        let chunk = try #require(bench.take())
        #expect(try chunk.records().map(\.offset) == [3, 4])
        // The reader took offset 3, then paused: Consumer.State.putBack.
        bench.machine.putBack(chunk, from: 4)
        let again = try #require(bench.take())
        #expect(try again.records().map(\.offset) == [4], "a committed record is lost")
    }

    @Test func pausedPartitionsDoNotStallOthers() throws {
        let bench = ConsumerBench([p0, p1]) { $0.prefetchBytesMax = 100 }
        let id = try bench.fetch().id
        // p0 brings more than the whole prefetch budget, p1 nothing yet.
        bench.fetched(
            id,
            [p0: .init(highWatermark: 9, bytes: batch(at: 0, [String(repeating: "x", count: 200)])), p1: .init()])
        bench.machine.pause(p0, true)
        let fetches = bench.drain().fetches
        #expect(fetches.flatMap(\.entries).map(\.partition) == [p1], "p1 is never fetched while p0 is paused")
    }

    @Test func metadataIsPacedWhenOldAndUnreachable() {
        let bench = ConsumerBench()
        _ = bench.drain()
        bench.now = bench.now.advanced(byMs: 300_001)
        var asked = 0
        for _ in 0..<100 {
            asked += bench.drain().metadata.count
            bench.machine.failedToLearn(at: bench.now)
        }
        #expect(asked <= 2, "\(asked) metadata requests in no time at all")
    }

    @Test func aTopicMadeAnewIsReadOn() throws {
        let bench = ConsumerBench([])
        bench.machine.seek(p0, to: .offset(0))
        bench.machine.learned(topics: [topic(leader: 1, epoch: 5, id: 1)], at: bench.now)
        let id = try bench.fetch().id
        bench.refuse(id, .unknownTopicOrPartition)
        bench.machine.learned(topics: [topic(leader: 2, epoch: 0, id: 2)], at: bench.now)
        let fetches = bench.drain(afterMs: 2_000).fetches
        #expect(fetches.map(\.node) == [2], "the new topic's leader is never asked")
        #expect(bench.known?.leaderEpoch == 0)
    }

    @Test func aBatchThatUnpacksToTwelveMegabytesIsRead() throws {
        let text = String(repeating: "x", count: 1 << 20)
        let bytes = batch(at: 0, Array(repeating: text, count: 12), compression: .zstd)
        let chunk = FetchedChunk(
            partition: p0, generation: 1, bytes: bytes, position: 0, nextOffset: 12, lastEpoch: 1, aborted: nil)
        #expect(throws: Never.self) { try chunk.records() }
    }

    @Test func aTimestampBeforeTheEpochIsNoSpecialNumber() throws {
        let bench = ConsumerBench([])
        bench.machine.seek(p0, to: .timestamp(-1))
        bench.leads(1, epoch: 1)
        #expect(try bench.locate().entries.map(\.subject) == [0], "-1 is Kafka's word for the end")
    }

    @Test func everyPartitionComesFirstOnce() throws {
        // Two looks for each Fetch: one at the answer, one when a reader has taken what it brought.
        let bench = ConsumerBench([p0, p1])
        var firsts: Set<TopicPartition> = []
        for _ in 0..<100 {
            let fetch = try bench.fetch()
            firsts.insert(fetch.entries[0].partition)
            #expect(bench.drain().fetches.isEmpty)
            bench.fetched(fetch.id, [p0: .init(), p1: .init()])
        }
        #expect(firsts == [p0, p1])
    }

    /// −1 says that the leader knows nothing of the epoch, not that the log begins anew.
    @Test func anUnknownEpochDoesNotRewindToZero() throws {
        let bench = ConsumerBench { $0.onTruncation = .resume }
        bench.give(try bench.fetch().id, at: 50, ["a", "b"])
        _ = try bench.read()
        bench.leads(2, epoch: 2)
        let question = try #require(bench.drain().compares.first)
        _ = bench.machine.compared(question.id, [p0: .init(offset: -1, epoch: -1)], at: bench.now)
        #expect(bench.known?.position != 0, "reading starts over at 0, offset 52 was reached")
    }

    @Test func metadataQuestionsWhileAPartitionIsOffline() throws {
        let bench = ConsumerBench { $0.retryPauseMs = 20...1_000 }
        bench.leads(nil, epoch: 2)
        _ = bench.drain()
        let end = bench.now.advanced(byMs: 60_000)
        var asked = 0
        while let wakeAt = bench.wakeAt, wakeAt < end {
            bench.now = max(bench.now, wakeAt)
            asked += bench.drain().metadata.count
            bench.leads(nil, epoch: 2)
            _ = bench.drain()
        }
        #expect(asked < 100, "\(asked) metadata requests in a minute")
    }
}

@Suite struct ProducerMachineFindingTests {
    @Test func producerMetadataIsPacedWhenOldAndUnreachable() throws {
        let bench = ProducerBench()
        bench.machine.disconnected(1, at: bench.now)
        bench.now = bench.now.advanced(byMs: 300_001)
        try bench.append()
        var asked = 0
        for _ in 0..<100 {
            for case .askMetadata in bench.drain() { asked += 1 }
            bench.machine.failedToLearn(at: bench.now)
        }
        #expect(asked <= 2, "\(asked) metadata requests in no time at all")
    }

    @Test func aTopicMadeAnewIsWrittenOn() throws {
        let bench = ProducerBench()
        bench.machine.learned(topics: [topic(leader: 1, epoch: 5, id: 1)], at: bench.now)
        try bench.append()
        let first = try #require(bench.sent().first)
        bench.answer(first, .unknownTopicOrPartition)
        var nodes: [NodeID] = []
        for _ in 0..<50 {
            bench.machine.learned(topics: [topic(leader: 2, epoch: 0, id: 2)], at: bench.now)
            for dispatch in bench.sent(afterMs: 1_000) {
                nodes.append(dispatch.node)
                bench.answer(dispatch, .notLeaderOrFollower)
            }
        }
        #expect(Set(nodes) == [2], "asked \(Set(nodes)) for 50 s")
    }

    /// Kafka 2.5 and later takes any sequence from a producer that a partition does not know
    /// (ProducerAppendInfo.checkSequence): what reaches a new leader first, stands first.
    @Test func nothingGoesToTheNextLeaderBeforeTheLastOneHasAnswered() throws {
        let bench = ProducerBench(isRecognised: false)
        try bench.appendBatch()
        let first = bench.sent()
        #expect(first.map(\.node) == [1])
        bench.machine.learned(topics: [ProducerBench.topic(leader: 2, epoch: 2)], at: bench.now)
        try bench.appendBatch()
        let second = bench.sent()
        #expect(second.isEmpty, "sent to \(second.map(\.node)) with sequences \(second.map(\.sequences))")
    }

    @Test func theFirstBatchOfAPartitionIsNotOvertaken() throws {
        let bench = ProducerBench(isRecognised: false)
        for _ in 0..<2 { try bench.appendBatch() }
        let sent = bench.sent()
        #expect(sent.count == 1, "a second batch goes out before any was taken")
        // What a Kafka broker does when the ISR is back between the two.
        bench.answer(sent[0], .notEnoughReplicas)
        if sent.count > 1 { bench.answer(sent[1], .none, offset: 0) }
        let again = try #require(bench.sent(afterMs: 1_000).first)
        if sent.count > 1 { bench.answer(again, .outOfOrderSequenceNumber) }
        _ = bench.drain()
        #expect(bench.errors.isEmpty, "\(bench.errors)")
    }

    @Test func metadataQuestionsWhileOneAnswerIsLate() throws {
        let bench = ProducerBench()
        try bench.append()
        _ = bench.sent()
        let end = bench.now.advanced(byMs: 30_000)
        var asked = 0
        while let wakeAt = bench.wakeAt, wakeAt < end {
            bench.now = max(bench.now, wakeAt)
            for case .askMetadata in bench.drain() {
                asked += 1
                bench.machine.learned(topics: [ProducerBench.topic(leader: 1, epoch: 1)], at: bench.now)
            }
            _ = bench.drain()
        }
        #expect(asked < 60, "\(asked) metadata requests in 30 s for one late answer")
    }

    @Test func deliveryEndsInTime() throws {
        let bench = ProducerBench {
            $0.deliveryTimeoutMs = 200; $0.requestTimeoutMs = 100
        }
        try bench.append()
        let dispatch = try #require(bench.sent().first)
        #expect(dispatch.timeoutMs <= 200, "one request may take \(dispatch.timeoutMs) ms")
    }
}
