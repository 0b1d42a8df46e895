// martlet-sim: the whole broker in a seeded world, as a command.

import ArgumentParser
import Simulation

@main
struct MartletSim: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet-sim",
        abstract: "Runs three to five brokers in a simulated world of faults, and checks every step.",
        subcommands: [Run.self, Shrink.self, Replay.self, Hash.self, Mutants.self, Explore.self])
}
