// OffsetCommit (record type 1, and 0 before it): where a group has read to in one partition.

import Model

package struct OffsetCommitKey: WireGroupKey {
    package static let type: Int16 = 1
    /// Of Kafka before 0.8.2: the same fields. It is read, and written as type 1.
    package static let legacyType: Int16 = 0

    package var groupID = ""
    package var topic = ""
    package var partition: Int32 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&topic, "topic")
        try w.field(&partition, "partition")
        try w.end()
    }
}

package struct OffsetCommitValue: WireGroupValue {
    package static let versions: ClosedRange<Int16> = 0...4
    package static let flexibleSince: Int16 = 4

    package var offset: Int64 = 0
    package var leaderEpoch: Int32 = -1
    package var metadata = ""
    /// When it was committed, in Unix milliseconds.
    package var commitTimestamp: Int64 = 0
    /// When it may be forgotten, in Unix milliseconds, of a client that named a retention of its own (OffsetCommit up
    /// to v4). −1: as the configuration says.
    package var expireTimestamp: Int64 = -1
    /// Zero: unknown.
    package var topicID = UUID128()

    package init() {}

    /// Kafka writes version 4 since 4.1, also where the topic id is unknown; 4.0 wrote 3, which has no room for it. An
    /// id is worth having: an offset of a topic that was deleted and made again is told from one of the new topic. Only
    /// version 1 can say when an offset expires, at the cost of its leader epoch.
    package var writtenVersion: Int16 { expireTimestamp == -1 ? 4 : 1 }

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&offset, "offset")
        try w.field(&leaderEpoch, "leaderEpoch", since: 3)
        try w.field(&metadata, "metadata")
        try w.field(&commitTimestamp, "commitTimestamp")
        try w.field(&expireTimestamp, "expireTimestamp", since: 1, until: 1)
        try w.tag(0, &topicID, "topicID", since: 4)
        try w.end()
    }
}
