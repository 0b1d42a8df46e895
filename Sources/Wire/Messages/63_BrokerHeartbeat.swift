// BrokerHeartbeat (key 63): keeps a broker's registration alive (KIP-631). Versions 0–2, flexible from 0.

import Model

package struct BrokerHeartbeatRequest: WireRequest {
    package typealias Response = BrokerHeartbeatResponse
    package static let api = APIKey.brokerHeartbeat
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var brokerID: Int32 = 0
    package var brokerEpoch: Int64 = -1
    package var currentMetadataOffset: Int64 = 0
    package var wantFence = false
    package var wantShutDown = false
    package var offlineLogDirs: [UUID128] = []
    package var cordonedLogDirs: [UUID128]?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&brokerID, "brokerID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.field(&currentMetadataOffset, "currentMetadataOffset")
        try w.field(&wantFence, "wantFence")
        try w.field(&wantShutDown, "wantShutDown")
        try w.tag(0, &offlineLogDirs, "offlineLogDirs", default: [], since: 1)
        try w.tag(1, &cordonedLogDirs, "cordonedLogDirs", since: 2)
        try w.end()
    }
}

package struct BrokerHeartbeatResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var isCaughtUp = false
    package var isFenced = true
    package var shouldShutDown = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode")
        try w.field(&isCaughtUp, "isCaughtUp")
        try w.field(&isFenced, "isFenced")
        try w.field(&shouldShutDown, "shouldShutDown")
        try w.end()
    }
}
