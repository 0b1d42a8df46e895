// gzip (RFC 1952) through zlib.

import CZlib
import NIOCore

enum Gzip {
    /// The largest window, with the gzip wrapping instead of zlib's own.
    private static let windowBits: Int32 = 15 + 16

    static func compress(_ bytes: UnsafeRawBufferPointer) -> ByteBuffer {
        // zlib keeps the stream's address, so it must not move.
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        defer { stream.deallocate() }
        let opened = deflateInit2_(
            stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        precondition(opened == Z_OK, "zlib could not start: out of memory")
        defer { deflateEnd(stream) }
        var output = ByteBuffer()
        let bound = Int(deflateBound(stream, UInt(bytes.count)))
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { room in
            stream.pointee.next_in = input(bytes)
            stream.pointee.avail_in = UInt32(bytes.count)
            stream.pointee.next_out = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(room.count)
            let ended = deflate(stream, Z_FINISH)
            precondition(ended == Z_STREAM_END, "zlib's own bound was too small")
            return Int(stream.pointee.total_out)
        }
        return output
    }

    /// Reads concatenated members too, as Java does.
    static func decompress(_ bytes: UnsafeRawBufferPointer, maxBytes: Int) throws(BatchError) -> ByteBuffer {
        guard let countIn = UInt32(exactly: bytes.count) else { throw .corrupt("too many gzip bytes") }
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        defer { stream.deallocate() }
        let opened = inflateInit2_(stream, windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(opened == Z_OK, "zlib could not start: out of memory")
        defer { inflateEnd(stream) }
        stream.pointee.next_in = input(bytes)
        stream.pointee.avail_in = countIn
        var output = BoundedOutput(maxBytes: maxBytes, compressedBytes: bytes.count)
        while true {
            var result = Z_OK
            try output.write { (room) throws(BatchError) -> Int in
                let offered = UInt32(clamping: room.count)
                stream.pointee.next_out = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_out = offered
                result = inflate(stream, Z_NO_FLUSH)
                return Int(offered - stream.pointee.avail_out)
            }
            switch result {
            case Z_OK: continue
            case Z_STREAM_END where stream.pointee.avail_in == 0: return output.buffer
            case Z_STREAM_END: inflateReset(stream)
            case Z_BUF_ERROR: throw .corrupt("the gzip block was cut")
            default: throw .corrupt("the gzip block is broken")
            }
        }
    }

    /// zlib's input pointer is not const, though it only reads.
    private static func input(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutablePointer<UInt8>? {
        guard let base = bytes.baseAddress else { return nil }
        return UnsafeMutablePointer(mutating: base.assumingMemoryBound(to: UInt8.self))
    }
}
