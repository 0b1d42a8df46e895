// What strangers and clients of every age are told: ApiVersions, Metadata, ListOffsets, OffsetForLeaderEpoch.

import Broker
import Model
import NIOCore
import Testing
import Wire

struct ApiVersionsTests {
    @Test func anUnknownVersionIsAnsweredInVersion0WithTheOneRange() throws {
        let world = try World.running()
        let client = Client(world.hosts[0], world)
        var frame = ByteBuffer()
        frame.writeMultipleIntegers(Int16(18), Int16(99), Int32(41))
        frame.writeBytes([0xFF, 0xFF, 0xFF, 0xFF, 0x17])
        client.sendRaw(frame)
        world.run(forMs: 5)
        // Header v0: the correlation id and nothing else, then error 35 and one entry.
        let bytes = try #require(client.frames.first)
        #expect(bytes.getInteger(at: bytes.readerIndex, as: Int32.self) == 41)
        let answer = try client.take(ApiVersionsRequest.self, version: 0)
        #expect(answer.errorCode == .unsupportedVersion)
        #expect(answer.apiKeys.map(\.apiKey) == [.apiVersions])
        #expect(answer.apiKeys.first?.maxVersion == 4)
        #expect(!client.isClosed)
    }

    @Test func version3GivesARealFeaturesEpochAndNoNodeApi() throws {
        let world = try World.running()
        let client = Client(world.hosts[0], world)
        var request = ApiVersionsRequest()
        request.clientSoftwareName = "test-client"
        request.clientSoftwareVersion = "1.0"
        let answer = try client.call(request, version: 3)
        #expect(answer.errorCode == .none)
        #expect(answer.finalizedFeaturesEpoch >= 0)
        let keys = answer.apiKeys.map(\.apiKey)
        #expect(keys.contains(.produce))
        #expect(!keys.contains(.vote) && !keys.contains(.envelope) && !keys.contains(.formCluster))
        #expect(answer.apiKeys.first { $0.apiKey == .produce }?.minVersion == 0)
    }

    @Test func aSoftwareNameOutOfOrderIsAnInvalidRequest() throws {
        let world = try World.running()
        var request = ApiVersionsRequest()
        request.clientSoftwareName = "bad name\n"
        request.clientSoftwareVersion = "1"
        #expect(try Client(world.hosts[0], world).call(request, version: 3).errorCode == .invalidRequest)
    }

    @Test func anUnknownApiClosesTheConnectionAndNamesTheClient() throws {
        let world = try World.running()
        let client = Client(world.hosts[0], world)
        var request = ApiVersionsRequest()
        request.clientSoftwareName = "strange"
        request.clientSoftwareVersion = "0.1"
        _ = try client.call(request, version: 3)
        var frame = ByteBuffer()
        frame.writeMultipleIntegers(Int16(4_711), Int16(0), Int32(1))
        client.sendRaw(frame)
        world.run(forMs: 5)
        #expect(client.isClosed)
        #expect(world.hosts[0].lines.contains { $0.text.contains("strange 0.1") && $0.text.contains("4711") })
    }

    @Test func aFrameThatCannotBeReadClosesOnlyItsOwnConnection() throws {
        let world = try World.running()
        let (bad, good) = (Client(world.hosts[0], world), Client(world.hosts[0], world))
        var frame = ByteBuffer()
        frame.writeMultipleIntegers(Int16(3), Int16(12), Int32(1), Int16(-1), UInt8(0))
        frame.writeBytes([0xFF, 0xFF, 0xFF, 0xFF, 0x07])
        bad.sendRaw(frame)
        world.run(forMs: 5)
        #expect(bad.isClosed)
        #expect(try good.call(MetadataRequest()).brokers.count == 1)
    }
}

struct MetadataTests {
    @Test(arguments: [Int16(0), 1, 12]) func allTopicsAreToldInEveryForm(version: Int16) throws {
        let (_, client) = try World.withTopics(["a", "b"])
        var request = MetadataRequest()
        request.topics = version == 0 ? [] : nil
        let answer = try client.call(request, version: version)
        #expect(answer.topics.map(\.name) == ["a", "b"])
        #expect(answer.brokers.map(\.nodeID) == [1])
        let partition = try #require(answer.topics.first?.partitions.first)
        #expect(partition.leaderID == 1)
        #expect(partition.isrNodes == [1])
    }

    @Test func anEmptyListMeansNoneFromVersion1On() throws {
        let (_, client) = try World.withTopics()
        var request = MetadataRequest()
        request.topics = []
        #expect(try client.call(request, version: 1).topics.isEmpty)
    }

    @Test func aTopicIsFoundByItsIdFromVersion12On() throws {
        let (_, client) = try World.withTopics()
        var request = MetadataRequest()
        request.topics = nil
        let id = try #require(try client.call(request, version: 12).topics.first?.topicID)
        var (known, unknown) = (MetadataRequest.Topic(), MetadataRequest.Topic())
        known.topicID = id
        known.name = nil
        unknown.topicID = UUID128(high: 9, low: 9)
        unknown.name = nil
        request.topics = [known, unknown]
        let answer = try client.call(request, version: 12)
        #expect(answer.topics.map(\.errorCode) == [.none, .unknownTopicId])
        #expect(answer.topics.first?.name == "t")
    }

    @Test func aMissingTopicIsMadeOnRequestAndFoundSoonAfter() throws {
        let world = try World.running()
        let client = Client(world.hosts[0], world)
        var topic = MetadataRequest.Topic()
        topic.name = "auto"
        var request = MetadataRequest()
        request.topics = [topic]
        request.allowAutoTopicCreation = false
        #expect(try client.call(request).topics.first?.errorCode == .unknownTopicOrPartition)
        request.allowAutoTopicCreation = true
        #expect(try client.call(request).topics.first?.errorCode == .leaderNotAvailable)
        world.run(forMs: 200)
        #expect(try client.call(request).topics.first?.errorCode == ErrorCode.none)
    }
}

struct OffsetsTests {
    private func offsets(_ timestamp: Int64, epoch: LeaderEpoch = -1, _ name: String = "t") -> ListOffsetsRequest {
        var partition = ListOffsetsRequest.Partition()
        partition.timestamp = timestamp
        partition.currentLeaderEpoch = epoch
        var topic = ListOffsetsRequest.Topic()
        topic.name = name
        topic.partitions = [partition]
        var request = ListOffsetsRequest()
        request.replicaID = -1
        request.topics = [topic]
        return request
    }

    private func only(_ answer: ListOffsetsResponse) -> ListOffsetsResponse.Partition {
        answer.topics.first?.partitions.first ?? .init()
    }

    @Test func namedPositionsAndTimesAreFound() throws {
        let (_, client) = try World.withTopics()
        _ = try client.call(produceRequest("t", batch(3, timestampMs: 0)), version: 9)
        _ = try client.call(produceRequest("t", batch(3, timestampMs: 500)), version: 9)
        func ask(_ timestamp: Int64, _ version: Int16 = 11) throws -> ListOffsetsResponse.Partition {
            only(try client.call(offsets(timestamp), version: version))
        }
        #expect(try ask(-1).offset == 6)
        #expect(try ask(-2).offset == 0)
        #expect(try ask(-3).offset == 5)
        #expect(try ask(-5).offset == -1)
        #expect(try ask(1_700_000_000_001, 1).offset == 1)
        #expect(try ask(1_700_000_000_100, 1).offset == 3)
        let late = try ask(1_800_000_000_000, 1)
        #expect(late.errorCode == .none && late.offset == -1 && late.timestamp == -1)
    }

    @Test func foreignEpochsAndTopicsAreRefused() throws {
        let (_, client) = try World.withTopics()
        #expect(only(try client.call(offsets(-1, epoch: 99))).errorCode == .unknownLeaderEpoch)
        #expect(only(try client.call(offsets(-1, "absent"))).errorCode == .unknownTopicOrPartition)
    }

    @Test func theLatestOffsetIsTheHighWatermarkAndNotTheLogsEnd() throws {
        let (world, client) = try World.withTopics()
        world.hosts[0].holdsShardFlushes = true
        _ = try client.call(produceRequest(acks: 1), version: 9)
        #expect(only(try client.call(offsets(-1))).offset == 0)
    }

    /// With too few replicas in sync a new leader's high watermark stays where it was: its end cannot be told, and all
    /// that can be read must be found (t72 showed it).
    @Test(arguments: [0, 2] as [Offset]) func aLoneNewLeaderTellsWhatLiesBelowItsHighWatermark(start: Offset) throws {
        let world = try World.running(nodes: 3)
        let create = createRequest(["t"], replicas: 2, configs: [("min.insync.replicas", "2")])
        let admin = Client(try #require(world.leader()), world)
        #expect(try admin.call(create).topics.map(\.errorCode) == [.none])
        func partition(by host: Host) throws -> MetadataResponse.Partition {
            try #require(try Client(host, world).call(MetadataRequest()).topics.first?.partitions.first)
        }
        let before = try partition(by: admin.host)
        let leader = try #require(world.hosts.first { $0.id == before.leaderID })
        let follower = try #require(world.hosts.first { $0 !== leader && before.replicaNodes.contains($0.id) })
        let producer = Client(leader, world)
        let acknowledged = try producer.call(produceRequest("t", batch(3, timestampMs: 0)), version: 9)
        #expect(acknowledged.only.errorCode == .none)
        if start > 0 {
            #expect(try producer.call(deleteRequest(before: start)).only.lowWatermark == start)
            world.run(forMs: 2_000)
        }
        // The follower holds more than it knows to be committed, and is left alone with it.
        follower.holdsShardFlushes = true
        _ = try producer.call(produceRequest("t", batch(3, timestampMs: 500), acks: 1), version: 9)
        world.run(forMs: 20)
        world.kill(leader)
        follower.holdsShardFlushes = false
        world.completeFlushes(of: follower)
        for _ in 0..<200 where try partition(by: follower).leaderID != follower.id { world.run(forMs: 100) }
        let client = Client(follower, world)
        func ask(_ timestamp: Int64, _ version: Int16 = 11) throws -> ListOffsetsResponse.Partition {
            only(try client.call(offsets(timestamp), version: version))
        }
        #expect(try ask(-1).errorCode == .offsetNotAvailable)
        #expect(try ask(-1, 4).errorCode == .leaderNotAvailable)
        #expect(try ask(-3).errorCode == .offsetNotAvailable)
        #expect(try ask(-3, 6).errorCode == .unsupportedVersion)
        #expect(try ask(-4, 7).errorCode == .unsupportedVersion)
        // The start of a log of which something was deleted is not agreed on yet.
        for timestamp in [-2, -4] as [Int64] {
            let earliest = try ask(timestamp)
            #expect(earliest.errorCode == (start == 0 ? .none : .offsetNotAvailable))
            #expect(earliest.offset == (start == 0 ? 0 : -1))
        }
        #expect(try ask(1_700_000_000_001).offset == max(start, 1))
        #expect(try ask(1_700_000_000_100).errorCode == .offsetNotAvailable)
        #expect(try client.call(fetchRequest(offset: start), version: 12).batches == [0])
        // The other one is back: all is known.
        try world.start(leader)
        for _ in 0..<200 where try ask(-1).errorCode != .none { world.run(forMs: 100) }
        #expect(try ask(-1).offset == 6)
        #expect(try ask(-2).offset == start)
        #expect(try ask(-3).offset == 5)
        #expect(try ask(1_700_000_000_100).offset == 3)
    }

    @Test func theEndOfAnEpochIsTold() throws {
        let (_, client) = try World.withTopics()
        _ = try client.call(produceRequest("t", batch(4)), version: 9)
        func ask(_ epoch: LeaderEpoch, current: LeaderEpoch = -1) throws -> OffsetForLeaderEpochResponse.Partition {
            var partition = OffsetForLeaderEpochRequest.Partition()
            partition.leaderEpoch = epoch
            partition.currentLeaderEpoch = current
            var topic = OffsetForLeaderEpochRequest.Topic()
            topic.name = "t"
            topic.partitions = [partition]
            var request = OffsetForLeaderEpochRequest()
            request.replicaID = -1
            request.topics = [topic]
            return try #require(try client.call(request).topics.first?.partitions.first)
        }
        let epoch = try #require(
            try client.call(fetchRequest(), version: 12).only.records?.getInteger(at: 12, as: LeaderEpoch.self))
        #expect(try ask(epoch).endOffset == 4)
        #expect(try ask(epoch + 1).endOffset == -1)
        #expect(try ask(epoch, current: epoch + 1).errorCode == .unknownLeaderEpoch)
    }
}
