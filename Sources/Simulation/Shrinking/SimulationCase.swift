// One run written down: everything that decides it, so that it is the same run for as long as the brokers do the same.

import Model

package struct SimulationCase: Hashable, Sendable, Codable {
    package var seed: UInt64
    package var swarm: Swarm
    package var schedule: Schedule
    /// The planted bug with which it fails, by name; without it the run passes.
    package var bug: String
    /// What fails, or failed once.
    package var invariant: String
    /// For people.
    package var note: String

    package init(
        seed: UInt64, swarm: Swarm, schedule: Schedule, bug: PlantedBug, invariant: String = "", note: String = ""
    ) {
        self.seed = seed
        self.swarm = swarm
        self.schedule = schedule
        self.bug = bug.rawValue
        self.invariant = invariant
        self.note = note
    }

    /// Nil when there is no such bug any more.
    package var plantedBug: PlantedBug? { PlantedBug(rawValue: bug) }

    package func run(bug: PlantedBug, trace: Trace) -> SeedResult {
        SeedRun.run(seed: seed, swarm: swarm, schedule: schedule, bug: bug, trace: trace)
    }
}
