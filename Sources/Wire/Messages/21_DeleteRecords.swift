// DeleteRecords (key 21): raises the log start of partitions, at their leaders. Versions 0–2, flexible from 2.

import Model

package struct DeleteRecordsRequest: WireRequest {
    package typealias Response = DeleteRecordsResponse
    package static let api = APIKey.deleteRecords
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 2

    package var topics: [Topic] = []
    package var timeoutMs: Int32 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&topics, "topics")
        try w.field(&timeoutMs, "timeoutMs")
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
        /// Records below go; −1: all below the high watermark.
        package var offset: Int64 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&offset, "offset")
            try w.end()
        }
    }
}

package struct DeleteRecordsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...2
    package static let flexibleSince: Int16 = 2

    package var throttleTimeMs: Int32 = 0
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
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
        /// The least log start of the replicas that count; −1 with most errors.
        package var lowWatermark: Int64 = 0
        package var errorCode = ErrorCode.none

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&lowWatermark, "lowWatermark")
            try w.field(&errorCode, "errorCode")
            try w.end()
        }
    }
}
