// Nodes of two shards: requests that are divided and gathered, fetches that wait on both, and starts with another
// number of shards.

import Broker
import Model
import NIOCore
import Records
import Testing
import Wire

/// A node of two shards with a topic of four partitions, two on each.
private func divided(_ configure: (inout NodeConfiguration) -> Void = { _ in }) throws -> World {
    let world = try World.running(nodes: 1, shards: 2, configure)
    var request = createRequest(["t"])
    request.topics[0].numPartitions = 4
    #expect(try Client(world.hosts[0], world).call(request).topics.map(\.errorCode) == [.none])
    #expect(Set((0..<4).map { Placement.shard(of: "t", $0, count: 2) }) == [0, 1])
    return world
}

private func produce(to partitions: [PartitionIndex], valueBytes: Int = 10, acks: Int16 = -1) -> ProduceRequest {
    var request = produceRequest(acks: acks)
    request.topics[0].partitions = partitions.map { (index: PartitionIndex) in
        var partition = ProduceRequest.Partition()
        partition.partitionIndex = index
        partition.records = batch(valueBytes: valueBytes)
        return partition
    }
    return request
}

private func fetch(
    _ partitions: [PartitionIndex], maxWaitMs: Int32 = 0, maxBytes: Int32 = .max,
    session: (id: Int32, epoch: Int32) = (0, -1)
) -> FetchRequest {
    var request = fetchRequest(maxWaitMs: maxWaitMs, maxBytes: maxBytes, session: session)
    let pattern = request.topics[0].partitions[0]
    request.topics[0].partitions = partitions.map { (index: PartitionIndex) in
        var partition = pattern
        partition.partitionIndex = index
        return partition
    }
    if partitions.isEmpty { request.topics = [] }
    return request
}

extension FetchResponse {
    fileprivate var partitions: [PartitionIndex] { topics.flatMap { $0.partitions.map(\.partitionIndex) } }
    /// Which of them gave records.
    fileprivate var served: [PartitionIndex] {
        topics.flatMap { $0.partitions.filter { $0.records?.readableBytes ?? 0 > 0 }.map(\.partitionIndex) }
    }
}

extension Host {
    /// Timers that stand always, on each shard.
    fileprivate var timers: [Int] { node?.shards.map(\.inspectedTimers) ?? [] }
}

struct DividedRequestTests {
    @Test(arguments: [0, 1]) func everyPartitionIsAnsweredInTheOrderOfTheRequest(shard: Int) throws {
        let world = try divided()
        let client = Client(world.hosts[0], world, shard: shard)
        let answer = try client.call(produce(to: [3, 0, 9, 2, 1]), version: 9)
        let partitions = try #require(answer.topics.first).partitions
        #expect(partitions.map(\.partitionIndex) == [3, 0, 9, 2, 1])
        #expect(partitions.map(\.errorCode) == [.none, .none, .unknownTopicOrPartition, .none, .none])
        #expect(partitions.map(\.baseOffset) == [0, 0, -1, 0, 0])
        let fetched = try client.call(fetch([2, 1, 9, 3, 0]), version: 12)
        #expect(fetched.partitions == [2, 1, 9, 3, 0])
        #expect(fetched.served == [2, 1, 3, 0])
        #expect(world.hosts[0].timers == [5, 5])
    }

    /// Records of another shard that are not in memory are not waited for by who has others, wherever they ask.
    @Test(arguments: [0, 1]) func whatIsNotInMemoryDoesNotHoldUpTheRest(shard: Int) throws {
        let world = try divided()
        let host = world.hosts[0]
        let client = Client(host, world, shard: shard)
        let cold = try #require((0..<4).first { Placement.shard(of: "t", $0, count: 2) == 0 })
        let hot = try #require((0..<4).first { Placement.shard(of: "t", $0, count: 2) == 1 })
        for _ in 0..<20 { _ = try client.call(produce(to: [cold]), version: 9) }
        _ = try client.call(produce(to: [hot]), version: 9)
        host.shardDisk.trustedTailBytes = 500
        host.shardDisk.coldOneIn = 1
        host.holdsShardFlushes = true
        for _ in 0..<3 {
            let answer = try client.call(fetch([cold, hot], maxWaitMs: 5_000), version: 12, withinMs: 20)
            #expect(answer.served == [hot])
        }
        // Where there is nothing else, it is waited for.
        client.send(fetch([cold], maxWaitMs: 5_000), version: 12)
        world.run(forMs: 500)
        #expect(client.frames.isEmpty)
        host.shardDisk.coldOneIn = 0
        world.completeFlushes(of: host)
        world.run(forMs: 20)
        #expect(try client.take(FetchRequest.self, version: 12).served == [cold])
        #expect(host.timers == [5, 5])
    }

    @Test func topicsUnknownAndKnownComeBackAsTheyWereNamed() throws {
        let world = try divided()
        var request = produce(to: [1, 0])
        request.topics = [request.topics[0], request.topics[0], request.topics[0]]
        request.topics[1].name = "absent"
        let answer = try Client(world.hosts[0], world).call(request, version: 9)
        #expect(answer.topics.map(\.name) == ["t", "absent", "t"])
        #expect(answer.topics.map { $0.partitions.map(\.partitionIndex) } == [[1, 0], [1, 0], [1, 0]])
        #expect(answer.topics[1].partitions.map(\.errorCode) == [.unknownTopicOrPartition, .unknownTopicOrPartition])
        #expect(answer.topics[2].partitions.map(\.baseOffset) == [1, 1])
    }

    @Test(arguments: [0, 1]) func anUnansweredProduceThatFailsOnAnotherShardEndsTheConnection(shard: Int) throws {
        let world = try divided()
        let client = Client(world.hosts[0], world, shard: shard)
        client.send(produce(to: [0, 1, 2, 3], acks: 0), version: 9)
        world.run(forMs: 20)
        #expect(!client.isClosed)
        client.send(produce(to: [8], acks: 0), version: 9)
        client.send(produce(to: [9], acks: 0), version: 9)
        world.run(forMs: 20)
        #expect(client.isClosed)
        let other = Client(world.hosts[0], world, shard: shard)
        #expect(try other.call(fetch([0, 1, 2, 3]), version: 12).served == [0, 1, 2, 3])
    }

    @Test func offsetsEpochsAndDeletionsAreGathered() throws {
        let world = try divided()
        let client = Client(world.hosts[0], world, shard: 0)
        for _ in 0..<3 { _ = try client.call(produce(to: [0, 1, 2, 3]), version: 9) }
        var deletion = DeleteRecordsRequest()
        deletion.timeoutMs = 3_000
        deletion.topics = [.init()]
        deletion.topics[0].name = "t"
        deletion.topics[0].partitions = [3, 2, 1, 0].map { (index: PartitionIndex) in
            var partition = DeleteRecordsRequest.Partition()
            partition.partitionIndex = index
            partition.offset = Int64(index)
            return partition
        }
        let deleted = try #require(try client.call(deletion).topics.first).partitions
        #expect(deleted.map(\.lowWatermark) == [3, 2, 1, 0])
        var offsets = ListOffsetsRequest()
        offsets.topics = [.init()]
        offsets.topics[0].name = "t"
        offsets.topics[0].partitions = [0, 1, 2, 3].map { (index: PartitionIndex) in
            var partition = ListOffsetsRequest.Partition()
            partition.partitionIndex = index
            partition.timestamp = -2
            return partition
        }
        let starts = try #require(try client.call(offsets, version: 7).topics.first).partitions
        #expect(starts.map(\.offset) == [0, 1, 2, 3])
        var epochs = OffsetForLeaderEpochRequest()
        epochs.topics = [.init()]
        epochs.topics[0].name = "t"
        epochs.topics[0].partitions = [3, 0, 7].map { (index: PartitionIndex) in
            var partition = OffsetForLeaderEpochRequest.Partition()
            partition.partitionIndex = index
            return partition
        }
        let ends = try #require(try client.call(epochs).topics.first).partitions
        #expect(ends.map(\.endOffset) == [3, 3, -1])
        #expect(ends.map(\.partitionIndex) == [3, 0, 7])
    }

    @Test func aBatchThatIsRefusedOnAnotherShardIsNamedWithItsClient() throws {
        let world = try divided()
        let host = world.hosts[0]
        for shard in [0, 1] {
            let client = Client(host, world, shard: shard)
            var request = produce(to: [0, 1, 2, 3])
            for index in 0..<4 { request.topics[0].partitions[index].records = ByteBuffer(repeating: 1, count: 70) }
            let errors = try client.call(request, version: 9).topics.flatMap { $0.partitions.map(\.errorCode) }
            #expect(errors.count == 4 && !errors.contains(.none))
            #expect(host.lines.contains { $0.level == .warning && $0.text.contains("client\(client.id)") })
        }
    }
}

struct DividedFetchTests {
    @Test(arguments: [0, 1], [0, 1] as [PartitionIndex])
    func aLongPollEndsAsSoonAsOneShardHasNews(shard: Int, partition: PartitionIndex) throws {
        let world = try divided()
        let poll = Client(world.hosts[0], world, shard: shard)
        poll.send(fetch([0, 1, 2, 3], maxWaitMs: 5_000), version: 12)
        world.run(forMs: 300)
        #expect(poll.frames.isEmpty)
        _ = try Client(world.hosts[0], world).call(produce(to: [partition]), version: 9)
        world.run(forMs: 20)
        let answer = try poll.take(FetchRequest.self, version: 12)
        #expect(answer.partitions == [0, 1, 2, 3])
        #expect(answer.served == [partition])
        #expect(world.hosts[0].timers == [5, 5])
    }

    @Test(arguments: [0, 1]) func aLongPollEndsEmptyAtItsTime(shard: Int) throws {
        let world = try divided()
        let poll = Client(world.hosts[0], world, shard: shard)
        poll.send(fetch([0, 1, 2, 3], maxWaitMs: 300), version: 12)
        world.run(forMs: 280)
        #expect(poll.frames.isEmpty)
        world.run(forMs: 100)
        let answer = try poll.take(FetchRequest.self, version: 12)
        #expect(answer.partitions == [0, 1, 2, 3])
        #expect(answer.topics[0].partitions.map(\.highWatermark) == [0, 0, 0, 0])
        #expect(world.hosts[0].timers == [5, 5])
    }

    @Test(arguments: [0, 1]) func aClosedConnectionLeavesNothingParked(shard: Int) throws {
        let world = try divided()
        let poll = Client(world.hosts[0], world, shard: shard)
        poll.send(fetch([0, 1, 2, 3], maxWaitMs: 60_000), version: 12)
        world.run(forMs: 20)
        #expect(world.hosts[0].timers == [6, 6])
        world.post(world.hosts[0], .shard(.connectionClosed(poll.id), at: shard))
        world.run(forMs: 20)
        #expect(world.hosts[0].timers == [5, 5])
    }

    @Test(arguments: [0, 1]) func aSessionSpeaksOnlyOfNewsAndGivesEveryoneATurn(shard: Int) throws {
        let world = try divided()
        let client = Client(world.hosts[0], world, shard: shard)
        let first = try client.call(fetch([0, 1, 2, 3], session: (0, 0)), version: 12)
        #expect(first.sessionID > 0)
        #expect(first.partitions == [0, 1, 2, 3])
        let silent = try client.call(fetch([], session: (first.sessionID, 1)), version: 12)
        #expect(silent.topics.isEmpty)
        _ = try client.call(produce(to: [2]), version: 9)
        let news = try client.call(fetch([], session: (first.sessionID, 2)), version: 12)
        #expect(news.partitions == [2])
        _ = try client.call(produce(to: [0, 1, 3]), version: 9)
        var turns: [PartitionIndex] = []
        for epoch in Int32(3)..<7 {
            let next = try client.call(fetch([], maxBytes: 1, session: (first.sessionID, epoch)), version: 12)
            #expect(next.served.count == 1)
            turns += next.served
        }
        #expect(turns.sorted() == [0, 1, 2, 3])
    }

    /// A client at that shard, the second fetch of whose session waits.
    private func waiting(shard: Int) throws -> (world: World, client: Client, sessionID: Int32) {
        let world = try divided()
        let client = Client(world.hosts[0], world, shard: shard)
        let id = try client.call(fetch([0, 1, 2, 3], session: (0, 0)), version: 12).sessionID
        client.send(fetch([], maxWaitMs: 60_000, session: (id, 1)), version: 12)
        world.run(forMs: 20)
        return (world, client, id)
    }

    /// The follower loop asks again beside a fetch that waits; that one is then answered at once.
    @Test(arguments: [0, 1]) func theNextFetchOfASessionEndsTheWaitOfTheLast(shard: Int) throws {
        let (world, client, id) = try waiting(shard: shard)
        client.send(fetch([], maxWaitMs: 100, session: (id, 2)), version: 12)
        world.run(forMs: 20)
        #expect(client.frames.count == 1)
        world.run(forMs: 200)
        #expect(client.frames.count == 2)
        #expect(world.hosts[0].timers == [5, 5])
    }

    @Test(arguments: [0, 1]) func whoClosesASessionEndsTheWaitOfItsFetch(shard: Int) throws {
        let (world, client, id) = try waiting(shard: shard)
        client.send(fetch([0, 1, 2, 3], session: (id, -1)), version: 12)
        world.run(forMs: 20)
        #expect(client.frames.count == 2)
        client.frames = []
        for _ in 0..<2 { _ = try client.call(produce(to: [0, 1, 2, 3]), version: 9) }
        #expect(world.hosts[0].timers == [5, 5])
    }

    @Test(arguments: [0, 1]) func maxBytesHoldOverAllShards(shard: Int) throws {
        let world = try divided()
        let client = Client(world.hosts[0], world, shard: shard)
        for _ in 0..<4 { _ = try client.call(produce(to: [0, 1, 2, 3], valueBytes: 400), version: 9) }
        let whole = try client.call(fetch([0, 1, 2, 3]), version: 12)
        let sizes = whole.topics[0].partitions.map { $0.records?.readableBytes ?? 0 }
        #expect(Set(sizes).count == 1 && sizes[0] > 1_600)
        let some = try client.call(fetch([0, 1, 2, 3], maxBytes: Int32(sizes[0] * 5 / 2)), version: 12)
        // Two whole ones, and of the third what whole batches fit.
        #expect(
            some.topics[0].partitions.map { $0.records?.readableBytes ?? 0 } == [
                sizes[0], sizes[0], sizes[0] / 2, 0,
            ])
        let one = try client.call(fetch([0, 1, 2, 3], maxBytes: 1), version: 12)
        #expect(one.topics[0].partitions.map { $0.records?.readableBytes ?? 0 } == [sizes[0] / 4, 0, 0, 0])
    }

    @Test func sessionsOfTwoShardsNeverHaveTheSameNumber() throws {
        let world = try divided()
        let clients = [0, 1].map { Client(world.hosts[0], world, shard: $0) }
        var ids: Set<Int32> = []
        for _ in 0..<10 {
            for client in clients {
                ids.insert(try client.call(fetch([0, 1], session: (0, 0)), version: 12).sessionID)
            }
        }
        #expect(ids.count == 20)
    }
}

struct ShardCountTests {
    private func restart(_ world: World, shards: Int, inOrder: Bool) throws {
        let host = world.hosts[0]
        if inOrder {
            world.post(host, .control(.stopRequested))
            world.run(forMs: 20_000) { host.isStopped }
            #expect(host.isStopped)
        }
        world.kill(host)
        host.shards = shards
        world.run(forMs: 20)
        try world.start(host)
        world.run(forMs: 10_000) { host.isReady }
        world.run(forMs: 50)
        #expect(host.node?.shards.count == shards)
        #expect(host.halted == nil)
    }

    private func starts(_ world: World) -> [PartitionIndex: Offset] {
        var starts: [PartitionIndex: Offset] = [:]
        for shard in world.hosts[0].node?.shards ?? [] {
            shard.inspectReplicas {
                #expect($0.log.damages.isEmpty)
                starts[$0.topicPartition.partition] = $0.log.startOffset
            }
        }
        return starts
    }

    /// A log start is known from its file alone: no segment begins there.
    @Test(arguments: [true, false]) func everyLineIsFoundByEveryNumberOfShards(inOrder: Bool) throws {
        let world = try divided()
        let host = world.hosts[0]
        var wanted: [PartitionIndex: Offset] = [0: 0, 1: 0, 2: 0, 3: 0]
        var ends: Offset = 0
        for (round, shards) in [2, 1, 2, 3, 2, 2, 1, 3].enumerated() {
            try restart(world, shards: shards, inOrder: inOrder)
            #expect(starts(world) == wanted, "round \(round), \(shards) shards")
            let client = Client(host, world)
            let answer = try client.call(produce(to: [0, 1, 2, 3]), version: 9)
            #expect(answer.topics[0].partitions.map(\.baseOffset) == [ends, ends, ends, ends])
            ends += 1
            let index = PartitionIndex(round % 4)
            var deletion = DeleteRecordsRequest()
            deletion.timeoutMs = 3_000
            deletion.topics = [.init()]
            deletion.topics[0].name = "t"
            deletion.topics[0].partitions = [.init()]
            deletion.topics[0].partitions[0].partitionIndex = index
            deletion.topics[0].partitions[0].offset = ends
            #expect(try client.call(deletion).topics.first?.partitions.first?.lowWatermark == ends)
            wanted[index] = ends
            // The recovery points and high watermarks of this round are written.
            world.run(forMs: 1_500)
        }
    }

    @Test func sharesOfAnotherNumberOfShardsAreTakenInAndRemoved() throws {
        let world = try divided()
        let host = world.hosts[0]
        _ = try Client(host, world).call(produce(to: [0, 1, 2, 3]), version: 9)
        world.run(forMs: 1_500)
        func names() throws -> [String] { try host.shardDisk.list("/d").filter { $0.contains("offset-checkpoint") } }
        #expect(try names().contains("recovery-point-offset-checkpoint.2-of-2"))
        try restart(world, shards: 1, inOrder: false)
        #expect(
            try names().sorted() == [
                "log-start-offset-checkpoint", "recovery-point-offset-checkpoint", "replication-offset-checkpoint",
            ])
        let text = String(
            decoding: try #require(host.shardDisk.contents(of: "/d/recovery-point-offset-checkpoint")),
            as: UTF8.self)
        let lines = text.split(separator: "\n").dropFirst(2).filter { !$0.hasPrefix(":crc32c") }
        #expect(Set(lines) == ["t 0 1", "t 1 1", "t 2 1", "t 3 1"])
    }

    /// A topic that is made again under its name is on the same shards, in the same directories.
    @Test func aTopicMadeAgainIsServedAtOnce() throws {
        let world = try divided()
        let client = Client(world.hosts[0], world)
        for round in 0..<3 {
            _ = try client.call(produce(to: [0, 1, 2, 3]), version: 9)
            var deletion = DeleteTopicsRequest()
            deletion.timeoutMs = 5_000
            deletion.topics = [.init()]
            deletion.topics[0].name = "t"
            #expect(try client.call(deletion).topics.map(\.errorCode) == [.none])
            var request = createRequest(["t"])
            request.topics[0].numPartitions = 4
            #expect(try client.call(request).topics.map(\.errorCode) == [.none], "round \(round)")
            world.run(forMs: 20)
            let answer = try client.call(produce(to: [0, 1, 2, 3]), version: 9)
            #expect(answer.topics[0].partitions.map(\.baseOffset) == [0, 0, 0, 0])
        }
    }

    @Test func nodesOfDifferentNumbersOfShardsReplicateToEachOther() throws {
        let world = World(nodes: 3)
        for (host, shards) in zip(world.hosts, [1, 2, 3]) { host.shards = shards }
        for host in world.hosts { try world.start(host) }
        world.run(forMs: 10_000) { world.hosts.allSatisfy(\.isReady) }
        var request = createRequest(["t"], replicas: 3)
        request.topics[0].numPartitions = 6
        #expect(try Client(world.hosts[0], world).call(request).topics.map(\.errorCode) == [.none])
        for host in world.hosts {
            let led = try Client(host, world).call(MetadataRequest(), version: 12).topics
                .flatMap(\.partitions).filter { $0.leaderID == host.id }.map(\.partitionIndex)
            guard !led.isEmpty else { continue }
            for shard in 0..<host.shards {
                let answer = try Client(host, world, shard: shard).call(produce(to: led), version: 9)
                #expect(answer.topics[0].partitions.map(\.errorCode) == led.map { _ in .none })
            }
        }
        let described = try Client(world.hosts[1], world).call(MetadataRequest(), version: 12)
        #expect(described.topics.flatMap(\.partitions).allSatisfy { $0.isrNodes.count == 3 })
    }
}
