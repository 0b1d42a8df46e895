// GroupMetadata (record type 2): a classic group with its members, as of the end of its last rebalance.

import NIOCore

package struct GroupMetadataKey: WireGroupKey {
    package static let type: Int16 = 2

    package var groupID = ""

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.end()
    }
}

package struct GroupMetadataValue: WireGroupValue {
    package static let versions: ClosedRange<Int16> = 0...4
    package static let flexibleSince: Int16 = 4

    package var protocolType = ""
    package var generation: Int32 = 0
    /// Null in a group without members.
    package var protocolName: String?
    package var leader: String?
    /// When the group came into its state, in Unix milliseconds; −1: unknown.
    package var currentStateTimestamp: Int64 = -1
    package var members: [Member] = []

    package init() {}

    /// The last version that is not flexible. Kafka stays with it until there is a tagged field to write, so that
    /// builds and tools from before version 4 read it.
    package var writtenVersion: Int16 { 3 }

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&protocolType, "protocolType")
        try w.field(&generation, "generation")
        try w.field(&protocolName, "protocolName")
        try w.field(&leader, "leader")
        try w.field(&currentStateTimestamp, "currentStateTimestamp", since: 2)
        try w.field(&members, "members")
        try w.end()
    }

    package struct Member: WireStruct {
        package var memberID = ""
        package var groupInstanceID: String?
        package var clientID = ""
        package var clientHost = ""
        package var rebalanceTimeoutMs: Int32 = -1
        package var sessionTimeoutMs: Int32 = 0
        package var subscription = ByteBuffer()
        package var assignment = ByteBuffer()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&memberID, "memberID")
            try w.field(&groupInstanceID, "groupInstanceID", since: 3)
            try w.field(&clientID, "clientID")
            try w.field(&clientHost, "clientHost")
            try w.field(&rebalanceTimeoutMs, "rebalanceTimeoutMs", since: 1)
            try w.field(&sessionTimeoutMs, "sessionTimeoutMs")
            try w.field(&subscription, "subscription")
            try w.field(&assignment, "assignment")
            try w.end()
        }
    }
}
