// A few fixed seeds in the inner loop; `martlet-sim run` has the many. And the proofs that the simulation sees, and
// that it repeats itself.

import Model
import Simulation
import Testing

@Suite struct SeedTests {
    @Test(arguments: [1, 2, 3, 5, 8] as [UInt64])
    func calmSeedsAreWell(seed: UInt64) {
        let result = SeedRun.run(seed: seed, allowing: [], trace: Trace(.none))
        #expect(result.violation?.words == nil)
        #expect(result.acknowledgedRecords > 0)
    }

    /// Failures that were have their cases in Tests/SimCorpus; these are a sample of what a seed draws.
    @Test(arguments: [37, 43, 72, 181, 520, 831, 4, 11, 77] as [UInt64])
    func seedsWithFaultsAreWell(seed: UInt64) {
        let result = SeedRun.run(seed: seed, trace: Trace(.none))
        #expect(result.violation?.words == nil)
    }

    @Test func aSeedIsTheSameRunTwice() {
        let first = SeedRun.run(seed: 7, trace: Trace(.hashed))
        let second = SeedRun.run(seed: 7, trace: Trace(.hashed))
        #expect(first.traceHash == second.traceHash)
        #expect(first.events == second.events)
    }

    @Test func wordsChangeNothing() {
        let silent = SeedRun.run(seed: 9, trace: Trace(.none))
        let told = SeedRun.run(seed: 9, trace: Trace(.words))
        #expect(silent.events == told.events)
        #expect(!told.lastLines.isEmpty)
    }

    /// A few, each in a room of its own; `martlet-sim mutants` has them all.
    @Test(arguments: [PlantedBug.dataFlushLies, .voteForgotten, .quorumLeaderCountsUnflushed, .duplicateAppended])
    func plantedBugsAreSeen(bug: PlantedBug) {
        let isSeen = (1...200).contains { seed in
            SeedRun.run(seed: UInt64(seed), allowing: bug.suitedFaults, bug: bug, trace: Trace(.none)).violation != nil
        }
        #expect(isSeen)
    }

    @Test func aFailureTellsItsStory() throws {
        let result = SeedRun.run(seed: 1, bug: .dataFlushLies, trace: Trace(.words))
        let violation = try #require(result.violation)
        #expect(["P6", "S1"].contains(violation.invariant))
        #expect(result.lastLines.contains { $0.contains("VIOLATED") })
    }
}
