// FetchSnapshot (key 59): reads a chunk of a metadata snapshot (KIP-630). Versions 0–1, flexible from 0.

import Model
import NIOCore

package struct FetchSnapshotRequest: WireRequest {
    package typealias Response = FetchSnapshotResponse
    package static let api = APIKey.fetchSnapshot
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 0

    package var clusterID: String?
    package var replicaID: Int32 = -1
    package var maxBytes: Int32 = .max
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&replicaID, "replicaID")
        try w.field(&maxBytes, "maxBytes")
        try w.field(&topics, "topics")
        try w.tag(0, &clusterID, "clusterID")
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
        package var currentLeaderEpoch: Int32 = 0
        package var snapshotID = SnapshotID()
        package var position: Int64 = 0
        package var replicaDirectoryID = UUID128()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&currentLeaderEpoch, "currentLeaderEpoch")
            try w.field(&snapshotID, "snapshotID")
            try w.field(&position, "position")
            try w.tag(0, &replicaDirectoryID, "replicaDirectoryID", since: 1)
            try w.end()
        }
    }

    package struct SnapshotID: WireStruct {
        package var endOffset: Int64 = 0
        package var epoch: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&endOffset, "endOffset")
            try w.field(&epoch, "epoch")
            try w.end()
        }
    }
}

package struct FetchSnapshotResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var topics: [Topic] = []
    package var nodeEndpoints: [NodeEndpoint] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
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
        package var snapshotID = SnapshotID()
        package var currentLeader = CurrentLeader()
        package var size: Int64 = 0
        package var position: Int64 = 0
        package var unalignedRecords = ByteBuffer()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.field(&snapshotID, "snapshotID")
            try w.field(&size, "size")
            try w.field(&position, "position")
            try w.field(&unalignedRecords, "unalignedRecords")
            try w.tag(0, &currentLeader, "currentLeader", default: CurrentLeader())
            try w.end()
        }
    }

    package struct SnapshotID: WireStruct {
        package var endOffset: Int64 = 0
        package var epoch: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&endOffset, "endOffset")
            try w.field(&epoch, "epoch")
            try w.end()
        }
    }

    package struct CurrentLeader: WireStruct {
        package var leaderID: Int32 = 0
        package var leaderEpoch: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
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
