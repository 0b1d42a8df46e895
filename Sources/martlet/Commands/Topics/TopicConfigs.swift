// martlet topics configs TOPIC: all its configs with where each comes from, or a change of some.

import ArgumentParser
import MartletClient

struct TopicConfigs: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "configs", abstract: "Show a topic's configs and where they come from, or change them.",
        discussion: """
            Example: martlet topics configs orders --set min.insync.replicas=2 --unset retention.ms
            The changes of one call are made all together or not at all.
            """)

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The topic.") var topic: String
    @Option(name: .customLong("set"), parsing: .singleValue, help: "key=value; may be given more than once.")
    var sets: [String] = []
    @Option(
        name: .customLong("unset"), parsing: .singleValue,
        help: "A key that goes back to its default; may be given more than once.")
    var unsets: [String] = []
    @Flag(help: "Show only what is set on the topic itself.") var own = false

    func validate() throws {
        try checkTopicName(topic)
        let keys = try sets.map { try configPair($0).name } + unsets
        guard Set(keys).count == keys.count else { throw ValidationError("a key is named twice: change it once") }
    }

    func run() throws {
        let command = self
        let pairs = try sets.map(configPair)
        try client.run { cluster in
            if pairs.isEmpty, command.unsets.isEmpty { return try await command.show(cluster) }
            let changes: [ConfigChange] =
                pairs.map { .set($0.name, to: $0.value) } + command.unsets.map { .delete($0) }
            try await cluster.alterConfigs(of: .topic(command.topic), changes)
            let document = Json.object([
                "topic": command.topic.json, "unset": command.unsets.json,
                "set": .object(Dictionary(pairs.map { ($0.name, $0.value.json) }, uniquingKeysWith: { $1 })),
            ])
            try command.output.show(document) { page in
                for pair in pairs { page.line("topic \(command.topic): \(pair.name)=\(pair.value.printable)") }
                for key in command.unsets { page.line("topic \(command.topic): \(key) has its default again") }
            }
        }
    }

    private func show(_ cluster: ClusterClient) async throws {
        let all = try await cluster.configs(of: .topic(topic))
        let entries = own ? all.filter { $0.source == .topic } : all
        let document = Json.object([
            "topic": topic.json,
            "configs": .array(
                entries.map { entry in
                    .object([
                        "name": entry.name.json, "value": entry.value.json, "source": entry.source.description.json,
                        "readOnly": entry.isReadOnly.json, "sensitive": entry.isSensitive.json,
                    ])
                }),
        ])
        try output.show(document) { page in
            guard !entries.isEmpty else { return page.line("topic \(topic) has no configs of its own") }
            var table = Table(.left("config"), .left("source"), .left("value"))
            for entry in entries {
                let style: Style = entry.source == .topic ? .bold : .plain
                let value = entry.isSensitive ? "(secret)" : (entry.value ?? "").printable
                table.add(Cell(entry.name, style), Cell(entry.source.description), Cell(value, style))
            }
            page.table(table)
        }
    }
}
