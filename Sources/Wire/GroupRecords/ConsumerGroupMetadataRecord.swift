// ConsumerGroupMetadata (record type 3): a consumer group exists, and its epoch (KIP-848).

package struct ConsumerGroupMetadataKey: WireGroupKey {
    package static let type: Int16 = 3

    package var groupID = ""

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.end()
    }
}

package struct ConsumerGroupMetadataValue: WireGroupValue {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var epoch: Int32 = 0
    /// Over the subscribed topics' metadata at this epoch; 0: not computed. Another hash means a new epoch (KIP-1101).
    package var metadataHash: Int64 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&epoch, "epoch")
        try w.tag(0, &metadataHash, "metadataHash", default: 0)
        try w.end()
    }
}
