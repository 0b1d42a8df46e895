// ConsumerGroupTargetAssignmentMetadata (record type 6): the epoch of the assignment that a consumer group moves to.
// ConsumerGroupTargetAssignmentMember (7): what a member is to have in it. KIP-848.

import Model

package struct ConsumerGroupTargetAssignmentMetadataKey: WireGroupKey {
    package static let type: Int16 = 6

    package var groupID = ""

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.end()
    }
}

package struct ConsumerGroupTargetAssignmentMetadataValue: WireGroupValue {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var assignmentEpoch: Int32 = 0
    /// When it was computed, in Unix milliseconds; 0: unknown.
    package var assignmentTimestamp: Int64 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&assignmentEpoch, "assignmentEpoch")
        try w.tag(0, &assignmentTimestamp, "assignmentTimestamp", default: 0)
        try w.end()
    }
}

package struct ConsumerGroupTargetAssignmentMemberKey: WireGroupKey {
    package static let type: Int16 = 7

    package var groupID = ""
    package var memberID = ""

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&memberID, "memberID")
        try w.end()
    }
}

package struct ConsumerGroupTargetAssignmentMemberValue: WireGroupValue {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var topicPartitions: [TopicPartitions] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
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
