// DescribeCluster (key 60): describes brokers and controller. Versions 0–2, flexible from 0.

import Model

package struct DescribeClusterRequest: WireRequest {
    package typealias Response = DescribeClusterResponse
    package static let api = APIKey.describeCluster
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var includeClusterAuthorizedOperations = false
    package var endpointType: Int8 = 1
    package var includeFencedBrokers = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&includeClusterAuthorizedOperations, "includeClusterAuthorizedOperations")
        try w.field(&endpointType, "endpointType", since: 1)
        try w.field(&includeFencedBrokers, "includeFencedBrokers", since: 2)
        try w.end()
    }
}

package struct DescribeClusterResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var errorMessage: String?
    package var endpointType: Int8 = 1
    package var clusterID = ""
    package var controllerID: Int32 = -1
    package var brokers: [Broker] = []
    package var clusterAuthorizedOperations: Int32 = .min

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode")
        try w.field(&errorMessage, "errorMessage")
        try w.field(&endpointType, "endpointType", since: 1)
        try w.field(&clusterID, "clusterID")
        try w.field(&controllerID, "controllerID")
        try w.field(&brokers, "brokers")
        try w.field(&clusterAuthorizedOperations, "clusterAuthorizedOperations")
        try w.end()
    }

    package struct Broker: WireStruct {
        package var brokerID: Int32 = 0
        package var host = ""
        package var port: Int32 = 0
        package var rack: String?
        package var isFenced = false

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&brokerID, "brokerID")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.field(&rack, "rack")
            try w.field(&isFenced, "isFenced", since: 2)
            try w.end()
        }
    }
}
