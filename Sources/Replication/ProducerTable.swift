// What a partition remembers of idempotent producers: enough to tell a retry from a gap (protocol.md §4.1, I1–I5).

import Model

/// A batch by its producer fields. `producerID` −1: not idempotent. `baseSequence` −1: a control batch.
package struct ProducedBatch: Hashable, Sendable {
    package var producerID: ProducerID
    package var producerEpoch: Int16
    package var baseSequence: Int32
    package var lastSequence: Int32
    /// Not looked at by `verdict`: the batch has no place in the log yet.
    package var baseOffset: Offset
    package var lastOffset: Offset
    package var timestampMs: Int64

    package init(
        producerID: ProducerID, producerEpoch: Int16, baseSequence: Int32, lastSequence: Int32, baseOffset: Offset,
        lastOffset: Offset, timestampMs: Int64
    ) {
        self.producerID = producerID
        self.producerEpoch = producerEpoch
        self.baseSequence = baseSequence
        self.lastSequence = lastSequence
        self.baseOffset = baseOffset
        self.lastOffset = lastOffset
        self.timestampMs = timestampMs
    }
}

/// One producer as Kafka's producer snapshot holds it. `lastSequence` −1: no batch of this epoch.
package struct ProducerEntry: Hashable, Sendable {
    package var producerID: ProducerID
    package var epoch: Int16
    package var lastSequence: Int32
    package var lastOffset: Offset
    /// `lastOffset` minus the base offset of the last batch.
    package var offsetDelta: Int32
    package var timestampMs: Int64

    package init(
        producerID: ProducerID, epoch: Int16, lastSequence: Int32, lastOffset: Offset, offsetDelta: Int32,
        timestampMs: Int64
    ) {
        self.producerID = producerID
        self.epoch = epoch
        self.lastSequence = lastSequence
        self.lastOffset = lastOffset
        self.offsetDelta = offsetDelta
        self.timestampMs = timestampMs
    }
}

/// A function of the log alone: leader, follower and replay record alike, and only the leader judges, before it
/// appends.
package struct ProducerTable: Equatable, Sendable {
    package enum Verdict: Hashable, Sendable {
        case append
        /// One of the last five: answer success with what it got the first time.
        case duplicate(baseOffset: Offset, lastOffset: Offset, timestampMs: Int64)
        case refuse(ErrorCode)
    }

    private struct Batch: Hashable, Sendable {
        var baseSequence: Int32
        var lastSequence: Int32
        var lastOffset: Offset
        var offsetDelta: Int32
        var timestampMs: Int64
    }

    private struct Producer: Hashable, Sendable {
        var epoch: Int16
        var timestampMs: Int64
        /// Oldest first, at most `Limits.producerBatchesRemembered`.
        var batches: [Batch] = []
    }

    /// For lookup; whatever leaves is sorted.
    private var producers: [ProducerID: Producer] = [:]

    package init() {}

    package init(entries: [ProducerEntry]) {
        for entry in entries {
            var producer = producers[entry.producerID] ?? Producer(epoch: entry.epoch, timestampMs: entry.timestampMs)
            if producer.epoch != entry.epoch { producer = Producer(epoch: entry.epoch, timestampMs: entry.timestampMs) }
            producer.timestampMs = max(producer.timestampMs, entry.timestampMs)
            if entry.lastSequence >= 0 {
                producer.batches.append(
                    Batch(
                        baseSequence: Self.stepBack(entry.lastSequence, by: entry.offsetDelta),
                        lastSequence: entry.lastSequence, lastOffset: entry.lastOffset, offsetDelta: entry.offsetDelta,
                        timestampMs: entry.timestampMs))
                if producer.batches.count > Limits.producerBatchesRemembered { producer.batches.removeFirst() }
            }
            producers[entry.producerID] = producer
        }
    }

    package var count: Int { producers.count }

    package func knows(_ id: ProducerID) -> Bool { producers[id] != nil }

    /// What it says of batches below `offset`; of the youngest producers, where there are too many.
    package func below(_ offset: Offset, max: Int = Limits.producersHandedOverMax) -> ProducerTable {
        var left: [ProducerID: Producer] = [:]
        for (id, var producer) in producers {
            let isEpochAlone = producer.batches.isEmpty
            producer.batches.removeAll { $0.lastOffset >= offset }
            if isEpochAlone || !producer.batches.isEmpty { left[id] = producer }
        }
        if left.count > max {
            let byAge = left.sorted { ($0.value.timestampMs, $0.key) > ($1.value.timestampMs, $1.key) }
            left = Dictionary(uniqueKeysWithValues: byAge.prefix(max).map { ($0.key, $0.value) })
        }
        var table = ProducerTable()
        table.producers = left
        return table
    }

    /// Every remembered batch, by producer id and age: what a snapshot holds. Kafka writes one entry a producer and,
    /// reading, lets the last one of an id win, so it reads these too; and here a restart forgets no duplicate (I4).
    package var snapshotEntries: [ProducerEntry] {
        producers.keys.sorted().flatMap { id -> [ProducerEntry] in
            guard let producer = producers[id] else { return [] }
            guard !producer.batches.isEmpty else {
                return [
                    ProducerEntry(
                        producerID: id, epoch: producer.epoch, lastSequence: -1, lastOffset: -1, offsetDelta: 0,
                        timestampMs: producer.timestampMs)
                ]
            }
            return producer.batches.map { batch in
                ProducerEntry(
                    producerID: id, epoch: producer.epoch, lastSequence: batch.lastSequence,
                    lastOffset: batch.lastOffset, offsetDelta: batch.offsetDelta, timestampMs: batch.timestampMs)
            }
        }
    }

    /// Where the oldest remembered batch of each producer begins. For lookup.
    package var oldestBatches: [ProducerID: Offset] {
        producers.compactMapValues { producer in producer.batches.first.map { $0.lastOffset - Offset($0.offsetDelta) } }
    }

    /// By producer id, rising.
    package var entries: [ProducerEntry] {
        producers.keys.sorted().compactMap { id in
            guard let producer = producers[id] else { return nil }
            let last = producer.batches.last
            return ProducerEntry(
                producerID: id, epoch: producer.epoch, lastSequence: last?.lastSequence ?? -1,
                lastOffset: last?.lastOffset ?? -1, offsetDelta: last?.offsetDelta ?? 0,
                timestampMs: producer.timestampMs)
        }
    }

    /// The leader's check before it appends. Not for control batches, which no client sends.
    package func verdict(on batch: ProducedBatch) -> Verdict {
        guard batch.producerID >= 0 else { return .append }
        guard batch.baseSequence >= 0, batch.lastSequence >= 0, batch.producerEpoch >= 0 else {
            return .refuse(.invalidRecord)
        }
        // Nothing known: its records may have been deleted by retention, so any sequence may come next, once it is sure
        // that none before it is on its way (`UnknownProducers`).
        guard let producer = producers[batch.producerID] else { return .append }
        if batch.producerEpoch < producer.epoch { return .refuse(.invalidProducerEpoch) }
        guard batch.producerEpoch == producer.epoch else {
            return batch.baseSequence == 0 ? .append : .refuse(.outOfOrderSequenceNumber)
        }
        for known in producer.batches
        where known.baseSequence == batch.baseSequence && known.lastSequence == batch.lastSequence {
            return .duplicate(
                baseOffset: known.lastOffset - Offset(known.offsetDelta), lastOffset: known.lastOffset,
                timestampMs: known.timestampMs)
        }
        let expected = producer.batches.last.map { $0.lastSequence == .max ? 0 : $0.lastSequence + 1 } ?? 0
        return batch.baseSequence == expected ? .append : .refuse(.outOfOrderSequenceNumber)
    }

    /// The batch is in the log. Nothing is enforced: what the log says is so.
    package mutating func record(_ batch: ProducedBatch) {
        guard batch.producerID >= 0 else { return }
        let fresh = Producer(epoch: batch.producerEpoch, timestampMs: batch.timestampMs)
        Self.note(batch, in: &producers[batch.producerID, default: fresh])
    }

    private static func note(_ batch: ProducedBatch, in producer: inout Producer) {
        if producer.epoch != batch.producerEpoch {
            producer.epoch = batch.producerEpoch
            producer.batches.removeAll(keepingCapacity: true)
        }
        producer.timestampMs = batch.timestampMs
        guard batch.baseSequence >= 0 else { return }
        if producer.batches.count == Limits.producerBatchesRemembered { producer.batches.removeFirst() }
        producer.batches.append(
            Batch(
                baseSequence: batch.baseSequence, lastSequence: batch.lastSequence, lastOffset: batch.lastOffset,
                offsetDelta: Int32(clamping: batch.lastOffset - batch.baseOffset), timestampMs: batch.timestampMs))
    }

    /// Forgets producers whose last batch is older than `timestampMs`, then the oldest above `limit`.
    package mutating func expire(before timestampMs: Int64, limit: Int = Limits.producersPerPartitionMax) {
        producers = producers.filter { $0.value.timestampMs >= timestampMs }
        guard producers.count > limit else { return }
        let byAge = entries.sorted { ($0.timestampMs, $0.producerID) < ($1.timestampMs, $1.producerID) }
        for entry in byAge.prefix(producers.count - max(0, limit)) { producers[entry.producerID] = nil }
    }

    package mutating func removeAll() { producers.removeAll() }

    /// Sequences wrap from 2³¹−1 to 0.
    private static func stepBack(_ sequence: Int32, by count: Int32) -> Int32 {
        let first = Int64(sequence) - Int64(count)
        return Int32(truncatingIfNeeded: first >= 0 ? first : first + Int64(Int32.max) + 1)
    }
}
