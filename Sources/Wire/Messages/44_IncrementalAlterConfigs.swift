// IncrementalAlterConfigs (key 44): changes single configs (KIP-339). Versions 0–1, flexible from 1.

import Model

package struct IncrementalAlterConfigsRequest: WireRequest {
    package typealias Response = IncrementalAlterConfigsResponse
    package static let api = APIKey.incrementalAlterConfigs
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 1

    package var resources: [Resource] = []
    package var validateOnly = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&resources, "resources")
        try w.field(&validateOnly, "validateOnly")
        try w.end()
    }

    package struct Resource: WireStruct {
        package var resourceType: Int8 = 0
        package var resourceName = ""
        package var configs: [Config] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&resourceType, "resourceType")
            try w.field(&resourceName, "resourceName")
            try w.field(&configs, "configs")
            try w.end()
        }
    }

    package struct Config: WireStruct {
        package var name = ""
        package var configOperation: Int8 = 0
        package var value: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&configOperation, "configOperation")
            try w.field(&value, "value")
            try w.end()
        }
    }
}

package struct IncrementalAlterConfigsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...1
    package static let flexibleSince: Int16 = 1

    package var throttleTimeMs: Int32 = 0
    package var responses: [ResourceResponse] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&responses, "responses")
        try w.end()
    }

    package struct ResourceResponse: WireStruct {
        package var errorCode = ErrorCode.none
        package var errorMessage: String?
        package var resourceType: Int8 = 0
        package var resourceName = ""

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage")
            try w.field(&resourceType, "resourceType")
            try w.field(&resourceName, "resourceName")
            try w.end()
        }
    }
}
