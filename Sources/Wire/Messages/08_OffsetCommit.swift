// OffsetCommit (key 8): stores where a group has read to. Versions 2–10, flexible from 8; v10 names topics by id alone.
// The generation of a classic group and the member epoch of a consumer group (v9, KIP-848) share a field.

import Model

package struct OffsetCommitRequest: WireRequest {
    package typealias Response = OffsetCommitResponse
    package static let api = APIKey.offsetCommit
    package static let versions: ClosedRange<Int16> = 2...10
    package static let flexibleSince: Int16 = 8

    package var groupID = ""
    package var generationIDOrMemberEpoch: Int32 = -1
    package var memberID = ""
    package var groupInstanceID: String?
    package var retentionTimeMs: Int64 = -1
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&generationIDOrMemberEpoch, "generationIDOrMemberEpoch")
        try w.field(&memberID, "memberID")
        try w.field(&groupInstanceID, "groupInstanceID", since: 7)
        try w.field(&retentionTimeMs, "retentionTimeMs", until: 4)
        try w.field(&topics, "topics")
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var topicID = UUID128()
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name", until: 9)
            try w.field(&topicID, "topicID", since: 10)
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0
        package var committedOffset: Int64 = 0
        package var committedLeaderEpoch: Int32 = -1
        package var committedMetadata: String? = ""

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&committedOffset, "committedOffset")
            try w.field(&committedLeaderEpoch, "committedLeaderEpoch", since: 6)
            try w.field(&committedMetadata, "committedMetadata")
            try w.end()
        }
    }
}

package struct OffsetCommitResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 2...10
    package static let flexibleSince: Int16 = 8

    package var throttleTimeMs: Int32 = 0
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 3)
        try w.field(&topics, "topics")
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var topicID = UUID128()
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name", until: 9)
            try w.field(&topicID, "topicID", since: 10)
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0
        package var errorCode = ErrorCode.none

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.end()
        }
    }
}
