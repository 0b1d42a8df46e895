// RegisterBrokerRecord (type 0, version 4):
// a broker incarnation takes its place in the cluster; its offset in the log is the broker epoch.

import Model

package struct RegisterBrokerRecord: WireMetadataRecord {
    package static let type: UInt32 = 0
    package static let versions: ClosedRange<Int16> = 0...4
    package static let flexibleSince: Int16 = 0

    package var brokerID: Int32 = 0
    package var isMigratingZkBroker = false
    package var incarnationID = UUID128()
    package var brokerEpoch: Int64 = 0
    package var endpoints: [BrokerEndpoint] = []
    package var features: [BrokerFeature] = []
    package var rack: String?
    package var fenced = true
    package var inControlledShutdown = false
    package var logDirs: [UUID128] = []
    package var cordonedLogDirs: [UUID128]?
    /// Martlet's own tag: the directory that this incarnation of the broker answers for.
    package var directoryID = UUID128()

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&brokerID, "brokerID")
        try w.field(&isMigratingZkBroker, "isMigratingZkBroker", since: 2)
        try w.field(&incarnationID, "incarnationID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.field(&endpoints, "endpoints")
        try w.field(&features, "features")
        try w.field(&rack, "rack")
        try w.field(&fenced, "fenced")
        try w.field(&inControlledShutdown, "inControlledShutdown", since: 1)
        try w.tag(0, &logDirs, "logDirs", default: [], since: 3)
        try w.tag(1, &cordonedLogDirs, "cordonedLogDirs", since: 4)
        try w.tag(10000, &directoryID, "directoryID")
        try w.end()
    }

    package struct BrokerEndpoint: WireStruct {
        package var name = ""
        package var host = ""
        package var port: UInt16 = 0
        package var securityProtocol: Int16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.field(&securityProtocol, "securityProtocol")
            try w.end()
        }
    }

    package struct BrokerFeature: WireStruct {
        package var name = ""
        package var minSupportedVersion: Int16 = 0
        package var maxSupportedVersion: Int16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&minSupportedVersion, "minSupportedVersion")
            try w.field(&maxSupportedVersion, "maxSupportedVersion")
            try w.end()
        }
    }
}
