// DescribeGroups (key 15): describes classic groups. Versions 0–6, flexible from 5. v6 answers for a group that is not
// there with an error and a message; before, it is one in state Dead without an error (KIP-1043).

import Model
import NIOCore

package struct DescribeGroupsRequest: WireRequest {
    package typealias Response = DescribeGroupsResponse
    package static let api = APIKey.describeGroups
    package static let versions: ClosedRange<Int16> = 0...6
    package static let flexibleSince: Int16 = 5

    package var groups: [String] = []
    package var includeAuthorizedOperations = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groups, "groups")
        try w.field(&includeAuthorizedOperations, "includeAuthorizedOperations", since: 3)
        try w.end()
    }
}

package struct DescribeGroupsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...6
    package static let flexibleSince: Int16 = 5

    package var throttleTimeMs: Int32 = 0
    package var groups: [Group] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 1)
        try w.field(&groups, "groups")
        try w.end()
    }

    package struct Group: WireStruct {
        package var errorCode = ErrorCode.none
        package var errorMessage: String?
        package var groupID = ""
        package var groupState = ""
        package var protocolType = ""
        package var protocolData = ""
        package var members: [Member] = []
        package var authorizedOperations: Int32 = .min
        /// Martlet's own, for its tools: why and when the group rebalanced last, as far as this coordinator knows.
        package var rebalanceReason: String?
        package var rebalancedAtMs: Int64 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage", since: 6)
            try w.field(&groupID, "groupID")
            try w.field(&groupState, "groupState")
            try w.field(&protocolType, "protocolType")
            try w.field(&protocolData, "protocolData")
            try w.field(&members, "members")
            try w.field(&authorizedOperations, "authorizedOperations", since: 3)
            try w.tag(10000, &rebalanceReason, "rebalanceReason", since: 6)
            try w.tag(10001, &rebalancedAtMs, "rebalancedAtMs", default: -1, since: 6)
            try w.end()
        }
    }

    package struct Member: WireStruct {
        package var memberID = ""
        package var groupInstanceID: String?
        package var clientID = ""
        package var clientHost = ""
        package var memberMetadata = ByteBuffer()
        package var memberAssignment = ByteBuffer()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&memberID, "memberID")
            try w.field(&groupInstanceID, "groupInstanceID", since: 4)
            try w.field(&clientID, "clientID")
            try w.field(&clientHost, "clientHost")
            try w.field(&memberMetadata, "memberMetadata")
            try w.field(&memberAssignment, "memberAssignment")
            try w.end()
        }
    }
}
