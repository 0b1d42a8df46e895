// The one executable: a node, and the commands to work with a cluster.

import ArgumentParser
import MartletClient

@main
struct Martlet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "A log cluster that speaks the Kafka protocol.",
        version: "martlet \(martletVersion)",
        subcommands: [
            Start.self, Topics.self, Groups.self, Produce.self, Consume.self, ClusterCommand.self, LogCommand.self,
            Doctor.self, BenchCommand.self, Completion.self,
        ])
}
