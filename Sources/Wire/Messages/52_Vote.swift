// Vote (key 52): asks for a vote or pre-vote in the metadata quorum (KIP-595, KIP-996). Versions 0–2, flexible from 0.

import Model

package struct VoteRequest: WireRequest {
    package typealias Response = VoteResponse
    package static let api = APIKey.vote
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var clusterID: String?
    package var voterID: Int32 = -1
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&clusterID, "clusterID")
        try w.field(&voterID, "voterID", since: 1)
        try w.field(&topics, "topics")
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
        package var replicaEpoch: Int32 = 0
        package var replicaID: Int32 = 0
        package var replicaDirectoryID = UUID128()
        package var voterDirectoryID = UUID128()
        package var lastOffsetEpoch: Int32 = 0
        package var lastOffset: Int64 = 0
        package var preVote = false

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&replicaEpoch, "replicaEpoch")
            try w.field(&replicaID, "replicaID")
            try w.field(&replicaDirectoryID, "replicaDirectoryID", since: 1)
            try w.field(&voterDirectoryID, "voterDirectoryID", since: 1)
            try w.field(&lastOffsetEpoch, "lastOffsetEpoch")
            try w.field(&lastOffset, "lastOffset")
            try w.field(&preVote, "preVote", since: 2)
            try w.end()
        }
    }
}

package struct VoteResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var errorCode = ErrorCode.none
    package var topics: [Topic] = []
    package var nodeEndpoints: [NodeEndpoint] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&errorCode, "errorCode")
        try w.field(&topics, "topics")
        try w.tag(0, &nodeEndpoints, "nodeEndpoints", default: [], since: 1)
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
        package var voteGranted = false

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.field(&leaderID, "leaderID")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.field(&voteGranted, "voteGranted")
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
