// Keys and values of control batches: who leads, snapshot ends, voters, transaction markers.

import NIOCore

/// What a control record says; the number stands in its key.
package struct ControlRecordType: RawRepresentable, Hashable, Sendable {
    package var rawValue: Int16

    package init(rawValue: Int16) { self.rawValue = rawValue }

    package static let abort = ControlRecordType(rawValue: 0)
    package static let commit = ControlRecordType(rawValue: 1)
    package static let leaderChange = ControlRecordType(rawValue: 2)
    package static let snapshotHeader = ControlRecordType(rawValue: 3)
    package static let snapshotFooter = ControlRecordType(rawValue: 4)
    package static let kraftVersion = ControlRecordType(rawValue: 5)
    package static let voters = ControlRecordType(rawValue: 6)
}

/// The key of a control record: two int16. Types that are not known are to be skipped, not refused.
package struct ControlRecordKey: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = .max

    package var version: Int16 = 0
    package var typeCode: Int16 = 0

    package init() {}
    package init(_ type: ControlRecordType) { typeCode = type.rawValue }

    package var type: ControlRecordType { ControlRecordType(rawValue: typeCode) }

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&version, "version")
        try w.field(&typeCode, "type")
        try w.end()
    }

    package func encode() -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: 4)
        wireEncode(self, version: 0, into: &buffer)
        return buffer
    }

    /// Later versions of the key may be longer; version and type stay in front.
    package static func decode(_ key: ByteBuffer) throws(WireError) -> ControlRecordKey {
        var key = key
        return try wireDecode(ControlRecordKey.self, from: &key, version: 0)
    }
}

/// The value of a control record. Its version is its first field, written as the highest unless a caller chose another.
package protocol WireControlRecord: WireMessage {
    static var type: ControlRecordType { get }
    var version: Int16 { get set }
}

/// Encodes a control record's value at the version that stands in it.
package func encodeControlRecord<R: WireControlRecord>(_ record: R) -> ByteBuffer {
    var buffer = ByteBufferAllocator().buffer(capacity: 128)
    wireEncode(record, version: record.version, into: &buffer)
    return buffer
}

/// Decodes a control record's value by the version in front of it.
package func decodeControlRecord<R: WireControlRecord>(
    _: R.Type, from value: ByteBuffer
) throws(WireError) -> R {
    guard let version = value.getInteger(at: value.readerIndex, as: Int16.self) else { throw .truncated }
    var value = value
    return try wireDecodeWhole(R.self, from: &value, version: version)
}
