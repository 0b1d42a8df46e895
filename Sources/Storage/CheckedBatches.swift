// The batches of one closed segment in turn, each checked as a scrub would check it.

import Model
import NIOCore
import Records

struct CheckedBatches {
    let segment: Segment
    private var window: FileWindow
    private var position: Int64
    private var expected: Offset

    init(_ segment: Segment, from start: Boundary) {
        self.segment = segment
        window = FileWindow(disk: segment.disk, file: segment.file, fileBytes: segment.sizeBytes)
        position = start.position
        expected = start.offset
    }

    /// Nil at the end of the segment. Throws `damaged` for whatever is not what was written.
    mutating func next(in log: SegmentedLog) throws(LogError) -> (header: BatchHeader, bytes: ByteBuffer)? {
        guard position < segment.sizeBytes else {
            guard expected == segment.nextOffset else { throw damaged }
            return nil
        }
        guard let (header, bytes) = try window.batch(at: position), header.baseOffset == expected,
            header.nextOffset <= segment.nextOffset, log.isOfItsEpoch(header)
        else { throw damaged }
        position += Int64(header.sizeBytes)
        expected = header.nextOffset
        return (header, bytes)
    }

    private var damaged: LogError {
        .damaged("\(segment.path): the batch at position \(position) does not check out", from: expected)
    }
}
