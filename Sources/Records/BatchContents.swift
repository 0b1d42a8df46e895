// The records of one batch for whoever cleans a log: looked at one by one, and written again without those that go.

import Model
import NIOCore

/// One record as the cleaner sees it.
package struct RecordGlance {
    package var offset: Offset
    /// A null value: it says that its key is gone.
    package var isTombstone: Bool
    /// Nil: a null key. Not to be used outside the call that it is given to.
    package var key: UnsafeRawBufferPointer?
}

/// A batch, unpacked. Its checksum is for the caller to check. What is written again keeps the batch's offsets,
/// sequences, producer, epoch, compression and largest timestamp, and the records that are kept keep all of theirs.
package struct BatchContents {
    package let header: BatchHeader
    private let compression: Compression
    private let payload: ByteBuffer

    /// `batch`: one whole batch with this header. Unpacks as much as any batch that a broker takes may hold.
    package init(_ batch: ByteBuffer, header: BatchHeader) throws(BatchError) {
        guard let compression = header.compression else {
            throw .unsupportedCompression(Int(header.attributes & BatchAttribute.codecMask))
        }
        guard batch.readableBytes == header.sizeBytes else { throw .corrupt("not one whole batch") }
        var packed = batch
        packed.moveReaderIndex(forwardBy: BatchHeader.sizeBytes)
        self.header = header
        self.compression = compression
        // The cleaner's own empty batches hold nothing that could be unpacked.
        let isEmpty = header.recordsCount == 0 && packed.readableBytes == 0
        payload = isEmpty ? packed : try compression.decompress(packed, maxBytes: .max)
    }

    package var isPacked: Bool { compression != .none }
    package var unpackedBytes: Int { payload.readableBytes }

    package func forEachRecord(_ body: (RecordGlance) -> Void) throws(BatchError) {
        try payload.withUnsafeReadableBytes { (bytes) throws(BatchError) in
            try walk(bytes) { (view, _) throws(BatchError) in
                body(
                    RecordGlance(
                        offset: header.baseOffset &+ Offset(view.offsetDelta), isTombstone: view.value == nil,
                        key: view.key.map { UnsafeRawBufferPointer(rebasing: bytes[$0]) }))
            }
        }
    }

    /// The batch with the records for which `isKept`, in their order, says so; at least one. With a `deleteHorizonMs`
    /// its tombstones may go when that time has come (KIP-534): the base timestamp then holds that time.
    package func rewritten(
        keeping isKept: [Bool], deleteHorizonMs: Int64?
    ) throws(BatchError) -> (batch: ByteBuffer, header: BatchHeader) {
        var records = ByteBuffer()
        records.reserveCapacity(payload.readableBytes)
        var (index, count) = (0, 0)
        try payload.withUnsafeReadableBytes { (bytes) throws(BatchError) in
            try walk(bytes) { (_, range) throws(BatchError) in
                defer { index += 1 }
                guard index < isKept.count, isKept[index] else { return }
                count += 1
                if let deleteHorizonMs {
                    try write(bytes, range, onto: deleteHorizonMs, into: &records)
                } else {
                    records.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[range]))
                }
            }
        }
        precondition(count > 0, "a batch of which nothing is kept is emptied")
        var header = header
        header.recordsCount = Int32(count)
        if let deleteHorizonMs {
            header.attributes |= BatchAttribute.deleteHorizon
            header.baseTimestamp = deleteHorizonMs
        }
        return header.sealed(with: compression.compress(records))
    }

    /// The record at `range` with the same timestamp counted from another base.
    private func write(
        _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, onto base: Int64, into records: inout ByteBuffer
    ) throws(BatchError) {
        var cursor = RecordCursor(bytes, from: range.lowerBound)
        let (attributes, delta) = try cursor.nextHead()
        let newDelta = header.baseTimestamp &+ delta &- base
        let rest = UnsafeRawBufferPointer(rebasing: bytes[cursor.position..<range.upperBound])
        records.writeVarint(Int64(1 + varintBytes(newDelta) + rest.count))
        records.writeInteger(attributes)
        records.writeVarint(newDelta)
        records.writeBytes(rest)
    }

    /// Every record, and where it lies.
    private func walk(
        _ bytes: UnsafeRawBufferPointer, _ body: (RecordView, Range<Int>) throws(BatchError) -> Void
    ) throws(BatchError) {
        guard header.recordsCount >= 0, Int(header.recordsCount) <= bytes.count / RecordCursor.recordBytesMin else {
            throw .invalidRecord("the record count does not fit the batch")
        }
        var cursor = RecordCursor(bytes)
        var leastDelta: Int32 = 0
        for _ in 0..<header.recordsCount {
            let start = cursor.position
            let view = try cursor.next()
            guard view.offsetDelta >= leastDelta, view.offsetDelta <= header.lastOffsetDelta else {
                throw .invalidRecord("the offsets of a batch's records are out of order")
            }
            leastDelta = view.offsetDelta &+ 1
            try body(view, start..<cursor.position)
        }
        guard cursor.isAtEnd else { throw .invalidRecord("a batch holds more than its record count says") }
    }
}
