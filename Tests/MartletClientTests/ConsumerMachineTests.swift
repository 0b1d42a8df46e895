// The consumer's rules one by one: where reading starts, what is asked of whom, and what each answer does to it.

import Model
import NIOCore
import Records
import Testing

import MartletClient

private let p0 = TopicPartition("t", 0)
private let p1 = TopicPartition("t", 1)

/// A machine with two connected nodes and a topic of two partitions led by node 1 in epoch 1, and a clock.
final class ConsumerBench {
    var machine: ConsumerMachine
    var now = Instant.zero.advanced(byMs: 1_000_000)
    var wakeAt: Instant?

    /// Reads `partitions` from offset 0.
    init(_ partitions: [TopicPartition] = [p0], _ change: (inout ConsumerConfiguration) -> Void = { _ in }) {
        var configuration = ConsumerConfiguration()
        configuration.retryPauseMs = 20...80
        change(&configuration)
        machine = ConsumerMachine(configuration: configuration)
        for partition in partitions { machine.seek(partition, to: .offset(0)) }
        leads(1, epoch: 1)
        machine.connected(1)
        machine.connected(2)
    }

    func leads(_ leader: NodeID?, epoch: LeaderEpoch) {
        let partitions = (0..<2).map {
            ClusterView.Partition(index: $0, leader: leader, leaderEpoch: epoch)
        }
        machine.learned(topics: [ClusterView.Topic(name: "t", partitions: partitions)], at: now)
    }

    func drain(afterMs: Int64 = 0) -> ConsumerEffects {
        now = now.advanced(byMs: afterMs)
        let (effects, wakeAt) = machine.drain(at: now)
        self.wakeAt = wakeAt
        return ConsumerEffects(all: effects)
    }

    /// The one Fetch that is due now.
    func fetch(afterMs: Int64 = 0) throws -> ConsumerMachine.FetchDispatch {
        let fetches = drain(afterMs: afterMs).fetches
        #expect(fetches.count == 1)
        return try #require(fetches.first)
    }

    func locate() throws -> ConsumerMachine.Question { try #require(drain().locates.first) }

    /// Answers a Fetch for `p0` with a batch; returns whether there is news for readers.
    @discardableResult
    func give(_ id: Int, at offset: Offset, _ values: [String] = ["v"], epoch: LeaderEpoch = 1) -> Bool {
        machine.fetched(
            id, [p0: .init(highWatermark: 100, bytes: batch(at: offset, values, epoch: epoch))], at: now)
    }

    @discardableResult
    func fetched(_ id: Int, _ answers: [TopicPartition: ConsumerMachine.FetchAnswer]) -> Bool {
        machine.fetched(id, answers, at: now)
    }

    @discardableResult
    func refuse(_ id: Int, _ code: ErrorCode, hint: (NodeID, LeaderEpoch)? = nil) -> Bool {
        var answer = ConsumerMachine.FetchAnswer(code: code)
        answer.leaderHint = hint.map { ($0.0, $0.1) }
        return machine.fetched(id, [p0: answer], at: now)
    }

    func diverge(_ id: Int, at offset: Offset, epoch: LeaderEpoch) {
        var answer = ConsumerMachine.FetchAnswer(highWatermark: 100)
        answer.divergedAt = (offset, epoch)
        _ = machine.fetched(id, [p0: answer], at: now)
    }

    /// A reader takes everything that is there.
    @discardableResult
    func read() throws -> [Offset] {
        var offsets: [Offset] = []
        while let chunk = machine.takeChunk() {
            offsets += try chunk.records().map(\.offset)
            machine.consumed(chunk.partition, generation: chunk.generation, upTo: chunk.nextOffset)
        }
        return offsets
    }

    var known: ConsumerMachine.Assignment? { machine.assignments[p0] }

    /// What readers are told now.
    func tellFailures() -> [ClientError] {
        var found: [ClientError] = []
        while let failure = machine.takeFailure() { found.append(failure) }
        return found
    }

    func compared(_ id: Int, end: Offset, epoch: LeaderEpoch = 1) -> Bool {
        machine.compared(id, [p0: .init(offset: end, epoch: epoch)], at: now)
    }

    func take() -> FetchedChunk? { machine.takeChunk() }
}

struct ConsumerEffects {
    let all: [ConsumerMachine.Effect]

    private func pick<T>(_ some: (ConsumerMachine.Effect) -> T?) -> [T] { all.compactMap(some) }
    var fetches: [ConsumerMachine.FetchDispatch] { pick { if case .fetch(let it) = $0 { it } else { nil } } }
    var locates: [ConsumerMachine.Question] { pick { if case .locate(let it) = $0 { it } else { nil } } }
    var compares: [ConsumerMachine.Question] { pick { if case .compare(let it) = $0 { it } else { nil } } }
    var connects: [NodeID] { pick { if case .connect(let it) = $0 { it } else { nil } } }
    var metadata: [[String]] { pick { if case .askMetadata(let it) = $0 { it } else { nil } } }
    var abandoned: [NodeID] { pick { if case .abandon(let it) = $0 { it } else { nil } } }
}

@Suite struct ConsumerMachineStartTests {
    @Test(arguments: [
        (StartPosition.earliest, Int64(-2), Offset(4)), (.latest, -1, 90), (.timestamp(1_234), 1_234, 17),
    ])
    func asksWhereToStart(start: StartPosition, subject: Int64, found: Offset) throws {
        let bench = ConsumerBench([])
        bench.machine.seek(p0, to: start)
        bench.leads(1, epoch: 1)
        let question = try bench.locate()
        #expect(question.node == 1)
        #expect(question.entries.map(\.subject) == [subject])
        #expect(question.entries.map(\.leaderEpoch) == [1])
        #expect(bench.drain().all.isEmpty, "one question is enough")
        bench.machine.located(question.id, [p0: .init(offset: found)], at: bench.now)
        #expect(try bench.fetch().entries.map(\.offset) == [found])
        #expect(bench.known?.consumed == found)
    }

    @Test func anOffsetIsReadAtOnce() throws {
        let bench = ConsumerBench([])
        bench.machine.seek(p0, to: .offset(12))
        bench.leads(1, epoch: 1)
        let entry = try #require(try bench.fetch().entries.first)
        #expect(entry.offset == 12 && entry.leaderEpoch == 1 && entry.lastEpoch == -1)
    }

    @Test func aTimeAfterTheLastRecordIsTheEnd() throws {
        let bench = ConsumerBench([])
        bench.machine.seek(p0, to: .timestamp(1_234))
        bench.leads(1, epoch: 1)
        let first = try bench.locate()
        bench.machine.located(first.id, [p0: .init(offset: -1)], at: bench.now)
        let second = try bench.locate()
        #expect(second.entries.map(\.subject) == [-1])
        bench.machine.located(second.id, [p0: .init(offset: 50)], at: bench.now)
        #expect(try bench.fetch().entries.map(\.offset) == [50])
    }

    @Test func aRefusalToSayWhereIsTriedAgainOrTold() throws {
        let bench = ConsumerBench([])
        bench.machine.seek(p0, to: .earliest)
        bench.leads(1, epoch: 1)
        let first = try bench.locate()
        bench.machine.located(first.id, [p0: .init(code: .leaderNotAvailable)], at: bench.now)
        #expect(bench.drain().metadata == [["t"]])
        bench.leads(1, epoch: 1)
        #expect(bench.drain(afterMs: 19).locates.isEmpty)
        let second = try #require(bench.drain(afterMs: 1).locates.first)
        bench.machine.located(second.id, [p0: .init(code: .topicAuthorizationFailed)], at: bench.now)
        #expect(
            bench.tellFailures()
                == [.refused(what: "find the offsets of t-0", .topicAuthorizationFailed, message: nil)])
    }

    @Test func outOfRangeIsTold() throws {
        let bench = ConsumerBench()
        let first = try bench.fetch()
        #expect(bench.refuse(first.id, .offsetOutOfRange), "readers are told")
        #expect(bench.tellFailures() == [.positionOutOfRange(topic: "t", 0, position: 0)])
        #expect(bench.drain(afterMs: 5_000).fetches.isEmpty, "only a seek goes on")
        bench.machine.seek(p0, to: .offset(9))
        #expect(try bench.fetch().entries.map(\.offset) == [9])
    }

    @Test(arguments: [(ConsumerConfiguration.OutOfRangePolicy.earliest, Int64(-2)), (.latest, -1)])
    func outOfRangeGoesToAnEnd(policy: ConsumerConfiguration.OutOfRangePolicy, subject: Int64) throws {
        let bench = ConsumerBench { $0.onOutOfRange = policy }
        let first = try bench.fetch()
        #expect(!bench.refuse(first.id, .offsetOutOfRange))
        let question = try bench.locate()
        #expect(question.entries.map(\.subject) == [subject])
        bench.machine.located(question.id, [p0: .init(offset: 33)], at: bench.now)
        #expect(try bench.fetch().entries.map(\.offset) == [33])
        #expect(bench.tellFailures().isEmpty)
    }
}

@Suite struct ConsumerMachineFetchTests {
    @Test func goesOnBehindWhatCame() throws {
        let bench = ConsumerBench()
        let first = try bench.fetch()
        #expect(bench.give(first.id, at: 0, ["a", "b", "c"]))
        let second = try #require(try bench.fetch().entries.first)
        #expect(second.offset == 3 && second.lastEpoch == 1)
        #expect(bench.known?.consumed == 0, "nobody has read it")
        #expect(try bench.read() == [0, 1, 2])
        #expect(bench.known?.consumed == 3)
        #expect(bench.known?.highWatermark == 100)
    }

    @Test func anEmptyAnswerIsNoNews() throws {
        let bench = ConsumerBench()
        let first = try bench.fetch()
        #expect(!bench.fetched(first.id, [p0: .init(highWatermark: 0)]))
        #expect(try bench.fetch().entries.map(\.offset) == [0])
    }

    @Test func aNodeOwesOneFetchAtATime() throws {
        let bench = ConsumerBench([p0])
        let first = try bench.fetch()
        bench.machine.seek(p1, to: .offset(0))
        bench.leads(1, epoch: 1)
        #expect(bench.drain().fetches.isEmpty)
        bench.give(first.id, at: 0)
        let second = try bench.fetch()
        #expect(Set(second.entries.map(\.partition)) == [p0, p1])
    }

    @Test func eachNodeIsAskedForWhatItLeads() throws {
        let bench = ConsumerBench([p0, p1])
        bench.machine.learned(leader: 2, epoch: 2, of: p1)
        let fetches = bench.drain().fetches
        #expect(fetches.map(\.node) == [1, 2])
        #expect(fetches.map { $0.entries.map(\.partition) } == [[p0], [p1]])
        #expect(fetches.map { $0.entries.map(\.leaderEpoch) } == [[1], [2]])
    }

    @Test func partitionsTakeTurnsAtTheFront() throws {
        let bench = ConsumerBench([p0, p1])
        let first = try bench.fetch()
        let none = ConsumerMachine.FetchAnswer(highWatermark: 0)
        _ = bench.fetched(first.id, [p0: none, p1: none])
        let second = try bench.fetch()
        #expect(first.entries.map(\.partition) == second.entries.map(\.partition).reversed())
    }

    @Test func fetchesNoFurtherThanThePrefetchBound() throws {
        let one = batch(at: 0, ["v"]).readableBytes
        let bench = ConsumerBench { $0.prefetchBytesMax = 2 * one }
        bench.give(try bench.fetch().id, at: 0)
        bench.give(try bench.fetch().id, at: 1)
        #expect(bench.machine.bufferedBytes == 2 * one)
        #expect(bench.drain().fetches.isEmpty)
        _ = bench.take()
        #expect(try bench.fetch().entries.map(\.offset) == [2])
    }

    @Test func aFullPartitionDoesNotKeepOthersWaitingLong() throws {
        let bench = ConsumerBench([p0, p1]) { $0.partitionBytesMax = 10 }
        let first = try bench.fetch()
        #expect(first.waitMs == 500)
        bench.fetched(first.id, [p0: .init(bytes: batch(at: 0, ["v"])), p1: .init(highWatermark: 0)])
        let second = try bench.fetch()
        #expect(second.entries.map(\.partition) == [p1])
        #expect(second.waitMs == 20)
    }

    @Test func aPausedPartitionIsKeptAndNotFetched() throws {
        let bench = ConsumerBench()
        let first = try bench.fetch()
        bench.machine.pause(p0, true)
        bench.give(first.id, at: 0)
        #expect(bench.take() == nil)
        #expect(bench.drain().fetches.isEmpty)
        bench.machine.pause(p0, false)
        #expect(try bench.fetch().entries.map(\.offset) == [1], "what came while it was paused is not lost")
        #expect(try bench.read() == [0])
    }

    @Test func aPausedPartitionDoesNotHoldUpAnother() throws {
        let bench = ConsumerBench([p0, p1])
        let first = try bench.fetch()
        _ = bench.fetched(first.id, [p0: .init(bytes: batch(at: 0, ["a"])), p1: .init(bytes: batch(at: 0, ["b"]))])
        bench.machine.pause(p0, true)
        #expect(bench.take()?.partition == p1)
        #expect(bench.take() == nil)
    }

    @Test func aSeekDropsWhatWasFetchedBeforeIt() throws {
        let bench = ConsumerBench()
        bench.give(try bench.fetch().id, at: 0, ["a", "b"])
        let onItsWay = try bench.fetch()
        bench.machine.seek(p0, to: .offset(50))
        #expect(bench.take() == nil && bench.machine.bufferedBytes == 0)
        #expect(bench.drain().fetches.isEmpty, "the node still owes an answer")
        #expect(!bench.give(onItsWay.id, at: 2))
        #expect(bench.take() == nil, "it is of the time before the seek")
        #expect(try bench.fetch().entries.map(\.offset) == [50])
    }

    @Test func whatWasTakenBeforeASeekIsNotPutBack() throws {
        let bench = ConsumerBench()
        bench.give(try bench.fetch().id, at: 0, ["a", "b"])
        let chunk = try #require(bench.take())
        #expect(bench.machine.isCurrent(chunk))
        bench.machine.putBack(chunk, from: 1)
        #expect(try bench.take()?.records().map(\.offset) == [1])
        bench.machine.seek(p0, to: .offset(0))
        bench.machine.putBack(chunk, from: 1)
        bench.machine.consumed(p0, generation: chunk.generation, upTo: 77)
        #expect(bench.take() == nil && bench.known?.consumed == 0)
    }

    @Test func anUnassignedPartitionIsForgotten() throws {
        let bench = ConsumerBench()
        let first = try bench.fetch()
        bench.machine.unassign(p0)
        #expect(!bench.give(first.id, at: 0))
        #expect(bench.take() == nil)
        #expect(bench.drain(afterMs: 400_000).all.isEmpty)
        #expect(bench.wakeAt == nil)
    }

    @Test func aCutBatchIsAskedForWithMoreRoom() throws {
        let bench = ConsumerBench { $0.partitionBytesMax = 100 }
        let whole = batch(at: 0, [String(repeating: "x", count: 300)])
        let first = try bench.fetch()
        let cut = try #require(whole.getSlice(at: 0, length: 100))
        #expect(!bench.fetched(first.id, [p0: .init(bytes: cut)]))
        let second = try #require(try bench.fetch().entries.first)
        #expect(second.offset == 0 && second.bytesMax == 200)
    }

    @Test func aBatchThatFitsNowhereIsTold() throws {
        let bench = ConsumerBench { $0.partitionBytesMax = 1 << 30 }
        let first = try bench.fetch()
        let cut = ByteBuffer(repeating: 0, count: 100)
        #expect(bench.fetched(first.id, [p0: .init(bytes: cut)]))
        #expect(
            bench.tellFailures()
                == [
                    .unreadableRecords(
                        topic: "t", 0, offset: 0, nextOffset: 1,
                        reason: "100 bytes hold no whole batch of the format that Kafka writes since 0.11")
                ])
    }

    @Test func onlyReadCommittedMindsAbortedTransactions() throws {
        for isolation in [ConsumerConfiguration.Isolation.readUncommitted, .readCommitted] {
            let bench = ConsumerBench { $0.isolation = isolation }
            var answer = ConsumerMachine.FetchAnswer(bytes: batch(at: 0, ["a"], transactionOf: 7))
            answer.aborted = [.init(producerID: 7, firstOffset: 0)]
            _ = bench.fetched(try bench.fetch().id, [p0: answer])
            #expect(try bench.read() == (isolation == .readCommitted ? [] : [0]))
        }
    }
}
