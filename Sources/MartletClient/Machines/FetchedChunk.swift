// The records of one partition as one Fetch answer brought them, and what of them a reader may see.

import Model
import NIOCore
import Records

package struct FetchedChunk: Sendable {
    /// Which producer's transaction was aborted, from which offset on.
    package struct AbortedTransaction: Equatable, Sendable {
        package var producerID: ProducerID
        package var firstOffset: Offset

        package init(producerID: ProducerID, firstOffset: Offset) {
            self.producerID = producerID
            self.firstOffset = firstOffset
        }
    }

    package let partition: TopicPartition
    /// Of the partition's assignment and seeks: a chunk of an older one is not given out.
    package let generation: Int
    package let bytes: ByteBuffer
    /// Where reading was: a batch may begin before.
    package let position: Offset
    /// After the last whole batch.
    package let nextOffset: Offset
    /// Of the last whole batch.
    package let lastEpoch: LeaderEpoch
    /// Nil when everything is wanted.
    package let aborted: [AbortedTransaction]?

    package init(
        partition: TopicPartition, generation: Int, bytes: ByteBuffer, position: Offset, nextOffset: Offset,
        lastEpoch: LeaderEpoch, aborted: [AbortedTransaction]?
    ) {
        self.partition = partition
        self.generation = generation
        self.bytes = bytes
        self.position = position
        self.nextOffset = nextOffset
        self.lastEpoch = lastEpoch
        self.aborted = aborted
    }

    /// The chunk up to `offset`; of which epoch the batch before that is remains open.
    package func ending(at offset: Offset) -> FetchedChunk {
        FetchedChunk(
            partition: partition, generation: generation, bytes: bytes, position: position, nextOffset: offset,
            lastEpoch: -1, aborted: aborted)
    }

    package struct Unpacked: Sendable {
        package var records: [ConsumerRecord] = []
        /// The batch at `offset` cannot be read, and what stands behind it was not looked at.
        package var failure: (offset: Offset, error: ClientError)?
    }

    /// The records from `position` on, in order. A batch whose records take more than `batchBytesMax` is not read.
    package func unpacked(batchBytesMax: Int) -> Unpacked {
        var found: [ConsumerRecord] = []
        var open = (aborted ?? []).sorted { $0.firstOffset < $1.firstOffset }[...]
        var abortedProducers: Set<ProducerID> = []
        for (header, batch) in BatchSequence(bytes) {
            while let first = open.first, first.firstOffset <= header.lastOffset {
                abortedProducers.insert(first.producerID)
                open.removeFirst()
            }
            // Markers before the position count: what they end is not aborted any more.
            guard header.nextOffset > position || (header.isControl && aborted != nil) else { continue }
            do throws(BatchError) {
                let records = try decodeRecords(batch, maxDecompressedBytes: batchBytesMax)
                if header.isControl {
                    // An abort marker ends what was aborted; the producer's next transaction is another.
                    if let marker = records.first, Self.isAbort(marker) { abortedProducers.remove(header.producerID) }
                    continue
                }
                if aborted != nil, header.isTransactional, abortedProducers.contains(header.producerID) { continue }
                // No reserving here: for one batch after the other it would move all that was found each time.
                for record in records where record.offset >= position {
                    found.append(consumerRecord(record, epoch: header.partitionLeaderEpoch))
                }
            } catch {
                let offset = max(header.baseOffset, position)
                let failure = ClientError.unreadableRecords(
                    topic: partition.topic, partition.partition, offset: offset, nextOffset: header.nextOffset,
                    reason: error.message)
                return Unpacked(records: found, failure: (offset, failure))
            }
        }
        return Unpacked(records: found)
    }

    private func consumerRecord(_ record: Record, epoch: LeaderEpoch) -> ConsumerRecord {
        ConsumerRecord(
            topic: partition.topic, partition: partition.partition, offset: record.offset, leaderEpoch: epoch,
            timestampMs: record.timestamp, key: record.key, value: record.value, headers: record.headers)
    }

    /// A control record's key is a version and a type; type 0 aborts.
    private static func isAbort(_ record: Record) -> Bool {
        guard let key = record.key else { return false }
        return key.getInteger(at: key.readerIndex + 2, as: Int16.self) == 0
    }

    /// Where the whole batches of `bytes` end: the next offset, the epoch of the last, and their length. Nil when there
    /// is none.
    package static func end(of bytes: ByteBuffer) -> (nextOffset: Offset, epoch: LeaderEpoch, sizeBytes: Int)? {
        var batches = BatchSequence(bytes).makeIterator()
        var last: BatchHeader?
        while let header = batches.nextHeader() { last = header }
        return last.map { ($0.nextOffset, $0.partitionLeaderEpoch, batches.index - bytes.readerIndex) }
    }
}
