// One measured operation, and how the codec's are made of a message.

import NIOCore
import Wire

public struct MicroCase {
    public let name: String
    /// Calls in one timed stretch, so that a stretch lasts about a millisecond.
    public let calls: Int
    /// Makes what the operation needs, and answers what runs it so many times. The loop is inside, so that the
    /// closure's call is paid once a stretch.
    public let prepare: () -> (Int) -> Void

    init(_ name: String, calls: Int, prepare: @escaping () -> (Int) -> Void) {
        self.name = name
        self.calls = calls
        self.prepare = prepare
    }

    /// Not Martlet's code: it is timed for comparison, and not guarded.
    public var isYardstick: Bool { name.hasPrefix("yardstick") }
}

/// All there are. A name is its row in Tests/MicroGuardTests/thresholds.txt.
public func microCases() -> [MicroCase] {
    codecCases() + batchCases() + logCases() + raftCases() + replicationCases() + brokerCases()
}

/// What the loops add to, so that no work is dropped as unused.
enum Sink {
    nonisolated(unsafe) static var total = 0  // One thread; the benchmark has no other.
}

/// The wall clock of all cases, in ms since 1970.
let wallMs: Int64 = 1_700_000_000_000

/// What cannot fail in a benchmark.
@inline(__always)
func sure<T, Failure: Error>(_ body: () throws(Failure) -> T) -> T {
    do {
        return try body()
    } catch {
        preconditionFailure("a measured operation failed: \(error)")
    }
}

extension MicroCase {
    static func decode<M: WireMessage>(
        _ name: String, _ message: M, version: Int16, calls: Int,
        by decode: @escaping (inout ByteBuffer) throws(WireError) -> M
    ) -> MicroCase {
        MicroCase("\(name), decode", calls: calls) {
            var frame = ByteBufferAllocator().buffer(capacity: 1 << 17)
            wireEncode(message, version: version, into: &frame)
            let encoded = frame
            precondition((try? decode(&frame)) == message && frame.readableBytes == 0, "\(name) comes back")
            return { count in
                for _ in 0..<count {
                    var bytes = encoded
                    guard let decoded = try? decode(&bytes) else { preconditionFailure("\(name) does not decode") }
                    withExtendedLifetime(decoded) { Sink.total += bytes.readerIndex }
                }
            }
        }
    }

    static func encode<M: WireMessage>(
        _ name: String, _ message: M, version: Int16, calls: Int,
        by encode: @escaping (M, inout ByteBuffer) -> Void
    ) -> MicroCase {
        MicroCase("\(name), encode", calls: calls) {
            var expected = ByteBuffer()
            var written = ByteBuffer()
            wireEncode(message, version: version, into: &expected)
            encode(message, &written)
            precondition(written == expected, "\(name) is the message's bytes")
            return { count in
                var out = ByteBufferAllocator().buffer(capacity: 1 << 17)
                for _ in 0..<count {
                    out.clear()
                    encode(message, &out)
                    Sink.total += out.readableBytes
                }
            }
        }
    }
}
