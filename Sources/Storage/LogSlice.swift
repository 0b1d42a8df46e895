// A run of whole batches in one file, named but not read.

import Model

/// Whole batches of one segment. The file may be removed or cut while the slice is out: whoever sends it must then
/// stop.
package struct LogSlice: Equatable, Sendable {
    package var file: FileHandle
    package var position: Int64
    /// In bytes, never 0.
    package var length: Int
    /// The base offset of the first batch; it may lie below the offset asked for.
    package var firstOffset: Offset
    /// One behind the last offset of the last batch.
    package var nextOffset: Offset

    package init(file: FileHandle, position: Int64, length: Int, firstOffset: Offset, nextOffset: Offset) {
        self.file = file
        self.position = position
        self.length = length
        self.firstOffset = firstOffset
        self.nextOffset = nextOffset
    }
}
