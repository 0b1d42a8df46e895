// OffsetDelete (key 47): forgets a group's offsets of partitions to which it does not subscribe (KIP-496). Version 0,
// never flexible.

import Model

package struct OffsetDeleteRequest: WireRequest {
    package typealias Response = OffsetDeleteResponse
    package static let api = APIKey.offsetDelete
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = .max

    package var groupID = ""
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&groupID, "groupID")
        try w.field(&topics, "topics")
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.end()
        }
    }
}

package struct OffsetDeleteResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = .max

    package var errorCode = ErrorCode.none
    package var throttleTimeMs: Int32 = 0
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&errorCode, "errorCode")
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&topics, "topics")
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var partitions: [Partition] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&partitions, "partitions")
            try w.end()
        }
    }

    package struct Partition: WireStruct {
        package var partitionIndex: Int32 = 0
        package var errorCode = ErrorCode.none

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&errorCode, "errorCode")
            try w.end()
        }
    }
}
