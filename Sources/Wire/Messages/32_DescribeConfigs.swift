// DescribeConfigs (key 32): reads configs of topics, brokers and groups. Versions 1–4, flexible from 4.
// Null keys mean all configs.

import Model

package struct DescribeConfigsRequest: WireRequest {
    package typealias Response = DescribeConfigsResponse
    package static let api = APIKey.describeConfigs
    package static let versions: ClosedRange<Int16> = 1...4
    package static let flexibleSince: Int16 = 4

    package var resources: [Resource] = []
    package var includeSynonyms = false
    package var includeDocumentation = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&resources, "resources")
        try w.field(&includeSynonyms, "includeSynonyms")
        try w.field(&includeDocumentation, "includeDocumentation", since: 3)
        try w.end()
    }

    package struct Resource: WireStruct {
        package var resourceType: Int8 = 0
        package var resourceName = ""
        package var configurationKeys: [String]?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&resourceType, "resourceType")
            try w.field(&resourceName, "resourceName")
            try w.field(&configurationKeys, "configurationKeys")
            try w.end()
        }
    }
}

package struct DescribeConfigsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 1...4
    package static let flexibleSince: Int16 = 4

    package var throttleTimeMs: Int32 = 0
    package var results: [ResourceResult] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&throttleTimeMs, "throttleTimeMs")
        try w.field(&results, "results")
        try w.end()
    }

    package struct ResourceResult: WireStruct {
        package var errorCode = ErrorCode.none
        package var errorMessage: String?
        package var resourceType: Int8 = 0
        package var resourceName = ""
        package var configs: [Config] = []

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&errorCode, "errorCode")
            try w.field(&errorMessage, "errorMessage")
            try w.field(&resourceType, "resourceType")
            try w.field(&resourceName, "resourceName")
            try w.field(&configs, "configs")
            try w.end()
        }
    }

    package struct Config: WireStruct {
        package var name = ""
        package var value: String?
        package var readOnly = false
        package var configSource: Int8 = -1
        package var isSensitive = false
        package var synonyms: [Synonym] = []
        package var configType: Int8 = 0
        package var documentation: String?

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&value, "value")
            try w.field(&readOnly, "readOnly")
            try w.field(&configSource, "configSource")
            try w.field(&isSensitive, "isSensitive")
            try w.field(&synonyms, "synonyms")
            try w.field(&configType, "configType", since: 3)
            try w.field(&documentation, "documentation", since: 3)
            try w.end()
        }
    }

    package struct Synonym: WireStruct {
        package var name = ""
        package var value: String?
        package var source: Int8 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&value, "value")
            try w.field(&source, "source")
            try w.end()
        }
    }
}
