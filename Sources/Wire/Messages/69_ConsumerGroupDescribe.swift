// ConsumerGroupDescribe (key 69): describes consumer groups (KIP-848). Versions 0–1, flexible from 0. v1 tells by which
// protocol a member takes part (KIP-1099): 0 classic, 1 consumer, −1 unknown.

import Model

package struct ConsumerGroupDescribeRequest: WireRequest {
    package typealias Response = ConsumerGroupDescribeResponse
    package static let api = APIKey.consumerGroupDescribe
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 0

    package var groupIDs: [String] = []
    package var includeAuthorizedOperations = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupIDs, "groupIDs")
        try w.field(&includeAuthorizedOperations, "includeAuthorizedOperations")
        try w.end()
    }
}

package struct ConsumerGroupDescribeResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 0

    package var throttleTimeMs: Int32 = 0
    package var groups: [Group] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&groups, "groups")
        try w.end()
    }

    package struct Group: WireStruct {
        package var errorCode = ErrorCode.none
        package var errorMessage: String?
        package var groupID = ""
        package var groupState = ""
        package var groupEpoch: Int32 = 0
        package var assignmentEpoch: Int32 = 0
        package var assignorName = ""
        package var members: [Member] = []
        package var authorizedOperations: Int32 = .min
        /// Martlet's own, for its tools: why and when the group rebalanced last, as far as this coordinator knows.
        package var rebalanceReason: String?
        package var rebalancedAtMs: Int64 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage")
            try w.field(&groupID, "groupID")
            try w.field(&groupState, "groupState")
            try w.field(&groupEpoch, "groupEpoch")
            try w.field(&assignmentEpoch, "assignmentEpoch")
            try w.field(&assignorName, "assignorName")
            try w.field(&members, "members")
            try w.field(&authorizedOperations, "authorizedOperations")
            try w.tag(10000, &rebalanceReason, "rebalanceReason", since: 1)
            try w.tag(10001, &rebalancedAtMs, "rebalancedAtMs", default: -1, since: 1)
            try w.end()
        }
    }

    package struct Member: WireStruct {
        package var memberID = ""
        package var instanceID: String?
        package var rackID: String?
        package var memberEpoch: Int32 = 0
        package var clientID = ""
        package var clientHost = ""
        package var subscribedTopicNames: [String] = []
        package var subscribedTopicRegex: String?
        package var assignment = Assignment()
        package var targetAssignment = Assignment()
        package var memberType: Int8 = -1

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&memberID, "memberID")
            try w.field(&instanceID, "instanceID")
            try w.field(&rackID, "rackID")
            try w.field(&memberEpoch, "memberEpoch")
            try w.field(&clientID, "clientID")
            try w.field(&clientHost, "clientHost")
            try w.field(&subscribedTopicNames, "subscribedTopicNames")
            try w.field(&subscribedTopicRegex, "subscribedTopicRegex")
            try w.field(&assignment, "assignment")
            try w.field(&targetAssignment, "targetAssignment")
            try w.field(&memberType, "memberType", since: 1)
            try w.end()
        }
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
        package var topicName = ""
        package var partitions: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicID, "topicID")
            try w.field(&topicName, "topicName")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }
}
