// Produce and Fetch of one node: what is answered, when, and in which order.

import Broker
import DiskSimulation
import Metadata
import Model
import NIOCore
import Records
import Testing
import Wire

struct ProduceTests {
    @Test func acksAllIsAnsweredOnlyWhenTheFlushIsDone() throws {
        let (world, client) = try World.withTopics()
        world.hosts[0].holdsShardFlushes = true
        client.send(produceRequest(), version: 9)
        world.run(forMs: 400)
        #expect(client.frames.isEmpty)
        world.completeFlushes(of: world.hosts[0])
        world.run(forMs: 10)
        let answer = try client.take(ProduceRequest.self, version: 9)
        #expect(answer.only.errorCode == .none)
        #expect(answer.only.baseOffset == 0)
    }

    @Test func acksOneIsAnsweredBeforeTheFlushAndAcksZeroNever() throws {
        let (world, client) = try World.withTopics()
        world.hosts[0].holdsShardFlushes = true
        client.send(produceRequest(acks: 0), version: 9)
        client.send(produceRequest(acks: 1), version: 9)
        world.run(forMs: 10)
        #expect(client.frames.count == 1)
        #expect(try client.take(ProduceRequest.self, version: 9).only.baseOffset == 1)
    }

    @Test func anUnansweredProduceThatFailsEndsTheConnection() throws {
        let (world, client) = try World.withTopics()
        client.send(produceRequest("absent", acks: 0), version: 9)
        world.run(forMs: 10)
        #expect(client.isClosed)
        #expect(client.frames.isEmpty)
    }

    @Test func aDuplicateWaitsLikeTheOriginalAndIsGivenItsOffset() throws {
        let (world, client) = try World.withTopics()
        world.hosts[0].holdsShardFlushes = true
        let records = batch(2, producer: 5, sequence: 0)
        client.send(produceRequest("t", records), version: 9)
        client.send(produceRequest("t", records), version: 9)
        world.run(forMs: 100)
        #expect(client.frames.isEmpty)
        world.completeFlushes(of: world.hosts[0])
        world.run(forMs: 10)
        for _ in 0..<2 {
            let answer = try client.take(ProduceRequest.self, version: 9).only
            #expect(answer.errorCode == .none)
            #expect(answer.baseOffset == 0)
        }
        let next = Client(world.hosts[0], world)
        #expect(try next.call(fetchRequest(), version: 12).batches == [0])
    }

    @Test func aProduceThatWaitsTooLongIsToldSoOnce() throws {
        let (world, client) = try World.withTopics()
        world.hosts[0].holdsShardFlushes = true
        client.send(produceRequest(timeoutMs: 200), version: 9)
        world.run(forMs: 300)
        let answer = try client.take(ProduceRequest.self, version: 9).only
        #expect(answer.errorCode == .requestTimedOut)
        #expect(answer.baseOffset == -1)
        world.completeFlushes(of: world.hosts[0])
        world.run(forMs: 100)
        #expect(client.frames.isEmpty)
    }

    @Test func anAnsweredRequestLeavesNoTimerBehind() throws {
        let (world, client) = try World.withTopics()
        for _ in 0..<20 { _ = try client.call(produceRequest(timeoutMs: 600_000), version: 9) }
        _ = try client.call(fetchRequest(offset: 0, maxWaitMs: 600_000), version: 12)
        client.send(fetchRequest(offset: 20, maxWaitMs: 600_000), version: 12)
        world.run(forMs: 5)
        _ = try Client(world.hosts[0], world).call(produceRequest(timeoutMs: 600_000), version: 9)
        world.run(forMs: 5)
        #expect(client.frames.count == 1)
        // What is left stands always: checkpoints, partitions, retention, the scrub.
        #expect(world.hosts[0].node?.shards[0].inspectedTimers == 5)
    }

    @Test func unknownAcksAreRefusedAndTooManyPartitionsAreUnknown() throws {
        let (_, client) = try World.withTopics()
        #expect(try client.call(produceRequest(acks: 5), version: 9).only.errorCode == .invalidRequiredAcks)
        var request = produceRequest()
        request.topics[0].partitions[0].partitionIndex = 7
        #expect(try client.call(request, version: 9).only.errorCode == .unknownTopicOrPartition)
        request.topics[0].partitions[0].partitionIndex = -1
        #expect(try client.call(request, version: 9).only.errorCode == .unknownTopicOrPartition)
    }
}

struct FetchTests {
    @Test func aLongPollWakesAtTheHighWatermarkAndNotAtTheAppend() throws {
        let (world, client) = try World.withTopics()
        world.hosts[0].holdsShardFlushes = true
        client.send(fetchRequest(maxWaitMs: 5_000), version: 12)
        let producer = Client(world.hosts[0], world)
        producer.send(produceRequest(), version: 9)
        world.run(forMs: 300)
        #expect(client.frames.isEmpty)
        world.completeFlushes(of: world.hosts[0])
        world.run(forMs: 5)
        #expect(try client.take(FetchRequest.self, version: 12).batches == [0])
    }

    @Test func aLongPollEndsEmptyAtItsTime() throws {
        let (world, client) = try World.withTopics()
        client.send(fetchRequest(maxWaitMs: 300), version: 12)
        world.run(forMs: 250)
        #expect(client.frames.isEmpty)
        world.run(forMs: 100)
        let answer = try client.take(FetchRequest.self, version: 12)
        #expect(answer.only.errorCode == .none)
        #expect(answer.only.highWatermark == 0)
        #expect(answer.only.lastStableOffset == 0)
        #expect(answer.batches.isEmpty)
    }

    @Test func minBytesHoldsAnAnswerUntilThereIsEnough() throws {
        let (world, client) = try World.withTopics()
        client.send(fetchRequest(maxWaitMs: 5_000, minBytes: 200), version: 12)
        let producer = Client(world.hosts[0], world)
        _ = try producer.call(produceRequest("t", batch(valueBytes: 50)), version: 9)
        world.run(forMs: 50)
        #expect(client.frames.isEmpty)
        _ = try producer.call(produceRequest("t", batch(valueBytes: 100)), version: 9)
        world.run(forMs: 50)
        #expect(try client.take(FetchRequest.self, version: 12).batches == [0, 1])
    }

    @Test func theFirstPartitionGivesAWholeBatchWhateverTheLimits() throws {
        let (_, client) = try World.withTopics(["a", "b"])
        _ = try client.call(produceRequest("a", batch(valueBytes: 500)), version: 9)
        _ = try client.call(produceRequest("b", batch(valueBytes: 500)), version: 9)
        let answer = try client.call(
            fetchRequest(["a", "b"], maxBytes: 1, partitionMaxBytes: 1), version: 12)
        #expect(answer.topics.map { $0.partitions[0].records?.readableBytes ?? 0 > 500 } == [true, false])
    }

    @Test func answersKeepTheOrderOfTheirRequests() throws {
        let (world, client) = try World.withTopics()
        let poll = client.send(fetchRequest(maxWaitMs: 400), version: 12)
        let versions = client.send(ApiVersionsRequest(), version: 0)
        world.run(forMs: 100)
        #expect(client.frames.isEmpty)
        world.run(forMs: 400)
        #expect(client.frames.map { $0.getInteger(at: $0.readerIndex, as: Int32.self) } == [poll, versions])
    }

    private enum Closing: CaseIterable {
        case deletion, purge, stop
        /// It answers the request before, too, so that both answers leave with the step that closes the file.
        case stopThatAnswers
    }

    /// The answer with records stands behind one that is not there yet, and its file is closed meanwhile.
    @Test(arguments: Closing.allCases) private func anAnswerThatWaitsForAnotherHasNoPartOfAClosedFile(
        _ closing: Closing
    ) throws {
        let (world, client) = try World.withTopics(["a"])
        let host = client.host
        _ = try client.call(createRequest(["b"], configs: [("file.delete.delay.ms", "100")]))
        _ = try client.call(produceRequest("b", batch(valueBytes: 20_000)), version: 9)
        let (bystander, other) = (Client(host, world), Client(host, world))
        if closing == .stopThatAnswers {
            host.holdsShardFlushes = true
            client.send(produceRequest("a"), version: 9)
        } else {
            client.send(fetchRequest(["a"], maxWaitMs: 3_000), version: 12)
        }
        client.send(fetchRequest(["b"]), version: 12)
        bystander.send(fetchRequest(["a"], maxWaitMs: 3_000), version: 12)
        world.run(forMs: 100)
        #expect(client.frames.isEmpty)
        switch closing {
        case .deletion:
            var delete = DeleteTopicsRequest()
            delete.topicNames = ["b"]
            _ = try other.call(delete, version: 4)
        case .purge: #expect(try other.call(deleteRequest("b")).only.errorCode == .none)
        case .stop, .stopThatAnswers: world.post(host, .control(.stopRequested))
        }
        world.run(forMs: 2_000) { client.isClosed }
        #expect(client.isClosed)
        #expect(client.frames.isEmpty)
        #expect(!bystander.isClosed)
    }

    @Test func anAnswerWithRecordsWaitsForTheOneBeforeIt() throws {
        let (world, client) = try World.withTopics(["a", "b"])
        _ = try client.call(produceRequest("b", batch(valueBytes: 20_000)), version: 9)
        client.send(fetchRequest(["a"], maxWaitMs: 400), version: 12)
        client.send(fetchRequest(["b"]), version: 12)
        world.run(forMs: 600)
        #expect(try client.take(FetchRequest.self, version: 12).only.records?.readableBytes ?? 0 == 0)
        #expect(try client.take(FetchRequest.self, version: 12).only.records?.readableBytes ?? 0 > 20_000)
        // Nothing waits any more: a deletion is no reason to close.
        var delete = DeleteTopicsRequest()
        delete.topicNames = ["b"]
        _ = try client.call(delete, version: 4)
        world.run(forMs: 200)
        #expect(!client.isClosed)
    }

    @Test func outOfRangeAndForeignEpochsAreToldAtOnce() throws {
        let (_, client) = try World.withTopics()
        let beyond = try client.call(fetchRequest(offset: 9, maxWaitMs: 5_000), version: 12, withinMs: 50)
        #expect(beyond.only.errorCode == .offsetOutOfRange)
        var request = fetchRequest(maxWaitMs: 5_000)
        request.topics[0].partitions[0].currentLeaderEpoch = 99
        #expect(try client.call(request, version: 12, withinMs: 50).only.errorCode == .unknownLeaderEpoch)
    }

    @Test func aForgedReplicaIsRefusedAndMovesNothing() throws {
        let (_, client) = try World.withTopics()
        var request = fetchRequest(maxWaitMs: 100)
        request.replicaID = 1
        #expect(try client.call(request, version: 12).only.errorCode == .notLeaderOrFollower)
    }
}

struct FetchSessionTests {
    @Test func aSessionSpeaksOnlyOfNews() throws {
        let (_, client) = try World.withTopics(["a", "b"])
        let first = try client.call(fetchRequest(["a", "b"], session: (0, 0)), version: 12)
        #expect(first.sessionID > 0)
        #expect(first.topics.map(\.name) == ["a", "b"])
        let silent = try client.call(fetchRequest([], session: (first.sessionID, 1)), version: 12)
        #expect(silent.topics.isEmpty)
        _ = try client.call(produceRequest("b"), version: 9)
        let news = try client.call(fetchRequest([], session: (first.sessionID, 2)), version: 12)
        #expect(news.topics.map(\.name) == ["b"])
        #expect(news.batches == [0])
    }

    /// An answer that has room for one partition only gives the next turn to the other, though the first has more.
    @Test func aFullAnswerLetsTheOthersGoFirstNextTime() throws {
        let (_, client) = try World.withTopics(["a", "b"])
        _ = try client.call(produceRequest("a"), version: 9)
        _ = try client.call(produceRequest("b"), version: 9)
        func served(_ response: FetchResponse) -> [String] {
            response.topics.filter { ($0.partitions[0].records?.readableBytes ?? 0) > 0 }.map(\.name)
        }
        let first = try client.call(fetchRequest(["a", "b"], maxBytes: 1, session: (0, 0)), version: 12)
        #expect(served(first) == ["a"])
        for (epoch, name) in zip(Int32(1)..., ["b", "a", "b"]) {
            let next = try client.call(fetchRequest([], maxBytes: 1, session: (first.sessionID, epoch)), version: 12)
            #expect(served(next) == [name])
        }
    }

    @Test func whatIsForgottenIsNotToldAgain() throws {
        let (_, client) = try World.withTopics(["a", "b"])
        let id = try client.call(fetchRequest(["a", "b"], session: (0, 0)), version: 12).sessionID
        var request = fetchRequest([], session: (id, 1))
        var forgotten = FetchRequest.ForgottenTopic()
        forgotten.name = "b"
        forgotten.partitions = [0]
        request.forgottenTopics = [forgotten]
        _ = try client.call(request, version: 12)
        _ = try client.call(produceRequest("b"), version: 9)
        #expect(try client.call(fetchRequest([], session: (id, 2)), version: 12).topics.isEmpty)
    }

    @Test func wrongEpochsAndUnknownSessionsAreErrors() throws {
        let (_, client) = try World.withTopics()
        let id = try client.call(fetchRequest(session: (0, 0)), version: 12).sessionID
        #expect(try client.call(fetchRequest(session: (id, 9)), version: 12).errorCode == .invalidFetchSessionEpoch)
        #expect(try client.call(fetchRequest(session: (id &+ 1, 1)), version: 12).errorCode == .fetchSessionIdNotFound)
        let closing = try client.call(fetchRequest(session: (id, -1)), version: 12)
        #expect(closing.sessionID == 0)
        #expect(closing.topics.count == 1)
        #expect(try client.call(fetchRequest(session: (id, 1)), version: 12).errorCode == .fetchSessionIdNotFound)
    }

    /// A consumer closes with its last fetch under way: that one is answered, and what it read notes nothing any more.
    @Test func whoClosesASessionEndsTheWaitOfItsFetch() throws {
        let (world, client) = try World.withTopics()
        let id = try client.call(fetchRequest(session: (0, 0)), version: 12).sessionID
        client.send(fetchRequest([], maxWaitMs: 60_000, session: (id, 1)), version: 12)
        world.run(forMs: 20)
        client.send(fetchRequest(session: (id, -1)), version: 12)
        world.run(forMs: 20)
        #expect(client.frames.count == 2)
        client.frames = []
        for _ in 0..<2 { #expect(try client.call(produceRequest("t"), version: 9).only.errorCode == .none) }
    }

    @Test func aTopicThatTheSessionAskedForTooEarlyIsFoundLater() throws {
        let (_, client) = try World.withTopics(["a"])
        let first = try client.call(fetchRequest(["late"], session: (0, 0)), version: 12)
        #expect(first.only.errorCode == .unknownTopicOrPartition)
        _ = try client.call(createRequest(["late"]))
        _ = try client.call(produceRequest("late"), version: 9)
        let later = try client.call(fetchRequest([], session: (first.sessionID, 1)), version: 12)
        #expect(later.only.errorCode == .none)
        #expect(later.batches == [0])
    }

    @Test func aForgottenTopicIsForgottenEvenWhenItCameToBeMeanwhile() throws {
        let (_, client) = try World.withTopics(["a"])
        let id = try client.call(fetchRequest(["late"], session: (0, 0)), version: 12).sessionID
        _ = try client.call(createRequest(["late"]))
        var request = fetchRequest([], session: (id, 1))
        var forgotten = FetchRequest.ForgottenTopic()
        forgotten.name = "late"
        forgotten.partitions = [0]
        request.forgottenTopics = [forgotten]
        #expect(try client.call(request, version: 12).topics.isEmpty)
    }

    @Test func anotherStartDoesNotGiveOutTheSameSessions() throws {
        let (world, client) = try World.withTopics()
        let before = try client.call(fetchRequest(session: (0, 0)), version: 12).sessionID
        world.kill(world.hosts[0])
        world.run(forMs: 20)
        try world.start(world.hosts[0])
        world.run(forMs: 5_000) { world.hosts[0].isReady }
        let next = Client(world.hosts[0], world)
        let after = try next.call(fetchRequest(session: (0, 0)), version: 12).sessionID
        #expect(after != before)
    }
}

struct FullDiskTests {
    private func onThreeNodes() throws -> World {
        let world = try World.running(nodes: 3)
        let client = Client(world.hosts[0], world)
        #expect(try client.call(createRequest(["t"], replicas: 3)).topics.map(\.errorCode) == [.none])
        return world
    }

    private func registration(in world: World) -> PartitionRegistration? {
        guard let image = world.leader()?.node?.control.inspectedImage else { return nil }
        return image.topic(named: "t").flatMap { image.partition(TopicPartition($0.id, 0)) }
    }

    @Test func aPartitionThatAFullDiskKeepsFromBeingOpenedComesWhenThereIsSpaceAndTheNodeGoesOn() throws {
        let world = try World.running(nodes: 1)
        let host = world.hosts[0]
        host.shardDisk.noSpaceForNamesEndingIn = "full-0/00000000000000000000.log"
        let client = Client(host, world)
        #expect(try client.call(createRequest(["full", "other"])).topics.map(\.errorCode) == [.none, .none])
        #expect(try client.call(produceRequest("other"), version: 9).only.errorCode == .none)
        #expect(try client.call(produceRequest("full"), version: 9).only.errorCode == .notLeaderOrFollower)
        world.run(forMs: 1_000)
        #expect(host.lines.filter { $0.text.contains("until there is space") }.count == 1)
        host.shardDisk.noSpaceForNamesEndingIn = nil
        world.run(forMs: 1_000)
        #expect(try client.call(produceRequest("full"), version: 9).only.errorCode == .none)
        #expect(host.lines.contains { $0.text == "full-0 is served here again" })
    }

    /// `partition.metadata` is written beside the step that opens the partition.
    @Test func aPartitionWhoseIdentityFindsNoSpaceComesWhenThereIsSpaceAndTheNodeGoesOn() throws {
        let world = try World.running(nodes: 1)
        let host = world.hosts[0]
        host.shardDisk.noSpaceForNamesEndingIn = "full-0/partition.metadata"
        let client = Client(host, world)
        #expect(try client.call(createRequest(["full", "other"])).topics.map(\.errorCode) == [.none, .none])
        world.run(forMs: 2_000)
        #expect(host.halted == nil)
        #expect(try client.call(produceRequest("other"), version: 9).only.errorCode == .none)
        #expect(try client.call(produceRequest("full"), version: 9).only.errorCode == .notLeaderOrFollower)
        #expect(host.lines.filter { $0.text.contains("until its log can be changed again") }.count == 1)
        host.shardDisk.noSpaceForNamesEndingIn = nil
        world.run(forMs: 10_000) {
            host.lines.contains { $0.text == "full-0 is served here again" }
        }
        world.run(forMs: 2_000)
        #expect(try client.call(produceRequest("full"), version: 9).only.errorCode == .none)
        #expect(!host.shardDisk.filePaths.contains { $0.contains("stray") })
    }

    /// The others must neither wait for it nor elect it.
    @Test func aReplicaThatCannotBeOpenedIsOutOfUseUntilItIs() throws {
        let world = try onThreeNodes()
        func registration() -> PartitionRegistration? { self.registration(in: world) }
        let host = try #require(world.hosts.first { $0.id == registration()?.leader })
        world.run(forMs: 2_000)
        world.kill(host)
        for file in host.shardDisk.filePaths where file.contains("/t-0/") { host.shardDisk.lose(file) }
        host.shardDisk.noSpaceForNamesEndingIn = "t-0/00000000000000000000.log"
        try world.start(host)
        world.run(forMs: 20_000) { registration()?.isLost(host.id) ?? false }
        #expect(registration()?.isLost(host.id) == true)
        world.run(forMs: 10_000)
        #expect(registration()?.isr.contains(host.id) == false && registration()?.leader != host.id)
        #expect(registration()?.leader != nil && host.halted == nil)
        host.shardDisk.noSpaceForNamesEndingIn = nil
        world.run(forMs: 20_000) { registration()?.isr.count == 3 }
        #expect(registration()?.isr.count == 3 && registration()?.isLost(host.id) == false)
    }

    /// All that it has was deleted meanwhile, so it begins anew, and finds no room for its new file.
    @Test func aReplicaThatCannotBeginAnewIsOutOfUseUntilItCan() throws {
        let world = try onThreeNodes()
        func registration() -> PartitionRegistration? { self.registration(in: world) }
        let host = try #require(world.hosts.first { $0.id != registration()?.leader && $0 !== world.leader() })
        world.kill(host)
        world.run(forMs: 5_000) { registration()?.isr.count == 2 }
        let leader = try #require(world.hosts.first { $0.id == registration()?.leader })
        for _ in 0..<5 {
            #expect(try Client(leader, world).call(produceRequest(), version: 9).only.errorCode == .none)
        }
        #expect(try Client(leader, world).call(deleteRequest()).only.lowWatermark == 5)
        host.shardDisk.noSpaceForNamesEndingIn = ".log"
        try world.start(host)
        world.run(forMs: 20_000) { registration()?.isLost(host.id) ?? false }
        #expect(registration()?.isLost(host.id) == true && host.halted == nil)
        #expect(host.lines.filter { $0.text.contains("until its log can be changed again") }.count == 1)
        host.shardDisk.noSpaceForNamesEndingIn = nil
        world.run(forMs: 20_000) { registration()?.isr.count == 3 }
        #expect(registration()?.isr.count == 3 && registration()?.isLost(host.id) == false)
    }
}
