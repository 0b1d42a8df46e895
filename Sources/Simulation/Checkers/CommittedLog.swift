// What is known to be committed in one log, batch by batch: ghost state that every replica is held against.

import Model
import NIOCore
import Records
import Storage

struct CommittedBatch: Equatable {
    var baseOffset: Offset
    var nextOffset: Offset
    var epoch: LeaderEpoch
    var crc: UInt32
    /// The leader epoch in which it was first seen committed: leaders of later epochs must have it.
    var seenInEpoch: LeaderEpoch
}

final class CommittedLog {
    private(set) var batches: [CommittedBatch] = []
    /// The 8-byte values by offset; nil where a record holds none. Only with `keepsValues`.
    private(set) var values: [UInt64?] = []
    /// Of a compacted log.
    private(set) var records: CommittedRecords?
    private let keepsValues: Bool
    /// Told the records of each batch that is committed from now on.
    private let learn: (([Record]) -> Void)?

    init(keepsValues: Bool, learn: (([Record]) -> Void)? = nil) {
        self.keepsValues = keepsValues
        self.learn = learn
    }

    /// Copies may have lost what newer records replaced. Known from the first batch on.
    func noteCompacted() {
        if records == nil, batches.isEmpty { records = CommittedRecords() }
    }

    var endOffset: Offset { batches.last?.nextOffset ?? 0 }

    /// Where the batches end that were seen committed in an epoch below `epoch`.
    func end(before epoch: LeaderEpoch) -> Offset {
        batches.last { $0.seenInEpoch < epoch }?.nextOffset ?? 0
    }

    /// The committed batch that ends at or holds the record before `offset`.
    func batch(before offset: Offset) -> CommittedBatch? {
        offset > 0 ? index(holding: offset - 1).map { batches[$0] } : nil
    }

    private func index(holding offset: Offset) -> Int? {
        var low = 0
        var high = batches.count
        while low < high {
            let middle = (low + high) / 2
            if batches[middle].nextOffset <= offset { low = middle + 1 } else { high = middle }
        }
        return low < batches.count ? low : nil
    }

    /// Reads `log` from `from` to `to` and compares it with what is committed; with `extending` what lies behind is
    /// committed from now on. Answers how far it came and what is wrong. `mayCutBatch`: `to` may be a log start, and so
    /// lie inside a batch, which is then left for later.
    func compare(
        _ log: SegmentedLog, from: Offset, to: Offset, extending epoch: LeaderEpoch?, mayCutBatch: Bool = false
    ) -> (verified: Offset, wrong: String?) {
        var position = max(from, log.startOffset)
        while position < to {
            var bytes: ByteBuffer
            do throws(LogError) {
                guard let slice = try log.inspect(from: position, maxBytes: 64 * 1024, below: to)
                else {
                    if mayCutBatch, let last = try log.inspect(from: position, maxBytes: 1, below: .max),
                        last.nextOffset > to
                    {
                        return (position, nil)
                    }
                    return (position, "nothing can be read at \(position), though \(to) is committed")
                }
                bytes = try log.bytes(of: slice)
            } catch {
                return (position, "offset \(position) cannot be read: \(error)")
            }
            while let header = BatchHeader(reading: bytes, at: bytes.readerIndex),
                let batch = bytes.readSlice(length: header.sizeBytes)
            {
                guard header.nextOffset <= to else { return (position, "\(to) lies inside a batch") }
                if let wrong = compare(batch, header, extending: epoch) { return (position, wrong) }
                position = max(position, header.nextOffset)
            }
        }
        return (position, nil)
    }

    private func compare(_ batch: ByteBuffer, _ header: BatchHeader, extending epoch: LeaderEpoch?) -> String? {
        guard verifyCRC(of: batch) else { return "the batch at \(header.baseOffset) fails its checksum" }
        if header.baseOffset < endOffset {
            guard let index = index(holding: header.baseOffset) else { return nil }
            let known = batches[index]
            if let records, known.crc != header.crc || known.nextOffset != header.nextOffset {
                if let wrong = records.whatIsWrong(in: batch, header) { return wrong }
                let others = batches[index...].prefix { $0.baseOffset < header.nextOffset }
                return others.allSatisfy { $0.epoch == header.partitionLeaderEpoch }
                    ? nil : "the batch at \(header.baseOffset) is of epoch \(header.partitionLeaderEpoch) now"
            }
            guard known.baseOffset == header.baseOffset, known.nextOffset == header.nextOffset,
                known.epoch == header.partitionLeaderEpoch, known.crc == header.crc
            else {
                return "offset \(header.baseOffset) holds \(header.baseOffset)..<\(header.nextOffset) of epoch "
                    + "\(header.partitionLeaderEpoch), committed was \(known.baseOffset)..<\(known.nextOffset) "
                    + "of epoch \(known.epoch)"
            }
            return nil
        }
        guard let epoch else { return nil }
        guard header.baseOffset == endOffset || batches.isEmpty else {
            return "committed ends at \(endOffset), the next batch begins at \(header.baseOffset)"
        }
        batches.append(
            CommittedBatch(
                baseOffset: header.baseOffset, nextOffset: header.nextOffset, epoch: header.partitionLeaderEpoch,
                crc: header.crc, seenInEpoch: epoch))
        if keepsValues { return noteValues(of: batch) }
        return nil
    }

    private func noteValues(of batch: ByteBuffer) -> String? {
        do throws(BatchError) {
            let decoded = try decodeRecords(batch)
            for record in decoded {
                values.append(KeyedRecords.value(of: record))
                records?.add(record)
            }
            learn?(decoded)
            return nil
        } catch {
            return "a committed batch cannot be read: \(error)"
        }
    }
}
