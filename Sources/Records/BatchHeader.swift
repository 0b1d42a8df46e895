// The 61 fixed bytes at the head of every record batch, magic 2.

import Model
import NIOCore

/// The header of a record batch (KIP-98, "RecordBatch v2"). Reading it checks its shape only: a header that reads is
/// not yet a batch that can be trusted, see `validateProduced` and `checkReplicated`. All arithmetic on its fields
/// wraps, because they come from outside.
package struct BatchHeader: Equatable, Sendable {
    package static let sizeBytes = 61
    /// `baseOffset` and `batchLength`, which `batchLength` does not count.
    package static let logOverheadBytes = 12

    package var baseOffset: Offset
    /// Bytes that follow this field.
    package var batchLength: Int32
    package var partitionLeaderEpoch: LeaderEpoch
    package var magic: Int8
    /// CRC-32C over everything from `attributes` to the end of the batch.
    package var crc: UInt32
    package var attributes: Int16
    package var lastOffsetDelta: Int32
    /// Milliseconds since 1970; with `hasDeleteHorizon` the time at which a compacted batch's tombstones may go.
    package var baseTimestamp: Int64
    package var maxTimestamp: Int64
    package var producerID: ProducerID
    package var producerEpoch: Int16
    package var baseSequence: Int32
    package var recordsCount: Int32

    package init(
        baseOffset: Offset = 0, batchLength: Int32 = 49, partitionLeaderEpoch: LeaderEpoch = -1, magic: Int8 = 2,
        crc: UInt32 = 0, attributes: Int16 = 0, lastOffsetDelta: Int32 = 0, baseTimestamp: Int64 = -1,
        maxTimestamp: Int64 = -1, producerID: ProducerID = -1, producerEpoch: Int16 = -1, baseSequence: Int32 = -1,
        recordsCount: Int32 = 1
    ) {
        self.baseOffset = baseOffset
        self.batchLength = batchLength
        self.partitionLeaderEpoch = partitionLeaderEpoch
        self.magic = magic
        self.crc = crc
        self.attributes = attributes
        self.lastOffsetDelta = lastOffsetDelta
        self.baseTimestamp = baseTimestamp
        self.maxTimestamp = maxTimestamp
        self.producerID = producerID
        self.producerEpoch = producerEpoch
        self.baseSequence = baseSequence
        self.recordsCount = recordsCount
    }

    /// Where a batch says its version.
    package static let magicPosition = BatchField.magic

    /// The header at `index` of `buffer`. Nil: fewer than 61 readable bytes from there, another magic than 2, or a
    /// `batchLength` too small for the header itself.
    package init?(reading buffer: ByteBuffer, at index: Int) {
        guard index >= buffer.readerIndex, index <= buffer.writerIndex else { return nil }
        let skipped = index - buffer.readerIndex
        let read = buffer.withUnsafeReadableBytes { BatchHeader(UnsafeRawBufferPointer(rebasing: $0[skipped...])) }
        guard let read else { return nil }
        self = read
    }

    /// The header at the start of `bytes`; nil as above.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.sizeBytes else { return nil }
        magic = bigEndian(bytes, BatchField.magic)
        batchLength = bigEndian(bytes, BatchField.batchLength)
        guard magic == 2, batchLength >= Int32(Self.sizeBytes - Self.logOverheadBytes) else { return nil }
        baseOffset = bigEndian(bytes, BatchField.baseOffset)
        partitionLeaderEpoch = bigEndian(bytes, BatchField.partitionLeaderEpoch)
        crc = bigEndian(bytes, BatchField.crc)
        attributes = bigEndian(bytes, BatchField.attributes)
        lastOffsetDelta = bigEndian(bytes, BatchField.lastOffsetDelta)
        baseTimestamp = bigEndian(bytes, BatchField.baseTimestamp)
        maxTimestamp = bigEndian(bytes, BatchField.maxTimestamp)
        producerID = bigEndian(bytes, BatchField.producerID)
        producerEpoch = bigEndian(bytes, BatchField.producerEpoch)
        baseSequence = bigEndian(bytes, BatchField.baseSequence)
        recordsCount = bigEndian(bytes, BatchField.recordsCount)
    }

    /// Appends the 61 bytes to `buffer`.
    package func write(into buffer: inout ByteBuffer) {
        buffer.writeInteger(baseOffset)
        buffer.writeInteger(batchLength)
        buffer.writeInteger(partitionLeaderEpoch)
        buffer.writeInteger(magic)
        buffer.writeInteger(crc)
        buffer.writeInteger(attributes)
        buffer.writeInteger(lastOffsetDelta)
        buffer.writeInteger(baseTimestamp)
        buffer.writeInteger(maxTimestamp)
        buffer.writeInteger(producerID)
        buffer.writeInteger(producerEpoch)
        buffer.writeInteger(baseSequence)
        buffer.writeInteger(recordsCount)
    }
}

extension BatchHeader {
    /// The whole batch, header and records.
    package var sizeBytes: Int { Int(batchLength) + Self.logOverheadBytes }
    package var lastOffset: Offset { baseOffset &+ Offset(lastOffsetDelta) }
    package var nextOffset: Offset { lastOffset &+ 1 }

    /// The sequence of the last record, which follows Int32.max by 0; −1 where there is no sequence.
    package var lastSequence: Int32 {
        guard baseSequence >= 0 else { return baseSequence }
        return Int32(truncatingIfNeeded: (Int64(baseSequence) + Int64(lastOffsetDelta)) & 0x7FFF_FFFF)
    }

    /// Nil for the codec numbers 5 to 7, which no one has given a meaning.
    package var compression: Compression? { Compression(rawValue: attributes & BatchAttribute.codecMask) }
    package var isControl: Bool { attributes & BatchAttribute.control != 0 }
    package var isTransactional: Bool { attributes & BatchAttribute.transactional != 0 }
    package var timestampTypeIsLogAppend: Bool { attributes & BatchAttribute.logAppendTime != 0 }
    package var hasDeleteHorizon: Bool { attributes & BatchAttribute.deleteHorizon != 0 }
    package var hasProducer: Bool { producerID >= 0 }
}

/// Where the fields lie in a batch, in bytes from its start.
enum BatchField {
    static let baseOffset = 0
    static let batchLength = 8
    static let partitionLeaderEpoch = 12
    static let magic = 16
    static let crc = 17
    static let attributes = 21
    static let lastOffsetDelta = 23
    static let baseTimestamp = 27
    static let maxTimestamp = 35
    static let producerID = 43
    static let producerEpoch = 51
    static let baseSequence = 53
    static let recordsCount = 57
}

/// The bits of `attributes`.
enum BatchAttribute {
    static let codecMask: Int16 = 0b111
    static let logAppendTime: Int16 = 1 << 3
    static let transactional: Int16 = 1 << 4
    static let control: Int16 = 1 << 5
    static let deleteHorizon: Int16 = 1 << 6
}

/// The integer at `offset`; the caller has checked the length, and the buffer checks it again.
@inline(__always)
private func bigEndian<T: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> T {
    T(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
}
