// BeginTransactionRecord (type 23), EndTransactionRecord (24), AbortTransactionRecord (25): the brackets around a
// change that spans batches (KIP-868). NoOpRecord (20): nothing changed; it lets a follower see that it has caught up.
// All version 0.

package struct BeginTransactionRecord: WireMetadataRecord {
    package static let type: UInt32 = 23
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var name: String?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.tag(0, &name, "name")
        try w.end()
    }
}

package struct EndTransactionRecord: WireMetadataRecord {
    package static let type: UInt32 = 24
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.end()
    }
}

package struct AbortTransactionRecord: WireMetadataRecord {
    package static let type: UInt32 = 25
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var reason: String?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.tag(0, &reason, "reason")
        try w.end()
    }
}

package struct NoOpRecord: WireMetadataRecord {
    package static let type: UInt32 = 20
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.end()
    }
}
