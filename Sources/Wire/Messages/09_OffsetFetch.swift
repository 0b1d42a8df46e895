// OffsetFetch (key 9): reads back what groups committed. Versions 1–10, flexible from 6. Up to v7 one group, whose
// topics stand in the body itself; from v8 many. A null topic list (from v2) means all topics. v10 names topics by id
// alone.

import Model

package struct OffsetFetchRequest: WireRequest {
    package typealias Response = OffsetFetchResponse
    package static let api = APIKey.offsetFetch
    package static let versions: ClosedRange<Int16> = 1...10
    package static let flexibleSince: Int16 = 6

    package var groupID = ""
    package var topics: [Topic]? = []
    package var groups: [Group] = []
    package var requireStable = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID", until: 7)
        try w.field(&topics, "topics", until: 7, nullableSince: 2)
        try w.field(&groups, "groups", since: 8)
        try w.field(&requireStable, "requireStable", since: 7)
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var topicID = UUID128()
        package var partitionIndexes: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name", until: 9)
            try w.field(&topicID, "topicID", since: 10)
            try w.field(&partitionIndexes, "partitionIndexes")
            try w.end()
        }
    }

    package struct Group: WireStruct {
        package var groupID = ""
        package var memberID: String?
        package var memberEpoch: Int32 = -1
        package var topics: [Topic]? = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&groupID, "groupID")
            try w.field(&memberID, "memberID", since: 9)
            try w.field(&memberEpoch, "memberEpoch", since: 9)
            try w.field(&topics, "topics")
            try w.end()
        }
    }
}

package struct OffsetFetchResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 1...10
    package static let flexibleSince: Int16 = 6

    package var throttleTimeMs: Int32 = 0
    package var topics: [Topic] = []
    package var errorCode = ErrorCode.none
    package var groups: [Group] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 3)
        try w.field(&topics, "topics", until: 7)
        try w.field(&errorCode, "errorCode", since: 2, until: 7)
        try w.field(&groups, "groups", since: 8)
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

    package struct Group: WireStruct {
        package var groupID = ""
        package var topics: [Topic] = []
        package var errorCode = ErrorCode.none

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&groupID, "groupID")
            try w.field(&topics, "topics")
            try w.field(&errorCode, "errorCode")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0
        package var committedOffset: Int64 = 0
        package var committedLeaderEpoch: Int32 = -1
        package var metadata: String? = ""
        package var errorCode = ErrorCode.none

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&committedOffset, "committedOffset")
            try w.field(&committedLeaderEpoch, "committedLeaderEpoch", since: 5)
            try w.field(&metadata, "metadata")
            try w.field(&errorCode, "errorCode")
            try w.end()
        }
    }
}
