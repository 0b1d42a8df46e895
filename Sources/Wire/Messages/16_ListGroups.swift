// ListGroups (key 16): lists the groups that the asked node coordinates. Versions 0–5, flexible from 3. v4 filters by
// state (KIP-518), v5 by type (KIP-848); an empty filter takes all.

import Model

package struct ListGroupsRequest: WireRequest {
    package typealias Response = ListGroupsResponse
    package static let api = APIKey.listGroups
    package static let versions: ClosedRange<Int16> = 0...5
    package static let flexibleSince: Int16 = 3

    package var statesFilter: [String] = []
    package var typesFilter: [String] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&statesFilter, "statesFilter", since: 4)
        try w.field(&typesFilter, "typesFilter", since: 5)
        try w.end()
    }
}

package struct ListGroupsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...5
    package static let flexibleSince: Int16 = 3

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var groups: [Group] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 1)
        try w.field(&errorCode, "errorCode")
        try w.field(&groups, "groups")
        try w.end()
    }

    package struct Group: WireStruct {
        package var groupID = ""
        package var protocolType = ""
        package var groupState = ""
        package var groupType = ""

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&groupID, "groupID")
            try w.field(&protocolType, "protocolType")
            try w.field(&groupState, "groupState", since: 4)
            try w.field(&groupType, "groupType", since: 5)
            try w.end()
        }
    }
}
