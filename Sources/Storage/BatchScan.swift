// Checks the batches of a segment one by one, for as long as each is whole, sound and follows on.

import Model
import NIOCore
import Records

struct BatchScan {
    private let segment: Segment
    private var window: FileWindow
    private var position: Int64
    private var expectedOffset: Offset
    private(set) var lastEpoch: LeaderEpoch

    init(_ segment: Segment, fileBytes: Int64, from start: Boundary, lastEpoch: LeaderEpoch) {
        self.segment = segment
        window = FileWindow(disk: segment.disk, file: segment.file, fileBytes: fileBytes)
        position = start.position
        expectedOffset = start.offset
        self.lastEpoch = lastEpoch
    }

    /// The next sound batch; nil at the end of the file or at the first that is not. Throws only where the disk does.
    mutating func next() throws(LogError) -> BatchHeader? {
        guard let (header, _) = try window.batch(at: position), header.baseOffset == expectedOffset,
            header.lastOffset - segment.baseOffset <= Offset(Int32.max), header.partitionLeaderEpoch >= lastEpoch
        else { return nil }
        position += Int64(header.sizeBytes)
        expectedOffset = header.nextOffset
        lastEpoch = header.partitionLeaderEpoch
        return header
    }
}
