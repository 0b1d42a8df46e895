// The producer over sockets: what reaches the nodes of a small cluster, and what its user is told.

import Model
import NIOConcurrencyHelpers
import NIOCore
import Records
import Synchronization
import Testing
import Wire

import MartletClient

/// Nodes 1… on loopback that remember what they were asked, and a topic `t` with one partition.
final class FakeCluster: Sendable {
    /// Nil: answer as a node that has nothing special to say.
    typealias Script = @Sendable (FakeCluster, NodeID, RequestHeader, ByteBuffer) -> FakeBroker.Answer?

    struct State: Sendable {
        var endpoints: [Endpoint] = []
        /// How many nodes Metadata names.
        var namedCount = Int.max
        var leader: NodeID = 1
        var epoch: LeaderEpoch = 1
        var asked: [(node: NodeID, api: APIKey)] = []
        /// The headers of all batches that came.
        var batches: [BatchHeader] = []
        var nextOffset: Offset = 0
    }

    let state = NIOLockedValueBox(State())
    private let brokers = NIOLockedValueBox<[FakeBroker]>([])

    static func start(nodes: Int = 1, _ script: @escaping Script = { _, _, _, _ in nil }) async throws -> FakeCluster {
        let cluster = FakeCluster()
        for node in 1...nodes {
            let broker = try await FakeBroker { [weak cluster] header, body in
                // Connections outlive the test that opened them.
                guard let cluster else { return .hangUp }
                cluster.state.withLockedValue { $0.asked.append((NodeID(node), header.api)) }
                return script(cluster, NodeID(node), header, body) ?? cluster.plain(header, body)
            }
            cluster.state.withLockedValue { $0.endpoints.append(broker.endpoint) }
            cluster.brokers.withLockedValue { $0.append(broker) }
        }
        return cluster
    }

    func stop() async throws {
        for broker in brokers.withLockedValue({ $0 }) { try await broker.stop() }
    }

    /// A client that knows node 1 and does not wait long for anything.
    func client(patienceMs: Int64 = 0) -> ClusterClient {
        var configuration = ClientConfiguration()
        configuration.patienceMs = patienceMs
        configuration.newTopicPatienceMs = 0
        configuration.retryPauseMs = 1...5
        return ClusterClient(bootstrap: [state.withLockedValue { $0.endpoints[0] }], configuration: configuration)
    }

    func count(_ api: APIKey) -> Int { state.withLockedValue { $0.asked.count { $0.api == api } } }

    private func plain(_ header: RequestHeader, _ body: ByteBuffer) -> FakeBroker.Answer {
        var body = body
        switch header.api {
        case .apiVersions: return servesAll(header)
        case .metadata:
            guard let request = try? wireDecode(MetadataRequest.self, from: &body, version: header.version) else {
                return .hangUp
            }
            var response = state.withLockedValue { state in
                metadata(
                    Array(state.endpoints.prefix(state.namedCount)), topic: "t", leader: state.leader,
                    epoch: state.epoch)
            }
            if let name = request.topics?.first?.name, name != "t" {
                response.topics[0].name = name
                response.topics[0].errorCode = .unknownTopicOrPartition
            }
            return answer(response, to: MetadataRequest.self, header)
        case .initProducerID:
            var response = InitProducerIDResponse()
            response.producerID = 7
            return answer(response, to: InitProducerIDRequest.self, header)
        case .produce: return produced(header, body)
        default: return .hangUp
        }
    }

    // MARK: Produce

    /// Notes the batches of a Produce request and gives its acks.
    func note(_ header: RequestHeader, _ body: ByteBuffer) -> (acks: Int16, batches: [BatchHeader]) {
        var body = body
        guard let request = try? wireDecode(ProduceRequest.self, from: &body, version: header.version) else {
            return (0, [])
        }
        let batches = request.topics.flatMap(\.partitions).compactMap(\.records).compactMap {
            BatchHeader(reading: $0, at: $0.readerIndex)
        }
        state.withLockedValue { $0.batches += batches }
        return (request.acks, batches)
    }

    /// Notes the batches and answers the partition as `change` says.
    func produced(
        _ header: RequestHeader, _ body: ByteBuffer,
        _ change: (inout ProduceResponse, inout ProduceResponse.Partition) -> Void = { _, _ in }
    ) -> FakeBroker.Answer {
        let (acks, batches) = note(header, body)
        guard acks != 0 else { return .silence }
        var (response, partition) = (ProduceResponse(), ProduceResponse.Partition())
        change(&response, &partition)
        if partition.errorCode == .none {
            partition.baseOffset = state.withLockedValue { state in
                defer { for batch in batches { state.nextOffset += Offset(batch.recordsCount) } }
                return state.nextOffset
            }
        }
        var topic = ProduceResponse.Topic()
        topic.name = "t"
        topic.partitions = [partition]
        response.topics = [topic]
        return answer(response, to: ProduceRequest.self, header)
    }
}

/// Returns when `condition` holds. The suite's time limit ends a test whose condition never does.
func until(_ condition: () -> Bool) async throws {
    while !condition() {
        try Task.checkCancellation()
        await Task.yield()
    }
}

/// Closed at first.
private final class Gate: Sendable {
    private let isOpenNow = Atomic(false)
    var isOpen: Bool { isOpenNow.load(ordering: .sequentiallyConsistent) }
    func open() { isOpenNow.store(true, ordering: .sequentiallyConsistent) }
}

/// Refuses every batch for now, until the gate is open.
private func refusing(until gate: Gate) -> FakeCluster.Script {
    { cluster, _, header, body in
        guard header.api == .produce, !gate.isOpen else { return nil }
        return cluster.produced(header, body) { _, partition in partition.errorCode = .notEnoughReplicas }
    }
}

private func configured(_ change: (inout ProducerConfiguration) -> Void = { _ in }) -> ProducerConfiguration {
    var configuration = ProducerConfiguration()
    configuration.lingerMs = 0
    configuration.retryPauseMs = 1...2
    change(&configuration)
    return configuration
}

private func text(_ value: String, topic: String = "t") -> ProducerRecord { ProducerRecord(topic: topic, value: value) }

extension BatchHeader {
    fileprivate var stamp: [Int64] { [producerID, Int64(producerEpoch), Int64(baseSequence)] }
}

@Suite(.timeLimit(.minutes(1))) struct ProducerSocketTests {
    @Test func aRecordIsAcknowledgedWithItsOffset() async throws {
        let cluster = try await FakeCluster.start()
        cluster.state.withLockedValue { $0.nextOffset = 40 }
        let client = cluster.client()
        let producer = Producer(client, configuration: configured())
        var record = text("a")
        record.timestampMs = 77
        let written = try await producer.send(record)
        #expect(written == RecordMetadata(topic: "t", partition: 0, offset: 40, timestampMs: 77))
        #expect(cluster.state.withLockedValue { $0.batches.map(\.stamp) } == [[7, 0, 0]])
        await producer.close()
        await client.close()
        try await cluster.stop()
    }

    @Test func theLeadersOwnTimeCounts() async throws {
        let cluster = try await FakeCluster.start { cluster, _, header, body in
            guard header.api == .produce else { return nil }
            return cluster.produced(header, body) { _, partition in partition.logAppendTimeMs = 99 }
        }
        let producer = Producer(cluster.client(), configuration: configured())
        #expect(try await producer.send(text("a")).timestampMs == 99)
        await producer.close()
        try await cluster.stop()
    }

    @Test func aHintOfTheNextLeaderIsFollowedAtOnce() async throws {
        let cluster = try await FakeCluster.start(nodes: 2) { cluster, node, header, body in
            guard header.api == .produce, node == 1 else { return nil }
            return cluster.produced(header, body) { response, partition in
                partition.errorCode = .notLeaderOrFollower
                (partition.currentLeader.leaderID, partition.currentLeader.leaderEpoch) = (2, 5)
                let endpoint = cluster.state.withLockedValue { $0.endpoints[1] }
                var hint = ProduceResponse.NodeEndpoint()
                (hint.nodeID, hint.host, hint.port) = (2, endpoint.host, Int32(endpoint.port))
                response.nodeEndpoints = [hint]
            }
        }
        // Only the hint tells where node 2 is.
        cluster.state.withLockedValue { $0.namedCount = 1 }
        let producer = Producer(cluster.client(), configuration: configured())
        #expect(try await producer.send(text("a")).offset == 0)
        let (asked, stamps) = cluster.state.withLockedValue { ($0.asked, $0.batches.map(\.stamp)) }
        let first = try #require(asked.firstIndex { $0.node == 1 && $0.api == .produce })
        let second = try #require(asked.firstIndex { $0.node == 2 && $0.api == .produce })
        #expect(asked[first..<second].allSatisfy { $0.api != .metadata })
        #expect(stamps == [[7, 0, 0], [7, 0, 0]], "the same batch under the same sequence")
        await producer.close()
        try await cluster.stop()
    }

    @Test func withoutAHintMetadataTellsWhoLeads() async throws {
        let cluster = try await FakeCluster.start(nodes: 2) { cluster, node, header, body in
            guard header.api == .produce, node == 1 else { return nil }
            cluster.state.withLockedValue { ($0.leader, $0.epoch) = (2, 2) }
            return cluster.produced(header, body) { _, partition in partition.errorCode = .notLeaderOrFollower }
        }
        let producer = Producer(cluster.client(), configuration: configured())
        #expect(try await producer.send(text("a")).offset == 0)
        #expect(cluster.state.withLockedValue { $0.asked.last { $0.api == .produce }?.node } == 2)
        await producer.close()
        try await cluster.stop()
    }

    @Test func aBatchWhoseAnswerWasLostGoesAgainUnderItsSequence() async throws {
        let cluster = try await FakeCluster.start { cluster, _, header, body in
            guard header.api == .produce, cluster.count(.produce) == 2 else { return nil }
            _ = cluster.note(header, body)
            return .hangUp
        }
        let producer = Producer(cluster.client(), configuration: configured())
        #expect(try await producer.send(text("a")).offset == 0)
        #expect(try await producer.send(text("b")).offset == 1)
        #expect(cluster.state.withLockedValue { $0.batches.map(\.stamp) } == [[7, 0, 0], [7, 0, 1], [7, 0, 1]])
        await producer.close()
        try await cluster.stop()
    }

    @Test func withoutAcknowledgementNoOffsetIsKnown() async throws {
        let cluster = try await FakeCluster.start()
        let producer = Producer(cluster.client(), configuration: configured { $0.acks = .none })
        #expect(try await producer.send(text("a")).offset == -1)
        try await until { cluster.state.withLockedValue { $0.batches.count == 1 } }
        #expect(cluster.count(.initProducerID) == 0)
        await producer.close()
        try await cluster.stop()
    }

    @Test func idempotenceNeedsANodeThatGivesProducerIDs() async throws {
        let cluster = try await FakeCluster.start { _, _, header, _ in
            guard header.api == .apiVersions else { return nil }
            var response = ApiVersionsResponse()
            response.apiKeys = [(APIKey.produce, ProduceRequest.versions), (.metadata, MetadataRequest.versions)].map {
                var entry = ApiVersionsResponse.ApiVersion()
                (entry.apiKey, entry.minVersion, entry.maxVersion) = ($0, $1.lowerBound, $1.upperBound)
                return entry
            }
            return answer(response, to: ApiVersionsRequest.self, header)
        }
        let client = cluster.client()
        let plain = Producer(client, configuration: configured { $0.isIdempotent = false })
        #expect(try await plain.send(text("a")).offset == 0)
        #expect(cluster.state.withLockedValue { $0.batches.map(\.stamp) } == [[-1, -1, -1]])
        let idempotent = Producer(client, configuration: configured())
        let endpoint = cluster.state.withLockedValue { $0.endpoints[0] }
        await #expect(throws: ClientError.unsupported("\(APIKey.initProducerID)", endpoint)) {
            try await idempotent.send(text("b"))
        }
        await plain.close()
        await idempotent.close()
        try await cluster.stop()
    }

    // MARK: Refusals

    @Test func aRefusedRecordThrowsWhatTheNodeSaid() async throws {
        let cluster = try await FakeCluster.start { cluster, _, header, body in
            guard header.api == .produce, cluster.count(.produce) == 1 else { return nil }
            return cluster.produced(header, body) { _, partition in
                (partition.errorCode, partition.errorMessage) = (.invalidRecord, "no key")
            }
        }
        let producer = Producer(cluster.client(), configuration: configured())
        await #expect(throws: ClientError.refused(what: "produce to t-0", .invalidRecord, message: "no key")) {
            try await producer.send(text("a"))
        }
        #expect(try await producer.send(text("b")).offset == 0, "the producer goes on")
        await producer.close()
        try await cluster.stop()
    }

    @Test func whatCannotBeWrittenIsRefusedAtOnce() async throws {
        let cluster = try await FakeCluster.start()
        let producer = Producer(cluster.client(), configuration: configured { $0.recordBytesMax = 100 })
        let large = text(String(repeating: "x", count: 100))
        await #expect(throws: ClientError.recordTooLarge(sizeBytes: large.sizeBytes, limitBytes: 100)) {
            try await producer.submit(large)
        }
        var elsewhere = text("a")
        elsewhere.partition = 3
        await #expect(throws: ClientError.noSuchPartition(topic: "t", 3, count: 1)) {
            try await producer.send(elsewhere)
        }
        await #expect(throws: ClientError.noSuchTopic("nowhere")) {
            try await producer.send(text("a", topic: "nowhere"))
        }
        #expect(cluster.count(.produce) == 0)
        await producer.close()
        try await cluster.stop()
    }

    @Test func aClosedProducerTakesNothing() async throws {
        let cluster = try await FakeCluster.start()
        let producer = Producer(cluster.client(), configuration: configured())
        try await producer.send(text("a"))
        await producer.close()
        await #expect(throws: ClientError.closed) { try await producer.submit(text("b")) }
        await #expect(throws: ClientError.closed) { try await producer.send(text("c")) }
        await producer.close()
        #expect(cluster.state.withLockedValue { $0.batches.count } == 1)
        try await cluster.stop()
    }

    // MARK: Many records

    @Test func manyAreAcknowledgedInTheirOrder() async throws {
        let cluster = try await FakeCluster.start()
        let producer = Producer(cluster.client(), configuration: configured { $0.batchBytesMax = 400 })
        let written = try await producer.send(contentsOf: (0..<100).map { text("record \($0)") })
        #expect(written.map(\.offset) == Array(0..<100))
        let batches = cluster.state.withLockedValue { $0.batches }
        #expect(batches.count > 5)
        #expect(batches.reduce(0) { $0 + $1.recordsCount } == 100)
        #expect(try await producer.send(contentsOf: [ProducerRecord]()).isEmpty)
        await producer.close()
        try await cluster.stop()
    }

    @Test func theFirstErrorOfManyIsThrownWhenAllHaveEnded() async throws {
        let cluster = try await FakeCluster.start { cluster, _, header, body in
            guard header.api == .produce, cluster.count(.produce) == 1 else { return nil }
            return cluster.produced(header, body) { _, partition in partition.errorCode = .invalidRecord }
        }
        let producer = Producer(
            cluster.client(), configuration: configured { ($0.batchBytesMax, $0.isIdempotent) = (400, false) })
        await #expect(throws: ClientError.refused(what: "produce to t-0", .invalidRecord, message: nil)) {
            try await producer.send(contentsOf: (0..<50).map { text("record \($0)") })
        }
        #expect(cluster.state.withLockedValue { $0.batches.reduce(0) { $0 + $1.recordsCount } } == 50)
        await producer.close()
        try await cluster.stop()
    }

    @Test func flushReturnsWhenAllAreTold() async throws {
        let gate = Gate()
        let cluster = try await FakeCluster.start(refusing(until: gate))
        // Nothing but a flush ends this wait.
        let producer = Producer(cluster.client(), configuration: configured { $0.lingerMs = 600_000 })
        let told = Atomic(0)
        for value in 0..<20 {
            try await producer.submit(text("\(value)")) { _ in told.add(1, ordering: .sequentiallyConsistent) }
        }
        let flushed = Task {
            await producer.flush()
            return told.load(ordering: .sequentiallyConsistent)
        }
        try await until { cluster.count(.produce) >= 3 }
        #expect(told.load(ordering: .sequentiallyConsistent) == 0)
        gate.open()
        #expect(await flushed.value == 20)
        await producer.flush()
        await producer.close()
        try await cluster.stop()
    }
}

/// A producer whose buffer one record fills, and that record, which is not acknowledged until the gate opens.
private struct FullBuffer {
    let gate = Gate()
    let cluster: FakeCluster
    let producer: Producer
    let log = Log()

    /// What was done in which order.
    final class Log: Sendable {
        private let entries = NIOLockedValueBox<[String]>([])
        func add(_ entry: String) { entries.withLockedValue { $0.append(entry) } }
        var all: [String] { entries.withLockedValue { $0 } }
    }

    init(maxBlockMs: Int64 = 600_000) async throws {
        cluster = try await FakeCluster.start(refusing(until: gate))
        let limitBytes = text("1").sizeBytes
        producer = Producer(
            cluster.client(),
            configuration: configured { ($0.bufferBytesMax, $0.maxBlockMs) = (limitBytes, maxBlockMs) })
        try await submit("1")
    }

    func submit(_ value: String) async throws {
        try await producer.submit(text(value)) { [log] _ in log.add("acknowledged \(value)") }
        log.add("admitted \(value)")
    }

    func untilOneWaits() async throws {
        try await until { producer.hasWaiters }
    }

    func end() async throws {
        gate.open()
        await producer.close()
        try await cluster.stop()
    }
}

@Suite(.timeLimit(.minutes(1))) struct ProducerBufferTests {
    @Test func aRecordWaitsForRoom() async throws {
        let full = try await FullBuffer()
        let second = Task { try await full.submit("2") }
        try await full.untilOneWaits()
        #expect(full.log.all == ["admitted 1"])
        full.gate.open()
        try await second.value
        await full.producer.flush()
        #expect(Array(full.log.all.prefix(2)) == ["admitted 1", "acknowledged 1"])
        #expect(Set(full.log.all.dropFirst(2)) == ["admitted 2", "acknowledged 2"])
        try await full.end()
    }

    @Test func theWaitForRoomEnds() async throws {
        let full = try await FullBuffer(maxBlockMs: 1)
        let limitBytes = full.producer.configuration.bufferBytesMax
        await #expect(throws: ClientError.bufferFull(limitBytes: limitBytes, afterMs: 1)) {
            try await full.submit("2")
        }
        await #expect(throws: ClientError.bufferFull(limitBytes: limitBytes, afterMs: 1)) {
            try await full.producer.send(text("3"))
        }
        try await full.end()
        #expect(full.log.all == ["admitted 1", "acknowledged 1"])
    }

    /// The alarm went off before there was anybody to wake, and nobody set another.
    @Test func aWaitThatIsOverAsItBeginsEndsToo() async throws {
        let full = try await FullBuffer(maxBlockMs: 0)
        let limitBytes = full.producer.configuration.bufferBytesMax
        for _ in 0..<500 {
            await #expect(throws: ClientError.bufferFull(limitBytes: limitBytes, afterMs: 0)) {
                try await full.submit("2")
            }
        }
        try await full.end()
    }

    @Test func aCancelledTaskStopsWaiting() async throws {
        let full = try await FullBuffer()
        let second = Task { try await full.submit("2") }
        try await full.untilOneWaits()
        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        #expect(!full.producer.hasWaiters)
        try await full.end()
        #expect(full.log.all == ["admitted 1", "acknowledged 1"])
    }

    @Test func closingEndsTheWaitAndTellsWhatWasTakenIn() async throws {
        let full = try await FullBuffer()
        let second = Task { try await full.submit("2") }
        try await full.untilOneWaits()
        let closed = Task { await full.producer.close() }
        await #expect(throws: ClientError.closed) { try await second.value }
        #expect(full.log.all == ["admitted 1"])
        full.gate.open()
        await closed.value
        #expect(full.log.all == ["admitted 1", "acknowledged 1"])
        try await full.end()
    }
}
