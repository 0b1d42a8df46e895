// Checks the batches of a segment one by one, for as long as each is whole, sound and follows on.

import Model
import NIOCore
import Records

struct BatchScan {
    private let segment: Segment
    private let fileBytes: Int64
    private var position: Int64
    private var expectedOffset: Offset
    private(set) var lastEpoch: LeaderEpoch
    private var window = ByteBuffer()
    private var windowStart: Int64 = 0

    private static let windowBytes: Int64 = 1 << 20

    private let bug: PlantedBug

    init(
        _ segment: Segment, fileBytes: Int64, from start: Boundary, lastEpoch: LeaderEpoch, bug: PlantedBug = .none
    ) {
        self.segment = segment
        self.bug = bug
        self.fileBytes = fileBytes
        position = start.position
        expectedOffset = start.offset
        self.lastEpoch = lastEpoch
    }

    /// The next sound batch; nil at the end of the file or at the first that is not. Throws only where the disk does.
    mutating func next() throws(LogError) -> BatchHeader? {
        guard let head = try bytes(Int64(BatchHeader.sizeBytes)),
            let header = BatchHeader(reading: head, at: head.readerIndex),
            header.baseOffset == expectedOffset, header.lastOffsetDelta >= 0, header.nextOffset > header.baseOffset,
            header.lastOffset - segment.baseOffset <= Offset(Int32.max),
            header.partitionLeaderEpoch >= lastEpoch,
            let batch = try bytes(Int64(header.sizeBytes)),
            // Mutant: a torn tail counts as a batch (S2).
            verifyCRC(of: batch) || bug == .tornTailKept
        else { return nil }
        position += Int64(header.sizeBytes)
        expectedOffset = header.nextOffset
        lastEpoch = header.partitionLeaderEpoch
        return header
    }

    /// `count` bytes at the current position; nil when the file ends before.
    private mutating func bytes(_ count: Int64) throws(LogError) -> ByteBuffer? {
        guard position + count <= fileBytes else { return nil }
        if position < windowStart || position + count > windowStart + Int64(window.readableBytes) {
            let (disk, file, at) = (segment.disk, segment.file, position)
            let length = Int(min(max(count, Self.windowBytes), fileBytes - position))
            window = try onDisk { () throws(DiskError) in try disk.read(file, at: at, length: length) }
            windowStart = position
        }
        return window.getSlice(at: window.readerIndex + Int(position - windowStart), length: Int(count))
    }
}
