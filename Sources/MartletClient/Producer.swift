// Writes records to one topic: picks partitions, builds batches, sends them, and sends again what was not answered.

import Model
import NIOCore
import Records
import Wire

package struct ProducedRecord: Equatable, Sendable {
    package var key: ByteBuffer?
    package var value: ByteBuffer?
    package var headers: [RecordHeader]
    /// Milliseconds since 1970.
    package var timestampMs: Int64

    package init(key: ByteBuffer? = nil, value: ByteBuffer?, headers: [RecordHeader] = [], timestampMs: Int64) {
        self.key = key
        self.value = value
        self.headers = headers
        self.timestampMs = timestampMs
    }
}

/// Idempotent with acks=all: a batch that is sent twice lands once. One call of `send` at a time.
package struct Producer {
    package struct Settings: Sendable {
        /// −1: every in-sync replica; 1: the leader; 0: no answer.
        package var acks: Int16 = -1
        package var compression = Compression.none
        /// Every record goes here when set.
        package var partition: PartitionIndex?
        package var timeoutMs: Int32 = 10_000
        /// Bytes of one batch before compression; a little below the default `max.message.bytes`.
        package var batchBytesMax = 900_000

        package init() {}
    }

    private let client: ClusterClient
    private let topic: String
    private let settings: Settings
    private var identity: (id: ProducerID, epoch: Int16)?
    private var sequences: [PartitionIndex: Int32] = [:]
    private var turn = 0

    package init(client: ClusterClient, topic: String, settings: Settings = Settings()) {
        self.client = client
        self.topic = topic
        self.settings = settings
    }

    /// Writes all of `records`, in order within each partition, and returns when they are acknowledged as asked.
    /// Throws `ClientError`; then any part of them may have been written.
    package mutating func send(_ records: [ProducedRecord]) async throws {
        guard !records.isEmpty else { return }
        let partitions = try await client.partitions(of: topic, mayCreate: true).partitions
        if settings.acks == -1, identity == nil { identity = try await client.producerIdentity() }
        let batches = try build(records, partitionCount: partitions.count)
        let (client, topic, settings) = (client, topic, settings)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for partition in batches.keys.sorted() {
                let queue = batches[partition] ?? []
                group.addTask {
                    for batch in queue {
                        try await client.produce(batch, to: topic, partition, settings: settings)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private mutating func build(
        _ records: [ProducedRecord], partitionCount: Int
    ) throws -> [PartitionIndex: [ByteBuffer]] {
        if let partition = settings.partition, !(0..<partitionCount).contains(Int(partition)) {
            throw ClientError.noSuchPartition(topic: topic, partition, count: partitionCount)
        }
        // Records without a key share a partition for one call and move on with the next, so that batches are large.
        let sticky = PartitionIndex(turn % partitionCount)
        turn += 1
        var open: [PartitionIndex: RecordBatchBuilder] = [:]
        var built: [PartitionIndex: [ByteBuffer]] = [:]
        for record in records {
            let partition =
                settings.partition
                ?? record.key.map { Partitioner.partition(forKey: $0, count: partitionCount) } ?? sticky
            let sizeBytes = (record.key?.readableBytes ?? 0) + (record.value?.readableBytes ?? 0)
            if let full = open[partition], full.estimatedSizeBytes + sizeBytes > settings.batchBytesMax {
                built[partition, default: []].append(full.build())
                open[partition] = nil
                advanceSequence(partition, by: full.count)
            }
            open[partition, default: builder(for: partition)].append(
                timestamp: record.timestampMs, key: record.key, value: record.value, headers: record.headers)
        }
        for partition in open.keys.sorted() {
            guard let last = open[partition] else { continue }
            built[partition, default: []].append(last.build())
            advanceSequence(partition, by: last.count)
        }
        return built
    }

    private func builder(for partition: PartitionIndex) -> RecordBatchBuilder {
        guard let identity else { return RecordBatchBuilder(compression: settings.compression) }
        return RecordBatchBuilder(
            compression: settings.compression, producerID: identity.id, producerEpoch: identity.epoch,
            baseSequence: sequences[partition] ?? 0)
    }

    /// Sequences wrap to 0 after 2³¹ − 1.
    private mutating func advanceSequence(_ partition: PartitionIndex, by count: Int) {
        let next = (Int64(sequences[partition] ?? 0) + Int64(count)) & 0x7FFF_FFFF
        sequences[partition] = Int32(next)
    }
}

extension ClusterClient {
    /// A producer id for idempotent writing, from any node (KIP-98).
    func producerIdentity() async throws -> (id: ProducerID, epoch: Int16) {
        try await retrying("get a producer id") {
            var request = InitProducerIDRequest()
            request.transactionTimeoutMs = 60_000
            let response = try await ask(request)
            guard response.errorCode == .none else {
                throw ClientError.refused(what: "get a producer id", response.errorCode, message: nil)
            }
            return (response.producerID, response.producerEpoch)
        }
    }

    /// Sends one batch to the leader of its partition until it is acknowledged. Returns its base offset, −1 with
    /// acks=0.
    @discardableResult
    func produce(
        _ batch: ByteBuffer, to topic: String, _ partition: PartitionIndex, settings: Producer.Settings
    ) async throws -> Offset {
        let what = "produce to \(topic)-\(partition)"
        return try await retrying(what) {
            let leader = try await leader(of: topic, partition, mayCreate: true).node
            do {
                return try await produceOnce(batch, to: topic, partition, leader: leader, settings: settings, what)
            } catch let error as ClientError where error.isRetriable {
                doubt(topic)
                throw error
            }
        }
    }

    private func produceOnce(
        _ batch: ByteBuffer, to topic: String, _ partition: PartitionIndex, leader: NodeID,
        settings: Producer.Settings, _ what: String
    ) async throws -> Offset {
        var entry = ProduceRequest.Partition()
        entry.partitionIndex = partition
        entry.records = batch
        var topicEntry = ProduceRequest.Topic()
        topicEntry.name = topic
        topicEntry.partitions = [entry]
        var request = ProduceRequest()
        request.acks = settings.acks
        request.timeoutMs = settings.timeoutMs
        request.topics = [topicEntry]
        // Version 13 names topics by id only.
        if settings.acks == 0 {
            try await tell(request, of: leader, maxVersion: 12)
            return -1
        }
        let response = try await ask(request, of: leader, maxVersion: 12, extraWaitMs: Int64(settings.timeoutMs))
        guard let answer = response.topics.first?.partitions.first else {
            throw ClientError.refused(what: what, .unknownServerError, message: "the answer names no partition")
        }
        // A duplicate is a batch of ours whose first answer was lost.
        guard answer.errorCode == .none || answer.errorCode == .duplicateSequenceNumber else {
            throw ClientError.refused(what: what, answer.errorCode, message: answer.errorMessage)
        }
        return answer.baseOffset
    }
}
