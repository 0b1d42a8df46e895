// One measured operation: a message, decoded or encoded at one version.

import NIOCore
import Wire

struct CodecCase {
    var name: String
    /// Calls in one timed stretch, so that a stretch lasts about a millisecond.
    var calls: Int
    /// Runs the operation so many times. The loop is inside, so that the closure's call is paid once a stretch.
    var run: (Int) -> Void
}

/// What the loops add to, so that no work is dropped as unused.
struct Sink {
    nonisolated(unsafe) static var total = 0  // One thread; the benchmark has no other.
}

extension CodecCase {
    static func decode<M: WireMessage>(
        _ name: String, _ message: M, version: Int16, calls: Int,
        by decode: @escaping (inout ByteBuffer) throws(WireError) -> M
    ) -> CodecCase {
        var frame = ByteBufferAllocator().buffer(capacity: 1 << 17)
        wireEncode(message, version: version, into: &frame)
        let encoded = frame
        precondition((try? decode(&frame)) == message && frame.readableBytes == 0, "\(name) comes back")
        return CodecCase(name: "\(name), decode", calls: calls) { count in
            for _ in 0..<count {
                var bytes = encoded
                guard let decoded = try? decode(&bytes) else { preconditionFailure("\(name) does not decode") }
                withExtendedLifetime(decoded) { Sink.total += bytes.readerIndex }
            }
        }
    }

    static func encode<M: WireMessage>(
        _ name: String, _ message: M, version: Int16, calls: Int,
        by encode: @escaping (M, inout ByteBuffer) -> Void
    ) -> CodecCase {
        var expected = ByteBuffer()
        var written = ByteBuffer()
        wireEncode(message, version: version, into: &expected)
        encode(message, &written)
        precondition(written == expected, "\(name) is the message's bytes")
        return CodecCase(name: "\(name), encode", calls: calls) { count in
            var out = ByteBufferAllocator().buffer(capacity: 1 << 17)
            for _ in 0..<count {
                out.clear()
                encode(message, &out)
                Sink.total += out.readableBytes
            }
        }
    }
}
