// martlet groups reset-offsets GROUP: sets where a group goes on reading; first it only says what it would do.

import ArgumentParser
import MartletClient

struct ResetOffsets: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset-offsets", abstract: "Set where a group without members goes on reading.",
        discussion: """
            Examples: martlet groups reset-offsets kitchen --topic orders --to-earliest
                      martlet groups reset-offsets kitchen --topic orders:0,3 --shift-by -100 --execute
                      martlet groups reset-offsets kitchen --all-topics --to-datetime 2026-11-22T08:00:00Z --execute
            Without --execute nothing is changed: it prints what would be.
            """)

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The group.") var group: String
    @Option(
        name: .customLong("topic"), parsing: .singleValue,
        help: "A topic, or some partitions of it as orders:0,3; may be given more than once.")
    var topics: [TopicSelection] = []
    @Flag(help: "Every partition that the group has committed an offset of.") var allTopics = false
    @Flag(help: "To the oldest record there is.") var toEarliest = false
    @Flag(help: "To the end: what is there now is not read.") var toLatest = false
    @Option(help: "To this offset; an offset that the log does not hold becomes its begin or end.") var toOffset: Int64?
    @Option(help: "To the first record from this time on: 2026-11-22, 2026-11-22T08:30:00Z, or with +01:00.")
    var toDatetime: Moment?
    @Option(parsing: .unconditional, help: "By so many records, forward or, when negative, back.") var shiftBy: Int64?
    @Flag(help: "Do it.") var execute = false

    private enum Goal {
        case spec(OffsetSpec)
        case offset(Int64)
        case shift(Int64)
    }

    private var goals: [Goal] {
        var goals: [Goal] = []
        if toEarliest { goals.append(.spec(.earliest)) }
        if toLatest { goals.append(.spec(.latest)) }
        if let toOffset { goals.append(.offset(toOffset)) }
        if let toDatetime { goals.append(.spec(.timestamp(ms: toDatetime.ms))) }
        if let shiftBy { goals.append(.shift(shiftBy)) }
        return goals
    }

    func validate() throws {
        guard goals.count == 1 else {
            throw ValidationError("say one of --to-earliest, --to-latest, --to-offset, --to-datetime and --shift-by")
        }
        guard topics.isEmpty == allTopics else { throw ValidationError("say either --topic or --all-topics") }
        if let toOffset, toOffset < 0 { throw ValidationError("--to-offset must not be negative") }
        try topics.forEach { try checkTopicName($0.topic) }
    }

    private struct Change: Sendable {
        var partition: MartletClient.TopicPartition
        var committed: Int64?
        /// Nil: it cannot be said.
        var offset: Int64?
        var note = ""
    }

    func run() throws {
        let command = self
        try client.run { cluster in
            let committed = try await cluster.committedOffsets(of: command.group)
            let members = try await Self.members(of: command.group, cluster)
            let partitions = try await command.partitions(committed, cluster)
            guard !partitions.isEmpty else {
                throw CommandFailure(
                    "group \(command.group.printable) has no committed offsets: name topics with --topic")
            }
            let changes = try await command.changes(partitions, committed, cluster)
            let offsets = changes.compactMap { change in
                change.offset.map { (change.partition, OffsetAndMetadata($0)) }
            }
            let isExecuted = command.execute && !offsets.isEmpty
            if isExecuted {
                guard members == 0 else { throw CommandFailure(command.isInUse(members)) }
                do {
                    try await cluster.setOffsets(
                        of: command.group, Dictionary(offsets, uniquingKeysWith: { $1 }))
                } catch let error as ClientError where error.refusal == .nonEmptyGroup {
                    throw CommandFailure(command.isInUse(1))
                }
            }
            try command.show(changes, members: members, isExecuted: isExecuted)
            if command.execute, !isExecuted {
                throw CommandFailure("nothing was changed: there is no partition whose offset could be set")
            }
            guard !command.execute, !command.output.json else { return }
            printToStandardError(
                members > 0
                    ? "nothing was changed, and \(command.isInUse(members)); then --execute does it"
                    : "nothing was changed: --execute does it")
        }
    }

    private func isInUse(_ members: Int) -> String {
        "group \(group.printable) has \(members == 1 ? "a member" : "\(members) members"): stop "
            + "\(members == 1 ? "it" : "them") first (martlet groups describe)"
    }

    private static func members(of group: String, _ cluster: ClusterClient) async throws -> Int {
        do {
            return try await cluster.describeGroup(group).members.count
        } catch let error as ClientError where error.refusal == .groupIdNotFound {
            // Setting offsets makes it.
            return 0
        }
    }

    private func partitions(
        _ committed: [MartletClient.TopicPartition: OffsetAndMetadata], _ cluster: ClusterClient
    ) async throws -> [MartletClient.TopicPartition] {
        if allTopics { return committed.keys.sorted() }
        var found: Set<MartletClient.TopicPartition> = []
        for selection in topics {
            let there = try await cluster.describeTopic(selection.topic).partitions.map(\.index)
            for partition in selection.partitions ?? there {
                guard there.contains(partition) else {
                    throw ClientError.noSuchPartition(topic: selection.topic, partition, count: there.count)
                }
                found.insert(TopicPartition(selection.topic, partition))
            }
        }
        return found.sorted()
    }

    private func changes(
        _ partitions: [MartletClient.TopicPartition],
        _ committed: [MartletClient.TopicPartition: OffsetAndMetadata], _ cluster: ClusterClient
    ) async throws -> [Change] {
        var changes: [Change] = []
        for (topic, group) in Dictionary(grouping: partitions, by: \.topic).sorted(by: { $0.key < $1.key }) {
            do {
                // A topic that was made anew may have fewer partitions. Of those that were named each is there.
                let there =
                    allTopics
                    ? Set(try await cluster.describeTopic(topic).partitions.map(\.index)) : Set(group.map(\.partition))
                let indexes = group.map(\.partition).filter { there.contains($0) }
                let begins = try await Self.offsets(topic, indexes, .earliest, cluster)
                let ends = try await Self.offsets(topic, indexes, .latest, cluster)
                let found: [Int32: Int64]
                switch goals.first {
                // What is written meanwhile shall make no difference.
                case .spec(.earliest): found = begins
                case .spec(.latest): found = ends
                case .spec(let spec): found = try await Self.offsets(topic, indexes, spec, cluster)
                case .offset, .shift, nil: found = [:]
                }
                for partition in group {
                    let index = partition.partition
                    var change = Change(partition: partition, committed: committed[partition]?.offset)
                    if there.contains(index) {
                        choose(&change, found[index], begins[index] ?? 0, ends[index] ?? 0)
                    } else {
                        change.note = "there is no such partition any more"
                    }
                    changes.append(change)
                }
            } catch let error as ClientError where error.isTopicAbsent && allTopics {
                changes += group.map {
                    Change(partition: $0, committed: committed[$0]?.offset, note: "there is no such topic any more")
                }
            }
        }
        return changes
    }

    private static func offsets(
        _ topic: String, _ partitions: [Int32], _ spec: OffsetSpec, _ cluster: ClusterClient
    ) async throws -> [Int32: Int64] {
        let found = try await cluster.offsets(of: topic, at: spec, partitions: partitions)
        return Dictionary(
            found.compactMap { one in one.offset.map { (one.partition, $0) } }, uniquingKeysWith: { $1 })
    }

    private func choose(_ change: inout Change, _ found: Int64?, _ begin: Int64, _ end: Int64) {
        let wanted: Int64
        switch goals.first {
        case .offset(let offset): wanted = offset
        case .shift(let count):
            guard let committed = change.committed else {
                change.note = "nothing is committed that could be shifted"
                return
            }
            let (sum, overflow) = committed.addingReportingOverflow(count)
            wanted = overflow ? (count > 0 ? end : begin) : sum
        case .spec, nil:
            if found == nil { change.note = "no record is that young: the end" }
            wanted = found ?? end
        }
        change.offset = max(begin, min(wanted, end))
        if wanted > end { change.note = "\(wanted) lies behind the end" }
        if wanted < begin { change.note = "\(wanted) lies before the begin" }
    }

    private func show(_ changes: [Change], members: Int, isExecuted: Bool) throws {
        let document = Json.object([
            "group": group.json, "executed": isExecuted.json, "members": members.json,
            "partitions": .array(
                changes.map { change in
                    .object([
                        "topic": change.partition.topic.json, "partition": change.partition.partition.json,
                        "before": change.committed.json, "offset": change.offset.json, "note": change.note.json,
                    ])
                }),
        ])
        try output.show(document) { page in
            var table = Table(
                .left("topic"), .right("partition"), .right("before"), .right(isExecuted ? "now" : "new"), .left(""))
            for change in changes {
                table.add(
                    Cell(change.partition.topic), Cell(change.partition.partition), Cell(change.committed),
                    Cell(change.offset, change.offset == change.committed ? .plain : .bold), Cell(change.note))
            }
            page.table(table)
        }
    }
}

/// `orders`, or `orders:0,3`.
struct TopicSelection: ExpressibleByArgument, Sendable {
    let topic: String
    /// Nil: all.
    let partitions: [Int32]?

    init?(argument: String) {
        let halves = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        topic = String(halves[0])
        guard halves.count == 2 else {
            partitions = nil
            return
        }
        let numbers = halves[1].split(separator: ",", omittingEmptySubsequences: false).map { Int32($0) }
        guard numbers.allSatisfy({ $0 ?? -1 >= 0 }) else { return nil }
        partitions = numbers.compactMap { $0 }
    }
}
