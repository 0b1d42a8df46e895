// martlet produce TOPIC: each line of standard input or of a file becomes a record.

import ArgumentParser
import MartletClient
import Model
import NIOCore
import Synchronization

struct Produce: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write lines to a topic, each as a record.",
        discussion: "Example: seq 1000 | martlet produce orders\nTyped lines go out at once; Ctrl-D ends.")

    @OptionGroup var client: ClientOptions
    @Argument var topic: String
    @Option(help: "Read this file instead of standard input.") var file: String?
    @Option(help: "Text between key and value in a line; without it records have no key.") var keySeparator: String?
    @Option(name: [.customLong("header"), .customShort("H")], help: "A header for every record, as name=value.")
    var headers: [String] = []
    @Option(help: "Who must have a record: all (fsynced in sync), 1 (the leader), 0 (nobody answers).")
    var acks: Acks = .all
    @Option(help: "none, gzip, snappy, lz4 or zstd.") var compression: Codec = .none
    @Option(help: "The partition; else by the partitioner.") var partition: Int32?
    @Option(help: "How keys choose partitions: murmur2 (Java), consistent-random or consistent (librdkafka).")
    var partitioner: PartitionerName = .murmur2
    @Option(help: "At most this many records a second.") var rate: Double?
    @Flag(help: "A line with a key and nothing behind it deletes the key: its value is null.") var tombstones = false
    @Flag(name: .shortAndLong, help: "Print nothing but errors.") var quiet = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard isValidTopicName(topic) else { throw ValidationError("'\(topic)' is no topic name") }
        if keySeparator?.isEmpty == true { throw ValidationError("--key-separator must not be empty") }
        if tombstones, keySeparator == nil { throw ValidationError("--tombstones needs --key-separator") }
        if let rate, !(rate > 0) { throw ValidationError("--rate must be more than 0") }
        if let partition, partition < 0 { throw ValidationError("--partition must not be negative") }
        for header in headers where !header.contains("=") || header.hasPrefix("=") {
            throw ValidationError("'\(header)' is no header: write name=value")
        }
    }

    func run() throws {
        let input = try LineSource(path: file)
        let command = self
        Interrupt.watch()
        try client.run { cluster in
            var settings = ProducerConfiguration()
            settings.acks = command.acks.acks
            settings.compression = command.compression.compression
            settings.partitioner = command.partitioner.partitioner
            let patienceMs = Int64(max(1, command.client.patience)) * 1_000
            settings.deliveryTimeoutMs = patienceMs
            // So that one answer that never comes leaves time for another attempt.
            settings.requestTimeoutMs = min(settings.requestTimeoutMs, max(1_000, patienceMs / 3))
            let producer = Producer(cluster, configuration: settings)
            let count = try await command.write(input, to: producer)
            guard !command.quiet else { return }
            if command.output.json {
                try StandardOutput.write(
                    Json.object(["topic": command.topic.json, "records": count.json]).document + "\n")
            } else {
                printToStandardError("\(counted(count, "record")) written to \(command.topic)")
            }
        }
    }

    /// Returns how many records were acknowledged. The first one that was not ends it.
    private func write(_ input: LineSource, to producer: Producer) async throws -> Int {
        let record = RecordMaker(self)
        let deliveries = Deliveries()
        var progress = Progress(isShown: !quiet && !output.json && !input.isTerminal, totalBytes: input.sizeBytes)
        var pace = Pace(perSecond: rate)
        do {
            while deliveries.failure == nil, let lines = try await input.next(while: { deliveries.failure == nil }) {
                for line in lines {
                    if let waitMs = pace.next() { try await Task.sleep(for: .milliseconds(waitMs)) }
                    progress.add(line.readableBytes + 1)
                    progress.show(deliveries.count)
                    try await producer.submit(record(line), onDelivery: deliveries.add)
                    if deliveries.failure != nil || Interrupt.isSeen { break }
                }
            }
        } catch let error as ClientError {
            deliveries.add(.failure(error))
        }
        await producer.close()
        progress.clear()
        guard let failure = deliveries.failure else { return deliveries.count }
        throw CommandFailure("\(failure) (\(counted(deliveries.count, "record")) written before)")
    }
}

extension Produce {
    enum Acks: String, ExpressibleByArgument, CaseIterable {
        case all
        case minusOne = "-1"
        case leader = "1"
        case nobody = "0"

        var acks: ProducerConfiguration.Acks {
            switch self {
            case .all, .minusOne: .all
            case .leader: .leader
            case .nobody: .none
            }
        }
    }

    enum Codec: String, ExpressibleByArgument, CaseIterable {
        case none, gzip, snappy, lz4, zstd

        var compression: CompressionCodec {
            switch self {
            case .none: .none
            case .gzip: .gzip
            case .snappy: .snappy
            case .lz4: .lz4
            case .zstd: .zstd
            }
        }
    }

    enum PartitionerName: String, ExpressibleByArgument, CaseIterable {
        case murmur2
        case consistentRandom = "consistent-random"
        case consistent

        var partitioner: Partitioner {
            switch self {
            case .murmur2: .murmur2
            case .consistentRandom: .consistentRandom
            case .consistent: .consistent
            }
        }
    }
}

/// Makes records of lines.
private struct RecordMaker {
    private let topic: String
    private let partition: Int32?
    private let separator: [UInt8]?
    private let headers: [Header]
    private let hasTombstones: Bool

    init(_ command: Produce) {
        topic = command.topic
        partition = command.partition
        separator = command.keySeparator.map { Array($0.utf8) }
        hasTombstones = command.tombstones
        headers = command.headers.map { text in
            let halves = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return Header(name: String(halves[0]), value: ByteBuffer(substring: halves[1]))
        }
    }

    /// A line without the separator is a value without a key.
    func callAsFunction(_ line: ByteBuffer) -> ProducerRecord {
        var record = ProducerRecord(topic: topic, partition: partition, value: line, headers: headers)
        guard let separator, let range = line.readableBytesView.firstRange(of: separator) else { return record }
        record.key = line.getSlice(at: line.readerIndex, length: range.lowerBound - line.readerIndex)
        record.value = line.getSlice(at: range.upperBound, length: line.writerIndex - range.upperBound)
        if hasTombstones, record.value?.readableBytes == 0 { record.value = nil }
        return record
    }
}

/// How many records were acknowledged, and the first that was not.
private final class Deliveries: Sendable {
    private let state = Mutex<(count: Int, failure: ClientError?)>((0, nil))

    var count: Int { state.withLock { $0.count } }
    var failure: ClientError? { state.withLock { $0.failure } }

    @Sendable func add(_ result: Result<RecordMetadata, ClientError>) {
        state.withLock { state in
            switch result {
            case .success: state.count += 1
            case .failure(let error): state.failure = state.failure ?? error
            }
        }
    }
}
