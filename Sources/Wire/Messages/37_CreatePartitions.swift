// CreatePartitions (key 37): raises the partition counts of topics. Versions 0–3, flexible from 2.

import Model

package struct CreatePartitionsRequest: WireRequest {
    package typealias Response = CreatePartitionsResponse
    package static let api = APIKey.createPartitions
    package static let versions: ClosedRange<Int16> = 0...3
    package static let flexibleSince: Int16 = 2

    package var topics: [Topic] = []
    package var timeoutMs: Int32 = 0
    package var validateOnly = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&topics, "topics")
        try w.field(&timeoutMs, "timeoutMs")
        try w.field(&validateOnly, "validateOnly")
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name = ""
        package var count: Int32 = 0
        package var assignments: [Assignment]?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&count, "count")
            try w.field(&assignments, "assignments")
            try w.end()
        }
    }

    package struct Assignment: WireStruct {
        package var brokerIDs: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&brokerIDs, "brokerIDs")
            try w.end()
        }
    }
}

package struct CreatePartitionsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...3
    package static let flexibleSince: Int16 = 2

    package var throttleTimeMs: Int32 = 0
    package var results: [TopicResult] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&results, "results")
        try w.end()
    }

    package struct TopicResult: WireStruct {
        package var name = ""
        package var errorCode = ErrorCode.none
        package var errorMessage: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage")
            try w.end()
        }
    }
}
