// What the tests of Records share: batches by hand, sealed with a right CRC.

import Model
import NIOCore
import Records

func bytes(_ text: String) -> ByteBuffer { ByteBuffer(string: text) }

/// A batch of `count` records with keys and values, timestamps from `timestamp` upward.
func batch(
    count: Int = 3, baseOffset: Offset = 0, timestamp: Int64 = 1_000, compression: Compression = .none,
    producerID: ProducerID = -1, producerEpoch: Int16 = -1, baseSequence: Int32 = -1, isTransactional: Bool = false,
    isControl: Bool = false
) -> ByteBuffer {
    var builder = RecordBatchBuilder(
        baseOffset: baseOffset, leaderEpoch: 5, compression: compression, producerID: producerID,
        producerEpoch: producerEpoch, baseSequence: baseSequence, isTransactional: isTransactional,
        isControl: isControl)
    for index in 0..<count {
        builder.append(timestamp: timestamp + Int64(index), key: bytes("k\(index)"), value: bytes("value \(index)"))
    }
    return builder.build()
}

/// A batch with this payload, whatever it is, under a header that fits it.
func batch(payload: [UInt8], count: Int32, lastOffsetDelta: Int32? = nil, attributes: Int16 = 0) -> ByteBuffer {
    var buffer = ByteBuffer()
    BatchHeader(
        batchLength: Int32(49 + payload.count), attributes: attributes, lastOffsetDelta: lastOffsetDelta ?? count - 1,
        baseTimestamp: 1_000, maxTimestamp: 1_000, recordsCount: count
    ).write(into: &buffer)
    buffer.writeBytes(payload)
    return sealed(buffer)
}

/// The batch with its CRC made right again.
func sealed(_ batch: ByteBuffer) -> ByteBuffer {
    var copy = batch
    copy.setInteger(copy.withUnsafeReadableBytes { batchCRC($0) }, at: copy.readerIndex + 17)
    return copy
}

/// The batch with another integer at `offset` and a right CRC.
func changed<T: FixedWidthInteger>(_ batch: ByteBuffer, at offset: Int, to value: T) -> ByteBuffer {
    var copy = batch
    copy.setInteger(value, at: copy.readerIndex + offset)
    return sealed(copy)
}

/// Runs `body` and returns the batch error it throws, if it does.
func refusal<T>(_ body: () throws(BatchError) -> T) -> BatchError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error
    }
}

func produceRefusal(
    _ records: ByteBuffer, _ checks: ProduceChecks = ProduceChecks(), wallMs: Int64 = 1_000
) -> BatchError? {
    refusal { () throws(BatchError) in try validateProduced(records, checks: checks, wallMs: wallMs) }
}

/// Hexadecimal digits to bytes.
func unhex(_ text: String) -> ByteBuffer {
    let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue.map(UInt8.init) }
    precondition(digits.count % 2 == 0, "an odd number of digits")
    return ByteBuffer(bytes: stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] })
}

/// Text-like bytes that compress, but not away: the same for the same seed.
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 60) &+ 97
    }
}
