// Hundreds of seeded histories of one partition under crashes, delays and elections.

import Model
import Replication
import Testing

@Suite struct ModelTests {
    @Test(arguments: 0..<8) func everyHistoryKeepsTheInvariants(part: Int) {
        var acked = 0
        var elections = 0
        for seed in UInt64(part * 60)..<UInt64(part * 60 + 60) {
            var world = World(seed: seed)
            for _ in 0..<1000 where world.violations.isEmpty { world.step() }
            #expect(world.violations.isEmpty, "seed \(seed)")
            acked += world.acked
            elections += world.elections
        }
        // Histories in which nothing happens prove nothing.
        #expect(acked > 200)
        #expect(elections > 100)
    }
}
