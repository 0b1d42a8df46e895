// A damaged replica's way to the controller and back: from a shard's mail through AssignReplicasToDirs to the answer,
// and what clients are told of it.

import Broker
import Model
import NIOCore
import Testing
import Wire

struct DirectoryTests {
    /// Three nodes with topics of three replicas, and the key of each topic's partition.
    private static func running(_ names: [String] = ["t"]) throws -> (World, [TopicPartition]) {
        let world = try World.running(nodes: 3)
        let client = Client(world.hosts[0], world)
        #expect(try client.call(createRequest(names, replicas: 3)).topics.map(\.errorCode) == names.map { _ in .none })
        let topics = try client.call(MetadataRequest()).topics
        return (world, topics.map { TopicPartition($0.topicID, 0) })
    }

    private func assign(_ key: TopicPartition, of host: Host, to directory: UUID128, _ world: World) {
        world.post(host, .control(.mailed(.directoryAssigned(shard: 0, key, directory: directory))))
    }

    private func partition(_ host: Host, _ world: World) throws -> MetadataResponse.Partition {
        try #require(try Client(host, world).call(MetadataRequest()).topics.first?.partitions.first)
    }

    @Test(arguments: [true, false]) func aLostReplicaIsOfflineUntilItIsWholeAgain(onTheController: Bool) throws {
        let world = try World.running(nodes: 3)
        let host = try #require(world.hosts.first { ($0 === world.leader()) == onTheController })
        let own = try #require(host.node?.control.inspectedDirectoryID)
        host.shardDisk.noSpaceForNamesEndingIn = "t-0/00000000000000000000.log"
        #expect(
            try Client(world.hosts[0], world).call(createRequest(["t"], replicas: 3)).topics.map(\.errorCode) == [.none]
        )
        world.run(forMs: 2_000) { !host.directoryAnswers.isEmpty }
        let key = try #require(host.directoryAnswers.first).key
        #expect(host.directoryAnswers == [.init(key: key, directory: DirectoryID.lost, error: .none)])
        world.run(forMs: 500)
        for other in world.hosts {
            let told = try partition(other, world)
            #expect(told.offlineReplicas == [host.id] && told.replicaNodes.count == 3)
            #expect(told.isrNodes.count == 2 && !told.isrNodes.contains(host.id) && told.leaderID != host.id)
            let described = try Client(other, world).call(DescribeTopicPartitionsRequest()).topics.first?.partitions
            #expect(described?.first?.offlineReplicas == [host.id])
        }
        host.shardDisk.noSpaceForNamesEndingIn = nil
        world.run(forMs: 5_000) { host.directoryAnswers.count == 2 }
        #expect(host.directoryAnswers.last == .init(key: key, directory: own, error: .none))
        world.run(forMs: 2_000)
        let told = try partition(world.hosts[0], world)
        #expect(told.offlineReplicas.isEmpty && told.isrNodes.count == 3)
    }

    @Test func aLateWordThatAWholeReplicaIsLostIsTakenBack() throws {
        let (world, keys) = try Self.running()
        let host = world.hosts[1]
        let own = try #require(host.node?.control.inspectedDirectoryID)
        assign(keys[0], of: host, to: DirectoryID.lost, world)
        world.run(forMs: 10_000) { host.directoryAnswers.contains { $0.directory == own } }
        world.run(forMs: 2_000)
        let told = try partition(world.hosts[0], world)
        #expect(told.offlineReplicas.isEmpty && told.isrNodes.count == 3)
    }

    @Test func whatIsSaidWhileARequestIsUnderWayGoesTogetherInTheNext() throws {
        let (world, keys) = try Self.running(["a", "b", "c", "d"])
        let leader = try #require(world.leader())
        let host = try #require(world.hosts.first { $0 !== leader })
        let own = try #require(host.node?.control.inspectedDirectoryID)
        var asked = 0
        leader.deaf = { api, _ in
            guard api == .assignReplicasToDirs else { return false }
            asked += 1
            // Two requests are enough. That all of them are whole, which they say next, is another story.
            return asked > 2
        }
        for key in keys { assign(key, of: host, to: DirectoryID.lost, world) }
        // Overtaken before it was sent: the newer word is sent, the older may be said again.
        assign(keys[3], of: host, to: own, world)
        world.run(forMs: 1_000) { host.directoryAnswers.count == 5 }
        #expect(host.directoryAnswers.count == 5)
        #expect(
            host.directoryAnswers.first == .init(key: keys[3], directory: DirectoryID.lost, error: .requestTimedOut))
        let answers = host.directoryAnswers.dropFirst()
        #expect(answers.map(\.key) == [keys[0]] + keys[1...].sorted() && answers.allSatisfy { $0.error == .none })
        #expect(answers.map { $0.directory == own } == answers.map { $0.key == keys[3] })
        world.run(forMs: 500)
        let topics = try Client(host, world).call(MetadataRequest()).topics
        #expect(topics.map { $0.partitions[0].offlineReplicas } == [[host.id], [host.id], [host.id], []])
    }

    @Test func aRequestThatIsLostIsAnsweredSoThatTheShardAsksAgain() throws {
        let (world, keys) = try Self.running()
        let leader = try #require(world.leader())
        let host = try #require(world.hosts.first { $0 !== leader })
        leader.deaf = { api, _ in api == .assignReplicasToDirs }
        assign(keys[0], of: host, to: DirectoryID.lost, world)
        world.run(forMs: 60_000) { !host.directoryAnswers.isEmpty }
        let lost = Host.DirectoryAnswer(key: keys[0], directory: DirectoryID.lost, error: .requestTimedOut)
        #expect(host.directoryAnswers == [lost])
        leader.deaf = { _, _ in false }
        assign(keys[0], of: host, to: DirectoryID.lost, world)
        world.run(forMs: 5_000) { host.directoryAnswers.count == 2 }
        #expect(host.directoryAnswers.last?.error == ErrorCode.none)
    }

    @Test func withoutAControllerTheAnswerIsThatThereIsNone() throws {
        let (world, keys) = try Self.running()
        let host = world.hosts[0]
        for other in world.hosts where other !== host { world.kill(other) }
        world.run(forMs: 5_000)
        assign(keys[0], of: host, to: DirectoryID.lost, world)
        world.run(forMs: 60_000) { !host.directoryAnswers.isEmpty }
        #expect(host.directoryAnswers.map(\.error) == [.requestTimedOut])
    }

    @Test func theControllersErrorComesBackForEachReplica() throws {
        let (world, keys) = try Self.running()
        let host = try #require(world.hosts.first { $0 !== world.leader() })
        let unknown = TopicPartition(UUID128(high: 9, low: 9), 0)
        assign(unknown, of: host, to: DirectoryID.lost, world)
        assign(keys[0], of: host, to: UUID128(high: 9, low: 9), world)
        world.run(forMs: 1_000) { host.directoryAnswers.count == 2 }
        #expect(host.directoryAnswers.map(\.error) == [.unknownTopicId, .logDirNotFound])
    }
}
