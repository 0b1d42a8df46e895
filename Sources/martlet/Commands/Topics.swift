// martlet topics create | list | describe | delete

import ArgumentParser
import MartletClient
import Model

struct Topics: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Create, list, describe and delete topics.",
        subcommands: [CreateTopic.self, ListTopics.self, DescribeTopics.self, DeleteTopics.self])
}

struct CreateTopic: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Create a topic.",
        discussion: "Example: martlet topics create orders --partitions 6 --replication-factor 3")

    @OptionGroup var client: ClientOptions
    @Argument(help: "The name: letters, digits, '.', '_' and '-'.") var topic: String
    @Option(help: "How many partitions. Default: the cluster's num.partitions.") var partitions: Int32?
    @Option(help: "Copies of each partition. Default: the cluster's default.replication.factor.")
    var replicationFactor: Int16?
    @Option(name: .customLong("config"), help: "A topic config, as key=value; may be given more than once.")
    var configs: [String] = []

    func validate() throws {
        guard isValidTopicName(topic) else {
            throw ValidationError("'\(topic)' is no topic name: 1 to 249 letters, digits, '.', '_' and '-'")
        }
        if let partitions, partitions < 1 { throw ValidationError("--partitions must be at least 1") }
        if let replicationFactor, replicationFactor < 1 {
            throw ValidationError("--replication-factor must be at least 1")
        }
        _ = try pairs()
    }

    func run() throws {
        var new = NewTopic(name: topic)
        new.partitions = partitions ?? -1
        new.replicationFactor = replicationFactor ?? -1
        new.configs = try pairs()
        let request = new
        try client.run { cluster in
            let made = try await cluster.createTopic(request)
            let size =
                made.partitions > 0
                ? ": partitions \(made.partitions), replication factor \(made.replicationFactor)" : ""
            print("created topic \(request.name)\(size)")
        }
    }

    private func pairs() throws -> [(name: String, value: String)] {
        try configs.map { text in
            let halves = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard halves.count == 2, !halves[0].isEmpty else {
                throw ValidationError("'\(text)' is no config: write key=value")
            }
            return (String(halves[0]), String(halves[1]))
        }
    }
}

struct ListTopics: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List topics by name.")

    @OptionGroup var client: ClientOptions
    @Flag(help: "Internal topics too.") var internals = false

    func run() throws {
        let internals = internals
        try client.run { cluster in
            for topic in try await cluster.topics() where internals || !topic.isInternal { print(topic.name) }
        }
    }
}

struct DescribeTopics: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Show each partition's leader, leader epoch, replicas and ISR.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Topics; all when none is given.") var topics: [String] = []

    func run() throws {
        let names = topics
        try client.run { cluster in
            var found: [ClusterView.Topic] = []
            if names.isEmpty {
                found = try await cluster.topics()
            } else {
                for name in names { found.append(try await cluster.partitions(of: name)) }
            }
            for topic in found { await Self.show(topic, configs: try? cluster.configs(ofTopic: topic.name)) }
        }
    }

    private static func show(_ topic: ClusterView.Topic, configs: [TopicConfig]?) {
        print("topic \(topic.name)  id \(topic.id)  partitions \(topic.partitions.count)")
        for config in configs ?? [] { print("  \(config.name)=\(config.value ?? "")") }
        var rows = [["partition", "leader", "epoch", "replicas", "isr", ""]]
        for partition in topic.partitions {
            let state = partition.isOffline ? "offline" : partition.isUnderReplicated ? "under-replicated" : ""
            rows.append([
                "\(partition.index)", partition.leader.map { "\($0)" } ?? "none", "\(partition.leaderEpoch)",
                partition.replicas.list, partition.isr.list, state,
            ])
        }
        printTable(rows, indent: "  ")
    }
}

struct DeleteTopics: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete topics and all their records.")

    @OptionGroup var client: ClientOptions
    @Argument var topics: [String]

    func run() throws {
        let names = topics
        try client.run { cluster in
            for name in names {
                try await cluster.deleteTopic(name)
                print("deleted topic \(name)")
            }
        }
    }
}

extension [NodeID] {
    var list: String { map { "\($0)" }.joined(separator: ",") }
}

/// Prints rows in columns as wide as their widest cell; the first row is the heading.
func printTable(_ rows: [[String]], indent: String = "") {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
    for row in rows {
        let cells = row.enumerated().map { $1 + String(repeating: " ", count: widths[$0] - $1.count) }
        let line = indent + cells.joined(separator: "  ")
        print(line.prefix(through: line.lastIndex { $0 != " " } ?? line.startIndex))
    }
}
