// DescribeQuorum (key 55): describes the metadata quorum. Versions 0–2, flexible from 0.

import Model

package struct DescribeQuorumRequest: WireRequest {
    package typealias Response = DescribeQuorumResponse
    package static let api = APIKey.describeQuorum
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
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

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.end()
        }
    }
}

package struct DescribeQuorumResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var errorCode = ErrorCode.none
    package var errorMessage: String?
    package var topics: [Topic] = []
    package var nodes: [Node] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&errorCode, "errorCode")
        try w.field(&errorMessage, "errorMessage", since: 2)
        try w.field(&topics, "topics")
        try w.field(&nodes, "nodes", since: 2)
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
        package var errorMessage: String?
        package var leaderID: Int32 = 0
        package var leaderEpoch: Int32 = 0
        package var highWatermark: Int64 = 0
        package var currentVoters: [Replica] = []
        package var observers: [Replica] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage", since: 2)
            try w.field(&leaderID, "leaderID")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.field(&highWatermark, "highWatermark")
            try w.field(&currentVoters, "currentVoters")
            try w.field(&observers, "observers")
            try w.end()
        }
    }

    package struct Replica: WireStruct {
        package var replicaID: Int32 = 0
        package var replicaDirectoryID = UUID128()
        package var logEndOffset: Int64 = 0
        package var lastFetchTimestamp: Int64 = -1
        package var lastCaughtUpTimestamp: Int64 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&replicaID, "replicaID")
            try w.field(&replicaDirectoryID, "replicaDirectoryID", since: 2)
            try w.field(&logEndOffset, "logEndOffset")
            try w.field(&lastFetchTimestamp, "lastFetchTimestamp", since: 1)
            try w.field(&lastCaughtUpTimestamp, "lastCaughtUpTimestamp", since: 1)
            try w.end()
        }
    }

    package struct Node: WireStruct {
        package var nodeID: Int32 = 0
        package var listeners: [Listener] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&nodeID, "nodeID")
            try w.field(&listeners, "listeners")
            try w.end()
        }
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
