// DeleteRecords and what holds across it: when it is answered, what a killed node remembers, what followers hold.

import Broker
import DiskSimulation
import Model
import NIOCore
import Records
import Testing
import Wire

func deleteRequest(
    _ topic: String = "t", before offset: Int64 = -1, partition: Int32 = 0, timeoutMs: Int32 = 5_000
) -> DeleteRecordsRequest {
    var entry = DeleteRecordsRequest.Partition()
    entry.partitionIndex = partition
    entry.offset = offset
    var named = DeleteRecordsRequest.Topic()
    named.name = topic
    named.partitions = [entry]
    var request = DeleteRecordsRequest()
    request.topics = [named]
    request.timeoutMs = timeoutMs
    return request
}

extension DeleteRecordsResponse {
    var only: Partition { topics.first?.partitions.first ?? Partition() }
}

struct DeleteRecordsTests {
    @Test func itIsAnsweredWhenTheStartIsOnDiskAndNothingIsHiddenBefore() throws {
        let (world, client) = try World.withTopics()
        let host = world.hosts[0]
        for _ in 0..<10 { _ = try client.call(produceRequest(), version: 9) }
        host.holdsShardFlushes = true
        client.send(deleteRequest(before: 4))
        world.run(forMs: 100)
        #expect(client.frames.isEmpty)
        #expect(try Client(host, world).call(fetchRequest(offset: 3), version: 12).only.errorCode == .none)
        host.holdsShardFlushes = false
        world.completeFlushes(of: host)
        world.run(forMs: 10)
        let answer = try client.take(DeleteRecordsRequest.self).only
        #expect(answer.errorCode == .none && answer.lowWatermark == 4)
        let refused = try client.call(fetchRequest(offset: 3), version: 12).only
        #expect(refused.errorCode == .offsetOutOfRange && refused.logStartOffset == 4)
        #expect(try client.call(fetchRequest(offset: 4), version: 12).only.errorCode == .none)
        #expect(try client.call(deleteRequest(before: 2)).only.lowWatermark == 4)
    }

    @Test func whatCannotBeDeletedIsSaid() throws {
        let (world, client) = try World.withTopics()
        _ = try client.call(produceRequest("t", batch(5)), version: 9)
        #expect(try client.call(deleteRequest(before: 6)).only.errorCode == .offsetOutOfRange)
        #expect(try client.call(deleteRequest(before: -2)).only.errorCode == .offsetOutOfRange)
        #expect(try client.call(deleteRequest("absent")).only.errorCode == .unknownTopicOrPartition)
        #expect(try client.call(deleteRequest(partition: 7)).only.errorCode == .unknownTopicOrPartition)
        #expect(try client.call(deleteRequest("__consumer_offsets")).only.errorCode == .invalidTopicException)
        world.hosts[0].holdsShardFlushes = true
        let late = try client.call(deleteRequest(timeoutMs: 50)).only
        #expect(late.errorCode == .requestTimedOut && late.lowWatermark == 0)
    }

    /// I4: a retry of what was deleted is still a retry, also for a node that was killed in between.
    @Test func aRetryOfADeletedBatchIsADuplicateAfterAKillToo() throws {
        let (world, client) = try World.withTopics()
        let host = world.hosts[0]
        let records = batch(3, producer: 5, sequence: 0)
        _ = try client.call(produceRequest("t", records), version: 9)
        #expect(try client.call(deleteRequest()).only.lowWatermark == 3)
        // The segment that held the batch goes.
        world.run(forMs: 65_000)
        for life in 0..<2 {
            let client = Client(host, world)
            let again = try client.call(produceRequest("t", records), version: 9).only
            #expect(again.errorCode == .none && again.baseOffset == 0, "life \(life)")
            world.kill(host)
            world.run(forMs: 20)
            try world.start(host)
            world.run(forMs: 5_000) { host.isReady || host.halted != nil }
            #expect(host.halted == nil)
        }
        let last = Client(host, world)
        let next = try last.call(produceRequest("t", batch(1, producer: 5, sequence: 3)), version: 9).only
        #expect(next.errorCode == .none && next.baseOffset == 3)
        #expect(try last.call(fetchRequest(offset: 2), version: 12).only.errorCode == .offsetOutOfRange)
    }

    /// Three replicas of "t", the leader's first.
    private func replicas(in world: World) throws -> [Host] {
        _ = try Client(world.hosts[0], world).call(createRequest(["t"], replicas: 3))
        world.run(forMs: 500)
        let answer = try Client(world.hosts[0], world).call(MetadataRequest())
        let partition = try #require(answer.topics.first?.partitions.first)
        let others = partition.replicaNodes.filter { $0 != partition.leaderID }
        return try ([partition.leaderID] + others).map { id in try #require(world.hosts.first { $0.id == id }) }
    }

    /// A lone leader commits nothing, nobody joins it who has not deleted what it has, and nobody deletes before the
    /// producers of what goes are on disk: that must not wait for the end of the log to be committed (seed 1141).
    @Test func aFollowerDeletesBeforeTheEndOfItsLogIsCommitted() throws {
        let world = try World.running(nodes: 3)
        let hosts = try replicas(in: world)
        let client = Client(hosts[0], world)
        func produce(_ sequence: Int32, acks: Int16 = -1) throws -> ErrorCode {
            let records = batch(2, producer: 5, sequence: sequence)
            return try client.call(produceRequest("t", records, acks: acks), version: 9).only.errorCode
        }
        for sequence in [0, 2, 4] as [Int32] { #expect(try produce(sequence) == .none) }
        world.kill(hosts[2])
        world.run(forMs: 3_000)
        #expect(try client.call(deleteRequest(before: 4)).only.errorCode == .none)
        world.kill(hosts[1])
        #expect(try produce(6, acks: 1) == .none)
        try world.start(hosts[2])
        var last = ErrorCode.none
        for _ in 0..<20 {
            world.run(forMs: 500)
            last = try produce(8)
            if last == .none { break }
        }
        #expect(last == .none)
    }

    /// What a replica never read, and was deleted before it could, its leader tells it of: else a retry of the last
    /// batch would be appended once more.
    @Test(arguments: [false, true]) func whoStartsOverIsToldOfTheProducersOfWhatIsGone(restarts: Bool) throws {
        let world = try World.running(nodes: 5)
        let hosts = try replicas(in: world)
        func produce(_ host: Host, _ sequence: Int32, acks: Int16 = -1) throws -> ProduceResponse.Partition {
            let records = batch(2, producer: 5, sequence: sequence)
            return try Client(host, world).call(produceRequest("t", records, acks: acks), version: 9).only
        }
        for sequence in [0, 2, 4] as [Int32] { #expect(try produce(hosts[0], sequence).errorCode == .none) }
        // Snapshots of the producers are on all disks.
        #expect(try Client(hosts[0], world).call(deleteRequest(before: 2)).only.errorCode == .none)
        world.run(forMs: 2_000)
        world.kill(hosts[2])
        world.run(forMs: 3_000)
        for sequence in [6, 8] as [Int32] { #expect(try produce(hosts[0], sequence).errorCode == .none) }
        #expect(try Client(hosts[0], world).call(deleteRequest()).only.lowWatermark == 10)
        world.run(forMs: 2_000)
        try world.start(hosts[2])
        world.run(forMs: 5_000)
        #expect(hosts[2].lines.contains { $0.text.contains("starting over at 10") })
        if restarts {
            world.kill(hosts[2])
            world.run(forMs: 3_000)
            try world.start(hosts[2])
            world.run(forMs: 5_000)
        }
        for host in hosts[..<2] {
            world.kill(host)
            world.run(forMs: 5_000)
        }
        for sequence in [6, 8] as [Int32] {
            let retried = try produce(hosts[2], sequence, acks: 1)
            #expect(retried.errorCode == .none && retried.baseOffset == Int64(sequence))
        }
        let next = try produce(hosts[2], 10, acks: 1)
        #expect(next.errorCode == .none && next.baseOffset == 10)
    }

    @Test func noFailoverBringsBackWhatWasDeleted() throws {
        let world = try World.running(nodes: 3)
        _ = try Client(world.hosts[0], world).call(createRequest(["t"], replicas: 3))
        world.run(forMs: 500)
        func call<M: WireRequest>(
            _ request: M, version: Int16? = nil, until isDone: (M.Response) -> Bool
        ) throws -> M.Response {
            for _ in 0..<200 {
                // A killed node still looks ready, and answers nothing.
                for host in world.hosts where host.isReady && host.node != nil {
                    let client = Client(host, world)
                    client.send(request, version: version)
                    world.run(forMs: 6_000) { !client.frames.isEmpty || client.isClosed }
                    guard !client.frames.isEmpty else { continue }
                    let answer = try client.take(M.self, version: version)
                    if isDone(answer) { return answer }
                }
                world.run(forMs: 50)
            }
            throw DiskGone()
        }
        for _ in 0..<4 {
            _ = try call(produceRequest("t", batch(5)), version: 9) { $0.only.errorCode == .none }
        }
        #expect(try call(deleteRequest(before: 12)) { $0.only.errorCode == .none }.only.lowWatermark == 12)
        for host in world.hosts {
            world.kill(host)
            let refused = try call(fetchRequest(offset: 11), version: 12) { $0.only.errorCode != .notLeaderOrFollower }
            #expect(refused.only.errorCode == .offsetOutOfRange && refused.only.logStartOffset == 12)
            try world.start(host)
            world.run(forMs: 5_000) { host.isReady }
            world.run(forMs: 1_000)
        }
        #expect(world.hosts.allSatisfy { $0.halted == nil })
    }
}

private struct DiskGone: Error {}
