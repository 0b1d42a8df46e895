// ProducerIDsRecord (type 15, version 0): a block of producer ids was handed to a broker.

package struct ProducerIDsRecord: WireMetadataRecord {
    package static let type: UInt32 = 15
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var brokerID: Int32 = 0
    package var brokerEpoch: Int64 = -1
    package var nextProducerID: Int64 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&brokerID, "brokerID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.field(&nextProducerID, "nextProducerID")
        try w.end()
    }
}
