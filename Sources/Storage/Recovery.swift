// What opening a log found on the disk.

import Model

/// A range of offsets that was durable once and cannot be read any more. Nothing of it has been cut away: the file is
/// as it was found.
package struct Damage: Equatable, Sendable {
    package var offsets: Range<Offset>
    package var file: String
    package var reason: String

    package init(offsets: Range<Offset>, file: String, reason: String) {
        self.offsets = offsets
        self.file = file
        self.reason = reason
    }
}

package struct Recovery: Equatable, Sendable {
    /// Segments whose batches were checked one by one.
    package var segmentsScanned = 0
    /// Bytes cut off because no barrier had ever covered them and they were not whole batches.
    package var tornBytes: Int64 = 0
    /// Whole segments dropped behind such a cut.
    package var segmentsRemoved = 0
    package var indexesRebuilt = 0
    package var epochsRebuilt = false
    /// Offsets between the start that the owner remembers and the first segment there is. Ordinary after a removal
    /// whose new start was not yet noted; otherwise the first segments are lost. The log cannot tell, so its owner
    /// must.
    package var missingStart: Range<Offset>?
    /// Damage reaches to the end of the last file: how far the log went behind the recovery point nobody can tell
    /// before a survey finds it.
    package var isEndLost = false
    /// Where the part of it begins that lies above the recovery point in files of its own: whether anything was there
    /// nobody can tell.
    package var tornBehindDamage: Offset?
    /// In offset order. Appends are refused while there is any.
    package var damages: [Damage] = []
    package var damage: Damage? { damages.first }

    package init() {}
}
