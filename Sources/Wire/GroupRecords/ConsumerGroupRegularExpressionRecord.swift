// ConsumerGroupRegularExpression (record type 16): the topics that a subscribed expression was found to name (KIP-848).

package struct ConsumerGroupRegularExpressionKey: WireGroupKey {
    package static let type: Int16 = 16

    package var groupID = ""
    package var regularExpression = ""

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&regularExpression, "regularExpression")
        try w.end()
    }
}

package struct ConsumerGroupRegularExpressionValue: WireGroupValue {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var topics: [String] = []
    /// The metadata image that was searched: the offset of its last record.
    package var version: Int64 = 0
    /// When it was searched, in Unix milliseconds.
    package var timestamp: Int64 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&topics, "topics")
        try w.field(&version, "version")
        try w.field(&timestamp, "timestamp")
        try w.end()
    }
}
