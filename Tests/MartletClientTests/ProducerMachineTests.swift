// The producer's rules one by one: when a batch leaves, and what each answer does to it.

import MartletClient
import Model
import NIOCore
import Records
import Testing

/// A machine with a cluster of two nodes and a topic of three partitions, all led by node 1, and a clock.
final class ProducerBench {
    var machine: ProducerMachine<Int>
    var now = Instant.zero.advanced(byMs: 1_000_000)
    var ended: [(tokens: [Int?], outcome: Result<ProducerMachine<Int>.Completion.Written, ClientError>)] = []
    var wakeAt: Instant?
    private var lastToken = 0

    /// `isRecognised`: the cluster has taken batches of this producer before, so that several may be on their way.
    init(
        isReady: Bool = true, isRecognised: Bool = true, _ change: (inout ProducerConfiguration) -> Void = { _ in }
    ) {
        var configuration = ProducerConfiguration()
        configuration.batchBytesMax = 400
        change(&configuration)
        machine = ProducerMachine(configuration: configuration, seed: 1)
        machine.learned(topics: [Self.topic(leader: 1, epoch: 1)], at: now)
        if isReady {
            let identity = ProducerIdentity(id: 7, epoch: 0)
            machine.learned(identity: identity)
            for index in machine.queues.indices where isRecognised {
                _ = machine.queues[index].startSequenceAnew(identity)
                machine.queues[index].isRecognised = true
            }
            machine.connected(1)
            machine.connected(2)
        }
    }

    static func topic(leader: NodeID?, epoch: LeaderEpoch) -> ClusterView.Topic {
        ClusterView.Topic(
            name: "t", partitions: (0..<3).map { .init(index: $0, leader: leader, leaderEpoch: epoch) })
    }

    @discardableResult
    func append(_ partition: PartitionIndex = 0, sizeBytes: Int = 10) throws -> ProducerMachine<Int>.Admission {
        let value = ByteBuffer(repeating: 1, count: sizeBytes)
        lastToken += 1
        return try machine.append(
            ProducerRecord(topic: "t", partition: partition, value: value), token: lastToken, timestampMs: 5, at: now)
    }

    /// A full batch: it leaves although others are on their way.
    func appendBatch(_ partition: PartitionIndex = 0) throws { try append(partition, sizeBytes: 400) }

    func drain(afterMs: Int64 = 0) -> [ProducerMachine<Int>.Effect] {
        now = now.advanced(byMs: afterMs)
        let (effects, wakeAt) = machine.drain(at: now)
        self.wakeAt = wakeAt
        for case .complete(let completion) in effects { ended.append((completion.tokens, completion.outcome)) }
        return effects
    }

    func sent(afterMs: Int64 = 0) -> [ProducerMachine<Int>.Dispatch] {
        drain(afterMs: afterMs).compactMap { effect in
            if case .send(let dispatch) = effect { return dispatch }
            return nil
        }
    }

    func answer(_ dispatch: ProducerMachine<Int>.Dispatch, _ code: ErrorCode, offset: Offset = -1) {
        let answer = PartitionAnswer(code: code, baseOffset: offset)
        machine.answered(dispatch.id, dispatch.entries.map { _ in answer }, at: now)
    }

    func lose(_ dispatch: ProducerMachine<Int>.Dispatch) {
        machine.lost(dispatch.id, .connectionLost(Endpoint(host: "n", port: 1)), wasSent: true, at: now)
    }

    var errors: [ClientError] {
        ended.compactMap { end in
            if case .failure(let error) = end.outcome { return error }
            return nil
        }
    }
}

extension ProducerMachine<Int>.Dispatch {
    /// Epoch, first sequence and count of each batch.
    var sequences: [[Int]] {
        entries.compactMap { entry in
            BatchHeader(reading: entry.builder.build(), at: 0).map {
                [Int($0.producerEpoch), Int($0.baseSequence), Int($0.recordsCount)]
            }
        }
    }
}

@Suite struct ProducerMachineTests {
    @Test func anIdlePartitionSendsAtOnceAndABusyOneWaitsForCompany() throws {
        let bench = ProducerBench()
        try bench.append()
        let first = bench.sent()
        #expect(first.map(\.sequences) == [[[0, 0, 1]]])
        try bench.append()
        try bench.append()
        #expect(bench.sent().isEmpty)
        #expect(bench.wakeAt == bench.now.advanced(byMs: 5))
        #expect(bench.sent(afterMs: 4).isEmpty)
        #expect(bench.sent(afterMs: 1).map(\.sequences) == [[[0, 1, 2]]])
        // A full batch does not wait.
        try bench.appendBatch()
        #expect(bench.sent().count == 1)
    }

    @Test func withoutAnswersOnlyTimeTells() throws {
        let bench = ProducerBench { $0.acks = .none }
        try bench.append()
        #expect(bench.sent().isEmpty)
        #expect(bench.sent(afterMs: 5).map(\.sequences) == [[[-1, -1, 1]]])
    }

    @Test func theAnswerOfTheFirstLetsTheNextGo() throws {
        let bench = ProducerBench()
        try bench.append()
        let first = try #require(bench.sent().first)
        try bench.append()
        bench.answer(first, .none, offset: 40)
        #expect(bench.sent().count == 1)
        #expect(bench.ended.map(\.tokens) == [[1]])
        #expect(try bench.ended.first?.outcome.get().baseOffset == 40)
    }

    @Test func requestsAreBounded() throws {
        let bench = ProducerBench { $0.requestBytesMax = 1_000 }
        for partition: PartitionIndex in 0..<3 { try bench.appendBatch(partition) }
        #expect(bench.sent().map(\.entries.count) == [2, 1])
    }

    @Test func windowsOfAPartitionAndOfANodeHoldFive() throws {
        let bench = ProducerBench()
        for _ in 0..<7 { try bench.appendBatch() }
        let sent = bench.sent()
        #expect(sent.map { $0.sequences[0][1] } == [0, 1, 2, 3, 4])
        try bench.appendBatch(1)
        #expect(bench.sent().isEmpty, "the node has five requests")
        bench.answer(sent[0], .none, offset: 0)
        #expect(bench.sent().map { $0.entries.map(\.partition).sorted() } == [[0, 1]])
    }

    @Test func whatCameBackWaitsForTheOthersAndGoesInOrder() throws {
        let bench = ProducerBench()
        for _ in 0..<3 { try bench.appendBatch() }
        let sent = bench.sent()
        bench.answer(sent[0], .notEnoughReplicas)
        #expect(bench.sent(afterMs: 5_000).isEmpty)
        bench.lose(sent[2])
        bench.answer(sent[1], .outOfOrderSequenceNumber)
        bench.machine.learned(topics: [ProducerBench.topic(leader: 1, epoch: 1)], at: bench.now)
        #expect(bench.sent(afterMs: 5_000).map(\.sequences) == [[[0, 0, 1]], [[0, 1, 1]], [[0, 2, 1]]])
    }

    @Test func sequencesWrap() {
        var queue = PartitionQueue<Int>()
        queue.nextSequence = Int32.max - 1
        let first = queue.takeSequence(count: 3)
        #expect(first == Int32.max - 1)
        #expect(queue.nextSequence == 1)
    }

    @Test func aDuplicateIsAcknowledgedWithoutItsPlace() throws {
        let bench = ProducerBench()
        try bench.append()
        let first = try #require(bench.sent().first)
        bench.answer(first, .duplicateSequenceNumber, offset: 99)
        _ = bench.drain()
        #expect(try bench.ended.first?.outcome.get().baseOffset == -1)
    }

    @Test func whatFollowsAFailedBatchStartsANewEpoch() throws {
        let bench = ProducerBench()
        for _ in 0..<2 { try bench.appendBatch() }
        let sent = bench.sent()
        bench.answer(sent[0], .invalidRecord)
        bench.answer(sent[1], .outOfOrderSequenceNumber)
        #expect(bench.sent(afterMs: 100).map(\.sequences) == [[[1, 0, 1]]])
        #expect(bench.errors.count == 1)
    }

    @Test func aBatchInDoubtAsksUnderItsOldSequenceFirst() throws {
        let bench = ProducerBench()
        for _ in 0..<2 { try bench.appendBatch() }
        let sent = bench.sent()
        bench.answer(sent[0], .invalidRecord)
        bench.lose(sent[1])
        bench.machine.learned(topics: [ProducerBench.topic(leader: 1, epoch: 1)], at: bench.now)
        let again = try #require(bench.sent(afterMs: 100).first)
        #expect(again.sequences == [[0, 1, 1]])
        bench.answer(again, .outOfOrderSequenceNumber)
        #expect(bench.sent().map(\.sequences) == [[[1, 0, 1]]])
    }

    @Test func outOfOrderWithoutAGapIsTold() throws {
        let bench = ProducerBench()
        try bench.append()
        let first = try #require(bench.sent().first)
        bench.answer(first, .outOfOrderSequenceNumber)
        _ = bench.drain()
        #expect(
            bench.errors == [.refused(what: "produce to t-0", .outOfOrderSequenceNumber, message: nil)])
    }

    @Test func aForgottenProducerStartsANewEpochAfterAPause() throws {
        let bench = ProducerBench()
        try bench.append()
        let first = try #require(bench.sent().first)
        bench.answer(first, .unknownProducerId)
        #expect(bench.sent().isEmpty)
        #expect(bench.sent(afterMs: 20).map(\.sequences) == [[[1, 0, 1]]])
    }
}
