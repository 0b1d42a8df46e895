// Makes one record batch.

import Model
import NIOCore

/// Collects records and builds one batch of them, magic 2. Used by the client, the metadata log and the tools; the
/// broker itself stores producers' batches as they came.
package struct RecordBatchBuilder: Sendable {
    private var header: BatchHeader
    private var compression: Compression
    private let logAppendTime: Int64?
    private var payload = ByteBuffer()

    /// `logAppendTime`, in ms since 1970: makes the batch's timestamp type LogAppendTime with this time.
    package init(
        baseOffset: Offset = 0, leaderEpoch: LeaderEpoch = -1, compression: Compression = .none,
        producerID: ProducerID = -1, producerEpoch: Int16 = -1, baseSequence: Int32 = -1,
        isTransactional: Bool = false, isControl: Bool = false, logAppendTime: Int64? = nil
    ) {
        var attributes = compression.rawValue
        if isTransactional { attributes |= BatchAttribute.transactional }
        if isControl { attributes |= BatchAttribute.control }
        if logAppendTime != nil { attributes |= BatchAttribute.logAppendTime }
        header = BatchHeader(
            baseOffset: baseOffset, partitionLeaderEpoch: leaderEpoch, attributes: attributes,
            producerID: producerID, producerEpoch: producerEpoch, baseSequence: baseSequence, recordsCount: 0)
        self.compression = compression
        self.logAppendTime = logAppendTime
    }

    /// Names the producer of the batch and the sequence of its first record; they lie in the header, so that this may
    /// come after the records.
    package mutating func stamp(producerID: ProducerID, producerEpoch: Int16, baseSequence: Int32) {
        header.producerID = producerID
        header.producerEpoch = producerEpoch
        header.baseSequence = baseSequence
    }

    /// The same records, to be built as they are.
    package var withoutCompression: RecordBatchBuilder {
        var copy = self
        copy.compression = .none
        copy.header.attributes &= ~BatchAttribute.codecMask
        return copy
    }

    /// Records appended so far.
    package var count: Int { Int(header.recordsCount) }

    /// The size of the batch before compression.
    package var estimatedSizeBytes: Int { BatchHeader.sizeBytes + payload.readableBytes }

    /// Adds a record at the next offset. `timestamp` in ms since 1970, −1 for none.
    package mutating func append(
        timestamp: Int64, key: ByteBuffer?, value: ByteBuffer?, headers: [RecordHeader] = []
    ) {
        if header.recordsCount == 0 {
            header.baseTimestamp = timestamp
            header.maxTimestamp = timestamp
        }
        let timestampDelta = timestamp &- header.baseTimestamp
        let offsetDelta = header.recordsCount
        // One byte of attributes, then the fields in order.
        var lengthBytes = 1 + varintBytes(timestampDelta) + varintBytes(Int64(offsetDelta))
        lengthBytes += fieldBytes(key?.readableBytes) + fieldBytes(value?.readableBytes)
        lengthBytes += varintBytes(Int64(headers.count))
        for header in headers {
            lengthBytes += fieldBytes(header.name.utf8.count) + fieldBytes(header.value?.readableBytes)
        }
        payload.reserveCapacity(minimumWritableBytes: lengthBytes + 5)
        writeVarint(Int64(lengthBytes))
        payload.writeInteger(Int8(0))
        writeVarint(timestampDelta)
        writeVarint(Int64(offsetDelta))
        writeField(key)
        writeField(value)
        writeVarint(Int64(headers.count))
        for header in headers {
            writeVarint(Int64(header.name.utf8.count))
            payload.writeString(header.name)
            writeField(header.value)
        }
        header.maxTimestamp = max(header.maxTimestamp, timestamp)
        header.lastOffsetDelta = offsetDelta
        header.recordsCount += 1
    }

    /// The batch; there must be a record in it. The builder stays as it is.
    package func build() -> ByteBuffer {
        precondition(count > 0, "a batch holds at least one record")
        let records = compression.compress(payload)
        var header = self.header
        header.batchLength = Int32(BatchHeader.sizeBytes - BatchHeader.logOverheadBytes + records.readableBytes)
        if let logAppendTime { header.maxTimestamp = logAppendTime }
        var batch = ByteBuffer()
        batch.reserveCapacity(header.sizeBytes)
        header.write(into: &batch)
        batch.writeImmutableBuffer(records)
        batch.setInteger(batch.withUnsafeReadableBytes { batchCRC($0) }, at: BatchField.crc)
        return batch
    }

    private mutating func writeField(_ bytes: ByteBuffer?) {
        guard let bytes else { return writeVarint(-1) }
        writeVarint(Int64(bytes.readableBytes))
        payload.writeImmutableBuffer(bytes)
    }

    private mutating func writeVarint(_ value: Int64) { payload.writeVarint(value) }
}

extension ByteBuffer {
    /// Zig-zag.
    mutating func writeVarint(_ value: Int64) {
        var rest = zigZag(value)
        while rest >= 0x80 {
            writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        writeInteger(UInt8(rest))
    }
}

private func zigZag(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }

func varintBytes(_ value: Int64) -> Int {
    (64 - (zigZag(value) | 1).leadingZeroBitCount + 6) / 7
}

/// A length and what it counts; nil is the length −1 alone.
private func fieldBytes(_ length: Int?) -> Int {
    guard let length else { return 1 }
    return varintBytes(Int64(length)) + length
}
