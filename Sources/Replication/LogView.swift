// What a partition's decisions see of its log: positions and epochs, never bytes.

import Model

package struct LogView: Hashable, Sendable {
    /// The first offset that is kept.
    package var startOffset: Offset
    /// The next offset to be written (LEO).
    package var endOffset: Offset
    /// Everything below is on disk. Never above `endOffset`.
    package var flushedEnd: Offset
    package var epochs: EpochHistory
    /// Something that was durable cannot be read any more. Such a copy neither leads nor follows until it is repaired
    /// (P11): a fetch would claim that all before its offset is there.
    package var isDamaged: Bool

    package init(
        startOffset: Offset = 0, endOffset: Offset = 0, flushedEnd: Offset = 0, epochs: EpochHistory = .init(),
        isDamaged: Bool = false
    ) {
        self.startOffset = startOffset
        self.endOffset = endOffset
        self.flushedEnd = flushedEnd
        self.epochs = epochs
        self.isDamaged = isDamaged
    }

    var hasUnflushedTail: Bool { flushedEnd < endOffset }
}
