// What must hold of the batches of a segment, one after the other.

import Model
import Records

struct BatchChecks {
    /// Gaps between batches are what compaction leaves.
    let isCompacted: Bool
    /// By the file's name; nil for files whose name says nothing.
    private let segmentBase: Offset?
    private var expectedOffset: Offset?
    private var lastEpoch: LeaderEpoch = -1

    init(segmentBase: Offset?, isCompacted: Bool) {
        self.segmentBase = segmentBase
        self.isCompacted = isCompacted
        expectedOffset = segmentBase
    }

    /// What is wrong with the batch, each as the rest of a sentence. Empty: nothing.
    mutating func problems(of batch: FoundBatch) -> [String] {
        let header = batch.header
        var found: [String] = []
        if !batch.isCRCRight { found.append("the batch at offset \(header.baseOffset) has a wrong CRC") }
        if let expectedOffset, header.baseOffset < expectedOffset {
            found.append("the batch begins at offset \(header.baseOffset), below \(expectedOffset) where it should")
        } else if let expectedOffset, header.baseOffset > expectedOffset, !isCompacted {
            found.append(
                "the batch begins at offset \(header.baseOffset), but \(expectedOffset) is next "
                    + "(--compacted if the topic is compacted)")
        }
        if header.lastOffsetDelta < 0 || header.nextOffset <= header.baseOffset {
            found.append("the batch's last offset delta is \(header.lastOffsetDelta)")
        } else if Int64(header.recordsCount) > Int64(header.lastOffsetDelta) + 1 || header.recordsCount < 0 {
            found.append(
                "the batch counts \(header.recordsCount) records in \(Int64(header.lastOffsetDelta) + 1) offsets")
        }
        if header.partitionLeaderEpoch < lastEpoch {
            found.append("the batch's leader epoch \(header.partitionLeaderEpoch) is below \(lastEpoch) before it")
        }
        if batch.isCRCRight {
            do throws(BatchError) {
                _ = try decodeRecords(batch.bytes, maxDecompressedBytes: DumpedRecords.unpackedBytesMax)
            } catch {
                found.append("the records of the batch at offset \(header.baseOffset) cannot be read: \(error.message)")
            }
        }
        // What a damaged header says is not carried on, so that one flipped bit is not told twice.
        if batch.isCRCRight, header.lastOffsetDelta >= 0 {
            expectedOffset = header.nextOffset
            lastEpoch = max(lastEpoch, header.partitionLeaderEpoch)
        } else {
            expectedOffset = nil
        }
        return found
    }

    /// After bytes that are no batch nobody knows which offset is next.
    mutating func lost() { expectedOffset = nil }
}
