// NodeHello (key 10000): Martlet's own first word between two nodes: who each is, and which voters it was configured
// with. Version 0, flexible from 0.

import Model

package struct NodeHelloRequest: WireRequest {
    package typealias Response = NodeHelloResponse
    package static let api = APIKey.nodeHello
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var nodeID: Int32 = 0
    package var clusterID: String?
    package var directoryID = UUID128()
    package var incarnationID = UUID128()
    package var brokerEpoch: Int64 = -1
    package var voters: [Voter] = []
    package var host = ""
    package var port: UInt16 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&nodeID, "nodeID")
        try w.field(&clusterID, "clusterID")
        try w.field(&directoryID, "directoryID")
        try w.field(&incarnationID, "incarnationID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.field(&voters, "voters")
        try w.field(&host, "host")
        try w.field(&port, "port")
        try w.end()
    }

    package struct Voter: WireStruct {
        package var nodeID: Int32 = 0
        package var host = ""
        package var port: UInt16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&nodeID, "nodeID")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.end()
        }
    }
}

package struct NodeHelloResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var errorCode = ErrorCode.none
    package var nodeID: Int32 = 0
    package var clusterID: String?
    package var directoryID = UUID128()
    package var incarnationID = UUID128()
    package var brokerEpoch: Int64 = -1
    package var voters: [Voter] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&errorCode, "errorCode")
        try w.field(&nodeID, "nodeID")
        try w.field(&clusterID, "clusterID")
        try w.field(&directoryID, "directoryID")
        try w.field(&incarnationID, "incarnationID")
        try w.field(&brokerEpoch, "brokerEpoch")
        try w.field(&voters, "voters")
        try w.end()
    }

    package struct Voter: WireStruct {
        package var nodeID: Int32 = 0
        package var host = ""
        package var port: UInt16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&nodeID, "nodeID")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.end()
        }
    }
}
