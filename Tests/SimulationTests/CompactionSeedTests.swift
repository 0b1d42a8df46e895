// Worlds with a compacted topic: they are well, logs are cleaned in them, and what is planted there is seen.

import Model
import Simulation
import Testing

@Suite struct CompactionSeedTests {
    private static func run(_ seed: UInt64, _ faults: [FaultKind], _ bug: PlantedBug = .none) -> SeedResult {
        let swarm = Swarm(seed: seed, allowing: faults).withCompaction(seed)
        return SeedRun.run(
            seed: seed, swarm: swarm, schedule: Schedule(seed: seed, swarm: swarm), bug: bug, trace: Trace(.none))
    }

    private static func count(_ invariant: Invariant, _ result: SeedResult) -> Int {
        zip(Invariant.allCases, result.invariantCounts).first { $0.0 == invariant }?.1 ?? 0
    }

    @Test(arguments: [1, 2] as [UInt64])
    func calmLogsAreCleaned(seed: UInt64) {
        let result = Self.run(seed, [])
        #expect(result.violation?.words == nil)
        #expect(Self.count(.c1cleanings, result) > 0)
        #expect(Self.count(.s1swapped, result) > 0)
    }

    @Test func compactionComesByLotAndWhenAskedFor() {
        let drawn = (1...300 as ClosedRange<UInt64>).filter { Swarm(seed: $0).description.contains("compaction") }
        #expect((25...80).contains(drawn.count))
        #expect(Swarm(seed: 1).withCompaction(1).description.contains("compaction"))
        for seed in drawn { #expect(Swarm(seed: seed) == Swarm(seed: seed).withCompaction(seed)) }
    }

    /// One by each checker; `martlet-sim mutants` has them all.
    @Test(arguments: [PlantedBug.cleanedSegmentNotFlushed, .tombstoneGoesByTimeAlone])
    func plantedBugsAreSeen(bug: PlantedBug) {
        let found = (1...40 as ClosedRange<UInt64>).lazy.compactMap { Self.run($0, bug.suitedFaults, bug).violation }
        #expect(["C1", "S1"].contains(found.first?.invariant))
    }
}
