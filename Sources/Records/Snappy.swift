// Snappy: raw blocks, and the framing of the Java library snappy-java ("xerial"), which Kafka made its own.

import CSnappy
import NIOCore

enum Snappy {
    /// The framing's head: this, then two big-endian Int32 versions; then chunks, an Int32 length and a raw block each.
    private static let magic: [UInt8] = [0x82, 0x53, 0x4E, 0x41, 0x50, 0x50, 0x59, 0x00]
    private static let headBytes = 16
    private static let chunkBytes = 32 * 1024
    /// A raw block cannot say more than 64 bytes in 3; a length beyond this is a lie, found before memory is taken.
    private static let ratioMax = 32

    static func compress(_ bytes: UnsafeRawBufferPointer) -> ByteBuffer {
        var output = ByteBuffer(bytes: magic)
        output.writeInteger(Int32(1))
        output.writeInteger(Int32(1))
        var position = 0
        while position < bytes.count {
            let chunk = UnsafeRawBufferPointer(rebasing: bytes[position..<min(position + chunkBytes, bytes.count)])
            let lengthIndex = output.writerIndex
            output.writeInteger(Int32(0))
            let bound = snappy_max_compressed_length(chunk.count)
            let written = output.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { room in
                var written = room.count
                let status = snappy_compress(
                    chunk.baseAddress?.assumingMemoryBound(to: CChar.self), chunk.count,
                    room.baseAddress?.assumingMemoryBound(to: CChar.self), &written)
                precondition(status == SNAPPY_OK, "snappy's own bound was too small")
                return written
            }
            output.setInteger(Int32(written), at: lengthIndex)
            position += chunk.count
        }
        return output
    }

    static func decompress(_ bytes: UnsafeRawBufferPointer, maxBytes: Int) throws(BatchError) -> ByteBuffer {
        var output = ByteBuffer()
        guard startsWithMagic(bytes[...]) else {
            try appendBlock(bytes, to: &output, maxBytes: maxBytes)
            return output
        }
        var position = 0
        while position < bytes.count {
            // Streams that were concatenated have a head again in the middle.
            if startsWithMagic(bytes[position...]) {
                guard bytes.count - position >= headBytes else { throw .corrupt("the snappy stream was cut") }
                position += headBytes
                continue
            }
            guard bytes.count - position >= 4 else { throw .corrupt("the snappy stream was cut") }
            let length = Int(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: Int32.self)))
            position += 4
            guard length > 0, length <= bytes.count - position else {
                throw .corrupt("a snappy chunk does not fit in its stream")
            }
            let chunk = UnsafeRawBufferPointer(rebasing: bytes[position..<position + length])
            try appendBlock(chunk, to: &output, maxBytes: maxBytes)
            position += length
        }
        return output
    }

    private static func startsWithMagic(_ bytes: Slice<UnsafeRawBufferPointer>) -> Bool {
        bytes.starts(with: magic)
    }

    private static func appendBlock(
        _ block: UnsafeRawBufferPointer, to output: inout ByteBuffer, maxBytes: Int
    ) throws(BatchError) {
        let source = block.baseAddress?.assumingMemoryBound(to: CChar.self)
        var declared = 0
        guard snappy_uncompressed_length(source, block.count, &declared) == SNAPPY_OK,
            declared >= 0, declared / ratioMax <= block.count
        else { throw .corrupt("a snappy block has a wrong length") }
        guard declared <= maxBytes - output.readableBytes else { throw .decompressionTooLarge(limit: maxBytes) }
        try output.writeWithUnsafeMutableBytes(minimumWritableBytes: max(declared, 1)) {
            (room) throws(BatchError) -> Int in
            var written = room.count
            let target = room.baseAddress?.assumingMemoryBound(to: CChar.self)
            guard snappy_uncompress(source, block.count, target, &written) == SNAPPY_OK, written == declared else {
                throw .corrupt("a snappy block is broken")
            }
            return written
        }
    }
}
