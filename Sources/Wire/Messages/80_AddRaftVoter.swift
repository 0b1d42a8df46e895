// AddRaftVoter (key 80): adds a voter to the metadata quorum (KIP-853). Versions 0–1, flexible from 0.

import Model

package struct AddRaftVoterRequest: WireRequest {
    package typealias Response = AddRaftVoterResponse
    package static let api = APIKey.addRaftVoter
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 0

    package var clusterID: String?
    package var timeoutMs: Int32 = 0
    package var voterID: Int32 = 0
    package var voterDirectoryID = UUID128()
    package var listeners: [Listener] = []
    package var ackWhenCommitted = true

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&clusterID, "clusterID")
        try w.field(&timeoutMs, "timeoutMs")
        try w.field(&voterID, "voterID")
        try w.field(&voterDirectoryID, "voterDirectoryID")
        try w.field(&listeners, "listeners")
        try w.field(&ackWhenCommitted, "ackWhenCommitted", since: 1)
        try w.end()
    }

    package struct Listener: WireStruct {
        package var name = ""
        package var host = ""
        package var port: UInt16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.end()
        }
    }
}

package struct AddRaftVoterResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...1
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
