// TopicRecord (type 2, version 0), RemoveTopicRecord (type 9, version 0): a topic begins and ends.

import Model

package struct TopicRecord: WireMetadataRecord {
    package static let type: UInt32 = 2
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var name = ""
    package var topicID = UUID128()

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&name, "name")
        try w.field(&topicID, "topicID")
        try w.end()
    }
}

package struct RemoveTopicRecord: WireMetadataRecord {
    package static let type: UInt32 = 9
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var topicID = UUID128()

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&topicID, "topicID")
        try w.end()
    }
}
