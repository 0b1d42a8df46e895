// InitProducerId (key 22): hands out a producer id and epoch. Versions 0–5, flexible from 2.

import Model

package struct InitProducerIDRequest: WireRequest {
    package typealias Response = InitProducerIDResponse
    package static let api = APIKey.initProducerID
    package static let versions: ClosedRange<Int16> = 0...5
    package static let flexibleSince: Int16 = 2

    package var transactionalID: String?
    package var transactionTimeoutMs: Int32 = 0
    package var producerID: Int64 = -1
    package var producerEpoch: Int16 = -1

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&transactionalID, "transactionalID")
        try w.field(&transactionTimeoutMs, "transactionTimeoutMs")
        try w.field(&producerID, "producerID", since: 3)
        try w.field(&producerEpoch, "producerEpoch", since: 3)
        try w.end()
    }
}

package struct InitProducerIDResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...5
    package static let flexibleSince: Int16 = 2

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var producerID: Int64 = -1
    package var producerEpoch: Int16 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode")
        try w.field(&producerID, "producerID")
        try w.field(&producerEpoch, "producerEpoch")
        try w.end()
    }
}
