// The consumer over sockets: what its user reads from a node that holds a log, and how reading ends and moves.

import Model
import NIOConcurrencyHelpers
import NIOCore
import Records
import Testing
import Wire

import MartletClient

private let p0 = TopicPartition("t", 0)

/// The log of partition t-0: record `n` says "v<n>", ten records a batch, one batch an answer.
final class FakeLog: Sendable {
    struct State: Sendable {
        var end: Offset
        var corrupt: Offset?
        /// The last offset is no record but a marker of this epoch.
        var markerEpoch: LeaderEpoch?
        var requests: [FetchRequest] = []
    }

    private let state: NIOLockedValueBox<State>

    init(end: Offset) { state = NIOLockedValueBox(State(end: end)) }

    var requests: [FetchRequest] { state.withLockedValue { $0.requests } }
    func grow(to end: Offset) { state.withLockedValue { $0.end = end } }
    func endWithMarker(of epoch: LeaderEpoch) { state.withLockedValue { $0.markerEpoch = epoch } }
    /// The batch that begins at `offset` is damaged on its way.
    func damage(at offset: Offset) { state.withLockedValue { $0.corrupt = offset } }

    var script: FakeCluster.Script {
        { _, _, header, body in
            var body = body
            switch header.api {
            case .fetch:
                guard let request = try? wireDecode(FetchRequest.self, from: &body, version: header.version) else {
                    return .hangUp
                }
                return answer(self.fetched(request), to: FetchRequest.self, header)
            case .listOffsets:
                guard let request = try? wireDecode(ListOffsetsRequest.self, from: &body, version: header.version)
                else { return .hangUp }
                return answer(self.located(request), to: ListOffsetsRequest.self, header)
            default: return nil
            }
        }
    }

    private func fetched(_ request: FetchRequest) -> FetchResponse {
        let (end, corrupt, markerEpoch) = state.withLockedValue { state in
            state.requests.append(request)
            return (state.end, state.corrupt, state.markerEpoch)
        }
        var partition = FetchResponse.Partition()
        let offset = request.topics.first?.partitions.first?.fetchOffset ?? -1
        partition.highWatermark = end
        partition.records = ByteBuffer()
        if offset < 0 || offset > end {
            partition.errorCode = .offsetOutOfRange
        } else if offset < end {
            let base = offset / 10 * 10
            var bytes = batch(at: base, (base..<min(base + 10, end)).map { "v\($0)" })
            if base == corrupt { bytes.setInteger(UInt8(0xEE), at: bytes.writerIndex - 3) }
            if let markerEpoch, base + 10 >= end {
                bytes = joined([
                    batch(at: base, (base..<end - 1).map { "v\($0)" }),
                    marker(at: end - 1, of: 1, commits: true, epoch: markerEpoch),
                ])
            }
            partition.records = bytes
        }
        var topic = FetchResponse.Topic()
        topic.name = "t"
        topic.partitions = [partition]
        var response = FetchResponse()
        response.topics = [topic]
        return response
    }

    private func located(_ request: ListOffsetsRequest) -> ListOffsetsResponse {
        var partition = ListOffsetsResponse.Partition()
        let end = state.withLockedValue { $0.end }
        partition.offset = request.topics.first?.partitions.first?.timestamp == -2 ? 0 : end
        var topic = ListOffsetsResponse.Topic()
        topic.name = "t"
        topic.partitions = [partition]
        var response = ListOffsetsResponse()
        response.topics = [topic]
        return response
    }
}

/// A node with a log, and a consumer of it.
private struct Reading: Sendable {
    let log: FakeLog
    let cluster: FakeCluster
    let client: ClusterClient
    let consumer: Consumer

    init(
        end: Offset = 25, from start: StartPosition? = .earliest,
        _ change: (inout ConsumerConfiguration) -> Void = { _ in }
    ) async throws {
        log = FakeLog(end: end)
        cluster = try await FakeCluster.start(log.script)
        client = cluster.client()
        var configuration = ConsumerConfiguration()
        configuration.retryPauseMs = 1...2
        change(&configuration)
        consumer = Consumer(client, configuration: configuration)
        if let start { try await consumer.assign(p0, from: start) }
    }

    func offsets(_ countMax: Int = .max, waitMs: Int64? = nil) async throws -> [Offset] {
        try await consumer.nextBatch(countMax: countMax, waitMs: waitMs).map(\.offset)
    }

    func untilAReaderWaits() async throws {
        try await until { consumer.hasWaitingReaders }
    }

    func end() async throws {
        consumer.close()
        await client.close()
        try await cluster.stop()
    }
}

@Suite(.timeLimit(.minutes(1))) struct ConsumerSocketTests {
    @Test func givesEveryRecordInOrderUntilItIsClosed() async throws {
        let reading = try await Reading()
        var (offsets, values) = ([Offset](), [String]())
        for try await record in reading.consumer {
            offsets.append(record.offset)
            values.append(record.value.map(String.init(buffer:)) ?? "nil")
            if offsets.count == 23 { reading.consumer.close() }
        }
        #expect(offsets == Array(0..<23), "what is left of the last batch is not given out")
        #expect(values == (0..<23).map { "v\($0)" })
        #expect(try await reading.consumer.next() == nil)
        #expect(reading.consumer.assignment.isEmpty)
        try await reading.end()
    }

    @Test func closingWakesAReaderThatWaits() async throws {
        let reading = try await Reading(end: 0)
        let read = Task { try await reading.consumer.next() }
        try await reading.untilAReaderWaits()
        reading.consumer.close()
        #expect(try await read.value == nil)
        try await reading.end()
    }

    @Test func cancellationWakesAReaderThatWaits() async throws {
        let reading = try await Reading(end: 0)
        let read = Task { try await reading.consumer.next() }
        try await reading.untilAReaderWaits()
        read.cancel()
        #expect(try await read.value == nil)
        reading.log.grow(to: 1)
        #expect(try await reading.consumer.next()?.offset == 0, "others read on")
        try await reading.end()
    }

    @Test func aCancelledTaskGetsNoMoreOfWhatIsAtHand() async throws {
        let reading = try await Reading()
        let read = Task {
            var offsets: [Offset] = []
            for try await record in reading.consumer {
                offsets.append(record.offset)
                if offsets.count == 3 { withUnsafeCurrentTask { $0?.cancel() } }
            }
            let batch = try await reading.offsets()
            return offsets + batch
        }
        #expect(try await read.value == [0, 1, 2])
        #expect(reading.consumer.position(of: p0) == 3)
        #expect(try await reading.consumer.next()?.offset == 3)
        try await reading.end()
    }

    // MARK: Batches

    @Test func aBatchHoldsNoMoreThanIsWanted() async throws {
        let reading = try await Reading()
        #expect(try await reading.offsets(4) == [0, 1, 2, 3])
        #expect(reading.consumer.position(of: p0) == 4)
        #expect(try await reading.offsets(4) == [4, 5, 6, 7])
        #expect(try await reading.offsets(4) == [8, 9], "what is at hand, not more")
        #expect(try await reading.consumer.next()?.offset == 10)
        #expect(try await reading.offsets() == Array(11..<20))
        #expect(try await reading.offsets() == Array(20..<25))
        try await reading.end()
    }

    @Test func theWaitForABatchEnds() async throws {
        let reading = try await Reading(end: 0)
        #expect(try await reading.offsets(waitMs: 0).isEmpty)
        #expect(try await reading.offsets(waitMs: 1).isEmpty)
        reading.log.grow(to: 2)
        #expect(try await reading.offsets(waitMs: 600_000) == [0, 1])
        try await reading.end()
    }

    @Test func aReaderThatWaitsGetsWhatComes() async throws {
        let reading = try await Reading(end: 0)
        let read = Task { try await reading.offsets() }
        try await reading.untilAReaderWaits()
        reading.log.grow(to: 3)
        #expect(try await read.value == [0, 1, 2])
        try await reading.end()
    }

    @Test func readersShareTheRecords() async throws {
        let reading = try await Reading(end: 200)
        let readers = (0..<4).map { _ in
            Task {
                var mine: [Offset] = []
                while let record = try await reading.consumer.next() { mine.append(record.offset) }
                return mine
            }
        }
        try await until { reading.consumer.position(of: p0) == 200 }
        reading.consumer.close()
        var all: [[Offset]] = []
        for reader in readers { all.append(try await reader.value) }
        #expect(all.allSatisfy { $0 == $0.sorted() })
        #expect(all.flatMap { $0 }.sorted() == Array(0..<200), "each once")
        try await reading.end()
    }

    // MARK: Places

    @Test func aPausedPartitionKeepsItsPlace() async throws {
        let reading = try await Reading()
        #expect(try await reading.offsets(3) == [0, 1, 2])
        reading.consumer.pause(p0)
        #expect(try await reading.offsets(waitMs: 1).isEmpty)
        #expect(reading.consumer.position(of: p0) == 3)
        reading.consumer.resume(p0)
        #expect(try await reading.offsets() == Array(3..<10))
        #expect(try await reading.offsets() == Array(10..<20))
        try await reading.end()
    }

    @Test func resumingWakesAReader() async throws {
        let reading = try await Reading()
        reading.consumer.pause(p0)
        let read = Task { try await reading.offsets(1) }
        try await reading.untilAReaderWaits()
        reading.consumer.resume(p0)
        #expect(try await read.value == [0])
        try await reading.end()
    }

    @Test(arguments: [
        (StartPosition.offset(17), Offset(17)), (.offset(1), 1), (.earliest, 0), (.offset(20), 20),
    ])
    func aSeekLeavesWhatIsAtHand(start: StartPosition, expected: Offset) async throws {
        let reading = try await Reading()
        #expect(try await reading.offsets(3) == [0, 1, 2])
        // The next batches are there too.
        try await until { reading.consumer.hasPrefetched }
        reading.consumer.seek(p0, to: start)
        #expect(try await reading.consumer.next()?.offset == expected)
        #expect(reading.consumer.position(of: p0) == expected + 1)
        try await reading.end()
    }

    @Test func aSeekInAPartitionThatIsNotReadDoesNothing() async throws {
        let reading = try await Reading()
        reading.consumer.seek(TopicPartition("t", 5), to: .offset(3))
        #expect(reading.consumer.assignment == [p0])
        #expect(try await reading.consumer.next()?.offset == 0)
        reading.consumer.unassign(p0)
        #expect(try await reading.offsets(waitMs: 1).isEmpty)
        #expect(reading.consumer.position(of: p0) == nil)
        try await reading.end()
    }

    @Test func aPositionOutOfRangeIsToldAndASeekGoesOn() async throws {
        let reading = try await Reading(from: .offset(99))
        await #expect(throws: ClientError.positionOutOfRange(topic: "t", 0, position: 99)) {
            _ = try await reading.consumer.next()
        }
        #expect(try await reading.offsets(waitMs: 1).isEmpty, "told once")
        reading.consumer.seek(p0, to: .offset(21))
        #expect(try await reading.offsets() == [21, 22, 23, 24])
        try await reading.end()
    }

    @Test func aDamagedBatchIsToldAndASeekGoesOn() async throws {
        let reading = try await Reading()
        reading.log.damage(at: 10)
        reading.consumer.seek(p0, to: .offset(0))
        #expect(try await reading.offsets() == Array(0..<10), "what came before it is read first")
        await #expect {
            _ = try await reading.consumer.next()
        } throws: { error in
            guard case ClientError.unreadableRecords(topic: "t", 0, _, _, reason: _) = error else { return false }
            return true
        }
        reading.consumer.seek(p0, to: .offset(20))
        #expect(try await reading.offsets() == Array(20..<25))
        try await reading.end()
    }

    @Test func positionAndHighWatermarkAreTold() async throws {
        let reading = try await Reading(from: nil)
        #expect(reading.consumer.position(of: p0) == nil)
        #expect(reading.consumer.highWatermark(of: p0) == nil)
        try await reading.consumer.assign(topic: "t", from: .latest)
        try await until { reading.consumer.position(of: p0) == 25 }
        try await until { reading.consumer.highWatermark(of: p0) == 25 }
        reading.log.grow(to: 27)
        #expect(try await reading.offsets() == [25, 26])
        #expect(reading.consumer.position(of: p0) == 27)
        #expect(reading.consumer.highWatermark(of: p0) == 27)
        try await reading.end()
    }

    @Test func whatIsNotThereCannotBeAssigned() async throws {
        let reading = try await Reading(from: nil)
        await #expect(throws: ClientError.noSuchTopic("nowhere")) {
            try await reading.consumer.assign(topic: "nowhere", from: .earliest)
        }
        await #expect(throws: ClientError.noSuchPartition(topic: "t", 4, count: 1)) {
            try await reading.consumer.assign(TopicPartition("t", 4), from: .earliest)
        }
        #expect(reading.consumer.assignment.isEmpty)
        try await reading.end()
    }

    // MARK: The wire

    @Test func aFetchSaysWhatWasConfigured() async throws {
        let reading = try await Reading {
            ($0.isolation, $0.rack, $0.fetchBytesMin) = (.readCommitted, "r1", 7)
            ($0.fetchBytesMax, $0.partitionBytesMax, $0.fetchWaitMs) = (9_000, 800, 3)
        }
        _ = try await reading.consumer.next()
        let request = try #require(reading.log.requests.first)
        #expect(request.isolationLevel == 1 && request.rackID == "r1" && request.replicaID == -1)
        #expect(request.minBytes == 7 && request.maxBytes == 9_000 && request.maxWaitMs == 3)
        let partition = try #require(request.topics.first?.partitions.first)
        #expect(partition.partitionMaxBytes == 800 && partition.currentLeaderEpoch == 1)
        #expect(partition.lastFetchedEpoch == -1)
        try await reading.end()
    }

    @Test func readingGoesOnAfterALostConnection() async throws {
        let log = FakeLog(end: 25)
        let plain = log.script
        let cluster = try await FakeCluster.start { cluster, node, header, body in
            header.api == .fetch && cluster.count(.fetch) == 2 ? .hangUp : plain(cluster, node, header, body)
        }
        let client = cluster.client()
        var configuration = ConsumerConfiguration()
        configuration.retryPauseMs = 1...2
        let consumer = Consumer(client, configuration: configuration)
        try await consumer.assign(topic: "t", from: .earliest)
        var offsets: [Offset] = []
        while offsets.count < 25 { offsets += try await consumer.nextBatch().map(\.offset) }
        #expect(offsets == Array(0..<25))
        consumer.close()
        await client.close()
        try await cluster.stop()
    }
}
