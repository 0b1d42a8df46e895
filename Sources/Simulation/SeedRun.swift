// One seed from its birth to its verdict: load with faults, then healing, then everything must be well again.

import Broker
import Model

package struct SeedResult: Sendable {
    package var seed: UInt64
    package var violation: Violation?
    package var events: UInt64
    package var virtualMs: Int64
    package var traceHash: UInt64
    package var lastLines: [String]
    package var invariantCounts: [Int]
    package var faultCounts: [Int]
    package var acknowledgedRecords: Int
    package var elections: Int
    package var description: String
    package var swarm: Swarm
    package var schedule: Schedule
}

package enum SeedRun {
    /// How long a healed cluster may take until all is well, in virtual milliseconds.
    static let recoveryMs: Int64 = 60_000
    /// Longer than the delay of preferred leaders.
    private static let settlingMs: Int64 = 4_000
    private static let restMs: Int64 = 3_000

    package static func run(
        seed: UInt64, allowing faults: [FaultKind] = Swarm.defaultFaults, bug: PlantedBug = .none, trace: Trace
    ) -> SeedResult {
        let swarm = Swarm(seed: seed, allowing: faults)
        return run(seed: seed, swarm: swarm, schedule: Schedule(seed: seed, swarm: swarm), bug: bug, trace: trace)
    }

    /// With these faults and no others.
    package static func run(
        seed: UInt64, swarm: Swarm, schedule: Schedule, bug: PlantedBug = .none, trace: Trace
    ) -> SeedResult {
        let world = World(seed: seed, swarm: swarm, schedule: schedule, bug: bug, trace: trace)
        defer { world.dismantle() }
        play(world)
        return SeedResult(
            seed: seed, violation: world.violation, events: world.eventCount, virtualMs: world.now / 1_000_000,
            traceHash: trace.hash, lastLines: trace.lastLines, invariantCounts: world.checkers.counts,
            faultCounts: world.faultCounts, acknowledgedRecords: world.checkers.clients.acknowledgedRecords,
            elections: world.elections, description: swarm.description, swarm: swarm, schedule: schedule)
    }

    private static func play(_ world: World) {
        for node in world.nodes {
            var random = world.lots.stream(.boot, UInt64(node.id))
            let delay = random.below(400_000)
            world.plan(
                .run(
                    "node \(node.id) is switched "
                        + "on"
                ) { [unowned world] in world.start(node) }, inMicroseconds: delay)
        }
        populate(world)
        world.planFaults()
        _ = world.run(until: world.schedule.healAtMs * 1_000_000) { false }
        guard world.violation == nil else { return }
        world.healAll()
        // A while of load without faults, then nothing new.
        _ = world.run(until: world.now + 800_000_000) { false }
        world.isLoaded = false
        recover(world)
    }

    private static func populate(_ world: World) {
        var topics = ["t"]
        if world.swarm.hasAsyncTopic { topics.append("t-async") }
        if world.swarm.compacts { topics.append(KeyedRecords.topic) }
        let ordinary = topics.filter { $0 != KeyedRecords.topic }
        func client() -> SimulatedClient {
            let client = SimulatedClient(number: world.clients.count + 1, world: world)
            world.clients.append(client)
            return client
        }
        let admin = SimulatedAdmin(client(), topics: topics)
        world.admin = admin
        admin.start()
        for number in 0..<world.swarm.idempotentProducers + world.swarm.plainProducers {
            let isIdempotent = number < world.swarm.idempotentProducers
            let producer = SimulatedProducer(
                client(), topic: ordinary[number % ordinary.count], isIdempotent: isIdempotent,
                partitions: world.swarm.partitions)
            world.producers.append(producer)
            producer.start()
        }
        if world.swarm.compacts {
            let producer = SimulatedProducer(
                client(), topic: KeyedRecords.topic, isIdempotent: true, partitions: world.swarm.partitions)
            let plain = SimulatedProducer(
                client(), topic: KeyedRecords.topic, isIdempotent: false, partitions: world.swarm.partitions)
            let consumer = SimulatedConsumer(
                client(), topic: KeyedRecords.topic, partitions: world.swarm.partitions)
            world.producers += [producer, plain]
            world.consumers.append(consumer)
            producer.start()
            plain.start()
            consumer.start()
        }
        for number in 0..<world.swarm.consumers {
            let consumer = SimulatedConsumer(
                client(), topic: ordinary[number % ordinary.count], partitions: world.swarm.partitions)
            world.consumers.append(consumer)
            consumer.start()
        }
        for (number, kind) in world.swarm.groups.enumerated() {
            let group = SimulatedGroup(number, kind, topics: topics, members: world.swarm.groupMembers, world: world)
            world.groups.append(group)
            group.start()
        }
        if !world.groups.isEmpty {
            let admin = SimulatedGroupAdmin(SimulatedClient(number: 9_000, world: world), topics: topics)
            world.groupAdmin = admin
            admin.start()
        }
        if world.swarm.deletesRecords {
            let deleter = SimulatedDeleter(client(), topics: ordinary)
            world.deleter = deleter
            deleter.start()
        }
    }

    // MARK: Recovery

    private static func recover(_ world: World) {
        var reason: (Invariant, String)?
        var lookAt: Int64 = 0
        let isWell = world.run(until: world.now + recoveryMs * 1_000_000) {
            // What is held arrives after the faults have ended, and may take an ISR apart once more.
            guard world.now >= max(lookAt, world.heldUntil) else { return false }
            lookAt = world.now + 50_000_000
            reason = Convergence.whatIsMissing(in: world)
            return reason == nil
        }
        guard world.violation == nil else { return }
        guard isWell else {
            let (invariant, words) = reason ?? (.l1, "nothing happens any more")
            return world.violated(invariant.rawValue, "\(recoveryMs / 1_000) s after all faults ended: \(words)")
        }
        for invariant in [Invariant.l1, .l2, .l4, .l6] { world.checkers.count(invariant) }
        if !world.groups.isEmpty { world.checkers.count(.l4groups) }
        Convergence.checkImages(of: world)
        Convergence.checkLogs(of: world)
        world.checkers.clients.checkFinal(world)
        world.checkers.compactions.checkFinal(world)
        rest(world)
    }

    /// Preferred leaders have taken over after a while; from then on nothing is elected any more.
    private static func rest(_ world: World) {
        _ = world.run(until: world.now + settlingMs * 1_000_000) { false }
        let before = Convergence.leaderships(in: world)
        _ = world.run(until: world.now + restMs * 1_000_000) { false }
        guard world.violation == nil else { return }
        world.checkers.count(.l3)
        let after = Convergence.leaderships(in: world)
        if after != before { world.violated("L3", "all is well, and \(before) becomes \(after)") }
    }
}
