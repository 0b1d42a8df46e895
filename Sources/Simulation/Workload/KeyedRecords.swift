// What producers write to the compacted topic: few keys, again and again, and now and then a tombstone; and keys that
// are written for a while and then never again, of which half end with one.

import Model
import NIOCore
import Records

enum KeyedRecords {
    static let topic = "t-compact"
    private static let keys: UInt64 = 7
    /// A tombstone has no value to be known by.
    private static let header = "value"

    /// Of so many values of a producer, in a row, come three keys that nobody writes to later.
    private static let passing: UInt64 = 32

    private static func isPassing(_ value: UInt64) -> Bool { mixed(value) >> 32 % 3 == 0 }

    static func isTombstone(_ value: UInt64) -> Bool {
        isPassing(value) ? mixed(value) % 2 == 0 : mixed(value) % 5 == 3
    }

    private static func key(_ value: UInt64) -> String {
        let lot = mixed(value) >> 8
        return isPassing(value) ? "p\(value / passing)-\(lot % 3)" : "k\(lot % keys)"
    }

    static func append(_ value: UInt64, to builder: inout RecordBatchBuilder) {
        let key = ByteBuffer(string: key(value))
        let isTombstone = isTombstone(value)
        builder.append(
            timestamp: SimulatedNode.wallStartMs, key: key, value: isTombstone ? nil : ByteBuffer(integer: value),
            headers: isTombstone ? [RecordHeader(name: header, value: ByteBuffer(integer: value))] : [])
    }

    /// The 8 bytes by which any record of the workload is known; nil where it has none.
    static func value(of record: Record) -> UInt64? {
        let bytes = record.value ?? record.headers.first { $0.name == header }?.value
        return bytes.flatMap { $0.getInteger(at: $0.readerIndex, as: UInt64.self) }
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var random = SeededRandom(seed: value)
        return random.next() >> 16
    }
}
