// martlet topics: create, list, describe, delete, add-partitions, delete-records, configs.

import ArgumentParser
import MartletClient
import Model

struct Topics: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Create, list, describe, change and delete topics.",
        subcommands: [
            CreateTopic.self, ListTopics.self, DescribeTopics.self, DeleteTopics.self, AddPartitions.self,
            DeleteRecords.self, TopicConfigs.self,
        ])
}

/// `key=value` as a pair.
func configPair(_ text: String) throws -> (name: String, value: String) {
    let halves = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard halves.count == 2, !halves[0].isEmpty else {
        throw ValidationError("'\(text)' is no config: write key=value")
    }
    return (String(halves[0]), String(halves[1]))
}

struct CreateTopic: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Create a topic.",
        discussion: "Example: martlet topics create orders --partitions 6 --replication-factor 3")

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The name: letters, digits, '.', '_' and '-'.") var topic: String
    @Option(help: "How many partitions. Default: the cluster's num.partitions.") var partitions: Int32?
    @Option(help: "Copies of each partition. Default: the cluster's default.replication.factor.")
    var replicationFactor: Int16?
    @Option(
        name: .customLong("config"), parsing: .singleValue,
        help: "A topic config, as key=value; may be given more than once.")
    var configs: [String] = []
    @Flag(help: "A topic of this name that is there already is no failure; it stays as it is.") var ifNotExists = false

    func validate() throws {
        try checkTopicName(topic)
        if let partitions, partitions < 1 { throw ValidationError("--partitions must be at least 1") }
        if let replicationFactor, replicationFactor < 1 {
            throw ValidationError("--replication-factor must be at least 1")
        }
        _ = try configs.map(configPair)
    }

    func run() throws {
        let pairs = try configs.map(configPair)
        let request = NewTopic(
            name: topic, partitions: partitions, replicationFactor: replicationFactor,
            configs: Dictionary(pairs.map { ($0.name, $0.value) }, uniquingKeysWith: { _, last in last }))
        let (output, ifNotExists) = (output, ifNotExists)
        try client.run { cluster in
            var made: CreatedTopic?
            do {
                made = try await cluster.createTopic(request)
            } catch let error as ClientError where error.isTopicAlreadyThere {
                guard ifNotExists else {
                    throw CommandFailure(
                        "topic \(request.name) exists already: martlet topics describe \(request.name), "
                            + "or --if-not-exists to leave it as it is")
                }
            }
            var size = ""
            if let partitions = made?.partitions, let factor = made?.replicationFactor {
                size = ": partitions \(partitions), replication factor \(factor)"
            }
            let document = Json.object([
                "topic": request.name.json, "created": (made != nil).json,
                "partitions": (made?.partitions).json, "replicationFactor": (made?.replicationFactor).json,
            ])
            let sentence = made == nil ? "topic \(request.name) exists already" : "created topic \(request.name)\(size)"
            try output.show(document) { $0.line("\(sentence)") }
        }
    }
}

struct DeleteTopics: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete topics and all their records.",
        discussion: "Example: martlet topics delete orders payments")

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "Topics.") var topics: [String]
    @Flag(help: "A topic that is not there is no failure.") var ifExists = false

    func validate() throws { try topics.forEach(checkTopicName) }

    func run() throws {
        let (names, output, ifExists) = (topics, output, ifExists)
        try client.run { cluster in
            var deleted: [String] = []
            var absent: [String] = []
            var failure: String?
            for name in names {
                do {
                    try await cluster.deleteTopic(name)
                    deleted.append(name)
                    if !output.json { try StandardOutput.write("deleted topic \(name)\n") }
                } catch let error as ClientError where error.isTopicAbsent {
                    absent.append(name)
                    if ifExists {
                        if !output.json { try StandardOutput.write("there is no topic \(name)\n") }
                        continue
                    }
                    failure = "there is no topic \(name): martlet topics list, or --if-exists"
                } catch let error as ClientError {
                    failure = error.sentence
                }
                if failure != nil { break }
            }
            // What was done before the failure is done, and said.
            if output.json {
                try output.show(
                    .object(["deleted": deleted.json, "absent": absent.json, "error": failure.json])
                ) { _ in }
            }
            if let failure { throw CommandFailure(failure) }
        }
    }
}

struct AddPartitions: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add-partitions", abstract: "Give a topic more partitions.",
        discussion: """
            Example: martlet topics add-partitions orders --add 6
            Records with a key may go to another partition from then on than those before.
            """)

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The topic.") var topic: String
    @Option(help: "How many more.") var add: Int32?
    @Option(help: "How many it shall have in all.") var total: Int32?

    func validate() throws {
        guard (add == nil) != (total == nil) else { throw ValidationError("say either --add or --total") }
        if let add, add < 1 { throw ValidationError("--add must be at least 1") }
        if let total, total < 2 { throw ValidationError("--total must be at least 2") }
        try checkTopicName(topic)
    }

    func run() throws {
        let command = self
        try client.run { cluster in
            let name = command.topic
            let before = try await cluster.describeTopic(name).partitions.count
            guard let total = command.total ?? Int32(exactly: before + Int(command.add ?? 0)) else {
                throw CommandFailure(
                    "topic \(name) has \(counted(before, "partition")): no topic can have "
                        + "\(counted(Int(command.add ?? 0), "more", "more"))")
            }
            guard total > before else {
                throw CommandFailure(
                    "topic \(name) has \(counted(before, "partition")) already: it can only get more than that")
            }
            try await cluster.createPartitions(of: name, total: total)
            let document = Json.object(["topic": name.json, "before": before.json, "partitions": total.json])
            try command.output.show(document) {
                $0.line("topic \(name) has \(counted(Int(total), "partition")) now, before \(before)")
            }
        }
    }
}

extension ClientError {
    var isTopicAlreadyThere: Bool {
        if case .refused(_, let code, _) = self { code == .topicAlreadyExists } else { false }
    }

    var isTopicAbsent: Bool {
        switch self {
        case .noSuchTopic: true
        default: false
        }
    }
}
