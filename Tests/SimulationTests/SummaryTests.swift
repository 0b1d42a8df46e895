// The summary: its denominators, and that a hole in the checks is named.

import Simulation
import Testing

@Suite struct SummaryTests {
    @Test func anInvariantThatNeverHeldIsNamed() {
        var summary = Summary()
        #expect(summary.neverHeld.count == Invariant.allCases.count)
        summary.add(SeedRun.run(seed: 1, allowing: [], trace: Trace(.none)))
        #expect(!summary.neverHeld.contains(Invariant.p6.rawValue))
        #expect(summary.seeds == 1)
        #expect(summary.failed == 0)
        #expect(summary.json(seconds: 1).contains("\"seeds\":1"))
    }
}
