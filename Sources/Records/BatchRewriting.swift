// The two changes a broker makes inside the CRC of a batch.

import NIOCore

/// A copy of a validated batch that carries the broker's time: timestamp type LogAppendTime, `maxTimestamp` =
/// `timeMs`, a new CRC. Readers then take `maxTimestamp` for every record.
package func withLogAppendTime(_ batch: ByteBuffer, timeMs: Int64) -> ByteBuffer {
    rewritten(batch, maxTimestamp: timeMs, addedAttributes: BatchAttribute.logAppendTime)
}

/// A copy of a validated batch with another `maxTimestamp` and a new CRC. See `validateProduced`.
package func withMaxTimestamp(_ batch: ByteBuffer, timeMs: Int64) -> ByteBuffer {
    rewritten(batch, maxTimestamp: timeMs, addedAttributes: 0)
}

private func rewritten(_ batch: ByteBuffer, maxTimestamp: Int64, addedAttributes: Int16) -> ByteBuffer {
    guard let header = BatchHeader(reading: batch, at: batch.readerIndex), header.sizeBytes == batch.readableBytes
    else { preconditionFailure("only one whole batch can be rewritten") }
    var copy = ByteBuffer()
    copy.reserveCapacity(batch.readableBytes)
    copy.writeImmutableBuffer(batch)
    copy.setInteger(header.attributes | addedAttributes, at: BatchField.attributes)
    copy.setInteger(maxTimestamp, at: BatchField.maxTimestamp)
    copy.setInteger(copy.withUnsafeReadableBytes { batchCRC($0) }, at: BatchField.crc)
    return copy
}
