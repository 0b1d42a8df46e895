// PartitionRecord (type 3, version 2): the whole state of a partition.

import Model

package struct PartitionRecord: WireMetadataRecord {
    package static let type: UInt32 = 3
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var partitionID: Int32 = -1
    package var topicID = UUID128()
    package var replicas: [Int32] = []
    package var isr: [Int32] = []
    package var removingReplicas: [Int32] = []
    package var addingReplicas: [Int32] = []
    package var leader: Int32 = -1
    package var leaderRecoveryState: Int8 = 0
    package var leaderEpoch: Int32 = -1
    package var partitionEpoch: Int32 = -1
    package var directories: [UUID128] = []
    package var eligibleLeaderReplicas: [Int32]?
    package var lastKnownElr: [Int32]?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&partitionID, "partitionID")
        try w.field(&topicID, "topicID")
        try w.field(&replicas, "replicas")
        try w.field(&isr, "isr")
        try w.field(&removingReplicas, "removingReplicas")
        try w.field(&addingReplicas, "addingReplicas")
        try w.field(&leader, "leader")
        try w.field(&leaderEpoch, "leaderEpoch")
        try w.field(&partitionEpoch, "partitionEpoch")
        try w.field(&directories, "directories", since: 1)
        try w.tag(0, &leaderRecoveryState, "leaderRecoveryState", default: 0)
        try w.tag(1, &eligibleLeaderReplicas, "eligibleLeaderReplicas", since: 2)
        try w.tag(2, &lastKnownElr, "lastKnownElr", since: 2)
        try w.end()
    }
}
