// ConsumerGroupCurrentMemberAssignment (record type 8): what a member of a consumer group has now, and how far it has
// come (KIP-848).

import Model

package struct ConsumerGroupCurrentMemberAssignmentKey: WireGroupKey {
    package static let type: Int16 = 8

    package var groupID = ""
    package var memberID = ""

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&memberID, "memberID")
        try w.end()
    }
}

package struct ConsumerGroupCurrentMemberAssignmentValue: WireGroupValue {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var memberEpoch: Int32 = 0
    /// A member that did not get our last answer still sends this one.
    package var previousMemberEpoch: Int32 = 0
    /// Kafka's number: 0 stable, 1 has partitions to give up, 2 waits for partitions of others.
    package var state: Int8 = 0
    package var assignedPartitions: [TopicPartitions] = []
    package var partitionsPendingRevocation: [TopicPartitions] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&memberEpoch, "memberEpoch")
        try w.field(&previousMemberEpoch, "previousMemberEpoch")
        try w.field(&state, "state")
        try w.field(&assignedPartitions, "assignedPartitions")
        try w.field(&partitionsPendingRevocation, "partitionsPendingRevocation")
        try w.end()
    }

    package struct TopicPartitions: WireStruct {
        package var topicID = UUID128()
        package var partitions: [Int32] = []
        /// Since which member epoch each partition is the member's, in the order of `partitions`; null: unknown.
        package var assignmentEpochs: [Int32]?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&topicID, "topicID")
            try w.field(&partitions, "partitions")
            try w.tag(0, &assignmentEpochs, "assignmentEpochs")
            try w.end()
        }
    }
}
