// RemoveRaftVoter (key 81): removes a voter from the metadata quorum (KIP-853). Version 0, flexible from 0.

import Model

package struct RemoveRaftVoterRequest: WireRequest {
    package typealias Response = RemoveRaftVoterResponse
    package static let api = APIKey.removeRaftVoter
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var clusterID: String?
    package var voterID: Int32 = 0
    package var voterDirectoryID = UUID128()

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&clusterID, "clusterID")
        try w.field(&voterID, "voterID")
        try w.field(&voterDirectoryID, "voterDirectoryID")
        try w.end()
    }
}

package struct RemoveRaftVoterResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var errorMessage: String?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode")
        try w.field(&errorMessage, "errorMessage")
        try w.end()
    }
}
