// DeleteGroups (key 42): deletes groups that have no members (KIP-229). Versions 0–3, flexible from 2; v3 brings a
// message for each.

import Model

package struct DeleteGroupsRequest: WireRequest {
    package typealias Response = DeleteGroupsResponse
    package static let api = APIKey.deleteGroups
    package static let versions: ClosedRange<Int16> = 0...3
    package static let flexibleSince: Int16 = 2

    package var groupsNames: [String] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupsNames, "groupsNames")
        try w.end()
    }
}

package struct DeleteGroupsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...3
    package static let flexibleSince: Int16 = 2

    package var throttleTimeMs: Int32 = 0
    package var results: [Result] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&results, "results")
        try w.end()
    }

    package struct Result: WireStruct {
        package var groupID = ""
        package var errorCode = ErrorCode.none
        package var errorMessage: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&groupID, "groupID")
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage", since: 3)
            try w.end()
        }
    }
}
