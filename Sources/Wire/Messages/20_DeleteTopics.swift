// DeleteTopics (key 20): deletes topics, by name or from v6 by id. Versions 1–6, flexible from 4.

import Model

package struct DeleteTopicsRequest: WireRequest {
    package typealias Response = DeleteTopicsResponse
    package static let api = APIKey.deleteTopics
    package static let versions: ClosedRange<Int16> = 1...6
    package static let flexibleSince: Int16 = 4

    package var topics: [Topic] = []
    package var topicNames: [String] = []
    package var timeoutMs: Int32 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&topics, "topics", since: 6)
        try w.field(&topicNames, "topicNames", until: 5)
        try w.field(&timeoutMs, "timeoutMs")
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name: String?
        package var topicID = UUID128()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&topicID, "topicID")
            try w.end()
        }
    }
}

package struct DeleteTopicsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 1...6
    package static let flexibleSince: Int16 = 4

    package var throttleTimeMs: Int32 = 0
    package var topics: [Topic] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&topics, "topics")
        try w.end()
    }

    package struct Topic: WireStruct {
        package var name: String?
        package var topicID = UUID128()
        package var errorCode = ErrorCode.none
        package var errorMessage: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name", nullableSince: 6)
            try w.field(&topicID, "topicID", since: 6)
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage", since: 5)
            try w.end()
        }
    }
}
