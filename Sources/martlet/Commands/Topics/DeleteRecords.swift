// martlet topics delete-records TOPIC: takes the oldest records from partitions.

import ArgumentParser
import MartletClient

struct DeleteRecords: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete-records", abstract: "Delete the oldest records of a topic's partitions.",
        discussion: """
            Examples: martlet topics delete-records orders --partition 2 --before 1000
                      martlet topics delete-records orders --before end
            Returns when the records are gone from every in-sync replica. They cannot be brought back.
            """)

    @OptionGroup var client: ClientOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The topic.") var topic: String
    @Option(
        name: .customLong("partition"), parsing: .singleValue,
        help: "A partition; may be given more than once. Default: all, and then --before must be end.")
    var partitions: [Int32] = []
    @Option(help: "Records below this offset go; end: all there are now.") var before: String

    private var bound: DeletionSpec? {
        before == "end" ? .end : Int64(before).flatMap { $0 >= 0 ? .offset($0) : nil }
    }

    func validate() throws {
        guard let bound else { throw ValidationError("--before takes an offset from 0 on, or end") }
        if partitions.contains(where: { $0 < 0 }) { throw ValidationError("--partition must be at least 0") }
        if partitions.isEmpty, bound != .end {
            throw ValidationError("an offset means another record in each partition: name one with --partition")
        }
    }

    func run() throws {
        let command = self
        try client.run { cluster in
            guard let bound = command.bound else { return }
            var asked = command.partitions
            if asked.isEmpty { asked = try await cluster.describeTopic(command.topic).partitions.map(\.index) }
            let bounds = Dictionary(asked.map { ($0, bound) }, uniquingKeysWith: { first, _ in first })
            let deleted = try await cluster.deleteRecords(of: command.topic, before: bounds)
            let document = Json.object([
                "topic": command.topic.json,
                "partitions": .array(
                    deleted.map { .object(["partition": $0.partition.json, "lowWatermark": $0.lowWatermark.json]) }),
            ])
            try command.output.show(document) { page in
                for entry in deleted {
                    page.line("\(command.topic)-\(entry.partition) begins at offset \(entry.lowWatermark) now")
                }
            }
        }
    }
}
