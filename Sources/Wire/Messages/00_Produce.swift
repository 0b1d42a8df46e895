// Produce (key 0): appends record batches to partitions. Versions 3–13, flexible from 9.
// From v13 topics are named by id. v10 adds the current leader to errors.

import Model
import NIOCore

package struct ProduceRequest: WireRequest {
    package typealias Response = ProduceResponse
    package static let api = APIKey.produce
    package static let versions: ClosedRange<Int16> = 3...13
    package static let flexibleSince: Int16 = 9

    package var transactionalID: String?
    package var acks: Int16 = 0
    package var timeoutMs: Int32 = 0
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&transactionalID, "transactionalID")
        try w.field(&acks, "acks")
        try w.field(&timeoutMs, "timeoutMs")
        try w.field(&topics, "topics")
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
        package var records: ByteBuffer?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.records(&records, "records")
            try w.end()
        }
    }
}

package struct ProduceResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 3...13
    package static let flexibleSince: Int16 = 9

    package var topics: [Topic] = []
    package var throttleTimeMs: Int32 = 0
    package var nodeEndpoints: [NodeEndpoint] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&topics, "topics")
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.tag(0, &nodeEndpoints, "nodeEndpoints", default: [], since: 10)
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
        package var baseOffset: Int64 = 0
        package var logAppendTimeMs: Int64 = -1
        package var logStartOffset: Int64 = -1
        package var recordErrors: [RecordError] = []
        package var errorMessage: String?
        package var currentLeader = CurrentLeader()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.field(&baseOffset, "baseOffset")
            try w.field(&logAppendTimeMs, "logAppendTimeMs")
            try w.field(&logStartOffset, "logStartOffset", since: 5)
            try w.field(&recordErrors, "recordErrors", since: 8)
            try w.field(&errorMessage, "errorMessage", since: 8)
            try w.tag(0, &currentLeader, "currentLeader", default: CurrentLeader(), since: 10)
            try w.end()
        }
    }

    package struct RecordError: WireStruct {
        package var batchIndex: Int32 = 0
        package var batchIndexErrorMessage: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&batchIndex, "batchIndex")
            try w.field(&batchIndexErrorMessage, "batchIndexErrorMessage")
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
