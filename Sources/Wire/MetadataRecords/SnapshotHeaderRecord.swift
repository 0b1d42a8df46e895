// SnapshotHeaderRecord (control record): the first record of a metadata snapshot (KIP-630).

package struct SnapshotHeaderRecord: WireControlRecord {
    package static let type = ControlRecordType.snapshotHeader
    package static let versions: ClosedRange<Int16> = 0...0
    package static let flexibleSince: Int16 = 0

    package var version: Int16 = 0
    package var lastContainedLogTimestamp: Int64 = 0

    package init() {}

    package mutating func walk<W: Walker>(_ w: inout W) throws(WireError) {
        try w.field(&version, "version")
        try w.field(&lastContainedLogTimestamp, "lastContainedLogTimestamp")
        try w.end()
    }
}
