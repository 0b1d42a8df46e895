// Retries, gaps, epochs and wrap-around of idempotent producers.

import Model
import Replication
import Testing

@Suite struct ProducerTableTests {
    private func batch(
        _ first: Int32, _ last: Int32, epoch: Int16 = 0, at offset: Offset = 0, producer: ProducerID = 7,
        time: Int64 = 0
    ) -> ProducedBatch {
        let span = Offset(last) - Offset(first)
        return ProducedBatch(
            producerID: producer, producerEpoch: epoch, baseSequence: first, lastSequence: last, baseOffset: offset,
            lastOffset: offset + (span >= 0 ? span : span + Offset(Int32.max) + 1), timestampMs: time)
    }

    /// Ten batches of ten, at offsets 100, 110, ….
    private func table() -> ProducerTable {
        var table = ProducerTable()
        for index in 0..<10 {
            table.record(
                batch(Int32(index) * 10, Int32(index) * 10 + 9, at: 100 + Offset(index) * 10, time: Int64(index)))
        }
        return table
    }

    @Test func theLastFiveAreRecognisedAndOlderOnesAreOutOfOrder() {
        let table = table()
        for index in 5..<10 {
            let first = Int32(index) * 10
            let known = ProducerTable.Verdict.duplicate(
                baseOffset: 100 + Offset(first), lastOffset: 109 + Offset(first), timestampMs: Int64(index))
            #expect(table.verdict(on: batch(first, first + 9)) == known)
        }
        #expect(table.verdict(on: batch(40, 49)) == .refuse(.outOfOrderSequenceNumber))
        #expect(table.verdict(on: batch(90, 98)) == .refuse(.outOfOrderSequenceNumber))
        #expect(table.verdict(on: batch(101, 101)) == .refuse(.outOfOrderSequenceNumber))
        #expect(table.verdict(on: batch(100, 120)) == .append)
    }

    @Test func aNewEpochStartsAtZeroAndForgetsTheOldSequences() {
        var table = table()
        #expect(table.verdict(on: batch(100, 109, epoch: 1)) == .refuse(.outOfOrderSequenceNumber))
        #expect(table.verdict(on: batch(0, 9, epoch: 1)) == .append)
        table.record(batch(0, 9, epoch: 1, at: 200))
        #expect(table.verdict(on: batch(90, 99, epoch: 1)) == .refuse(.outOfOrderSequenceNumber))
        #expect(table.verdict(on: batch(100, 109, epoch: 0)) == .refuse(.invalidProducerEpoch))
    }

    @Test func aControlBatchRaisesTheEpochAlone() {
        var table = table()
        table.record(batch(-1, -1, epoch: 2, at: 200))
        #expect(table.verdict(on: batch(100, 109, epoch: 2)) == .refuse(.outOfOrderSequenceNumber))
        #expect(table.verdict(on: batch(0, 0, epoch: 2)) == .append)
        #expect(table.entries.first?.lastSequence == -1)
    }

    /// What a replica that begins anew at an offset is told: of each producer what lies whole below, later batches or
    /// not.
    @Test func whatLiesBelowAnOffsetIsToldAlone() {
        let table = table()
        let below = table.below(165)
        #expect(
            below.verdict(on: batch(50, 59)) == .duplicate(baseOffset: 150, lastOffset: 159, timestampMs: 5))
        #expect(below.verdict(on: batch(60, 69)) == .append)
        #expect(table.below(150).count == 0)
        #expect(table.below(1_000) == table)
        var many = ProducerTable()
        for id in 0..<10 as Range<ProducerID> {
            many.record(batch(0, 9, at: 100 + Offset(id) * 10, producer: id, time: id))
        }
        #expect(many.below(1_000, max: 3).entries.map(\.producerID) == [7, 8, 9])
    }

    @Test func theUnknownMayStartAnywhereAndTheNotIdempotentAlways() {
        let table = ProducerTable()
        #expect(table.verdict(on: batch(77, 78)) == .append)
        #expect(table.verdict(on: batch(-1, -1)) == .refuse(.invalidRecord))
        #expect(table.verdict(on: batch(-1, -1, epoch: -1, producer: -1)) == .append)
    }

    @Test func sequencesWrap() {
        var table = ProducerTable()
        table.record(batch(.max - 1, .max, at: 10))
        #expect(table.verdict(on: batch(0, 4)) == .append)
        table.record(batch(0, 0, at: 12))
        // A batch that spans the wrap: max, 0, 1.
        var across = ProducerTable()
        across.record(batch(.max - 1, .max - 1, at: 20))
        #expect(across.verdict(on: batch(.max, 1)) == .append)
        across.record(batch(.max, 1, at: 21))
        #expect(
            ProducerTable(entries: across.entries).verdict(on: batch(.max, 1))
                == .duplicate(baseOffset: 21, lastOffset: 23, timestampMs: 0))
        #expect(across.verdict(on: batch(2, 2)) == .append)
    }

    @Test func aSnapshotKeepsTheLastBatch() {
        var table = table()
        table.record(batch(0, 4, at: 500, producer: 3, time: 12))
        let loaded = ProducerTable(entries: table.entries)
        #expect(loaded.entries == table.entries)
        #expect(loaded.entries.map(\.producerID) == [3, 7])
        #expect(loaded.verdict(on: batch(90, 99)) == .duplicate(baseOffset: 190, lastOffset: 199, timestampMs: 9))
        #expect(loaded.verdict(on: batch(100, 100)) == .append)
        #expect(loaded.verdict(on: batch(80, 89)) == .refuse(.outOfOrderSequenceNumber))
    }

    @Test func theOldestAreForgotten() {
        var table = ProducerTable()
        for id in 0..<6 { table.record(batch(0, 0, producer: ProducerID(id), time: Int64(10 - id))) }
        table.expire(before: 6)
        #expect(table.entries.map(\.producerID) == [0, 1, 2, 3, 4])
        table.expire(before: 0, limit: 2)
        #expect(table.entries.map(\.producerID) == [0, 1])
        table.removeAll()
        #expect(table.count == 0)
    }

    @Test func anUnknownProducerInMidSequenceIsRefusedOnceInCaseEarlierBatchesComeYet() {
        var unknown = UnknownProducers(limit: 2)
        var mayBegin: [Bool] = []
        func tried(_ batch: ProducedBatch) { mayBegin.append(unknown.mayBegin(with: batch)) }
        tried(batch(0, 9))
        #expect(unknown.isEmpty)
        // What comes behind the refused one is refused too, and takes its place only when it is earlier.
        for first in [10, 20, 5, 10, 5] as [Int32] { tried(batch(first, first + 4)) }
        #expect(mayBegin == [true, false, false, false, false, true])
        mayBegin = []
        // Another epoch is another beginning, another producer is another, and beyond the limit all are as in Kafka.
        tried(batch(5, 9, epoch: 1))
        tried(batch(5, 9, epoch: 1))
        tried(batch(5, 9, producer: 8))
        tried(batch(5, 9, producer: 9))
        unknown.began(7)
        tried(batch(5, 9, epoch: 1))
        #expect(mayBegin == [false, true, false, true, false])
    }
}
