// What a broker checks before it believes a batch: from a producer, and from its leader.

import Model
import NIOCore

/// A topic's settings that decide which batches it takes.
package struct ProduceChecks: Equatable, Sendable {
    /// `max.message.bytes`, of the batch as sent.
    package var maxMessageBytes: Int
    /// `message.timestamp.before.max.ms`: how far a record's timestamp may lie behind the broker's clock.
    package var timestampBeforeMaxMs: Int64
    /// `message.timestamp.after.max.ms`: how far it may lie ahead.
    package var timestampAfterMaxMs: Int64
    /// `message.timestamp.type` is LogAppendTime: the records' own timestamps do not matter.
    package var timestampTypeIsLogAppend: Bool
    /// `cleanup.policy` holds compact: a record without a key could never be compacted.
    package var requiresKeys: Bool
    /// What the records of one batch may unpack to.
    package var maxDecompressedBytes: Int

    /// `maxDecompressedBytes` is by default `Limits.decompressionFactorMax` times `maxMessageBytes`.
    package init(
        maxMessageBytes: Int = Limits.messageBytesMax, timestampBeforeMaxMs: Int64 = .max,
        timestampAfterMaxMs: Int64 = 3_600_000, timestampTypeIsLogAppend: Bool = false, requiresKeys: Bool = false,
        maxDecompressedBytes: Int? = nil
    ) {
        self.maxMessageBytes = maxMessageBytes
        self.timestampBeforeMaxMs = timestampBeforeMaxMs
        self.timestampAfterMaxMs = timestampAfterMaxMs
        self.timestampTypeIsLogAppend = timestampTypeIsLogAppend
        self.requiresKeys = requiresKeys
        let (product, overflow) = maxMessageBytes.multipliedReportingOverflow(by: Limits.decompressionFactorMax)
        self.maxDecompressedBytes = maxDecompressedBytes ?? (overflow ? .max : product)
    }
}

/// Checks one partition's entry of a Produce request: exactly one batch, whole and unchanged, its header consistent,
/// and every record inside it well-formed. Allocates only to decompress.
///
/// The header it returns is the batch's own but for `maxTimestamp`, which is the largest timestamp among the records:
/// some clients send another. Where it differs from the bytes, `withMaxTimestamp` makes a batch that agrees.
package func validateProduced(
    _ records: ByteBuffer, checks: ProduceChecks, wallMs: Int64
) throws(BatchError) -> BatchHeader {
    try records.withUnsafeReadableBytes { (bytes) throws(BatchError) -> BatchHeader in
        var header = try soleBatch(bytes, maxBytes: checks.maxMessageBytes)
        let compression = try checkProducedHeader(header)
        let payload = UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.sizeBytes...])
        if compression == .none {
            header.maxTimestamp = try checkPayload(payload, header, checks, wallMs)
        } else {
            let unpacked = try compression.decompress(payload, maxBytes: checks.maxDecompressedBytes)
            header.maxTimestamp = try unpacked.withUnsafeReadableBytes { (bytes) throws(BatchError) -> Int64 in
                try checkPayload(bytes, header, checks, wallMs)
            }
        }
        return header
    }
}

/// Checks what a follower received from its leader: batches that are whole, unchanged, and follow one another from
/// `expectedOffset` upward. A base offset above the expected one is a gap that compaction left. A partial batch at the
/// end, where the leader's answer was cut, is not an error. The records inside are not looked at: the leader did that.
///
/// Returns the headers of the whole batches and the bytes that these make up from the reader index on.
package func checkReplicated(
    _ records: ByteBuffer, expectedOffset: Offset
) throws(BatchError) -> (headers: [BatchHeader], sizeBytes: Int) {
    try records.withUnsafeReadableBytes { (bytes) throws(BatchError) -> (headers: [BatchHeader], sizeBytes: Int) in
        var headers: [BatchHeader] = []
        var expected = expectedOffset
        var position = 0
        while true {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
            guard let header = try header(of: rest), header.sizeBytes <= rest.count else { break }
            let batch = UnsafeRawBufferPointer(rebasing: rest[..<header.sizeBytes])
            guard batchCRC(batch) == header.crc else {
                throw .corrupt("wrong CRC in the replicated batch at offset \(header.baseOffset)")
            }
            guard header.baseOffset >= expected else {
                throw .corrupt("a replicated batch starts at offset \(header.baseOffset), expected \(expected)")
            }
            guard header.lastOffsetDelta >= 0, header.nextOffset > header.baseOffset else {
                throw .corrupt("the replicated batch at offset \(header.baseOffset) has a wrong last offset")
            }
            guard header.recordsCount >= 0, Int64(header.recordsCount) <= Int64(header.lastOffsetDelta) + 1 else {
                throw .corrupt("the replicated batch at offset \(header.baseOffset) has a wrong record count")
            }
            headers.append(header)
            expected = header.nextOffset
            position += header.sizeBytes
        }
        return (headers, position)
    }
}

/// The header of the one batch that `bytes` must be, with its CRC checked.
func soleBatch(_ bytes: UnsafeRawBufferPointer, maxBytes: Int = .max) throws(BatchError) -> BatchHeader {
    guard !bytes.isEmpty else { throw .invalidRecord("there is no record batch") }
    guard let header = try header(of: bytes) else { throw .corrupt("\(bytes.count) bytes are no record batch") }
    guard header.sizeBytes <= bytes.count else {
        throw .corrupt("a record batch of \(header.sizeBytes) bytes was cut to \(bytes.count)")
    }
    guard header.sizeBytes <= maxBytes else { throw .tooLarge(sizeBytes: header.sizeBytes, limit: maxBytes) }
    guard header.sizeBytes == bytes.count else { throw .moreThanOneBatch }
    guard batchCRC(bytes) == header.crc else { throw .corrupt("wrong CRC") }
    return header
}

/// The header at the start of `bytes`; nil if there are too few bytes to tell.
private func header(of bytes: UnsafeRawBufferPointer) throws(BatchError) -> BatchHeader? {
    guard bytes.count > BatchField.magic else { return nil }
    let magic = Int8(bitPattern: bytes[BatchField.magic])
    guard magic == 2 else { throw .unsupportedMagic(magic) }
    guard bytes.count >= BatchHeader.sizeBytes else { return nil }
    guard let header = BatchHeader(bytes) else { throw .corrupt("a batch length is smaller than the batch header") }
    return header
}

/// The rules a producer's header must keep. Returns its codec.
private func checkProducedHeader(_ header: BatchHeader) throws(BatchError) -> Compression {
    guard let compression = header.compression else {
        throw .unsupportedCompression(Int(header.attributes & BatchAttribute.codecMask))
    }
    if header.baseOffset != 0 { throw .invalidRecord("a producer's base offset must be 0, not \(header.baseOffset)") }
    if header.isControl { throw .invalidRecord("clients may not write control batches") }
    if header.hasDeleteHorizon { throw .invalidRecord("clients may not set a delete horizon") }
    if header.timestampTypeIsLogAppend { throw .invalidTimestamp("producers may not set LogAppendTime") }
    if header.recordsCount <= 0 { throw .invalidRecord("a batch must hold at least one record") }
    if header.lastOffsetDelta != header.recordsCount - 1 {
        throw .invalidRecord(
            "\(header.recordsCount) records do not agree with the last offset delta \(header.lastOffsetDelta)")
    }
    if header.hasProducer {
        if header.baseSequence < 0 { throw .invalidRecord("sequence \(header.baseSequence) with a producer id") }
        if header.producerEpoch < 0 { throw .invalidRecord("epoch \(header.producerEpoch) with a producer id") }
    } else if header.isTransactional {
        throw .invalidRecord("a transactional batch needs a producer id")
    }
    return compression
}

/// Walks every record of an uncompressed payload. Returns the largest timestamp.
private func checkPayload(
    _ payload: UnsafeRawBufferPointer, _ header: BatchHeader, _ checks: ProduceChecks, _ wallMs: Int64
) throws(BatchError) -> Int64 {
    var cursor = RecordCursor(payload)
    var maxTimestamp: Int64 = -1
    for expectedDelta in 0..<header.recordsCount {
        let record = try cursor.next()
        guard record.offsetDelta == expectedDelta else {
            throw .invalidRecord("record \(expectedDelta) has the offset delta \(record.offsetDelta)")
        }
        if checks.requiresKeys, record.key == nil {
            throw .invalidRecord("record \(expectedDelta) has no key, which a compacted topic demands")
        }
        let (timestamp, overflow) = header.baseTimestamp.addingReportingOverflow(record.timestampDelta)
        guard !overflow else { throw .invalidTimestamp("the timestamp of record \(expectedDelta) is out of range") }
        if !checks.timestampTypeIsLogAppend { try checkTimestamp(timestamp, checks, wallMs) }
        maxTimestamp = max(maxTimestamp, timestamp)
    }
    guard cursor.isAtEnd else { throw .invalidRecord("a batch holds more than its record count says") }
    return maxTimestamp
}

@inline(__always)
private func checkTimestamp(_ timestamp: Int64, _ checks: ProduceChecks, _ wallMs: Int64) throws(BatchError) {
    if timestamp == -1 { return }
    let (age, overflow) = wallMs.subtractingReportingOverflow(timestamp)
    // Overflow happens only with a timestamp of the other sign, so it says which side the timestamp lies on.
    let isTooOld = overflow ? timestamp < 0 : age > checks.timestampBeforeMaxMs
    let isTooNew = overflow ? timestamp >= 0 : age < 0 && (age == .min || -age > checks.timestampAfterMaxMs)
    if isTooOld || isTooNew {
        throw .invalidTimestamp("timestamp \(timestamp) is too far from the broker's time \(wallMs)")
    }
}
