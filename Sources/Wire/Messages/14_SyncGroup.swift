// SyncGroup (key 14): brings the leader's assignments to a classic group, and each member its own. Versions 0–5,
// flexible from 4. Only the leader sends assignments; v5 says which protocol they were made for (KIP-559).

import Model
import NIOCore

package struct SyncGroupRequest: WireRequest {
    package typealias Response = SyncGroupResponse
    package static let api = APIKey.syncGroup
    package static let versions: ClosedRange<Int16> = 0...5
    package static let flexibleSince: Int16 = 4

    package var groupID = ""
    package var generationID: Int32 = 0
    package var memberID = ""
    package var groupInstanceID: String?
    package var protocolType: String?
    package var protocolName: String?
    package var assignments: [Assignment] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&generationID, "generationID")
        try w.field(&memberID, "memberID")
        try w.field(&groupInstanceID, "groupInstanceID", since: 3)
        try w.field(&protocolType, "protocolType", since: 5)
        try w.field(&protocolName, "protocolName", since: 5)
        try w.field(&assignments, "assignments")
        try w.end()
    }

    package struct Assignment: WireStruct {
        package var memberID = ""
        package var assignment = ByteBuffer()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&memberID, "memberID")
            try w.field(&assignment, "assignment")
            try w.end()
        }
    }
}

package struct SyncGroupResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...5
    package static let flexibleSince: Int16 = 4

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var protocolType: String?
    package var protocolName: String?
    package var assignment = ByteBuffer()

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 1)
        try w.field(&errorCode, "errorCode")
        try w.field(&protocolType, "protocolType", since: 5)
        try w.field(&protocolName, "protocolName", since: 5)
        try w.field(&assignment, "assignment")
        try w.end()
    }
}
