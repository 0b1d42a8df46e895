// Batches without records: what compaction leaves of batches of which no record is kept.

import Model
import NIOCore

extension BatchHeader {
    /// Stands for offsets whose records are gone, and says nothing else.
    package var isFiller: Bool {
        recordsCount == 0 && !hasProducer && !isControl && sizeBytes == Self.sizeBytes && lastOffsetDelta >= 0
    }

    /// The header of an empty batch for `offsets`, at most 2³¹ of them. `maxTimestamp` is the largest of the records
    /// that it stands for, so that a segment's age is the same after a cleaning as before.
    package static func filler(
        for offsets: Range<Offset>, leaderEpoch: LeaderEpoch, maxTimestamp: Int64
    ) -> BatchHeader {
        precondition(!offsets.isEmpty && offsets.count - 1 <= Int(Int32.max), "an empty batch stands for offsets")
        return BatchHeader(
            baseOffset: offsets.lowerBound, partitionLeaderEpoch: leaderEpoch,
            lastOffsetDelta: Int32(offsets.count - 1), baseTimestamp: maxTimestamp, maxTimestamp: maxTimestamp,
            recordsCount: 0)
    }

    /// The same batch without its records: its offsets, sequences and producer are what duplicates are told by.
    package var emptied: BatchHeader {
        var header = self
        header.batchLength = Int32(Self.sizeBytes - Self.logOverheadBytes)
        // Nothing is compressed, and no delete horizon is needed: readers would try to unpack nothing.
        header.attributes &= ~(BatchAttribute.codecMask | BatchAttribute.deleteHorizon)
        header.baseTimestamp = maxTimestamp
        header.recordsCount = 0
        return header
    }

    /// The batch that has this header and no records, and the header with its checksum.
    package func sealedWithoutRecords() -> (batch: ByteBuffer, header: BatchHeader) {
        precondition(recordsCount == 0 && sizeBytes == Self.sizeBytes, "an empty batch is a header alone")
        return sealed(with: ByteBuffer())
    }

    /// The batch of this header and `records`, packed as its attributes say, with length and checksum made right.
    func sealed(with records: ByteBuffer) -> (batch: ByteBuffer, header: BatchHeader) {
        var header = self
        header.batchLength = Int32(Self.sizeBytes - Self.logOverheadBytes + records.readableBytes)
        var batch = ByteBuffer()
        batch.reserveCapacity(header.sizeBytes)
        header.write(into: &batch)
        batch.writeImmutableBuffer(records)
        header.crc = batch.withUnsafeReadableBytes { batchCRC($0) }
        batch.setInteger(header.crc, at: BatchField.crc)
        return (batch, header)
    }
}

/// Makes batches of another copy of a log follow on at `expectedOffset`. Copies are compacted at different times, so an
/// empty batch of one may stand for records of which the other has the first: then it is cut to begin there. Anything
/// else is given back as it came, for `checkReplicated` to judge.
package func cutToFollowOn(_ records: ByteBuffer, at expectedOffset: Offset) -> ByteBuffer {
    guard let header = BatchHeader(reading: records, at: records.readerIndex), header.isFiller,
        header.baseOffset < expectedOffset, header.nextOffset > expectedOffset, verifyCRC(of: records),
        let rest = records.getSlice(
            at: records.readerIndex + header.sizeBytes, length: records.readableBytes - header.sizeBytes)
    else { return records }
    let cut = BatchHeader.filler(
        for: expectedOffset..<header.nextOffset, leaderEpoch: header.partitionLeaderEpoch,
        maxTimestamp: header.maxTimestamp)
    var fitting = cut.sealedWithoutRecords().batch
    fitting.writeImmutableBuffer(rest)
    return fitting
}
