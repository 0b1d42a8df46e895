// ConsumerGroupHeartbeat (key 68): joins, keeps up and leaves a consumer group, and brings its assignment (KIP-848).
// Versions 0–1, flexible from 0. A field that is null has not changed since the heartbeat before. Member epoch 0 joins,
// −1 leaves, −2 leaves as a static member who comes back. From v1 the member makes its id itself.

import Model

package struct ConsumerGroupHeartbeatRequest: WireRequest {
    package typealias Response = ConsumerGroupHeartbeatResponse
    package static let api = APIKey.consumerGroupHeartbeat
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 0

    package var groupID = ""
    package var memberID = ""
    package var memberEpoch: Int32 = 0
    package var instanceID: String?
    package var rackID: String?
    package var rebalanceTimeoutMs: Int32 = -1
    package var subscribedTopicNames: [String]?
    package var subscribedTopicRegex: String?
    package var serverAssignor: String?
    package var topicPartitions: [TopicPartitions]?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&memberID, "memberID")
        try w.field(&memberEpoch, "memberEpoch")
        try w.field(&instanceID, "instanceID")
        try w.field(&rackID, "rackID")
        try w.field(&rebalanceTimeoutMs, "rebalanceTimeoutMs")
        try w.field(&subscribedTopicNames, "subscribedTopicNames")
        try w.field(&subscribedTopicRegex, "subscribedTopicRegex", since: 1)
        try w.field(&serverAssignor, "serverAssignor")
        try w.field(&topicPartitions, "topicPartitions")
        try w.end()
    }

    package struct TopicPartitions: WireStruct {
        package var topicID = UUID128()
        package var partitions: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicID, "topicID")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }
}

package struct ConsumerGroupHeartbeatResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var errorCode = ErrorCode.none
    package var errorMessage: String?
    package var memberID: String?
    package var memberEpoch: Int32 = 0
    package var heartbeatIntervalMs: Int32 = 0
    package var assignment: Assignment?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&errorCode, "errorCode")
        try w.field(&errorMessage, "errorMessage")
        try w.field(&memberID, "memberID")
        try w.field(&memberEpoch, "memberEpoch")
        try w.field(&heartbeatIntervalMs, "heartbeatIntervalMs")
        try w.field(&assignment, "assignment")
        try w.end()
    }

    package struct Assignment: WireStruct {
        package var topicPartitions: [TopicPartitions] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicPartitions, "topicPartitions")
            try w.end()
        }
    }

    package struct TopicPartitions: WireStruct {
        package var topicID = UUID128()
        package var partitions: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicID, "topicID")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }
}
