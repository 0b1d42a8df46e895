// martlet consume TOPIC: prints the records of a topic as they come; with --group as a member of a group.

import ArgumentParser
import MartletClient
import Model
import NIOCore

struct Consume: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the records of a topic, alone or as a member of a group.",
        discussion:
            "Example: martlet consume orders --from-beginning --count 10\n"
            + "Without --count or --until-end it waits for more; Ctrl-C ends.\n\n"
            + "With --group the members of the group share the partitions of the topics, and go on where the group has "
            + "committed; --from-beginning and --from-end are for partitions without a committed offset. What was "
            + "printed is committed. Example: martlet consume orders payments --group kitchen\n\n"
            + "A template is text with %t topic, %p partition, %o offset, %T timestamp, %k key, %s value, %h headers, "
            + "%K and %S the sizes of key and value, %% a percent sign, \\n and \\t. "
            + "Example: --template '%p:%o %k=%s\\n'\n\n"
            + "Text and templates print bytes as they are, and nothing for what is null: --json tells null from empty.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "The topic; with --group there may be several.") var topics: [String] = []
    @Option(help: "Read as a member of this group, and commit what was printed.") var group: String?
    @Option(help: "With --group: every topic whose whole name matches this regular expression, those made later too.")
    var pattern: String?
    @Option(
        help: "With --group: how to take part, classic or consumer (KIP-848). Default: consumer where it is served.")
    var groupProtocol: GroupProtocol?
    @Option(help: "With --group: the name of a static member, which gets its former partitions when it comes back.")
    var instanceId: String?
    @Option(help: "With --group and classic: seconds after which a member that died is replaced.")
    var sessionTimeout: Int?
    @Flag(help: "Start at the oldest record.") var fromBeginning = false
    @Flag(help: "Start with what is written from now on (the default).") var fromEnd = false
    @Option(help: "Start at this offset in every partition that is read.") var offset: Int64?
    @Option(help: "Start with records that are at most this old: 30s, 10m, 2h, 1d.") var since: Age?
    @Option(help: "Read this partition only.") var partition: Int32?
    @Option(help: "End after this many records.") var count: Int?
    @Flag(help: "End at the last record that is there when the command starts.") var untilEnd = false
    @Option(help: "text, json (one object a line) or template.") var format: RecordFormat.Name?
    @Option(help: "How a record is printed; implies --format template.") var template: String?
    @Flag(help: "Print keys before values.") var key = false
    @Option(help: "Print keys, with this text between key and value (\\t is a tab).") var keySeparator: String?
    @Flag(help: "Print headers before keys and values.") var headers = false
    @Flag(help: "Print partition and offset before each record.") var showOffsets = false
    @Flag(help: "Leave out records of open and aborted transactions.") var readCommitted = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard topics.isEmpty == (pattern != nil) else {
            throw ValidationError(pattern == nil ? "name a topic" : "--pattern and names of topics exclude each other")
        }
        try topics.forEach(checkTopicName)
        if group == nil, topics.count > 1 { throw ValidationError("several topics need --group") }
        try validateGroup()
        if let count, count < 1 { throw ValidationError("--count must be at least 1") }
        if let offset, offset < 0 { throw ValidationError("--offset must not be negative") }
        if let partition, partition < 0 { throw ValidationError("--partition must not be negative") }
        let starts = [fromBeginning, fromEnd, offset != nil, since != nil].count { $0 }
        if starts > 1 {
            throw ValidationError("--from-beginning, --from-end, --offset and --since exclude each other")
        }
        if output.json, template != nil || format.map({ $0 != .json }) ?? false {
            throw ValidationError("--json and another format exclude each other")
        }
        if format == .template, template == nil { throw ValidationError("--format template needs --template") }
        if let format, format != .template, template != nil {
            throw ValidationError("--template and --format \(format.rawValue) exclude each other")
        }
    }

    private func validateGroup() throws {
        guard group != nil else {
            guard groupProtocol == nil, instanceId == nil, sessionTimeout == nil, pattern == nil else {
                throw ValidationError("--pattern, --group-protocol, --instance-id and --session-timeout need --group")
            }
            return
        }
        if group?.isEmpty == true { throw ValidationError("--group must not be empty") }
        if offset != nil || since != nil || partition != nil || untilEnd {
            throw ValidationError(
                "--offset, --since, --partition and --until-end exclude --group: martlet groups reset-offsets sets "
                    + "where a group goes on")
        }
        if let sessionTimeout, sessionTimeout < 1 { throw ValidationError("--session-timeout must be at least 1") }
        if sessionTimeout != nil, groupProtocol != .classic {
            throw ValidationError("--session-timeout needs --group-protocol classic: else the cluster sets it")
        }
    }

    private var topic: String { topics[0] }

    func run() throws {
        let command = self
        Interrupt.watch()
        if let group { return try client.run { try await command.consume(as: group, $0) } }
        try client.run { cluster in
            var settings = ConsumerConfiguration()
            settings.patienceMs = Int64(command.client.patience) * 1_000
            settings.isolation = command.readCommitted ? .readCommitted : .readUncommitted
            let consumer = Consumer(cluster, configuration: settings)
            if let partition = command.partition {
                try await consumer.assign(TopicPartition(command.topic, partition), from: command.start)
            } else {
                try await consumer.assign(topic: command.topic, from: command.start)
            }
            let ends = command.untilEnd ? try await command.ends(of: consumer.assignment, cluster) : nil
            if let offset = command.offset, let beyond = ends?.filter({ $0.value < offset }).keys.min() {
                throw ClientError.positionOutOfRange(
                    topic: beyond.topic, beyond.partition, position: offset)
            }
            try await command.printRecords(of: consumer, until: ends)
        }
    }

    private var start: StartPosition {
        if fromBeginning { return .earliest }
        if let offset { return .offset(offset) }
        if let since { return .timestamp(max(0, wallClockMs() - since.ms)) }
        return .latest
    }

    private func ends(
        of partitions: [MartletClient.TopicPartition], _ cluster: ClusterClient
    ) async throws -> [MartletClient.TopicPartition: Int64] {
        let found = try await cluster.offsets(of: topic, at: .latest, partitions: partitions.map(\.partition))
        return Dictionary(
            found.map { (TopicPartition(topic, $0.partition), $0.offset ?? 0) }, uniquingKeysWith: { first, _ in first }
        )
    }

    private func printRecords(
        of consumer: Consumer, until ends: [MartletClient.TopicPartition: Int64]?
    ) async throws {
        let format = RecordFormat(self)
        var printed = 0
        while !Interrupt.isSeen {
            if let ends, ends.allSatisfy({ consumer.position(of: $0.key) ?? -1 >= $0.value }) { return }
            let records = try await consumer.nextBatch(countMax: (count ?? .max) - printed, waitMs: 100)
            var output = ByteBuffer()
            for record in records {
                // What came after the look at the ends is left for the next reader.
                if let ends, record.offset >= ends[TopicPartition(topic, record.partition)] ?? 0 { continue }
                format.write(record, into: &output)
                printed += 1
            }
            try writeToStandardOutput(output)
            guard !isStandardOutputClosed() else { throw OutputClosed() }
            if printed >= count ?? .max { return }
        }
        printToStandardError("\(counted(printed, "record")) read")
    }
}

/// A span of time as people write it: 500ms, 30s, 10m, 2h, 1d.
struct Age: ExpressibleByArgument {
    let ms: Int64

    init?(argument: String) {
        let units: [(String, Int64)] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
        guard let (unit, factor) = units.first(where: { argument.hasSuffix($0.0) }),
            let number = Double(argument.dropLast(unit.count)), number >= 0, number * Double(factor) < 1e15
        else { return nil }
        ms = Int64(number * Double(factor))
    }
}
