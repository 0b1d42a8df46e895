// Envelope (key 58): carries a client's request from a broker to the controller (KIP-590). Version 0, flexible from 0.

import Model
import NIOCore

package struct EnvelopeRequest: WireRequest {
    package typealias Response = EnvelopeResponse
    package static let api = APIKey.envelope
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var requestData = ByteBuffer()
    package var requestPrincipal: ByteBuffer?
    package var clientHostAddress = ByteBuffer()

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&requestData, "requestData")
        try w.field(&requestPrincipal, "requestPrincipal")
        try w.field(&clientHostAddress, "clientHostAddress")
        try w.end()
    }
}

package struct EnvelopeResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var responseData: ByteBuffer?
    package var errorCode = ErrorCode.none

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&responseData, "responseData")
        try w.field(&errorCode, "errorCode")
        try w.end()
    }
}
