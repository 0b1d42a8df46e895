// JoinGroup (key 11): enters a classic group and waits for its next generation. Versions 0–9, flexible from 6. v4 may
// answer with a member id to come back with (KIP-394), v5 brings static members (KIP-345), v8 the reason (KIP-800), and
// v9 tells a leader to keep the assignment it gave (KIP-814).

import Model
import NIOCore

package struct JoinGroupRequest: WireRequest {
    package typealias Response = JoinGroupResponse
    package static let api = APIKey.joinGroup
    package static let versions: ClosedRange<Int16> = 0...9
    package static let flexibleSince: Int16 = 6

    package var groupID = ""
    package var sessionTimeoutMs: Int32 = 0
    package var rebalanceTimeoutMs: Int32 = -1
    package var memberID = ""
    package var groupInstanceID: String?
    package var protocolType = ""
    package var protocols: [GroupProtocol] = []
    package var reason: String?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&sessionTimeoutMs, "sessionTimeoutMs")
        try w.field(&rebalanceTimeoutMs, "rebalanceTimeoutMs", since: 1)
        try w.field(&memberID, "memberID")
        try w.field(&groupInstanceID, "groupInstanceID", since: 5)
        try w.field(&protocolType, "protocolType")
        try w.field(&protocols, "protocols")
        try w.field(&reason, "reason", since: 8)
        try w.end()
    }

    package struct GroupProtocol: WireStruct {
        package var name = ""
        package var metadata = ByteBuffer()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&metadata, "metadata")
            try w.end()
        }
    }
}

package struct JoinGroupResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...9
    package static let flexibleSince: Int16 = 6

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var generationID: Int32 = -1
    package var protocolType: String?
    package var protocolName: String? = ""
    package var leader = ""
    package var skipAssignment = false
    package var memberID = ""
    package var members: [Member] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 2)
        try w.field(&errorCode, "errorCode")
        try w.field(&generationID, "generationID")
        try w.field(&protocolType, "protocolType", since: 7)
        try w.field(&protocolName, "protocolName", nullableSince: 7)
        try w.field(&leader, "leader")
        try w.field(&skipAssignment, "skipAssignment", since: 9)
        try w.field(&memberID, "memberID")
        try w.field(&members, "members")
        try w.end()
    }

    package struct Member: WireStruct {
        package var memberID = ""
        package var groupInstanceID: String?
        package var metadata = ByteBuffer()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&memberID, "memberID")
            try w.field(&groupInstanceID, "groupInstanceID", since: 5)
            try w.field(&metadata, "metadata")
            try w.end()
        }
    }
}
