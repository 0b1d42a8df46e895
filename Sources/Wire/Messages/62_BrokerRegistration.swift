// BrokerRegistration (key 62): registers an incarnation of a broker with the controller (KIP-631).
// Versions 0–4, flexible from 0.

import Model

package struct BrokerRegistrationRequest: WireRequest {
    package typealias Response = BrokerRegistrationResponse
    package static let api = APIKey.brokerRegistration
    package static let versions: ClosedRange<Int16> = 0...4
    package static let flexibleSince: Int16 = 0

    package var brokerID: Int32 = 0
    package var clusterID = ""
    package var incarnationID = UUID128()
    package var listeners: [Listener] = []
    package var features: [Feature] = []
    package var rack: String?
    package var isMigratingZkBroker = false
    package var logDirs: [UUID128] = []
    package var previousBrokerEpoch: Int64 = -1

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&brokerID, "brokerID")
        try w.field(&clusterID, "clusterID")
        try w.field(&incarnationID, "incarnationID")
        try w.field(&listeners, "listeners")
        try w.field(&features, "features")
        try w.field(&rack, "rack")
        try w.field(&isMigratingZkBroker, "isMigratingZkBroker", since: 1)
        try w.field(&logDirs, "logDirs", since: 2)
        try w.field(&previousBrokerEpoch, "previousBrokerEpoch", since: 3)
        try w.end()
    }

    package struct Listener: WireStruct {
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

    package struct Feature: WireStruct {
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

package struct BrokerRegistrationResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...4
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var brokerEpoch: Int64 = -1

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.end()
    }
}
