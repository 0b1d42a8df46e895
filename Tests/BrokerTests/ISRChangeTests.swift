// Changes of many ISRs at once: what comes up while the controller is asked goes together in the next request.

import Broker
import Metadata
import Model
import Testing
import Wire

struct ISRChangeTests {
    private static let partitions: Int32 = 40

    /// A topic that three nodes lead by turns, and a follower of the quorum that is down and out of every ISR.
    private func worldWithoutOne() throws -> (world: World, controller: Host, other: Host, down: Host) {
        let world = try World.running(nodes: 3)
        var request = createRequest(["t"], replicas: 3)
        request.topics[0].numPartitions = Self.partitions
        let controller = try #require(world.leader())
        #expect(try Client(controller, world).call(request).topics.map(\.errorCode) == [.none])
        let others = world.hosts.filter { $0 !== controller }
        world.kill(others[0])
        try wait(world, controller, forInSync: 2)
        return (world, controller, others[1], others[0])
    }

    private func wait(_ world: World, _ host: Host, forInSync count: Int) throws {
        let expected = [Int](repeating: count, count: Int(Self.partitions))
        let client = Client(host, world)
        var found: [Int] = []
        for _ in 0..<200 where found != expected {
            world.run(forMs: 100)
            found = try client.call(MetadataRequest()).topics.first?.partitions.map(\.isrNodes.count) ?? []
        }
        #expect(found == expected)
    }

    @Test func aNodeThatComesBackTakesFewRequests() throws {
        let (world, controller, other, down) = try worldWithoutOne()
        var requests = 0
        controller.deaf = { [id = other.id] api, sender in
            if api == .alterPartition, sender == id { requests += 1 }
            return false
        }
        try world.start(down)
        try wait(world, controller, forInSync: 3)
        // It leads some twenty of them.
        #expect((1...5).contains(requests), "\(requests) requests")
    }

    @Test func whatWaitsBehindALostRequestIsAskedForAfterIt() throws {
        let (world, controller, other, down) = try worldWithoutOne()
        var requests = 0
        controller.deaf = { [id = other.id] api, sender in
            guard api == .alterPartition, sender == id else { return false }
            requests += 1
            return requests == 1
        }
        try world.start(down)
        try wait(world, controller, forInSync: 3)
        #expect((2...6).contains(requests), "\(requests) requests")
    }

    @Test func aControllerThatDoesNotAnswerHoldsNothingUpAtTheNext() throws {
        let (world, controller, other, down) = try worldWithoutOne()
        var isAsked = false
        controller.deaf = { api, _ in
            if api == .alterPartition { isAsked = true }
            return api == .alterPartition
        }
        try world.start(down)
        world.run(forMs: 10_000) { isAsked }
        #expect(isAsked)
        world.kill(controller)
        // The one that came back and the one that stayed; a client is served once there is a controller again.
        world.run(forMs: 10_000) { world.leader() != nil }
        try wait(world, other, forInSync: 2)
        try world.start(controller)
        controller.deaf = { _, _ in false }
        try wait(world, other, forInSync: 3)
    }
}
