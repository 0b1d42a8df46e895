// CRC-32C over buffers and batches.

import CChecksum
import NIOCore

/// CRC-32C (Castagnoli) of `bytes`, continuing from the CRC of what came before them.
package func crc32c(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
    martlet_crc32c(seed, bytes.baseAddress, bytes.count)
}

/// CRC-32C of the readable bytes, continuing from `seed`.
package func crc32c(_ buffer: ByteBuffer, seed: UInt32 = 0) -> UInt32 {
    buffer.withUnsafeReadableBytes { crc32c($0, seed: seed) }
}

/// The CRC that belongs into a batch: over everything from its attributes to the end of `bytes`, which must be exactly
/// one batch. Fewer bytes than reach to the attributes have the CRC of nothing.
package func batchCRC(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    guard bytes.count > BatchField.attributes else { return 0 }
    return crc32c(UnsafeRawBufferPointer(rebasing: bytes[BatchField.attributes...]))
}

/// Whether the batch at the reader index is whole and its CRC is right. Bytes after it are not looked at.
package func verifyCRC(of batch: ByteBuffer) -> Bool {
    batch.withUnsafeReadableBytes { bytes in
        guard let header = BatchHeader(bytes), header.sizeBytes <= bytes.count else { return false }
        return batchCRC(UnsafeRawBufferPointer(rebasing: bytes[..<header.sizeBytes])) == header.crc
    }
}
