// EndQuorumEpoch (key 54): resigns leadership of the metadata quorum (KIP-595). Versions 0–1, flexible from 1.

import Model

package struct EndQuorumEpochRequest: WireRequest {
    package typealias Response = EndQuorumEpochResponse
    package static let api = APIKey.endQuorumEpoch
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 1

    package var clusterID: String?
    package var topics: [Topic] = []
    package var leaderEndpoints: [LeaderEndpoint] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&clusterID, "clusterID")
        try w.field(&topics, "topics")
        try w.field(&leaderEndpoints, "leaderEndpoints", since: 1)
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0
        package var leaderID: Int32 = 0
        package var leaderEpoch: Int32 = 0
        package var preferredSuccessors: [Int32] = []
        package var preferredCandidates: [PreferredCandidate] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&leaderID, "leaderID")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.field(&preferredSuccessors, "preferredSuccessors", until: 0)
            try w.field(&preferredCandidates, "preferredCandidates", since: 1)
            try w.end()
        }
    }

    package struct PreferredCandidate: WireStruct {
        package var candidateID: Int32 = 0
        package var candidateDirectoryID = UUID128()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&candidateID, "candidateID")
            try w.field(&candidateDirectoryID, "candidateDirectoryID")
            try w.end()
        }
    }

    package struct LeaderEndpoint: WireStruct {
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

package struct EndQuorumEpochResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 1

    package var errorCode = ErrorCode.none
    package var topics: [Topic] = []
    package var nodeEndpoints: [NodeEndpoint] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&errorCode, "errorCode")
        try w.field(&topics, "topics")
        try w.tag(0, &nodeEndpoints, "nodeEndpoints", default: [])
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0
        package var errorCode = ErrorCode.none
        package var leaderID: Int32 = 0
        package var leaderEpoch: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.field(&leaderID, "leaderID")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.end()
        }
    }

    package struct NodeEndpoint: WireStruct {
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
