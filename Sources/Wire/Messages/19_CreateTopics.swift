// CreateTopics (key 19): creates topics. Versions 2–7, flexible from 5.

import Model

package struct CreateTopicsRequest: WireRequest {
    package typealias Response = CreateTopicsResponse
    package static let api = APIKey.createTopics
    package static let versions: ClosedRange<Int16> = 2...7
    package static let flexibleSince: Int16 = 5

    package var topics: [Topic] = []
    package var timeoutMs: Int32 = 60000
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
        package var numPartitions: Int32 = 0
        package var replicationFactor: Int16 = 0
        package var assignments: [Assignment] = []
        package var configs: [Config] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&numPartitions, "numPartitions")
            try w.field(&replicationFactor, "replicationFactor")
            try w.field(&assignments, "assignments")
            try w.field(&configs, "configs")
            try w.end()
        }
    }

    package struct Assignment: WireStruct {
        package var partitionIndex: Int32 = 0
        package var brokerIDs: [Int32] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&partitionIndex, "partitionIndex")
            try w.field(&brokerIDs, "brokerIDs")
            try w.end()
        }
    }

    package struct Config: WireStruct {
        package var name = ""
        package var value: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&value, "value")
            try w.end()
        }
    }
}

package struct CreateTopicsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 2...7
    package static let flexibleSince: Int16 = 5

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
        package var topicID = UUID128()
        package var errorCode = ErrorCode.none
        package var errorMessage: String?
        package var topicConfigErrorCode = ErrorCode.none
        package var numPartitions: Int32 = -1
        package var replicationFactor: Int16 = -1
        package var configs: [Config]?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&topicID, "topicID", since: 7)
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage")
            try w.field(&numPartitions, "numPartitions", since: 5)
            try w.field(&replicationFactor, "replicationFactor", since: 5)
            try w.field(&configs, "configs", since: 5)
            try w.tag(0, &topicConfigErrorCode, "topicConfigErrorCode", default: .none)
            try w.end()
        }
    }

    package struct Config: WireStruct {
        package var name = ""
        package var value: String?
        package var readOnly = false
        package var configSource: Int8 = -1
        package var isSensitive = false

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&value, "value")
            try w.field(&readOnly, "readOnly")
            try w.field(&configSource, "configSource")
            try w.field(&isSensitive, "isSensitive")
            try w.end()
        }
    }
}
