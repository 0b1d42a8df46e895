// KRaftVersionRecord (control record): the finalized kraft.version; 1 allows voters to change (KIP-853).

package struct KRaftVersionRecord: WireControlRecord {
    package static let type = ControlRecordType.kraftVersion
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var version: Int16 = 0
    package var kraftVersion: Int16 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&version, "version")
        try w.field(&kraftVersion, "kraftVersion")
        try w.end()
    }
}
