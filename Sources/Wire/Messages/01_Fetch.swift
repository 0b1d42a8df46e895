// Fetch (key 1): reads record batches, for consumers, followers and the metadata quorum alike.
// Versions 4–18, flexible from 12.
// From v13 topics are named by id. v18 adds the follower's known high watermark.

import Model
import NIOCore

package struct FetchRequest: WireRequest {
    package typealias Response = FetchResponse
    package static let api = APIKey.fetch
    package static let versions: ClosedRange<Int16> = 4...18
    package static let flexibleSince: Int16 = 12

    package var clusterID: String?
    package var replicaID: Int32 = -1
    package var replicaState = ReplicaState()
    package var maxWaitMs: Int32 = 0
    package var minBytes: Int32 = 0
    package var maxBytes: Int32 = .max
    package var isolationLevel: Int8 = 0
    package var sessionID: Int32 = 0
    package var sessionEpoch: Int32 = -1
    package var topics: [Topic] = []
    package var forgottenTopics: [ForgottenTopic] = []
    package var rackID = ""

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&replicaID, "replicaID", until: 14)
        try w.field(&maxWaitMs, "maxWaitMs")
        try w.field(&minBytes, "minBytes")
        try w.field(&maxBytes, "maxBytes")
        try w.field(&isolationLevel, "isolationLevel")
        try w.field(&sessionID, "sessionID", since: 7)
        try w.field(&sessionEpoch, "sessionEpoch", since: 7)
        try w.field(&topics, "topics")
        try w.field(&forgottenTopics, "forgottenTopics", since: 7)
        try w.field(&rackID, "rackID", since: 11)
        try w.tag(0, &clusterID, "clusterID")
        try w.tag(1, &replicaState, "replicaState", default: ReplicaState(), since: 15)
        try w.end()
    }

    package struct ReplicaState: WireStruct {
        package var replicaID: Int32 = -1
        package var replicaEpoch: Int64 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&replicaID, "replicaID")
            try w.field(&replicaEpoch, "replicaEpoch")
            try w.end()
        }
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var topicID = UUID128()
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name", until: 12)
            try w.field(&topicID, "topicID", since: 13)
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0
        package var currentLeaderEpoch: Int32 = -1
        package var fetchOffset: Int64 = 0
        package var lastFetchedEpoch: Int32 = -1
        package var logStartOffset: Int64 = -1
        package var partitionMaxBytes: Int32 = 0
        package var replicaDirectoryID = UUID128()
        package var highWatermark: Int64 = .max
        /// Ours: a follower's word on how far its copy of a compacted log is clean.
        package var cleanedEnd: Int64 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&currentLeaderEpoch, "currentLeaderEpoch", since: 9)
            try w.field(&fetchOffset, "fetchOffset")
            try w.field(&lastFetchedEpoch, "lastFetchedEpoch", since: 12)
            try w.field(&logStartOffset, "logStartOffset", since: 5)
            try w.field(&partitionMaxBytes, "partitionMaxBytes")
            try w.tag(0, &replicaDirectoryID, "replicaDirectoryID", since: 17)
            try w.tag(1, &highWatermark, "highWatermark", default: .max, since: 18)
            try w.tag(10000, &cleanedEnd, "cleanedEnd", default: 0, since: 18)
            try w.end()
        }
    }

    package struct ForgottenTopic: WireStruct {
        package var name = ""
        package var topicID = UUID128()
        package var partitions: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name", until: 12)
            try w.field(&topicID, "topicID", since: 13)
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }
}

package struct FetchResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 4...18
    package static let flexibleSince: Int16 = 12

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var sessionID: Int32 = 0
    package var topics: [Topic] = []
    package var nodeEndpoints: [NodeEndpoint] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode", since: 7)
        try w.field(&sessionID, "sessionID", since: 7)
        try w.field(&topics, "topics")
        try w.tag(0, &nodeEndpoints, "nodeEndpoints", default: [], since: 16)
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var topicID = UUID128()
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name", until: 12)
            try w.field(&topicID, "topicID", since: 13)
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0
        package var errorCode = ErrorCode.none
        package var highWatermark: Int64 = 0
        package var lastStableOffset: Int64 = -1
        package var logStartOffset: Int64 = -1
        package var divergingEpoch = DivergingEpoch()
        package var currentLeader = CurrentLeader()
        package var snapshotID = SnapshotID()
        package var abortedTransactions: [AbortedTransaction]?
        package var preferredReadReplica: Int32 = -1
        /// Ours: how far every copy of a compacted log is clean, for followers.
        package var cleanedByAll: Int64 = 0
        /// Ours: for a replica that must begin anew at `logStartOffset`, what is remembered of producers whose batches
        /// all lie below.
        package var producers: ByteBuffer?
        package var records: ByteBuffer?
        /// Set by a sender that writes the records itself: only this length is encoded, and the place is noted as a gap
        /// (`encodeFetchResponseFrame`). Not on the wire; nil after decoding. `records` is then ignored.
        package var recordsLength: Int?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.field(&highWatermark, "highWatermark")
            try w.field(&lastStableOffset, "lastStableOffset")
            try w.field(&logStartOffset, "logStartOffset", since: 5)
            try w.field(&abortedTransactions, "abortedTransactions")
            try w.field(&preferredReadReplica, "preferredReadReplica", since: 11)
            try w.records(&records, "records", apartLength: recordsLength)
            try w.tag(0, &divergingEpoch, "divergingEpoch", default: DivergingEpoch())
            try w.tag(1, &currentLeader, "currentLeader", default: CurrentLeader())
            try w.tag(2, &snapshotID, "snapshotID", default: SnapshotID())
            try w.tag(10000, &cleanedByAll, "cleanedByAll", default: 0, since: 18)
            try w.tag(10001, &producers, "producers", since: 18)
            try w.end()
        }
    }

    package struct DivergingEpoch: WireStruct {
        package var epoch: Int32 = -1
        package var endOffset: Int64 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&epoch, "epoch")
            try w.field(&endOffset, "endOffset")
            try w.end()
        }
    }

    package struct CurrentLeader: WireStruct {
        package var leaderID: Int32 = -1
        package var leaderEpoch: Int32 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&leaderID, "leaderID")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.end()
        }
    }

    package struct SnapshotID: WireStruct {
        package var endOffset: Int64 = -1
        package var epoch: Int32 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&endOffset, "endOffset")
            try w.field(&epoch, "epoch")
            try w.end()
        }
    }

    package struct AbortedTransaction: WireStruct {
        package var producerID: Int64 = 0
        package var firstOffset: Int64 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&producerID, "producerID")
            try w.field(&firstOffset, "firstOffset")
            try w.end()
        }
    }

    package struct NodeEndpoint: WireStruct {
        package var nodeID: Int32 = 0
        package var host = ""
        package var port: Int32 = 0
        package var rack: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&nodeID, "nodeID")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.field(&rack, "rack")
            try w.end()
        }
    }
}
