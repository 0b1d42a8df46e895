// Groups through the whole broker: found, joined, committed to disk, carried over to the next coordinator.

import Broker
import Metadata
import Model
import NIOCore
import Testing
import Wire

/// A client that follows its group's coordinator from node to node.
private final class GroupClient {
    let world: World
    let group: String
    private(set) var client: Client
    private(set) var coordinatorID: NodeID = -1

    init(_ group: String, _ world: World) throws {
        (self.world, self.group) = (world, group)
        client = Client(world.hosts[0], world)
        try find()
    }

    func find(asking host: Host? = nil) throws {
        let asked = try #require(host ?? world.hosts.first { $0.node != nil })
        var request = FindCoordinatorRequest()
        request.coordinatorKeys = [group]
        for _ in 0..<10 {
            let answer = try #require(try Client(asked, world).call(request).coordinators.first)
            if answer.errorCode == .none {
                coordinatorID = answer.nodeID
                client = Client(try #require(world.hosts.first { $0.id == answer.nodeID }), world)
                return
            }
            #expect(answer.errorCode == .coordinatorNotAvailable)
        }
        Issue.record("no coordinator of \(group)")
    }

    /// Asks until the answer is not "not now".
    func ask<M: WireRequest>(_ request: M, version: Int16? = nil, _ error: (M.Response) -> ErrorCode) throws
        -> M.Response
    {
        for _ in 0..<50 {
            let answer = try client.call(request, version: version)
            switch error(answer) {
            case .coordinatorLoadInProgress: world.run(forMs: 20)
            case .notCoordinator: try find()
            default: return answer
            }
        }
        throw Refused(error: .notCoordinator)
    }

    struct Refused: Error { var error: ErrorCode }

    func join(_ memberID: String = "") throws -> JoinGroupResponse {
        var request = JoinGroupRequest()
        request.groupID = group
        request.memberID = memberID
        request.sessionTimeoutMs = 10_000
        request.rebalanceTimeoutMs = 10_000
        request.protocolType = "consumer"
        var range = JoinGroupRequest.GroupProtocol()
        range.name = "range"
        request.protocols = [range]
        let answer = try ask(request) { $0.errorCode }
        return answer.errorCode == .memberIdRequired ? try join(answer.memberID) : answer
    }

    func sync(_ joined: JoinGroupResponse, assignment: String) throws -> SyncGroupResponse {
        var request = SyncGroupRequest()
        request.groupID = group
        request.generationID = joined.generationID
        request.memberID = joined.memberID
        request.protocolType = "consumer"
        request.protocolName = "range"
        var mine = SyncGroupRequest.Assignment()
        mine.memberID = joined.memberID
        mine.assignment = ByteBuffer(string: assignment)
        request.assignments = [mine]
        return try ask(request) { $0.errorCode }
    }

    func heartbeat(_ joined: JoinGroupResponse) throws -> ErrorCode {
        var request = HeartbeatRequest()
        request.groupID = group
        request.generationID = joined.generationID
        request.memberID = joined.memberID
        return try ask(request) { $0.errorCode }.errorCode
    }

    func commit(_ offset: Offset, of topic: String = "t", as joined: JoinGroupResponse? = nil) throws -> ErrorCode {
        var request = OffsetCommitRequest()
        request.groupID = group
        request.generationIDOrMemberEpoch = joined?.generationID ?? -1
        request.memberID = joined?.memberID ?? ""
        var partition = OffsetCommitRequest.Partition()
        partition.committedOffset = offset
        var entry = OffsetCommitRequest.Topic()
        entry.name = topic
        entry.partitions = [partition]
        request.topics = [entry]
        func error(_ answer: OffsetCommitResponse) -> ErrorCode {
            answer.topics.first?.partitions.first?.errorCode ?? .unknownServerError
        }
        return error(try ask(request, version: 9, error))
    }

    func committed(of topic: String = "t") throws -> Offset {
        var asked = OffsetFetchRequest.Topic()
        asked.name = topic
        asked.partitionIndexes = [0]
        var group = OffsetFetchRequest.Group()
        group.groupID = self.group
        group.topics = [asked]
        var request = OffsetFetchRequest()
        request.groups = [group]
        let answer = try ask(request, version: 9) { $0.groups.first?.errorCode ?? .none }
        return try #require(answer.groups.first?.topics.first?.partitions.first?.committedOffset)
    }
}

@Suite struct GroupTests {
    private func world(
        nodes: Int = 3, shards: Int = 1, _ configure: (inout NodeConfiguration) -> Void = { _ in }
    ) throws -> World {
        let world = try World.running(nodes: nodes, shards: shards) {
            $0.offsetsTopicPartitions = 8
            configure(&$0)
        }
        _ = try Client(world.hosts[0], world).call(createRequest(["t"], replicas: Int16(nodes)))
        return world
    }

    @Test(arguments: [1, 3]) func theFirstQuestionMakesTheTopicAndIsAnsweredWithItsLeader(shards: Int) throws {
        let world = try world(shards: shards)
        let group = try GroupClient("g", world)
        var request = MetadataRequest()
        var asked = MetadataRequest.Topic()
        asked.name = GroupTopic.name
        request.topics = [asked]
        let topic = try #require(try Client(world.hosts[0], world).call(request).topics.first)
        #expect(topic.isInternal)
        #expect(topic.partitions.count == 8)
        #expect(topic.partitions.allSatisfy { $0.replicaNodes.count == 3 })
        let place = groupPartition(of: "g", partitionCount: 8)
        #expect(topic.partitions.first { $0.partitionIndex == place }?.leaderID == group.coordinatorID)
    }

    @Test(arguments: [1, 3]) func aMemberJoinsWorksAndCommits(shards: Int) throws {
        let group = try GroupClient("workers", try world(shards: shards))
        #expect(try group.committed() == -1)
        let joined = try group.join()
        #expect(joined.errorCode == .none)
        #expect(joined.leader == joined.memberID)
        #expect(joined.members.map(\.memberID) == [joined.memberID])
        let synced = try group.sync(joined, assignment: "all of it")
        #expect(synced.errorCode == .none)
        #expect(synced.assignment == ByteBuffer(string: "all of it"))
        #expect(try group.heartbeat(joined) == .none)
        #expect(try group.commit(42, as: joined) == .none)
        #expect(try group.committed() == 42)
        var stale = joined
        stale.generationID -= 1
        #expect(try group.commit(41, as: stale) == .illegalGeneration)
        #expect(try group.committed() == 42)
    }

    @Test(arguments: [1, 2]) func theNextCoordinatorKnowsTheGroupAndItsOffsets(shards: Int) throws {
        let world = try world(shards: shards)
        let group = try GroupClient("workers", world)
        let joined = try group.join()
        _ = try group.sync(joined, assignment: "kept")
        for offset in 1...50 { #expect(try group.commit(Offset(offset), as: joined) == .none) }
        let first = try #require(world.hosts.first { $0.id == group.coordinatorID })
        world.kill(first)
        world.run(forMs: 3_000)
        try group.find()
        #expect(group.coordinatorID != first.id)
        #expect(try group.committed() == 50)
        // The member is one still, and goes on as if nothing had been.
        #expect(try group.heartbeat(joined) == .none)
        #expect(try group.commit(51, as: joined) == .none)
        #expect(try group.sync(joined, assignment: "ignored").assignment == ByteBuffer(string: "kept"))
    }

    @Test func offsetsOutliveTheEndOfAllNodes() throws {
        let world = try world()
        let group = try GroupClient("plain", world)
        #expect(try group.commit(7) == .none)
        for host in world.hosts { world.kill(host) }
        for host in world.hosts { try world.start(host) }
        world.run(forMs: 10_000) { world.hosts.allSatisfy(\.isReady) }
        world.run(forMs: 3_000)
        try group.find()
        #expect(try group.committed() == 7)
    }

    /// With one node left of three nothing can be committed, so nothing is acknowledged, and nothing unsure is shown.
    @Test func whatIsNotOnTheDisksOfTheMinimumIsNeitherAcknowledgedNorShown() throws {
        let world = try world()
        let group = try GroupClient("workers", world)
        #expect(try group.commit(7) == .none)
        for host in world.hosts where host.id != group.coordinatorID { world.kill(host) }
        var request = OffsetCommitRequest()
        request.groupID = "workers"
        var partition = OffsetCommitRequest.Partition()
        partition.committedOffset = 8
        var topic = OffsetCommitRequest.Topic()
        topic.name = "t"
        topic.partitions = [partition]
        request.topics = [topic]
        request.generationIDOrMemberEpoch = -1
        group.client.send(request, version: 9)
        world.run(forMs: 2_000)
        if !group.client.frames.isEmpty {
            let answer = try group.client.take(OffsetCommitRequest.self, version: 9)
            #expect(answer.topics.first?.partitions.first?.errorCode != ErrorCode.none)
        }
    }

    @Test func severalGroupsAreAskedAboutAtOnceAndAnsweredInTheirOrder() throws {
        let world = try world(nodes: 1, shards: 3)
        let names = ["a", "b", "c", "d", "e", "f"]
        for (index, name) in names.enumerated() {
            #expect(try GroupClient(name, world).commit(Offset(index + 100)) == .none)
        }
        let client = Client(world.hosts[0], world)
        var fetch = OffsetFetchRequest()
        fetch.groups = names.reversed().map { name in
            var group = OffsetFetchRequest.Group()
            group.groupID = name
            group.topics = nil
            return group
        }
        let fetched = try client.call(fetch, version: 9)
        #expect(fetched.groups.map(\.groupID) == names.reversed())
        #expect(
            fetched.groups.compactMap { $0.topics.first?.partitions.first?.committedOffset } == [
                105, 104, 103, 102, 101, 100,
            ])
        #expect(try client.call(ListGroupsRequest()).groups.map(\.groupID) == names)
        var describe = DescribeGroupsRequest()
        describe.groups = ["c", "nobody", "a"]
        let described = try client.call(describe)
        #expect(described.groups.map(\.groupID) == ["c", "nobody", "a"])
        #expect(described.groups.map(\.errorCode) == [.none, .groupIdNotFound, .none])
        var delete = DeleteGroupsRequest()
        delete.groupsNames = ["b", "nobody", "e"]
        #expect(try client.call(delete).results.map(\.errorCode) == [.none, .groupIdNotFound, .none])
        #expect(try client.call(ListGroupsRequest()).groups.map(\.groupID) == ["a", "c", "d", "f"])
    }

    /// Or an answer could be many times the size of its request.
    @Test func aGroupThatIsNamedTwiceIsAnsweredOnce() throws {
        let world = try world(nodes: 1, shards: 2)
        for name in ["a", "b"] { #expect(try GroupClient(name, world).commit(7) == .none) }
        let client = Client(world.hosts[0], world)
        var fetch = OffsetFetchRequest()
        fetch.groups = ["b", "a", "b", "b"].map { name in
            var group = OffsetFetchRequest.Group()
            group.groupID = name
            group.topics = nil
            return group
        }
        #expect(try client.call(fetch, version: 9).groups.map(\.groupID) == ["b", "a"])
        var describe = DescribeGroupsRequest()
        describe.groups = ["a", "a", "b", "a"]
        #expect(try client.call(describe).groups.map(\.groupID) == ["a", "b"])
        var consumers = ConsumerGroupDescribeRequest()
        consumers.groupIDs = ["b", "b"]
        #expect(try client.call(consumers).groups.map(\.groupID) == ["b"])
        var delete = DeleteGroupsRequest()
        delete.groupsNames = ["b", "a", "b"]
        #expect(try client.call(delete).results.map(\.errorCode) == [.none, .none])
    }

    /// What comes behind such a question on its connection waits with it.
    @Test func aCoordinatorThatDoesNotComeIsWaitedForOnceInAWhile() throws {
        let world = try world()
        let others = Array(world.hosts[1...])
        for other in others { world.kill(other) }
        let client = Client(world.hosts[0], world)
        var request = FindCoordinatorRequest()
        request.coordinatorKeys = ["g"]
        func tookMs() throws -> Int64 {
            let beforeMs = world.nowMs
            #expect(try client.call(request).coordinators.map(\.errorCode) == [.coordinatorNotAvailable])
            return world.nowMs - beforeMs
        }
        #expect(try tookMs() >= 500)
        for _ in 0..<3 { #expect(try tookMs() < 50) }
        for other in others { try world.start(other) }
        world.run(forMs: 15_000)
        _ = try client.call(request)
        world.run(forMs: 5_000)
        #expect(try client.call(request).coordinators.map(\.errorCode) == [.none])
    }

    @Test func aNodeThatDoesNotCoordinateSaysSo() throws {
        let world = try world()
        let group = try GroupClient("workers", world)
        let other = try #require(world.hosts.first { $0.id != group.coordinatorID })
        // Until it has heard of the topic it can only say "not now".
        world.run(forMs: 1_000)
        var request = HeartbeatRequest()
        request.groupID = "workers"
        #expect(try Client(other, world).call(request).errorCode == .notCoordinator)
    }

    @Test func nobodyElseWritesToTheGroupsLog() throws {
        let world = try world(nodes: 1)
        _ = try GroupClient("g", world)
        let answer = try Client(world.hosts[0], world).call(produceRequest(GroupTopic.name), version: 9)
        #expect(answer.only.errorCode == .invalidTopicException)
    }

    @Test func aDeletedTopicTakesItsOffsetsAlong() throws {
        let world = try world(nodes: 1)
        let group = try GroupClient("workers", world)
        #expect(try group.commit(7) == .none)
        var delete = DeleteTopicsRequest()
        delete.timeoutMs = 5_000
        delete.topicNames = ["t"]
        _ = try Client(world.hosts[0], world).call(delete, version: 5)
        world.run(forMs: 2_000)
        #expect(try group.committed() == -1)
    }
}
