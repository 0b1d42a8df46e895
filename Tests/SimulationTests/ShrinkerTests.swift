// Faults as a list, and what is left of a failing one.

import Model
import Simulation
import Testing

@Suite struct ShrinkerTests {
    private static func start(_ seed: UInt64, _ faults: [FaultKind], _ bug: PlantedBug) -> SimulationCase {
        let swarm = Swarm(seed: seed, allowing: faults)
        return SimulationCase(seed: seed, swarm: swarm, schedule: Schedule(seed: seed, swarm: swarm), bug: bug)
    }

    @Test func aScheduleGivenBackIsTheSameRun() {
        let drawn = SeedRun.run(seed: 7, trace: Trace(.hashed))
        let given = SeedRun.run(seed: 7, swarm: drawn.swarm, schedule: drawn.schedule, trace: Trace(.hashed))
        #expect(drawn.traceHash == given.traceHash)
    }

    @Test func withoutItsLastFaultARunIsTheSameUpToThere() throws {
        let swarm = Swarm(seed: 7)
        let whole = Schedule(seed: 7, swarm: swarm)
        let last = try #require(whole.faults.last)
        let shorter = Schedule(faults: whole.faults.dropLast(), healAtMs: last.atMs - 1)
        let cut = Schedule(faults: whole.faults, healAtMs: last.atMs - 1)
        var lines: [[String]] = []
        for schedule in [shorter, cut] {
            var told: [String] = []
            _ = SeedRun.run(
                seed: 7, swarm: swarm, schedule: schedule, trace: Trace(.words) { told.append($0) })
            // The list at the head differs by its last line.
            lines.append(told.filter { !$0.contains("will come") && !$0.contains("all faults end") })
        }
        let count = min(lines[0].count, lines[1].count) / 2
        #expect(Array(lines[0].prefix(count)) == Array(lines[1].prefix(count)))
    }

    @Test func aFailureThatNeedsNoFaultLosesThemAll() throws {
        var shrinker = try #require(
            Shrinker(Self.start(4, Swarm.defaultFaults, .dataFlushLies), bug: .dataFlushLies, progress: { _ in }))
        shrinker.shrink()
        #expect(shrinker.best.schedule.faults.isEmpty)
        #expect(shrinker.best.invariant == "S1")
        #expect(shrinker.best.run(bug: .none, trace: Trace(.none)).violation == nil)
    }

    @Test func aFailureThatNeedsFaultsKeepsFew() throws {
        let found = (1...200).lazy.map { Self.start($0, [.rot, .oneWayCut], .damageCutOff) }
            .first { $0.run(bug: .damageCutOff, trace: Trace(.none)).violation != nil }
        let first = try #require(found)
        var shrinker = try #require(Shrinker(first, bug: .damageCutOff, progress: { _ in }))
        shrinker.shrink()
        #expect(!shrinker.best.schedule.faults.isEmpty)
        #expect(shrinker.best.schedule.faults.count <= 6)
    }

    @Test func whatPassesIsNotShrunk() {
        #expect(Shrinker(Self.start(1, [], .none), bug: .none, progress: { _ in }) == nil)
    }
}
