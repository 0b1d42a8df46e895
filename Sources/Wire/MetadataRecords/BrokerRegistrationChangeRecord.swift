// UnregisterBrokerRecord (type 1, version 0), BrokerRegistrationChangeRecord (type 17, version 3):
// a broker leaves, is fenced or unfenced, or shuts down in order.

import Model

package struct UnregisterBrokerRecord: WireMetadataRecord {
    package static let type: UInt32 = 1
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var brokerID: Int32 = 0
    package var brokerEpoch: Int64 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&brokerID, "brokerID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.end()
    }
}

package struct BrokerRegistrationChangeRecord: WireMetadataRecord {
    package static let type: UInt32 = 17
    package static let versions: ClosedRange<Int16> = 0...3
    package static let flexibleSince: Int16 = 0

    package var brokerID: Int32 = 0
    package var brokerEpoch: Int64 = 0
    package var fenced: Int8 = 0
    package var inControlledShutdown: Int8 = 0
    package var logDirs: [UUID128] = []
    package var cordonedLogDirs: [UUID128]?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&brokerID, "brokerID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.tag(0, &fenced, "fenced", default: 0)
        try w.tag(1, &inControlledShutdown, "inControlledShutdown", default: 0, since: 1)
        try w.tag(2, &logDirs, "logDirs", default: [], since: 2)
        try w.tag(3, &cordonedLogDirs, "cordonedLogDirs", since: 3)
        try w.end()
    }
}
