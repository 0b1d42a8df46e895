// LeaveGroup (key 13): takes members out of a classic group. Versions 0–5, flexible from 4. Up to v2 one member, whose
// id stands in the body itself; from v3 many, static ones too (KIP-345). v5 brings the reason (KIP-800).

import Model

package struct LeaveGroupRequest: WireRequest {
    package typealias Response = LeaveGroupResponse
    package static let api = APIKey.leaveGroup
    package static let versions: ClosedRange<Int16> = 0...5
    package static let flexibleSince: Int16 = 4

    package var groupID = ""
    package var memberID = ""
    package var members: [Member] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&memberID, "memberID", until: 2)
        try w.field(&members, "members", since: 3)
        try w.end()
    }

    package struct Member: WireStruct {
        package var memberID = ""
        package var groupInstanceID: String?
        package var reason: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&memberID, "memberID")
            try w.field(&groupInstanceID, "groupInstanceID")
            try w.field(&reason, "reason", since: 5)
            try w.end()
        }
    }
}

package struct LeaveGroupResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...5
    package static let flexibleSince: Int16 = 4

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var members: [Member] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 1)
        try w.field(&errorCode, "errorCode")
        try w.field(&members, "members", since: 3)
        try w.end()
    }

    package struct Member: WireStruct {
        package var memberID = ""
        package var groupInstanceID: String?
        package var errorCode = ErrorCode.none

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&memberID, "memberID")
            try w.field(&groupInstanceID, "groupInstanceID")
            try w.field(&errorCode, "errorCode")
            try w.end()
        }
    }
}
