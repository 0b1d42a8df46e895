// Three nodes: calls that reach the controller by way of another node, forged node requests, restarts and stops.

import Broker
import Metadata
import Model
import NIOCore
import Testing
import Wire

struct ForwardingTests {
    private func follower(_ world: World) throws -> Host {
        try #require(world.hosts.first { $0 !== world.leader() })
    }

    @Test func anyNodeCreatesTopicsAndAllNodesKnowThemWhenItIsAnswered() throws {
        let world = try World.running(nodes: 3)
        let client = Client(try follower(world), world)
        #expect(try client.call(createRequest(["t"])).topics.map(\.errorCode) == [.none])
        for host in world.hosts {
            let answer = try Client(host, world).call(MetadataRequest())
            #expect(answer.topics.map(\.name) == ["t"])
            #expect(answer.topics.first?.partitions.first?.leaderID ?? -1 >= 0)
        }
    }

    @Test func aCallThatCannotBeReadEndsItsClientAndNotTheNodesWayToTheController() throws {
        let world = try World.running(nodes: 3)
        let host = try follower(world)
        let bad = Client(host, world)
        var frame = ByteBuffer()
        frame.writeMultipleIntegers(Int16(20), Int16(5), Int32(1), Int16(-1), UInt8(0))
        frame.writeBytes([0xFF, 0xFF, 0xFF, 0x07])
        bad.sendRaw(frame)
        world.run(forMs: 500)
        #expect(bad.isClosed)
        #expect(world.leader()?.lines.contains { $0.text.hasPrefix("refused what") } == true)
        let good = Client(host, world)
        #expect(try good.call(createRequest(["t"]), withinMs: 500).topics.map(\.errorCode) == [.none])
    }

    @Test func aCallWithoutAControllerWaitsForTheNextOne() throws {
        let world = try World.running(nodes: 3)
        let host = try follower(world)
        world.kill(try #require(world.leader()))
        let answer = try Client(host, world).call(createRequest(["t"], replicas: 2))
        #expect(answer.topics.map(\.errorCode) == [.none])
    }

    @Test func producerIdsThatCannotBeHadAreRefusedWithARetriableErrorInTime() throws {
        let world = try World.running(nodes: 3)
        let host = try follower(world)
        try #require(world.leader()).deaf = { api, _ in api == .allocateProducerIDs }
        let client = Client(host, world)
        var request = InitProducerIDRequest()
        request.transactionTimeoutMs = 60_000
        #expect(try client.call(request, withinMs: 3_000).errorCode == .coordinatorLoadInProgress)
    }

    @Test func aRegistrationThatTheImageDoesNotShowYetIsNotRepeatedAllTheTime() throws {
        let world = try World.running(nodes: 3)
        let host = try follower(world)
        world.kill(host)
        // Registered, and yet cut off from the metadata log.
        try #require(world.leader()).deaf = { [id = host.id] api, sender in api == .fetch && sender == id }
        try world.start(host)
        world.run(forMs: 300)
        let before = host.framesSent
        world.run(forMs: 600)
        #expect(host.framesSent - before < 60)
    }
}

struct ForgeryTests {
    private func registration(of host: Host, in world: World) throws -> BrokerRegistrationRequest {
        let cluster = try #require(try Client(host, world).call(DescribeClusterRequest()).clusterID as String?)
        var request = BrokerRegistrationRequest()
        request.brokerID = host.id
        request.clusterID = cluster
        request.incarnationID = UUID128(high: 5, low: 5)
        request.logDirs = [UUID128(high: 6, low: 6)]
        var listener = BrokerRegistrationRequest.Listener()
        listener.name = "PLAINTEXT"
        listener.host = "elsewhere"
        listener.port = 1
        request.listeners = [listener]
        return request
    }

    @Test func aStrangerDoesNotTakeTheIdOfALivingNode() throws {
        let world = try World.running(nodes: 3)
        let controller = try #require(world.leader())
        for host in world.hosts {
            let answer = try Client.introduced(as: host.id, to: controller, world)
                .call(try registration(of: host, in: world))
            #expect(answer.errorCode == .duplicateBrokerRegistration)
        }
        world.run(forMs: 2_000)
        #expect(world.hosts.allSatisfy { $0.halted == nil })
    }

    @Test func aRefusalIsToldOnceAndOnceMoreWhenItLasts() {
        var refusal = RegistrationRefusal()
        var now = Instant.zero
        func told(_ code: ErrorCode, times: Int) -> [LogLine.Level] {
            (0..<times).compactMap { _ in
                now = now.advanced(byMs: 100)
                return refusal.noted(code, of: 2, patienceMs: 3_000, at: now)?.level
            }
        }
        #expect(told(.duplicateBrokerRegistration, times: 30) == [.notice])
        #expect(told(.duplicateBrokerRegistration, times: 30) == [.error])
        #expect(told(.inconsistentClusterId, times: 40) == [.notice, .error])
        // An answer of another kind is an end of it.
        #expect(told(.none, times: 2) == [])
        #expect(told(.duplicateBrokerRegistration, times: 3) == [.notice])
    }

    @Test func aNodeThatDidRestartRegistersWithoutDelay() throws {
        let world = try World.running(nodes: 3)
        let host = try #require(world.hosts.first { $0 !== world.leader() })
        world.kill(host)
        world.run(forMs: 10)
        try world.start(host)
        world.run(forMs: 600) { host.isReady }
        #expect(host.isReady)
    }

    @Test func aFormationOfStrangersIsRefused() throws {
        let world = try World.running(nodes: 3)
        var request = FormClusterRequest()
        request.clusterID = "another"
        #expect(
            try Client.introduced(as: 2, to: world.hosts[0], world).call(request).errorCode == .inconsistentClusterId)
        let alone = World(nodes: 2)
        try alone.start(alone.hosts[0])
        alone.run(forMs: 200)
        var voter = FormClusterRequest.Voter()
        voter.nodeID = 1
        voter.directoryID = try #require(alone.hosts[0].node?.control.inspectedDirectoryID)
        request.voters = [voter]
        request.clusterID = "x\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAA"
        #expect(try Client.introduced(as: 2, to: alone.hosts[0], alone).call(request).errorCode == .invalidRequest)
    }

    @Test func aVoteOfNobodyIsRefused() throws {
        let world = try World.running()
        var partition = VoteRequest.Partition()
        partition.replicaID = -1
        partition.replicaEpoch = 1_000
        var topic = VoteRequest.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [partition]
        var request = VoteRequest()
        request.clusterID = try Client(world.hosts[0], world).call(DescribeClusterRequest()).clusterID
        request.voterID = 1
        request.topics = [topic]
        #expect(try Client.introduced(as: 2, to: world.hosts[0], world).call(request).errorCode == .invalidRequest)
    }

    @Test func nodeRequestsAreNotTakenFromClients() throws {
        let world = try World.running()
        for number: Int16 in [1, 2, 3, 4] {
            let client = Client(world.hosts[0], world)
            switch number {
            case 1: client.send(AlterPartitionRequest())
            case 2: client.send(BrokerHeartbeatRequest())
            case 3: client.send(AssignReplicasToDirsRequest())
            default: client.send(VoteRequest())
            }
            world.run(forMs: 500) { client.isClosed }
            #expect(client.isClosed && client.frames.isEmpty)
        }
    }

    @Test func aNodeCannotSpeakForAnother() throws {
        let world = try World.running(nodes: 3)
        let controller = try #require(world.leader())
        let client = try Client.introduced(as: 2, to: controller, world)
        var request = AlterPartitionRequest()
        for epoch: Int64 in 0..<60 {
            request.brokerID = 2
            request.brokerEpoch = epoch
            #expect(try client.call(request).errorCode == .clusterAuthorizationFailed)
        }
        var assignment = AssignReplicasToDirsRequest()
        assignment.brokerID = 2
        assignment.brokerEpoch = 3
        #expect(try client.call(assignment).errorCode == .clusterAuthorizationFailed)
    }

    @Test func anEnvelopeCarriesClientsCallsOnly() throws {
        let world = try World.running()
        var data = ByteBuffer()
        RequestHeader(api: .vote, version: 2, correlationID: 3).encode(into: &data, isFlexible: true)
        var request = EnvelopeRequest()
        request.requestData = data
        request.clientHostAddress = ByteBuffer(string: "x")
        #expect(try Client.introduced(as: 2, to: world.hosts[0], world).call(request).errorCode == .invalidRequest)
    }
}

struct RestartTests {
    @Test func acknowledgedRecordsAreThereAfterAKillOfTheLeader() throws {
        let world = try World.running(nodes: 3)
        let host = world.hosts[0]
        _ = try Client(host, world).call(createRequest(["t"], replicas: 3))
        let leaderID = try #require(
            try Client(host, world).call(MetadataRequest()).topics.first?.partitions.first?.leaderID)
        let leader = try #require(world.hosts.first { $0.id == leaderID })
        #expect(try Client(leader, world).call(produceRequest("t", batch(3)), version: 9).only.errorCode == .none)
        world.kill(leader)
        world.run(forMs: 3_000)
        let other = try #require(world.hosts.first { $0 !== leader })
        let nextID = try #require(
            try Client(other, world).call(MetadataRequest()).topics.first?.partitions.first?.leaderID)
        let next = try #require(world.hosts.first { $0.id == nextID })
        #expect(next !== leader)
        #expect(try Client(next, world).call(fetchRequest(maxWaitMs: 500), version: 12).batches == [0])
    }

    @Test func topicsFromBeforeTheSnapshotAreServedAfterARestart() throws {
        let (world, client) = try World.withTopics(["a", "b"]) { $0.log.metadataSnapshotBytes = 1_500 }
        let host = world.hosts[0]
        _ = try client.call(produceRequest("a", batch(2)), version: 9)
        // Enough of metadata for a snapshot that holds a and b.
        for index in 0..<20 { _ = try client.call(createRequest(["filler-\(index)"])) }
        let snapshots = host.controlDisk.filePaths.filter { $0.hasSuffix(".checkpoint") }
        #expect(snapshots.contains { !$0.contains("00000000000000000000-") })
        world.kill(host)
        world.run(forMs: 20)
        try world.start(host)
        world.run(forMs: 5_000) { host.isReady }
        let next = Client(host, world)
        let answer = try next.call(fetchRequest(["a", "b"]), version: 12)
        #expect(answer.topics.map { $0.partitions[0].errorCode } == [.none, .none])
        #expect(answer.batches == [0])
    }

    @Test func aTopicMadeAnewWhileItsNodeWasDownIsNoDamage() throws {
        let world = try World.running(nodes: 3)
        _ = try Client(world.hosts[0], world).call(createRequest(["t"], replicas: 3))
        let leaderID = try #require(
            try Client(world.hosts[0], world).call(MetadataRequest()).topics.first?.partitions.first?.leaderID)
        let leader = try #require(world.hosts.first { $0.id == leaderID })
        _ = try Client(leader, world).call(produceRequest("t", batch(5)), version: 9)
        world.run(forMs: 3_000)
        let down = try #require(world.hosts.first { $0 !== leader && $0 !== world.leader() })
        world.kill(down)
        world.run(forMs: 2_000)
        let client = Client(try #require(world.leader()), world)
        var delete = DeleteTopicsRequest()
        delete.timeoutMs = 5_000
        delete.topicNames = ["t"]
        _ = try client.call(delete, version: 5)
        _ = try client.call(createRequest(["t"], replicas: 2))
        #expect(try client.call(createRequest(["probe"], replicas: 2)).topics.map(\.errorCode) == [.none])
        // Whether the two replicas of now lie there or not; the third time one surely does.
        try world.start(down)
        world.run(forMs: 5_000) { down.isReady }
        _ = try client.call(delete, version: 5)
        #expect(try client.call(createRequest(["t"], replicas: 3)).topics.map(\.errorCode) == [.none])
        world.run(forMs: 1_000)
        #expect(down.halted == nil)
        #expect(down.isReady)
    }

    @Test func aTopicMadeAnewOutlivesAKillBeforeTheNextCheckpoint() throws {
        let (world, client) = try World.withTopics()
        _ = try client.call(produceRequest("t", batch(50)), version: 9)
        world.run(forMs: 3_000)
        var delete = DeleteTopicsRequest()
        delete.timeoutMs = 5_000
        delete.topicNames = ["t"]
        let host = world.hosts[0]
        _ = try client.call(delete, version: 5)
        // Ordinary checkpoint writes do not get through from here on.
        host.holdsShardFlushes = true
        _ = try client.call(createRequest(["t"]))
        world.kill(host)
        host.holdsShardFlushes = false
        world.run(forMs: 20)
        try world.start(host)
        world.run(forMs: 5_000) { host.isReady || host.halted != nil }
        #expect(host.halted == nil)
        #expect(try Client(host, world).call(fetchRequest(), version: 12).only.logStartOffset == 0)
    }

    @Test func afterOthersRestartedAStopStillHandsOver() throws {
        let world = try World.running(nodes: 3)
        _ = try Client(world.hosts[0], world).call(createRequest(["t"], replicas: 3))
        let last = try #require(world.leader())
        for host in world.hosts where host !== last {
            world.kill(host)
            world.run(forMs: 500)
            try world.start(host)
            world.run(forMs: 5_000) { host.isReady }
        }
        world.run(forMs: 4_000)
        world.post(last, .control(.stopRequested))
        world.run(forMs: 1)
        // Alone it would stop at once; with others alive it first moves its leaderships.
        #expect(!last.isStopped)
        world.run(forMs: 4_000) { last.isStopped }
        #expect(last.isStopped)
        let other = try #require(world.hosts.first { $0 !== last })
        world.run(forMs: 50)
        let partition = try Client(other, world).call(MetadataRequest()).topics.first?.partitions.first
        #expect(partition?.leaderID != last.id)
    }

    @Test func aLoneNodeStopsAtOnce() throws {
        let (world, _) = try World.withTopics()
        world.post(world.hosts[0], .control(.stopRequested))
        world.run(forMs: 500) { world.hosts[0].isStopped }
        #expect(world.hosts[0].isStopped)
    }

    @Test func aFollowerWithAFullDiskRestsBetweenItsTries() throws {
        let world = try World.running(nodes: 3)
        _ = try Client(world.hosts[0], world).call(createRequest(["t"], replicas: 3))
        let leaderID = try #require(
            try Client(world.hosts[0], world).call(MetadataRequest()).topics.first?.partitions.first?.leaderID)
        let leader = try #require(world.hosts.first { $0.id == leaderID })
        let full = try #require(world.hosts.first { $0 !== leader })
        full.shardDisk.capacityBytes = 0
        Client(leader, world).send(produceRequest("t", batch(valueBytes: 1_000), acks: 1), version: 9)
        world.run(forMs: 100)
        let before = full.lines.count
        world.run(forMs: 1_000)
        #expect(full.lines.count - before < 80)
        full.shardDisk.capacityBytes = nil
        world.run(forMs: 500)
        let answer = try Client(leader, world).call(produceRequest("t", batch()), version: 9)
        #expect(answer.only.errorCode == .none)
    }
}
