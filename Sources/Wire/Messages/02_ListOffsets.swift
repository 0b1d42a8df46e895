// ListOffsets (key 2): finds offsets by timestamp (−1 latest, −2 earliest, −3 max timestamp, …).
// Versions 1–11, flexible from 6.

import Model

package struct ListOffsetsRequest: WireRequest {
    package typealias Response = ListOffsetsResponse
    package static let api = APIKey.listOffsets
    package static let versions: ClosedRange<Int16> = 1...11
    package static let flexibleSince: Int16 = 6

    package var replicaID: Int32 = 0
    package var isolationLevel: Int8 = 0
    package var topics: [Topic] = []
    package var timeoutMs: Int32 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&replicaID, "replicaID")
        try w.field(&isolationLevel, "isolationLevel", since: 2)
        try w.field(&topics, "topics")
        try w.field(&timeoutMs, "timeoutMs", since: 10)
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
        package var currentLeaderEpoch: Int32 = -1
        package var timestamp: Int64 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&currentLeaderEpoch, "currentLeaderEpoch", since: 4)
            try w.field(&timestamp, "timestamp")
            try w.end()
        }
    }
}

package struct ListOffsetsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 1...11
    package static let flexibleSince: Int16 = 6

    package var throttleTimeMs: Int32 = 0
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 2)
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
        package var errorCode = ErrorCode.none
        package var timestamp: Int64 = -1
        package var offset: Int64 = -1
        package var leaderEpoch: Int32 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.field(&timestamp, "timestamp")
            try w.field(&offset, "offset")
            try w.field(&leaderEpoch, "leaderEpoch", since: 4)
            try w.end()
        }
    }
}
