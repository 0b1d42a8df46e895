// The LZ4 frame format through liblz4.

import CLz4
import NIOCore

enum Lz4 {
    /// Independent blocks of 64 KiB, the only kind that Java's reader understands.
    static func compress(_ bytes: UnsafeRawBufferPointer) -> ByteBuffer {
        var preferences = LZ4F_preferences_t()
        preferences.frameInfo.blockSizeID = LZ4F_max64KB
        preferences.frameInfo.blockMode = LZ4F_blockIndependent
        var output = ByteBuffer()
        let bound = LZ4F_compressFrameBound(bytes.count, &preferences)
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { room in
            let written = LZ4F_compressFrame(
                room.baseAddress, room.count, bytes.baseAddress, bytes.count, &preferences)
            precondition(LZ4F_isError(written) == 0, "lz4 could not compress: out of memory")
            return written
        }
        return output
    }

    /// Exactly one frame: Java reads no further than the first, so a second one would be lost on consumers.
    static func decompress(_ bytes: UnsafeRawBufferPointer, maxBytes: Int) throws(BatchError) -> ByteBuffer {
        var context: OpaquePointer?
        let opened = LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))
        precondition(LZ4F_isError(opened) == 0, "lz4 could not start: out of memory")
        defer { LZ4F_freeDecompressionContext(context) }
        var output = BoundedOutput(maxBytes: maxBytes, compressedBytes: bytes.count)
        var position = 0
        while true {
            var isWhole = false
            try output.write { (room) throws(BatchError) -> Int in
                var written = room.count
                var read = bytes.count - position
                let source = bytes.baseAddress.map { $0 + position }
                let result = LZ4F_decompress(context, room.baseAddress, &written, source, &read, nil)
                guard LZ4F_isError(result) == 0 else { throw .corrupt("the lz4 frame is broken") }
                isWhole = result == 0
                guard isWhole || read > 0 || written > 0 else { throw .corrupt("the lz4 frame was cut") }
                position += read
                return written
            }
            if isWhole { break }
        }
        guard position == bytes.count else { throw .corrupt("there are bytes after the lz4 frame") }
        return output.buffer
    }
}
