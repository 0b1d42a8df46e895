// What producers write to the compacted topic: few keys, again and again, and now and then a tombstone.

import Model
import NIOCore
import Records

enum KeyedRecords {
    static let topic = "t-compact"
    private static let keys: UInt64 = 7
    /// A tombstone has no value to be known by.
    private static let header = "value"

    static func isTombstone(_ value: UInt64) -> Bool { mixed(value) % 5 == 3 }

    static func append(_ value: UInt64, to builder: inout RecordBatchBuilder) {
        let key = ByteBuffer(string: "k\((mixed(value) >> 8) % keys)")
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
