// SnapshotFooterRecord (control record): the last record of a metadata snapshot (KIP-630).

package struct SnapshotFooterRecord: WireControlRecord {
    package static let type = ControlRecordType.snapshotFooter
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var version: Int16 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&version, "version")
        try w.end()
    }
}
