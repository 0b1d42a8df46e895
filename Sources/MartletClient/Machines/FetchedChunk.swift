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

    /// The records from `position` on, in order.
    package func records() throws(ClientError) -> [ConsumerRecord] {
        var found: [ConsumerRecord] = []
        var open = (aborted ?? []).sorted { $0.firstOffset < $1.firstOffset }[...]
        var abortedProducers: Set<ProducerID> = []
        for (header, batch) in BatchSequence(bytes) where header.nextOffset > position {
            while let first = open.first, first.firstOffset <= header.nextOffset - 1 {
                abortedProducers.insert(first.producerID)
                open.removeFirst()
            }
            do throws(BatchError) {
                let records = try decodeRecords(batch)
                if header.isControl {
                    // An abort marker ends what was aborted; the producer's next transaction is another.
                    if let marker = records.first, Self.isAbort(marker) { abortedProducers.remove(header.producerID) }
                    continue
                }
                if aborted != nil, header.isTransactional, abortedProducers.contains(header.producerID) { continue }
                found.reserveCapacity(found.count + records.count)
                for record in records where record.offset >= position {
                    found.append(consumerRecord(record, epoch: header.partitionLeaderEpoch))
                }
            } catch {
                throw .unreadableRecords(
                    topic: partition.topic, partition.partition,
                    reason: "at offset \(header.baseOffset), \(error.message)")
            }
        }
        return found
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
