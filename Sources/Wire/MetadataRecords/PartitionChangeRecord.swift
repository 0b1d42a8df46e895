// PartitionChangeRecord (type 5, version 2): what changed in a partition; null or −2/−1 means unchanged.

import Model

package struct PartitionChangeRecord: WireMetadataRecord {
    package static let type: UInt32 = 5
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 0

    package var partitionID: Int32 = -1
    package var topicID = UUID128()
    package var isr: [Int32]?
    package var leader: Int32 = -2
    package var replicas: [Int32]?
    package var removingReplicas: [Int32]?
    package var addingReplicas: [Int32]?
    package var leaderRecoveryState: Int8 = -1
    package var directories: [UUID128]?
    package var eligibleLeaderReplicas: [Int32]?
    package var lastKnownElr: [Int32]?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&partitionID, "partitionID")
        try w.field(&topicID, "topicID")
        try w.tag(0, &isr, "isr")
        try w.tag(1, &leader, "leader", default: -2)
        try w.tag(2, &replicas, "replicas")
        try w.tag(3, &removingReplicas, "removingReplicas")
        try w.tag(4, &addingReplicas, "addingReplicas")
        try w.tag(5, &leaderRecoveryState, "leaderRecoveryState", default: -1)
        try w.tag(6, &eligibleLeaderReplicas, "eligibleLeaderReplicas", since: 2)
        try w.tag(7, &lastKnownElr, "lastKnownElr", since: 2)
        try w.tag(8, &directories, "directories", since: 1)
        try w.end()
    }
}
