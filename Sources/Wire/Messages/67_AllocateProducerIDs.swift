// AllocateProducerIds (key 67): takes a block of producer ids from the controller (KIP-730).
// Version 0, flexible from 0.

import Model

package struct AllocateProducerIDsRequest: WireRequest {
    package typealias Response = AllocateProducerIDsResponse
    package static let api = APIKey.allocateProducerIDs
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var brokerID: Int32 = 0
    package var brokerEpoch: Int64 = -1

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&brokerID, "brokerID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.end()
    }
}

package struct AllocateProducerIDsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var producerIDStart: Int64 = 0
    package var producerIDLen: Int32 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode")
        try w.field(&producerIDStart, "producerIDStart")
        try w.field(&producerIDLen, "producerIDLen")
        try w.end()
    }
}
