// martlet produce TOPIC: each line of standard input or of a file becomes a record.

import ArgumentParser
import MartletClient
import Model
import NIOConcurrencyHelpers
import NIOCore

struct Produce: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write lines to a topic, each as a record.",
        discussion:
            "Example: seq 1000 | martlet produce orders\n"
            + "Typed lines go out at once; Ctrl-D ends. A record is a line as it is, without its \\n: of a file with "
            + "lines that end with \\r\\n, each record ends with \\r.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "The topic.") var topic: String
    @Option(help: "Read this file instead of standard input.", completion: .file()) var file: String?
    @Option(help: "Text between key and value in a line (\\t is a tab); without it records have no key.")
    var keySeparator: String?
    @Option(name: [.customLong("header"), .customShort("H")], help: "A header for every record, as name=value.")
    var headers: [String] = []
    @Option(help: "Who must have a record: all (fsynced in sync), 1 (the leader), 0 (nobody answers).")
    var acks: Acks = .all
    @Option(help: "none, gzip, snappy, lz4 or zstd.") var compression: Codec = .none
    @Option(help: "The partition; else by the partitioner.") var partition: Int32?
    @Option(help: "How keys choose partitions: murmur2 (Java), consistent-random or consistent (librdkafka).")
    var partitioner: PartitionerName = .murmur2
    @Option(help: "At most this many records a second.") var rate: Double?
    @Option(help: "The largest record, with key and headers. The topic's max.message.bytes must allow it, too.")
    var maxRecordBytes: Int?
    @Flag(help: "A line with a key and nothing behind it deletes the key: its value is null.") var tombstones = false
    @Flag(name: .shortAndLong, help: "Print nothing but errors.") var quiet = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        try checkTopicName(topic)
        if let maxRecordBytes, !(1...LineSource.lineBytesMax).contains(maxRecordBytes) {
            throw ValidationError("--max-record-bytes must be 1 to \(LineSource.lineBytesMax)")
        }
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
        try client.run(newTopicPatienceMs: 2_000) { cluster in
            var settings = ProducerConfiguration()
            settings.acks = command.acks.acks
            settings.compression = command.compression.compression
            settings.partitioner = command.partitioner.partitioner
            let patienceMs = Int64(max(1, command.client.patience)) * 1_000
            settings.deliveryTimeoutMs = patienceMs
            // So that one answer that never comes leaves time for another attempt.
            settings.requestTimeoutMs = min(settings.requestTimeoutMs, max(1_000, patienceMs / 3))
            if let bytes = command.maxRecordBytes {
                settings.recordBytesMax = bytes
                // Room for a batch around it, and a request around that.
                settings.requestBytesMax = max(settings.requestBytesMax, bytes + 65_536)
                settings.bufferBytesMax = max(settings.bufferBytesMax, bytes)
            }
            let producer = Producer(cluster, configuration: settings)
            let count = try await command.write(input, to: producer, of: cluster)
            guard !command.quiet else { return }
            if command.output.json {
                try StandardOutput.write(
                    Json.object(["topic": command.topic.json, "records": count.json]).document + "\n")
            } else {
                // With acks=0 nobody says what became of them.
                let verb = command.acks == .nobody ? "sent" : "written"
                printToStandardError("\(counted(count, "record")) \(verb) to \(command.topic)")
            }
        }
    }

    /// Returns how many records were acknowledged. The first one that was not ends it.
    private func write(_ input: LineSource, to producer: Producer, of cluster: ClusterClient) async throws -> Int {
        let record = RecordMaker(self)
        let deliveries = Deliveries()
        Interrupt.account { deliveries.account }
        var progress = Progress(isShown: !quiet && !output.json && !input.isTerminal, totalBytes: input.sizeBytes)
        var pace = Pace(perSecond: rate)
        var keyedCount = 0
        do {
            while deliveries.failure == nil, let lines = try await input.next(while: { deliveries.failure == nil }) {
                deliveries.read(lines.count)
                for line in lines {
                    if let waitMs = pace.next() { try await Task.sleep(for: .milliseconds(waitMs)) }
                    progress.add(line.readableBytes + 1)
                    progress.show(deliveries.count)
                    let made = record(line)
                    if made.key != nil { keyedCount += 1 }
                    try await producer.submit(made, onDelivery: deliveries.add)
                    deliveries.submitted()
                    if deliveries.failure != nil || Interrupt.isSeen { break }
                }
            }
        } catch let error as ClientError {
            deliveries.refused(error)
        }
        let hasEnded = await Interrupt.close(producer)
        progress.clear()
        guard hasEnded else { throw CommandFailure(Interrupt.lastWords) }
        if let failure = deliveries.failure {
            let reason = await silence(behind: failure, cluster)
            throw CommandFailure(
                "\(sentence(for: failure, line: deliveries.refusedLine))\(reason) "
                    + "(\(counted(deliveries.count, "record")) written before)")
        }
        if let keySeparator, keyedCount == 0, deliveries.count > 0, !quiet {
            printToStandardError("no line had the key separator '\(keySeparator)': no record has a key")
        }
        return deliveries.count
    }

    /// A record that was not acknowledged in time does not say why: the nodes that do not answer do.
    private func silence(behind failure: ClientError, _ cluster: ClusterClient) async -> String {
        guard case .deliveryTimedOut = failure else { return "" }
        return await SilentNode.find(cluster, bootstrap: []).list
    }

    /// `line`: of the input, counted from 1, where the record was not taken in at all.
    private func sentence(for error: ClientError, line: Int?) -> String {
        let place = line.map { "line \($0): " } ?? ""
        switch error {
        case .recordTooLarge(let size, let limit):
            return place + "a record of \(size) bytes is larger than the \(limit) bytes that are allowed here: "
                + "--max-record-bytes \(size) allows it, and the topic's max.message.bytes must, too"
        case .refused(_, .messageTooLarge, _):
            return "\(error.sentence): martlet topics configs \(topic) --set max.message.bytes=BYTES"
        default: return error.sentence
        }
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
        separator = command.keySeparator.map { Array($0.unescaped.utf8) }
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

/// What became of the lines that were read: how many are acknowledged, and the first record that was not.
private final class Deliveries: Sendable {
    private struct State {
        var read = 0
        var submitted = 0
        var count = 0
        var failed = 0
        var failure: ClientError?
        var refusedLine: Int?
    }

    private let state = NIOLockedValueBox(State())

    var count: Int { state.withLockedValue { $0.count } }
    var failure: ClientError? { state.withLockedValue { $0.failure } }
    /// The line whose record the producer did not take in.
    var refusedLine: Int? { state.withLockedValue { $0.refusedLine } }

    var account: String {
        let state = state.withLockedValue { $0 }
        // A record may have been answered before it is counted as submitted.
        let open = max(0, state.submitted - state.count - state.failed)
        let unsent = state.read - max(state.submitted, state.count + state.failed)
        return "\(counted(state.count, "record")) acknowledged, \(open) in doubt"
            + (unsent > 0 ? ", \(counted(unsent, "line")) not sent" : "")
    }

    func read(_ lines: Int) { state.withLockedValue { $0.read += lines } }
    func submitted() { state.withLockedValue { $0.submitted += 1 } }

    func refused(_ error: ClientError) {
        state.withLockedValue { state in
            guard state.failure == nil else { return }
            state.failure = error
            state.refusedLine = state.submitted + 1
        }
    }

    @Sendable func add(_ result: Result<RecordMetadata, ClientError>) {
        state.withLockedValue { state in
            switch result {
            case .success: state.count += 1
            case .failure(let error):
                state.failed += 1
                state.failure = state.failure ?? error
            }
        }
    }
}
