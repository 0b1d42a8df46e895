// OffsetForLeaderEpoch (key 23): finds the end offset of a leader epoch (KIP-101). Versions 2–4, flexible from 4.

import Model

package struct OffsetForLeaderEpochRequest: WireRequest {
    package typealias Response = OffsetForLeaderEpochResponse
    package static let api = APIKey.offsetForLeaderEpoch
    package static let versions: ClosedRange<Int16> = 2...4
    package static let flexibleSince: Int16 = 4

    package var replicaID: Int32 = -2
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&replicaID, "replicaID", since: 3)
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
        package var currentLeaderEpoch: Int32 = -1
        package var leaderEpoch: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&currentLeaderEpoch, "currentLeaderEpoch")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.end()
        }
    }
}

package struct OffsetForLeaderEpochResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 2...4
    package static let flexibleSince: Int16 = 4

    package var throttleTimeMs: Int32 = 0
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
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
        package var errorCode = ErrorCode.none
        package var partitionIndex: Int32 = 0
        package var leaderEpoch: Int32 = -1
        package var endOffset: Int64 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&errorCode, "errorCode")
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.field(&endOffset, "endOffset")
            try w.end()
        }
    }
}
