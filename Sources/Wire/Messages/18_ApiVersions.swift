// ApiVersions (key 18): lists what this node speaks. Versions 0–4, flexible from 3.
// Answers always have header v0; an unsupported version is answered in v0 with error 35.

import Model

package struct ApiVersionsRequest: WireRequest {
    package typealias Response = ApiVersionsResponse
    package static let api = APIKey.apiVersions
    package static let versions: ClosedRange<Int16> = 0...4
    package static let flexibleSince: Int16 = 3

    package var clientSoftwareName = ""
    package var clientSoftwareVersion = ""

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&clientSoftwareName, "clientSoftwareName", since: 3)
        try w.field(&clientSoftwareVersion, "clientSoftwareVersion", since: 3)
        try w.end()
    }
}

package struct ApiVersionsResponse: WireMessage {
    package static let versions: ClosedRange<Int16> = 0...4
    package static let flexibleSince: Int16 = 3

    package var errorCode = ErrorCode.none
    package var apiKeys: [ApiVersion] = []
    package var throttleTimeMs: Int32 = 0
    package var supportedFeatures: [SupportedFeature] = []
    package var finalizedFeaturesEpoch: Int64 = -1
    package var finalizedFeatures: [FinalizedFeature] = []
    package var zkMigrationReady = false

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&errorCode, "errorCode")
        try w.field(&apiKeys, "apiKeys")
        try w.field(&throttleTimeMs, "throttleTimeMs", since: 1)
        try w.tag(0, &supportedFeatures, "supportedFeatures", default: [])
        try w.tag(1, &finalizedFeaturesEpoch, "finalizedFeaturesEpoch", default: -1)
        try w.tag(2, &finalizedFeatures, "finalizedFeatures", default: [])
        try w.tag(3, &zkMigrationReady, "zkMigrationReady", default: false)
        try w.end()
    }

    package struct ApiVersion: WireStruct {
        package var apiKey = APIKey(rawValue: 0)
        package var minVersion: Int16 = 0
        package var maxVersion: Int16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&apiKey, "apiKey")
            try w.field(&minVersion, "minVersion")
            try w.field(&maxVersion, "maxVersion")
            try w.end()
        }
    }

    package struct SupportedFeature: WireStruct {
        package var name = ""
        package var minVersion: Int16 = 0
        package var maxVersion: Int16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&minVersion, "minVersion")
            try w.field(&maxVersion, "maxVersion")
            try w.end()
        }
    }

    package struct FinalizedFeature: WireStruct {
        package var name = ""
        package var maxVersionLevel: Int16 = 0
        package var minVersionLevel: Int16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&maxVersionLevel, "maxVersionLevel")
            try w.field(&minVersionLevel, "minVersionLevel")
            try w.end()
        }
    }
}
