// Worlds with consumer groups: they are well, and what is planted in them is seen.

import Model
import Simulation
import Testing

@Suite struct GroupSeedTests {
    private static func run(_ seed: UInt64, _ faults: [FaultKind], _ bug: PlantedBug = .none) -> SeedResult {
        let swarm = Swarm(seed: seed, allowing: faults).withGroups(seed)
        return SeedRun.run(
            seed: seed, swarm: swarm, schedule: Schedule(seed: seed, swarm: swarm), bug: bug, trace: Trace(.none))
    }

    private static func count(_ invariant: Invariant, _ result: SeedResult) -> Int {
        zip(Invariant.allCases, result.invariantCounts).first { $0.0 == invariant }?.1 ?? 0
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func calmGroupsAreWell(seed: UInt64) {
        let result = Self.run(seed, [])
        #expect(result.violation?.words == nil)
        #expect(Self.count(.g2acked, result) > 0)
        #expect(Self.count(.g2deleted, result) > 0)
        #expect(Self.count(.l4groups, result) == 1)
    }

    @Test(arguments: [4, 11, 37] as [UInt64])
    func groupsWithFaultsAreWell(seed: UInt64) {
        let result = Self.run(seed, Swarm.defaultFaults)
        #expect(result.violation?.words == nil)
        #expect(Self.count(.g2, result) > 0)
    }

    @Test func groupsComeByLotAndWhenAskedFor() {
        let withGroups = (1...300).count { Swarm(seed: $0).description.contains("groups") }
        #expect((45...110).contains(withGroups))
        #expect(Swarm(seed: 1).withGroups(1).description.contains("groups"))
        let drawn = (1...300 as ClosedRange<UInt64>).first { Swarm(seed: $0).description.contains("groups") } ?? 0
        #expect(Swarm(seed: drawn) == Swarm(seed: drawn).withGroups(drawn))
    }

    /// One by each checker; `martlet-sim mutants` has them all.
    @Test(arguments: [
        PlantedBug.groupAnswersNotHeld, .commitTakenWhileCompleting, .givenOnBeforeGivenUp, .groupDeletionNotWritten,
    ])
    func plantedBugsAreSeen(bug: PlantedBug) {
        let found = (1...60 as ClosedRange<UInt64>).lazy.compactMap { Self.run($0, bug.suitedFaults, bug).violation }
        #expect(["G1", "G2"].contains(found.first?.invariant))
    }
}
