// martlet topics list | describe: what topics there are, and where their partitions stand.

import ArgumentParser
import MartletClient

struct ListTopics: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List topics by name, with partitions and replication.",
        discussion: "For scripts: martlet topics list --names")

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Flag(help: "Internal topics too.") var internals = false
    @Flag(help: "Names only, one a line.") var names = false

    func run() throws {
        let command = self
        try client.run { cluster in
            let topics = try await cluster.topics().filter { command.internals || !$0.isInternal }
            try command.output.show(.array(topics.map(\.summary))) { page in
                if command.names {
                    for topic in topics { page.line("\(topic.name)") }
                } else if topics.isEmpty {
                    page.line("no topics: martlet topics create NAME")
                } else {
                    page.table(Self.table(of: topics))
                }
            }
        }
    }

    private static func table(of topics: [TopicDescription]) -> Table {
        var table = Table(.left("topic"), .right("partitions"), .right("replication"), .left(""))
        for topic in topics {
            let offline = topic.partitions.filter(\.isOffline).count
            let under = topic.partitions.filter { $0.isUnderReplicated && !$0.isOffline }.count
            let state: Cell =
                offline > 0
                ? Cell("\(offline) offline", .bad)
                : under > 0 ? Cell("\(under) under-replicated", .warning) : topic.isInternal ? "internal" : ""
            table.add(Cell(topic.name), Cell(topic.partitions.count), Cell(topic.replicationFactor), state)
        }
        return table
    }
}

struct DescribeTopics: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Show each partition's leader, leader epoch, replicas and ISR.")

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "Topics; all when none is given.") var topics: [String] = []

    func validate() throws { try topics.forEach(checkTopicName) }

    func run() throws {
        let (names, output) = (topics, output)
        try client.run { cluster in
            var topics: [TopicDescription] = []
            var failure: ClientError?
            if names.isEmpty {
                topics = try await cluster.topics()
            } else {
                do {
                    for name in names where !topics.contains(where: { $0.name == name }) {
                        topics.append(try await cluster.describeTopic(name))
                    }
                } catch let error as ClientError {
                    // Those before it are shown all the same.
                    failure = error
                }
            }
            var configs: [String: [ConfigEntry]] = [:]
            // Told where the cluster tells them; a topic may be gone in the meantime.
            if let all = try? await cluster.configs(of: topics.map { .topic($0.name) }) {
                for topic in topics { configs[topic.name] = all[.topic(topic.name)]?.filter { $0.source == .topic } }
            }
            if failure == nil || !topics.isEmpty {
                try output.show(.array(topics.map { $0.document(configs[$0.name] ?? []) })) { page in
                    if topics.isEmpty { page.line("no topics: martlet topics create NAME") }
                    for topic in topics { Self.show(topic, configs[topic.name] ?? [], on: &page) }
                }
            }
            if let failure { throw failure }
        }
    }

    private static func show(_ topic: TopicDescription, _ configs: [ConfigEntry], on page: inout Page) {
        page.pieces(
            Cell("topic \(topic.name)", .bold), Cell(topic.topicID.map { "id \($0)" } ?? ""),
            "partitions \(topic.partitions.count)", "replication \(topic.replicationFactor)")
        for config in configs { page.line("  \(config.name)=\((config.value ?? "").printable)") }
        var table = Table(
            .right("partition"), .right("leader"), .right("epoch"), .left("replicas"), .left("isr"), .left(""))
        for partition in topic.partitions {
            let state: Cell =
                partition.isOffline
                ? Cell("offline", .bad) : partition.isUnderReplicated ? Cell("under-replicated", .warning) : ""
            table.add(
                Cell(partition.index), Cell(partition.leader.map { "\($0)" } ?? "none"), Cell(partition.leaderEpoch),
                Cell(partition.replicas.list), Cell(partition.inSyncReplicas.list), state)
        }
        page.table(table, indent: "  ")
    }
}

extension [Int32] {
    var list: String { isEmpty ? "-" : map { "\($0)" }.joined(separator: ",") }
}

extension TopicDescription {
    var summary: Json {
        .object([
            "topic": name.json, "topicId": topicID.json, "internal": isInternal.json,
            "partitions": partitions.count.json, "replicationFactor": replicationFactor.json,
            "offline": partitions.filter(\.isOffline).count.json,
            "underReplicated": partitions.filter(\.isUnderReplicated).count.json,
        ])
    }

    func document(_ configs: [ConfigEntry]) -> Json {
        .object([
            "topic": name.json, "topicId": topicID.json, "internal": isInternal.json,
            "configs": .object(Dictionary(configs.map { ($0.name, $0.value.json) }, uniquingKeysWith: { $1 })),
            "partitions": .array(partitions.map(\.document)),
        ])
    }
}

extension PartitionDescription {
    var document: Json {
        .object([
            "partition": index.json, "leader": leader.json, "leaderEpoch": leaderEpoch.json,
            "replicas": replicas.json, "isr": inSyncReplicas.json, "offlineReplicas": offlineReplicas.json,
        ])
    }
}
