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

    package init(
        startOffset: Offset = 0, endOffset: Offset = 0, flushedEnd: Offset = 0, epochs: EpochHistory = .init()
    ) {
        self.startOffset = startOffset
        self.endOffset = endOffset
        self.flushedEnd = flushedEnd
        self.epochs = epochs
    }

    var hasUnflushedTail: Bool { flushedEnd < endOffset }
}
