// Heartbeat (key 12): tells that a member of a classic group lives. Versions 0–4, flexible from 4.

import Model

package struct HeartbeatRequest: WireRequest {
    package typealias Response = HeartbeatResponse
    package static let api = APIKey.heartbeat
    package static let versions: ClosedRange<Int16> = 0...4
    package static let flexibleSince: Int16 = 4

    package var groupID = ""
    package var generationID: Int32 = 0
    package var memberID = ""
    package var groupInstanceID: String?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&generationID, "generationID")
        try w.field(&memberID, "memberID")
        try w.field(&groupInstanceID, "groupInstanceID", since: 3)
        try w.end()
    }
}

package struct HeartbeatResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...4
    package static let flexibleSince: Int16 = 4

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 1)
        try w.field(&errorCode, "errorCode")
        try w.end()
    }
}
