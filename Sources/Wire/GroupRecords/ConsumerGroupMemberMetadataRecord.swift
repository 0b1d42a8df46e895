// ConsumerGroupMemberMetadata (record type 5): a member of a consumer group and what it subscribes to (KIP-848).

import NIOCore

package struct ConsumerGroupMemberMetadataKey: WireGroupKey {
    package static let type: Int16 = 5

    package var groupID = ""
    package var memberID = ""

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&memberID, "memberID")
        try w.end()
    }
}

package struct ConsumerGroupMemberMetadataValue: WireGroupValue {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var instanceID: String?
    package var rackID: String?
    package var clientID = ""
    package var clientHost = ""
    package var subscribedTopicNames: [String] = []
    package var subscribedTopicRegex: String?
    package var rebalanceTimeoutMs: Int32 = -1
    /// Null: the group's first.
    package var serverAssignor: String?
    /// Of a member that takes part by JoinGroup; null of one that sends ConsumerGroupHeartbeat.
    package var classicMemberMetadata: ClassicMemberMetadata?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&instanceID, "instanceID")
        try w.field(&rackID, "rackID")
        try w.field(&clientID, "clientID")
        try w.field(&clientHost, "clientHost")
        try w.field(&subscribedTopicNames, "subscribedTopicNames")
        try w.field(&subscribedTopicRegex, "subscribedTopicRegex")
        try w.field(&rebalanceTimeoutMs, "rebalanceTimeoutMs")
        try w.field(&serverAssignor, "serverAssignor")
        try w.tag(0, &classicMemberMetadata, "classicMemberMetadata")
        try w.end()
    }

    package struct ClassicMemberMetadata: WireStruct {
        package var sessionTimeoutMs: Int32 = 0
        package var supportedProtocols: [ClassicProtocol] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&sessionTimeoutMs, "sessionTimeoutMs")
            try w.field(&supportedProtocols, "supportedProtocols")
            try w.end()
        }
    }

    package struct ClassicProtocol: WireStruct {
        package var name = ""
        package var metadata = ByteBuffer()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&metadata, "metadata")
            try w.end()
        }
    }
}
