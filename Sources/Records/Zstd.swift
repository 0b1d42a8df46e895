// Zstandard frames through libzstd.

import CZstd
import NIOCore

enum Zstd {
    private static let level: Int32 = 3
    /// The largest window that zstd's own readers accept unasked: a frame with more would be stored, and then refused
    /// by every consumer.
    private static let windowLogMax = 27
    /// A block unpacks to 128 KiB at most, and none that holds anything is shorter than its head of three bytes and a
    /// byte (RFC 8878 §3.1.1.2).
    private static let (blockContentMax, blockBytesMin) = (128 << 10, 4)
    private static let contentSizeUnknown = UInt64.max
    private static let contentSizeError = UInt64.max - 1

    static func compress(_ bytes: UnsafeRawBufferPointer) -> ByteBuffer {
        var output = ByteBuffer()
        let bound = ZSTD_compressBound(bytes.count)
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { room in
            let written = ZSTD_compress(room.baseAddress, room.count, bytes.baseAddress, bytes.count, level)
            precondition(ZSTD_isError(written) == 0, "zstd could not compress: out of memory")
            return written
        }
        return output
    }

    /// Decodes straight into the output, in one call, so that no window needs memory of its own, however large the
    /// frame says it is. Where frames do not tell their size, the output doubles until they fit.
    static func decompress(_ bytes: UnsafeRawBufferPointer, maxBytes: Int) throws(BatchError) -> ByteBuffer {
        let known = try contentBytes(bytes, maxBytes: maxBytes)
        // Of a broken frame zstd may say that the output is too small, however large it is.
        let limit = min(maxBytes, (bytes.count + blockBytesMin - 1) / blockBytesMin * blockContentMax)
        var capacity = min(limit, known ?? max(64 * 1024, bytes.count * 8))
        while true {
            var output = ByteBuffer()
            var isTooSmall = false
            try output.writeWithUnsafeMutableBytes(minimumWritableBytes: max(capacity, 1)) {
                (room) throws(BatchError) -> Int in
                let written = ZSTD_decompress(room.baseAddress, capacity, bytes.baseAddress, bytes.count)
                if ZSTD_isError(written) == 0 { return written }
                isTooSmall = ZSTD_getErrorCode(written) == ZSTD_error_dstSize_tooSmall
                guard isTooSmall else { throw .corrupt("the zstd frame is broken") }
                return 0
            }
            if !isTooSmall { return output }
            guard known == nil else { throw .corrupt("the zstd frame holds more than it says") }
            guard capacity < maxBytes else { throw .decompressionTooLarge(limit: maxBytes) }
            guard capacity < limit else { throw .corrupt("the zstd frame is broken") }
            capacity = min(capacity * 2, limit)
        }
    }

    /// Walks the frames' heads. Returns what they say to unpack to together; nil if one does not say.
    private static func contentBytes(_ bytes: UnsafeRawBufferPointer, maxBytes: Int) throws(BatchError) -> Int? {
        guard !bytes.isEmpty else { throw .corrupt("there is no zstd frame") }
        var total: Int? = 0
        var position = 0
        while position < bytes.count {
            let frame = UnsafeRawBufferPointer(rebasing: bytes[position...])
            let frameBytes = ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count)
            guard ZSTD_isError(frameBytes) == 0, frameBytes > 0, frameBytes <= frame.count else {
                throw .corrupt("the zstd frame is broken or was cut")
            }
            let content = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
            guard content != contentSizeError else { throw .corrupt("the zstd frame is broken") }
            if content == contentSizeUnknown {
                total = nil
            } else {
                guard content <= UInt64(max(0, maxBytes - (total ?? 0))) else {
                    throw .decompressionTooLarge(limit: maxBytes)
                }
                if let sum = total { total = sum + Int(content) }
            }
            try checkWindow(frame)
            position += frameBytes
        }
        return total
    }

    /// RFC 8878 §3.1.1.1: after the magic comes a descriptor and, unless that has the single-segment bit, a window
    /// descriptor: five bits of exponent over 2^10 and three of mantissa.
    private static func checkWindow(_ frame: UnsafeRawBufferPointer) throws(BatchError) {
        let magic: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]
        // Skippable frames have another magic and no window.
        guard frame.starts(with: magic), frame.count > 5, frame[4] & 0x20 == 0 else { return }
        let windowLog = 10 + Int(frame[5] >> 3)
        let isAbovePower = frame[5] & 0x07 != 0
        guard windowLog + (isAbovePower ? 1 : 0) <= windowLogMax else {
            throw .corrupt("the zstd frame needs a window above 2^\(windowLogMax) bytes")
        }
    }
}
