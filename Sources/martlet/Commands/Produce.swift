// martlet produce TOPIC: each line of stdin becomes a record.

import ArgumentParser
import MartletClient
import Glibc
import Model
import NIOCore
import Records

struct Produce: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write lines of standard input to a topic.",
        discussion: "Example: seq 1000 | martlet produce orders\nTyped lines go out at once; Ctrl-D ends.")

    @OptionGroup var client: ClientOptions
    @Argument var topic: String
    @Option(help: "Text between key and value in a line; without it records have no key.") var keySeparator: String?
    @Option(help: "Who must have a record: all (fsynced in sync), 1 (the leader), 0 (nobody answers).")
    var acks: Acks = .all
    @Option(help: "none, gzip, snappy, lz4 or zstd.") var compression: Codec = .none
    @Option(help: "The partition; else by key, or in turn.") var partition: PartitionIndex?
    @Flag(name: .shortAndLong, help: "Do not print the count at the end.") var quiet = false

    enum Acks: String, ExpressibleByArgument {
        case all
        case minusOne = "-1"
        case leader = "1"
        case nobody = "0"

        var number: Int16 {
            switch self {
            case .all, .minusOne: -1
            case .leader: 1
            case .nobody: 0
            }
        }
    }

    enum Codec: String, ExpressibleByArgument {
        case none, gzip, snappy, lz4, zstd

        var compression: Compression {
            switch self {
            case .none: .none
            case .gzip: .gzip
            case .snappy: .snappy
            case .lz4: .lz4
            case .zstd: .zstd
            }
        }
    }

    func validate() throws {
        guard isValidTopicName(topic) else { throw ValidationError("'\(topic)' is no topic name") }
        if keySeparator?.isEmpty == true { throw ValidationError("--key-separator must not be empty") }
    }

    func run() throws {
        var settings = Producer.Settings()
        settings.acks = acks.number
        settings.compression = compression.compression
        settings.partition = partition
        let (topic, separator, quiet, chosen) = (topic, keySeparator.map { Array($0.utf8) }, quiet, settings)
        try client.run { cluster in
            var producer = Producer(client: cluster, topic: topic, settings: chosen)
            var lines = LineReader()
            var count = 0
            while let batch = lines.next() {
                let nowMs = wallClockMs()
                try await producer.send(batch.map { Self.record($0, separator: separator, timestampMs: nowMs) })
                count += batch.count
            }
            if !quiet { printToStandardError("\(count) \(count == 1 ? "record" : "records") written to \(topic)") }
        }
    }

    /// A line without the separator is a value without a key.
    static func record(_ line: ByteBuffer, separator: [UInt8]?, timestampMs: Int64) -> ProducedRecord {
        guard let separator, let range = line.readableBytesView.firstRange(of: separator) else {
            return ProducedRecord(value: line, timestampMs: timestampMs)
        }
        let key = line.getSlice(at: line.readerIndex, length: range.lowerBound - line.readerIndex)
        let value = line.getSlice(at: range.upperBound, length: line.writerIndex - range.upperBound)
        return ProducedRecord(key: key, value: value, timestampMs: timestampMs)
    }
}

/// Milliseconds since 1970.
func wallClockMs() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
}
