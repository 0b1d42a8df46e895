// DescribeTopicPartitions (key 75): describes topics page by page (KIP-966). Version 0, flexible from 0.

import Model

package struct DescribeTopicPartitionsRequest: WireRequest {
    package typealias Response = DescribeTopicPartitionsResponse
    package static let api = APIKey.describeTopicPartitions
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var topics: [Topic] = []
    package var responsePartitionLimit: Int32 = 2000
    package var cursor: Cursor?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&topics, "topics")
        try w.field(&responsePartitionLimit, "responsePartitionLimit")
        try w.field(&cursor, "cursor")
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.end()
        }
    }

    package struct Cursor: WireStruct {
        package var topicName = ""
        package var partitionIndex: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicName, "topicName")
            try w.field(&partitionIndex, "partitionIndex")
            try w.end()
        }
    }
}

package struct DescribeTopicPartitionsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var topics: [Topic] = []
    package var nextCursor: Cursor?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&topics, "topics")
        try w.field(&nextCursor, "nextCursor")
        try w.end()
    }

    package struct Topic: WireStruct {
        package var errorCode = ErrorCode.none
        package var name: String?
        package var topicID = UUID128()
        package var isInternal = false
        package var partitions: [Partition] = []
        package var topicAuthorizedOperations: Int32 = .min

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&errorCode, "errorCode")
            try w.field(&name, "name")
            try w.field(&topicID, "topicID")
            try w.field(&isInternal, "isInternal")
            try w.field(&partitions, "partitions")
            try w.field(&topicAuthorizedOperations, "topicAuthorizedOperations")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var errorCode = ErrorCode.none
        package var partitionIndex: Int32 = 0
        package var leaderID: Int32 = 0
        package var leaderEpoch: Int32 = -1
        package var replicaNodes: [Int32] = []
        package var isrNodes: [Int32] = []
        package var eligibleLeaderReplicas: [Int32]?
        package var lastKnownElr: [Int32]?
        package var offlineReplicas: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&errorCode, "errorCode")
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&leaderID, "leaderID")
            try w.field(&leaderEpoch, "leaderEpoch")
            try w.field(&replicaNodes, "replicaNodes")
            try w.field(&isrNodes, "isrNodes")
            try w.field(&eligibleLeaderReplicas, "eligibleLeaderReplicas")
            try w.field(&lastKnownElr, "lastKnownElr")
            try w.field(&offlineReplicas, "offlineReplicas")
            try w.end()
        }
    }

    package struct Cursor: WireStruct {
        package var topicName = ""
        package var partitionIndex: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicName, "topicName")
            try w.field(&partitionIndex, "partitionIndex")
            try w.end()
        }
    }
}
