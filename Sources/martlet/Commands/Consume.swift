// martlet consume TOPIC: prints the records of a topic as they come.

import ArgumentParser
import MartletClient
import Model
import NIOCore

struct Consume: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the records of a topic.",
        discussion:
            "Example: martlet consume orders --from-beginning --count 10\n"
            + "Without --count it waits for more; Ctrl-C ends."
    )

    @OptionGroup var client: ClientOptions
    @Argument var topic: String
    @Flag(help: "Start at the oldest record instead of at what comes next.") var fromBeginning = false
    @Option(help: "End after this many records.") var count: Int?
    @Option(help: "Read this partition only.") var partition: PartitionIndex?
    @Option(help: "Start at this offset in every partition that is read.") var offset: Offset?
    @Option(help: "Print keys too, with this text between key and value.") var keySeparator: String?
    @Flag(help: "Print partition and offset before each record.") var showOffsets = false

    func validate() throws {
        if let count, count < 1 { throw ValidationError("--count must be at least 1") }
        if let offset, offset < 0 { throw ValidationError("--offset must not be negative") }
        if fromBeginning, offset != nil { throw ValidationError("--from-beginning and --offset exclude each other") }
    }

    func run() throws {
        let start: StartPosition = fromBeginning ? .earliest : offset.map(StartPosition.offset) ?? .latest
        let command = self
        Interrupt.watch()
        try client.run { cluster in
            var consumer = try await Consumer(
                client: cluster, topic: command.topic, partition: command.partition, from: start)
            var printed = 0
            while !Interrupt.isSeen {
                let wanted = (command.count ?? .max) - printed
                let records = try await consumer.poll().prefix(wanted)
                var output = ByteBuffer()
                for record in records { command.show(record, into: &output) }
                printed += records.count
                guard writeToStandardOutput(output), printed < command.count ?? .max else { return }
            }
        }
    }

    private func show(_ consumed: ConsumedRecord, into output: inout ByteBuffer) {
        if showOffsets { output.writeString("\(consumed.partition):\(consumed.record.offset)\t") }
        if let keySeparator {
            if let key = consumed.record.key { output.writeImmutableBuffer(key) }
            output.writeString(keySeparator)
        }
        if let value = consumed.record.value { output.writeImmutableBuffer(value) }
        output.writeInteger(UInt8(ascii: "\n"))
    }
}
