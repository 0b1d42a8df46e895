// Fetches of records that are on the disk and not in memory: they wait for a thread that reads, and nobody for them.

import Broker
import DiskSimulation
import Model
import NIOCore
import Testing
import Wire

@Suite struct ColdReadTests {
    /// One node with the topic `hot`, whose record was just appended, and others whose first records were not.
    private func world(_ cold: [String] = ["cold"]) throws -> (World, Host) {
        let (world, client) = try World.withTopics(cold + ["hot"])
        for topic in cold { for _ in 0..<20 { _ = try client.call(produceRequest(topic), version: 9) } }
        _ = try client.call(produceRequest("hot"), version: 9)
        let host = world.hosts[0]
        host.shardDisk.coldOneIn = 1
        host.shardDisk.trustedTailBytes = 500
        // What the disk is asked for comes when the test says so.
        host.holdsShardFlushes = true
        return (world, host)
    }

    /// What the disk was asked to bring in and has not yet.
    private func readings(_ host: Host) -> Int {
        host.shardDisk.pendingBarriers.filter { DiskView.unmarked($0).1.owner == Shard.mediumOwner }.count
    }

    private func served(_ answer: FetchResponse) -> [String] {
        answer.topics.filter { $0.partitions[0].records?.readableBytes ?? 0 > 0 }.map(\.name)
    }

    private func records(_ answer: FetchResponse) -> Int { answer.only.records?.readableBytes ?? 0 }

    @Test func aFetchWaitsForTheMediumHoweverShortItsPatienceAndOthersDoNot() throws {
        let (world, host) = try world()
        let (patient, other) = (Client(host, world), Client(host, world))
        patient.send(fetchRequest(["cold"], maxWaitMs: 0), version: 12)
        world.run(forMs: 300)
        #expect(patient.frames.isEmpty)
        #expect(records(try other.call(fetchRequest(["hot"]), version: 12, withinMs: 5)) > 0)
        // It is not in memory yet when the loop looks again; the second time it is read all the same.
        world.completeFlushes(of: host)
        world.run(forMs: 5)
        #expect(patient.frames.isEmpty)
        world.completeFlushes(of: host)
        world.run(forMs: 5)
        #expect(records(try patient.take(FetchRequest.self, version: 12)) > 0)
        #expect(host.shardDisk.pendingBarriers.isEmpty)
    }

    @Test func whatIsThereIsAnsweredAndTheRestComesWithTheNextFetch() throws {
        let (world, host) = try world()
        let client = Client(host, world)
        let first = try client.call(
            fetchRequest(["cold", "hot"], maxWaitMs: 2_000, session: (0, 0)), version: 12, withinMs: 50)
        #expect(served(first) == ["hot"])
        // Both readers of the same wait for one reading.
        #expect(readings(host) == 1)
        client.send(
            fetchRequest(["hot"], offset: 1, maxWaitMs: 2_000, session: (first.sessionID, 1)), version: 12)
        Client(host, world).send(fetchRequest(["cold"], maxWaitMs: 2_000), version: 12)
        world.run(forMs: 50)
        #expect(client.frames.isEmpty)
        #expect(readings(host) == 1)
        host.shardDisk.coldOneIn = 0
        world.completeFlushes(of: host)
        world.run(forMs: 50)
        let second = try client.take(FetchRequest.self, version: 12)
        #expect(second.topics.first?.name == "cold")
        #expect(records(second) > 0)
    }

    @Test func patienceWithTheMediumEnds() throws {
        let (world, host) = try world()
        let client = Client(host, world)
        client.send(fetchRequest(["cold"], maxWaitMs: 100), version: 12)
        world.run(forMs: 1_500)
        #expect(client.frames.isEmpty)
        world.run(forMs: 1_000) { !client.frames.isEmpty }
        #expect(records(try client.take(FetchRequest.self, version: 12)) == 0)
        // What comes late is nobody's.
        world.completeFlushes(of: host)
        world.run(forMs: 20)
        #expect(client.frames.isEmpty)
        #expect(host.halted == nil)
    }

    /// Its disk never says that anything is in memory, and another partition always has something to answer.
    @Test func aColdPartitionBesideABusyOneIsReadInTheEnd() throws {
        let (world, host) = try world()
        host.holdsShardFlushes = false
        let client = Client(host, world)
        var answers: [[String]] = []
        for _ in 0..<3 {
            answers.append(served(try client.call(fetchRequest(["cold", "hot"]), version: 12)))
            world.run(forMs: 5)
        }
        #expect(answers == [["hot"], ["hot"], ["cold", "hot"]])
    }

    /// However often they ask, who waits for the disk does not make the loop wait.
    @Test func whileItIsOnItsWayABusyReaderHasTheRest() throws {
        let (world, host) = try world()
        for _ in 0..<20 {
            let client = Client(host, world)
            #expect(served(try client.call(fetchRequest(["cold", "hot"]), version: 12, withinMs: 5)) == ["hot"])
        }
        #expect(readings(host) == 1)
    }

    /// Its disk never says that anything is in memory.
    @Test func oneAnswerReadsOnePartitionAtMostWhereItLies() throws {
        let topics = ["a", "b", "c", "d"]
        let (world, host) = try world(topics)
        host.holdsShardFlushes = false
        let client = Client(host, world)
        for _ in 0..<3 {
            #expect(served(try client.call(fetchRequest(topics), version: 12, withinMs: 50)) == ["a"])
        }
        // With a session those that were left out come first.
        var response = try client.call(fetchRequest(topics, session: (0, 0)), version: 12, withinMs: 50)
        var found = served(response)
        for epoch in 1..<8 as Range<Int32> {
            let next = found.isEmpty ? [] : [found[found.count - 1]]
            response = try client.call(
                fetchRequest(next, offset: 20, session: (response.sessionID, epoch)), version: 12, withinMs: 50)
            #expect(served(response).count <= 1)
            found += served(response)
        }
        #expect(found == topics)
    }

    @Test func aLogThatGrowsMeanwhileIsNotAskedForAgain() throws {
        let (world, host) = try world()
        let (reader, producer) = (Client(host, world), Client(host, world))
        reader.send(fetchRequest(["cold"], maxWaitMs: 1_000, partitionMaxBytes: 700), version: 12)
        for _ in 0..<5 {
            producer.send(produceRequest("cold", acks: 0), version: 9)
            world.run(forMs: 5)
        }
        #expect(readings(host) == 1)
        #expect(reader.frames.isEmpty)
        host.shardDisk.coldOneIn = 0
        world.completeFlushes(of: host)
        world.run(forMs: 5)
        #expect(records(try reader.take(FetchRequest.self, version: 12)) > 0)
    }

    @Test func whoIsOvertakenByItsSessionHasWhatThereIs() throws {
        let (world, host) = try world()
        let client = Client(host, world)
        let opened = try client.call(
            fetchRequest(["hot"], offset: 1, session: (0, 0)), version: 12, withinMs: 50)
        client.send(fetchRequest(["cold"], maxWaitMs: 1_000, session: (opened.sessionID, 1)), version: 12)
        world.run(forMs: 5)
        #expect(client.frames.isEmpty)
        client.send(fetchRequest(["hot"], maxWaitMs: 1_000, session: (opened.sessionID, 2)), version: 12)
        world.run(forMs: 5)
        #expect(served(try client.take(FetchRequest.self, version: 12)) == [])
        #expect(served(try client.take(FetchRequest.self, version: 12)) == ["hot"])
    }

    @Test func aConnectionThatIsClosedMeanwhileLeavesNothingBehind() throws {
        let (world, host) = try world()
        let timers = host.node?.shards[0].inspectedTimers
        let client = Client(host, world)
        client.send(fetchRequest(["cold"], maxWaitMs: 5_000, session: (0, 0)), version: 12)
        world.run(forMs: 20)
        #expect(client.frames.isEmpty)
        #expect(host.node?.shards[0].inspectedTimers != timers)
        world.post(host, .shard(.connectionClosed(client.id)))
        world.run(forMs: 5)
        world.completeFlushes(of: host)
        world.run(forMs: 20)
        #expect(client.frames.isEmpty)
        #expect(host.halted == nil)
        #expect(host.node?.shards[0].inspectedTimers == timers)
        let again = Client(host, world)
        host.shardDisk.coldOneIn = 0
        #expect(records(try again.call(fetchRequest(["cold"]), version: 12, withinMs: 50)) > 0)
    }

    @Test func theFetchIsAnsweredWhenThePartitionGoesMeanwhile() throws {
        let (world, host) = try world()
        let client = Client(host, world)
        client.send(fetchRequest(["cold"], maxWaitMs: 5_000), version: 12)
        world.run(forMs: 20)
        #expect(client.frames.isEmpty)
        var delete = DeleteTopicsRequest()
        delete.topicNames = ["cold"]
        Client(host, world).send(delete, version: 4)
        world.run(forMs: 500) { !client.frames.isEmpty }
        #expect(try client.take(FetchRequest.self, version: 12).only.errorCode == .unknownTopicOrPartition)
        // The reading comes to its end, too.
        world.completeFlushes(of: host)
        world.run(forMs: 20)
        #expect(host.halted == nil)
    }
}
