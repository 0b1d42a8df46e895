// What a fresh reading of the shells found: connections that were shared, consumers that lived on, records lost to one
// bad frame.

import MartletClient
import Model
import NIOConcurrencyHelpers
import NIOCore
import Records
import Testing
import Wire

private let p0 = TopicPartition("t", 0)

/// A Fetch answer of partition 0.
private func fetched(_ records: ByteBuffer?, _ header: RequestHeader) -> FakeBroker.Answer {
    var partition = FetchResponse.Partition()
    partition.highWatermark = 3
    partition.records = records
    var topic = FetchResponse.Topic()
    topic.name = "t"
    topic.partitions = [partition]
    var response = FetchResponse()
    response.topics = [topic]
    return answer(response, to: FetchRequest.self, header)
}

@Suite struct ShellFindingTests {
    /// A node answers a connection in order, so the Fetch that it holds back must not be in front of a Produce.
    @Test func aReaderThatWaitsDoesNotHoldUpAWriter() async throws {
        let cluster = try await FakeCluster.start { _, _, header, _ in header.api == .fetch ? .silence : nil }
        let client = cluster.client()
        let consumer = Consumer(client)
        try await consumer.assign(p0, from: .offset(0))
        try await until { cluster.count(.fetch) > 0 }
        let before = cluster.count(.apiVersions)
        try await Producer(client).send(ProducerRecord(topic: "t", value: "v"))
        #expect(cluster.count(.apiVersions) == before + 1)
        consumer.close()
        await client.close()
        try await cluster.stop()
    }

    @Test func aClosedConsumerRefusesAssignment() async throws {
        let cluster = try await FakeCluster.start()
        let client = cluster.client()
        let consumer = Consumer(client)
        consumer.close()
        await #expect(throws: ClientError.closed) { try await consumer.assign(p0, from: .offset(0)) }
        #expect(consumer.assignment.isEmpty)
        await client.close()
        try await cluster.stop()
    }

    @Test func aConsumerThatNobodyHoldsEnds() async throws {
        let cluster = try await FakeCluster.start { _, _, header, _ in
            header.api == .fetch ? fetched(nil, header) : nil
        }
        let client = cluster.client()
        weak var left: Consumer?
        do {
            let consumer = Consumer(client)
            left = consumer
            try await consumer.assign(p0, from: .offset(0))
            try await until { cluster.count(.fetch) > 3 }
        }
        try await until { left == nil }
        await client.close()
        try await cluster.stop()
    }

    @Test func aClosedClientEndsItsConsumersAndProducers() async throws {
        let cluster = try await FakeCluster.start { _, _, header, _ in
            header.api == .fetch || header.api == .produce ? .silence : nil
        }
        let client = cluster.client()
        let consumer = Consumer(client)
        try await consumer.assign(p0, from: .offset(0))
        let producer = Producer(client)
        let reading = Task { try await consumer.next() }
        let writing = Task { try await producer.send(ProducerRecord(topic: "t", value: "v")) }
        try await until { cluster.count(.fetch) > 0 && cluster.count(.produce) > 0 }
        await client.close()
        #expect(try await reading.value == nil)
        await #expect(throws: ClientError.closed) { try await writing.value }
        await #expect(throws: ClientError.closed) { try await producer.send(ProducerRecord(topic: "t", value: "v")) }
        try await cluster.stop()
    }

    @Test(arguments: [0, -1]) func aBatchOfNoneReturns(countMax: Int) async throws {
        let cluster = try await FakeCluster.start { _, _, header, _ in
            header.api == .fetch ? fetched(batch(at: 0, ["a", "b", "c"]), header) : nil
        }
        let client = cluster.client()
        let consumer = Consumer(client)
        try await consumer.assign(p0, from: .offset(0))
        try await until { consumer.hasPrefetched }
        #expect(try await consumer.nextBatch(countMax: countMax, waitMs: 50).isEmpty)
        consumer.close()
        await client.close()
        try await cluster.stop()
    }

    @Test func aTopicThatIsNotThereIsNamedSo() async throws {
        let cluster = try await FakeCluster.start()
        let client = cluster.client()
        let producer = Producer(client)
        await #expect(throws: ClientError.noSuchTopic("typo")) {
            try await producer.submit(ProducerRecord(topic: "typo", value: "v"))
        }
        await client.close()
        try await cluster.stop()
    }

    @Test func newPartitionsAreFound() async throws {
        let count = NIOLockedValueBox<Int32>(1)
        let cluster = try await FakeCluster.start { cluster, _, header, _ in
            guard header.api == .metadata else { return nil }
            var response = metadata(cluster.state.withLockedValue { $0.endpoints }, topic: "t", leader: 1, epoch: 1)
            let first = response.topics[0].partitions[0]
            response.topics[0].partitions = (0..<count.withLockedValue { $0 }).map { index in
                var partition = first
                partition.partitionIndex = index
                return partition
            }
            return answer(response, to: MetadataRequest.self, header)
        }
        let client = cluster.client()
        let consumer = Consumer(client)
        try await consumer.assign(topic: "t", from: .offset(0))
        consumer.close()
        // Somebody else adds partitions.
        count.withLockedValue { $0 = 3 }
        let second = Consumer(client)
        try await second.assign(topic: "t", from: .offset(0))
        #expect(second.assignment.count == 3)
        count.withLockedValue { $0 = 4 }
        try await second.assign(TopicPartition("t", 3), from: .offset(0))
        second.close()
        await client.close()
        try await cluster.stop()
    }

    @Test func oneBadFrameDoesNotLoseRecords() async throws {
        let isFirst = NIOLockedValueBox(true)
        let cluster = try await FakeCluster.start { _, _, header, _ in
            let garble =
                header.api == .produce
                && isFirst.withLockedValue { first in
                    defer { first = false }
                    return first
                }
            guard garble else { return nil }
            var frame = ByteBuffer()
            frame.writeInteger(Int32(8))
            frame.writeInteger(header.correlationID &+ 77)
            frame.writeInteger(Int32(0))
            return .frame(frame)
        }
        let client = cluster.client()
        let producer = Producer(client)
        try await producer.send(ProducerRecord(topic: "t", value: "v"))
        await client.close()
        try await cluster.stop()
    }

    @Test func goodBatchesBeforeABadOneAreGiven() async throws {
        var bad = batch(at: 2, ["c"])
        bad.setInteger(UInt8(0xEE), at: bad.writerIndex - 3)
        let bytes = joined([batch(at: 0, ["a", "b"]), bad, batch(at: 3, ["d"])])
        let cluster = try await FakeCluster.start { _, _, header, body in
            guard header.api == .fetch else { return nil }
            var body = body
            guard let request = try? wireDecode(FetchRequest.self, from: &body, version: header.version) else {
                return .hangUp
            }
            let offset = request.topics.first?.partitions.first?.fetchOffset ?? 0
            return fetched(offset < 4 ? bytes : nil, header)
        }
        let client = cluster.client()
        let consumer = Consumer(client)
        try await consumer.assign(p0, from: .offset(0))
        var seen: [Offset] = []
        var failure: ClientError?
        do {
            while seen.count < 10 { seen += try await consumer.nextBatch().map(\.offset) }
        } catch {
            failure = error as? ClientError
        }
        #expect(seen == [0, 1])
        guard case .unreadableRecords(_, _, offset: 2, nextOffset: let next, _) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(consumer.position(of: p0) == 2)
        consumer.seek(p0, to: .offset(next))
        #expect(try await consumer.next()?.offset == 3)
        consumer.close()
        await client.close()
        try await cluster.stop()
    }
}
