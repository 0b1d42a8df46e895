// FormCluster (key 10001): Martlet's own: the forming node gives its peers the cluster id and the voter set.
// Version 0, flexible from 0.

import Model

package struct FormClusterRequest: WireRequest {
    package typealias Response = FormClusterResponse
    package static let api = APIKey.formCluster
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var clusterID = ""
    package var voters: [Voter] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&clusterID, "clusterID")
        try w.field(&voters, "voters")
        try w.end()
    }

    package struct Voter: WireStruct {
        package var nodeID: Int32 = 0
        package var directoryID = UUID128()
        package var host = ""
        package var port: UInt16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&nodeID, "nodeID")
            try w.field(&directoryID, "directoryID")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.end()
        }
    }
}

package struct FormClusterResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var errorCode = ErrorCode.none
    package var errorMessage: String?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&errorCode, "errorCode")
        try w.field(&errorMessage, "errorMessage")
        try w.end()
    }
}
