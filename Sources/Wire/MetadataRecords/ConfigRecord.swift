// ConfigRecord (type 4, version 0), FeatureLevelRecord (type 12, version 0):
// one config of a resource, one finalized feature level.

package struct ConfigRecord: WireMetadataRecord {
    package static let type: UInt32 = 4
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var resourceType: Int8 = 0
    package var resourceName = ""
    package var name = ""
    package var value: String?

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&resourceType, "resourceType")
        try w.field(&resourceName, "resourceName")
        try w.field(&name, "name")
        try w.field(&value, "value")
        try w.end()
    }
}

package struct FeatureLevelRecord: WireMetadataRecord {
    package static let type: UInt32 = 12
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var name = ""
    package var featureLevel: Int16 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&name, "name")
        try w.field(&featureLevel, "featureLevel")
        try w.end()
    }
}
