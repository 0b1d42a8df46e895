// The client against nodes that are away, slow, old, or no longer the leader.

import MartletClient
import Model
import NIOCore
import Records
import Synchronization
import Testing
import Wire

private func impatient(patienceMs: Int64 = 0) -> ClientConfiguration {
    var configuration = ClientConfiguration()
    configuration.patienceMs = patienceMs
    configuration.newTopicPatienceMs = 0
    configuration.retryPauseMs = 1...5
    return configuration
}

private func value(_ text: String) -> ProducedRecord { ProducedRecord(value: ByteBuffer(string: text), timestampMs: 5) }

@Suite struct ClusterClientTests {
    @Test func saysWhatToDoWhenNobodyAnswers() async throws {
        let broker = try await FakeBroker { header, _ in servesAll(header) }
        try await broker.stop()
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient(patienceMs: 60_000))
        await #expect {
            _ = try await client.topics()
        } throws: { error in
            "\(error)"
                == "no node answered at \(broker.endpoint) (connection refused): is the cluster started? make cluster"
        }
    }

    @Test func asksTheNextAddressWhenTheFirstIsDead() async throws {
        let dead = try await FakeBroker { header, _ in servesAll(header) }
        try await dead.stop()
        let alive = try await FakeBroker { header, _ in
            header.api == .apiVersions
                ? servesAll(header)
                : answer(metadata([dead.endpoint], topic: "t", leader: 1), to: MetadataRequest.self, header)
        }
        let client = ClusterClient(bootstrap: [dead.endpoint, alive.endpoint], configuration: impatient())
        #expect(try await client.topics().map(\.name) == ["t"])
        await client.close()
        try await alive.stop()
    }

    @Test func fallsBackWhenTheNodeDoesNotKnowOurApiVersions() async throws {
        let versions = Mutex<[Int16]>([])
        let broker = try await FakeBroker { header, _ in
            guard header.api == .apiVersions else {
                return answer(metadata([], topic: "t", leader: -1), to: MetadataRequest.self, header)
            }
            versions.withLock { $0.append(header.version) }
            guard header.version > 1 else { return servesAll(header) }
            var refusal = ApiVersionsResponse()
            refusal.errorCode = .unsupportedVersion
            var own = ApiVersionsResponse.ApiVersion()
            own.apiKey = .apiVersions
            own.maxVersion = 1
            refusal.apiKeys = [own]
            return .frame(
                encodeResponseFrame(
                    refusal, to: ApiVersionsRequest.self, version: 0, correlationID: header.correlationID))
        }
        var configuration = impatient()
        configuration.requestTimeoutMs = 60_000
        let connection = try await BrokerConnection.open(broker.endpoint, configuration)
        #expect(connection.isOpen)
        #expect(versions.withLock { $0 } == [3, 1])
        connection.close()
        try await broker.stop()
    }

    @Test func refusesAnApiThatTheNodeDoesNotServe() async throws {
        let broker = try await FakeBroker { header, _ in servesAll(header) }
        let connection = try await BrokerConnection.open(broker.endpoint, impatient())
        await #expect(throws: ClientError.unsupported("DeleteTopics", broker.endpoint)) {
            _ = try await connection.send(DeleteTopicsRequest())
        }
        connection.close()
        try await broker.stop()
    }

    @Test func givesUpAConnectionThatDoesNotAnswer() async throws {
        let broker = try await FakeBroker { header, _ in header.api == .apiVersions ? servesAll(header) : .silence }
        var configuration = impatient()
        configuration.requestTimeoutMs = 1
        let connection = try await BrokerConnection.open(broker.endpoint, configuration)
        await #expect(throws: ClientError.requestTimedOut("Metadata", broker.endpoint, afterMs: 1)) {
            _ = try await connection.send(MetadataRequest())
        }
        await #expect(throws: ClientError.connectionLost(broker.endpoint)) {
            _ = try await connection.send(MetadataRequest(), extraWaitMs: 60_000)
        }
        try await broker.stop()
    }

    @Test func doesNotTakeTheAnswerToAnotherRequest() async throws {
        let broker = try await FakeBroker { header, _ in
            var wrong = header
            wrong.correlationID += header.api == .apiVersions ? 0 : 1
            return header.api == .apiVersions
                ? servesAll(header) : answer(MetadataResponse(), to: MetadataRequest.self, wrong)
        }
        let connection = try await BrokerConnection.open(broker.endpoint, impatient())
        await #expect {
            _ = try await connection.send(MetadataRequest())
        } throws: { ($0 as? ClientError)?.isRetriable == false }
        try await broker.stop()
    }

    @Test func retriesUntilPatienceEndsAndSaysWhy() async throws {
        let broker = try await FakeBroker { header, _ in header.api == .apiVersions ? servesAll(header) : .hangUp }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient(patienceMs: 20))
        await #expect {
            _ = try await client.topics()
        } throws: { error in
            guard case ClientError.gaveUp(_, let ms, let last) = error else { return false }
            return ms >= 20 && last == ClientError.connectionLost(broker.endpoint).description
        }
        try await broker.stop()
    }

    @Test func unknownTopicIsNamed() async throws {
        let broker = try await FakeBroker { header, _ in
            guard header.api != .apiVersions else { return servesAll(header) }
            var response = metadata([], topic: "t", leader: -1)
            response.topics[0].errorCode = .unknownTopicOrPartition
            return answer(response, to: MetadataRequest.self, header)
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient(patienceMs: 60_000))
        await #expect(throws: ClientError.noSuchTopic("t")) { _ = try await client.partitions(of: "t") }
        try await broker.stop()
    }
}

@Suite struct ProducerTests {
    /// Node 1 says that it leads no more; the same bytes must then reach node 2, or the retry could write twice.
    @Test func followsTheLeaderWithTheSameBatch() async throws {
        let batches = Mutex<[ByteBuffer]>([])
        let endpoints = Mutex<[Endpoint]>([])
        let script: @Sendable (NodeID) -> FakeBroker.Script = { node in
            { header, body in
                switch header.api {
                case .apiVersions: return servesAll(header)
                case .metadata:
                    // The first to ask learns the old leader.
                    let leader: NodeID = batches.withLock { $0.isEmpty } ? 1 : 2
                    let all = endpoints.withLock { $0 }
                    return answer(metadata(all, topic: "t", leader: leader), to: MetadataRequest.self, header)
                case .initProducerID:
                    var response = InitProducerIDResponse()
                    response.producerID = 77
                    return answer(response, to: InitProducerIDRequest.self, header)
                default:
                    var bytes = body
                    guard let request = try? wireDecode(ProduceRequest.self, from: &bytes, version: header.version),
                        let records = request.topics.first?.partitions.first?.records
                    else { return .hangUp }
                    batches.withLock { $0.append(records) }
                    var partition = ProduceResponse.Partition()
                    partition.errorCode = node == 1 ? .notLeaderOrFollower : .none
                    var topic = ProduceResponse.Topic()
                    topic.name = "t"
                    topic.partitions = [partition]
                    var response = ProduceResponse()
                    response.topics = [topic]
                    return answer(response, to: ProduceRequest.self, header)
                }
            }
        }
        let brokers = [try await FakeBroker(script(1)), try await FakeBroker(script(2))]
        endpoints.withLock { $0 = brokers.map(\.endpoint) }
        let client = ClusterClient(bootstrap: [brokers[0].endpoint], configuration: impatient(patienceMs: 60_000))
        var producer = Producer(client: client, topic: "t")
        try await producer.send([value("a"), value("b")])
        try await producer.send([value("c")])

        let sent = batches.withLock { $0 }
        #expect(sent.count == 3)
        #expect(sent[0] == sent[1])
        let headers = sent.compactMap { BatchHeader(reading: $0, at: $0.readerIndex) }
        #expect(headers.map(\.baseSequence) == [0, 0, 2])
        #expect(headers.allSatisfy { $0.producerID == 77 && verifies($0, in: sent) })
        await client.close()
        for broker in brokers { try await broker.stop() }
    }

    private func verifies(_: BatchHeader, in batches: [ByteBuffer]) -> Bool { batches.allSatisfy { verifyCRC(of: $0) } }
}

@Suite struct ConsumerTests {
    private func batch(_ values: [String], at offset: Offset, isControl: Bool = false) -> ByteBuffer {
        var builder = RecordBatchBuilder(baseOffset: offset, isControl: isControl)
        for value in values { builder.append(timestamp: 1, key: nil, value: ByteBuffer(string: value)) }
        return builder.build()
    }

    private func broker(_ fetch: @escaping @Sendable (Offset) -> (ErrorCode, ByteBuffer?)) async throws -> FakeBroker {
        let own = Mutex<[Endpoint]>([])
        let broker = try await FakeBroker { header, body in
            switch header.api {
            case .apiVersions: return servesAll(header)
            case .metadata:
                let all = own.withLock { $0 }
                return answer(metadata(all, topic: "t", leader: 1), to: MetadataRequest.self, header)
            default:
                var bytes = body
                guard let request = try? wireDecode(FetchRequest.self, from: &bytes, version: header.version),
                    let asked = request.topics.first?.partitions.first
                else { return .hangUp }
                var partition = FetchResponse.Partition()
                (partition.errorCode, partition.records) = fetch(asked.fetchOffset)
                var topic = FetchResponse.Topic()
                topic.name = "t"
                topic.partitions = [partition]
                var response = FetchResponse()
                response.topics = [topic]
                return answer(response, to: FetchRequest.self, header)
            }
        }
        own.withLock { $0 = [broker.endpoint] }
        return broker
    }

    @Test func startsInsideABatchSkipsControlBatchesAndDropsThePartialTail() async throws {
        var log = batch(["a", "b", "c"], at: 10)
        log.writeImmutableBuffer(batch(["marker"], at: 13, isControl: true))
        log.writeImmutableBuffer(batch(["d"], at: 14))
        let tail = batch(["e"], at: 15)
        log.writeImmutableBuffer(tail.getSlice(at: 0, length: tail.readableBytes - 3) ?? tail)
        let (whole, last) = (log, tail)
        let broker = try await broker { offset in (.none, offset < 15 ? whole : last) }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        var consumer = try await Consumer(client: client, topic: "t", from: .offset(11))
        let first = try await consumer.poll()
        #expect(first.map(\.record.offset) == [11, 12, 14])
        #expect(first.map { $0.record.value.map { String(buffer: $0) } } == ["b", "c", "d"])
        #expect(consumer.positions[0] == 15)
        #expect(try await consumer.poll().map(\.record.offset) == [15])
        await client.close()
        try await broker.stop()
    }

    @Test func offsetOutOfRangeIsNotHidden() async throws {
        let broker = try await broker { _ in (.offsetOutOfRange, nil) }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient(patienceMs: 60_000))
        var consumer = try await Consumer(client: client, topic: "t", from: .offset(99))
        await #expect(
            throws: ClientError.refused(what: "read t-0 at offset 99", .offsetOutOfRange, message: nil)
        ) { _ = try await consumer.poll() }
        try await broker.stop()
    }

    @Test func goesOnAfterALeaderChange() async throws {
        let calls = Mutex(0)
        let good = batch(["a"], at: 0)
        let broker = try await broker { _ in
            let call = calls.withLock {
                $0 += 1; return $0
            }
            return call == 1 ? (.notLeaderOrFollower, nil) : (.none, good)
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient(patienceMs: 60_000))
        var consumer = try await Consumer(client: client, topic: "t", from: .offset(0))
        #expect(try await consumer.poll().isEmpty)
        #expect(try await consumer.poll().map(\.record.offset) == [0])
        try await broker.stop()
    }

    @Test func damagedRecordsAreNotGivenOut() async throws {
        var damaged = batch(["a"], at: 0)
        damaged.setInteger(UInt8(0xFF), at: damaged.writerIndex - 2)
        let bytes = damaged
        let broker = try await broker { _ in (.none, bytes) }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        var consumer = try await Consumer(client: client, topic: "t", from: .offset(0))
        await #expect {
            _ = try await consumer.poll()
        } throws: { error in
            guard case ClientError.unreadableRecords("t", 0, _) = error else { return false }
            return true
        }
        try await broker.stop()
    }
}
