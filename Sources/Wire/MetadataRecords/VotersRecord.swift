// VotersRecord (control record): the whole voter set of the metadata quorum from here on (KIP-853).

import Model

package struct VotersRecord: WireControlRecord {
    package static let type = ControlRecordType.voters
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var version: Int16 = 0
    package var voters: [Voter] = []

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&version, "version")
        try w.field(&voters, "voters")
        try w.end()
    }

    package struct Voter: WireStruct {
        package var voterID: Int32 = 0
        package var voterDirectoryID = UUID128()
        package var endpoints: [Endpoint] = []
        package var kraftVersionFeature = VersionRange()

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&voterID, "voterID")
            try w.field(&voterDirectoryID, "voterDirectoryID")
            try w.field(&endpoints, "endpoints")
            try w.field(&kraftVersionFeature, "kraftVersionFeature")
            try w.end()
        }
    }

    package struct Endpoint: WireStruct {
        package var name = ""
        package var host = ""
        package var port: UInt16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&name, "name")
            try w.field(&host, "host")
            try w.field(&port, "port")
            try w.end()
        }
    }

    package struct VersionRange: WireStruct {
        package var minSupportedVersion: Int16 = 0
        package var maxSupportedVersion: Int16 = 0

        package init() {}

        package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
            try w.field(&minSupportedVersion, "minSupportedVersion")
            try w.field(&maxSupportedVersion, "maxSupportedVersion")
            try w.end()
        }
    }
}
