// A record as programs see it.

import Model
import NIOCore

/// A name and a value beside a record; names may repeat.
public struct RecordHeader: Equatable, Sendable {
    public var name: String
    public var value: ByteBuffer?

    public init(name: String, value: ByteBuffer?) {
        self.name = name
        self.value = value
    }
}

package struct Record: Equatable, Sendable {
    package var offset: Offset
    /// Milliseconds since 1970; −1: none.
    package var timestamp: Int64
    package var key: ByteBuffer?
    /// Nil is a tombstone.
    package var value: ByteBuffer?
    package var headers: [RecordHeader]

    package init(
        offset: Offset, timestamp: Int64, key: ByteBuffer?, value: ByteBuffer?, headers: [RecordHeader] = []
    ) {
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value
        self.headers = headers
    }
}

/// The records of the one whole batch that `batch` must hold. Checks the CRC and everything that reading relies on;
/// offsets may have the gaps that compaction leaves. Keys and values are slices of one buffer: hold copies of them if
/// they outlive the batch.
///
/// Errors: every `BatchError` but `tooLarge` and `invalidTimestamp`.
package func decodeRecords(
    _ batch: ByteBuffer, maxDecompressedBytes: Int = Limits.decompressionFactorMax * Limits.messageBytesMax
) throws(BatchError) -> [Record] {
    let header = try batch.withUnsafeReadableBytes { (bytes) throws(BatchError) -> BatchHeader in
        try soleBatch(bytes)
    }
    guard let compression = header.compression else {
        throw .unsupportedCompression(Int(header.attributes & BatchAttribute.codecMask))
    }
    var payload = batch
    payload.moveReaderIndex(forwardBy: BatchHeader.sizeBytes)
    // The cleaner keeps the empty batch of a producer whose records are all gone.
    if header.recordsCount == 0, payload.readableBytes == 0 { return [] }
    if compression != .none { payload = try compression.decompress(payload, maxBytes: maxDecompressedBytes) }
    guard header.recordsCount >= 0, Int(header.recordsCount) <= payload.readableBytes / RecordCursor.recordBytesMin
    else { throw .invalidRecord("the record count does not fit the batch") }
    return try decodePayload(payload, header)
}

private func decodePayload(_ payload: ByteBuffer, _ header: BatchHeader) throws(BatchError) -> [Record] {
    try payload.withUnsafeReadableBytes { (bytes) throws(BatchError) -> [Record] in
        func slice(_ range: Range<Int>?) -> ByteBuffer? {
            guard let range else { return nil }
            return payload.getSlice(at: payload.readerIndex + range.lowerBound, length: range.count)
        }
        var cursor = RecordCursor(bytes)
        var records: [Record] = []
        records.reserveCapacity(Int(header.recordsCount))
        var leastDelta: Int32 = 0
        for _ in 0..<header.recordsCount {
            let view = try cursor.next()
            guard view.offsetDelta >= leastDelta, view.offsetDelta <= header.lastOffsetDelta else {
                throw .invalidRecord("the offsets of a batch's records are out of order")
            }
            leastDelta = view.offsetDelta &+ 1
            var headers: [RecordHeader] = []
            headers.reserveCapacity(view.headersCount)
            var headerCursor = RecordCursor(bytes, from: view.headersStart)
            for _ in 0..<view.headersCount {
                let (name, value) = try headerCursor.nextHeader()
                headers.append(RecordHeader(name: String(decoding: bytes[name], as: UTF8.self), value: slice(value)))
            }
            let timestamp =
                header.timestampTypeIsLogAppend
                ? header.maxTimestamp : header.baseTimestamp &+ view.timestampDelta
            records.append(
                Record(
                    offset: header.baseOffset &+ Offset(view.offsetDelta), timestamp: timestamp,
                    key: slice(view.key), value: slice(view.value), headers: headers))
        }
        guard cursor.isAtEnd else { throw .invalidRecord("a batch holds more than its record count says") }
        return records
    }
}
