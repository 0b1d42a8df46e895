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

    private let bug: PlantedBug

    init(
        _ segment: Segment, fileBytes: Int64, from start: Boundary, lastEpoch: LeaderEpoch, bug: PlantedBug = .none
    ) {
        self.segment = segment
        window = FileWindow(disk: segment.disk, file: segment.file, fileBytes: fileBytes)
        self.bug = bug
        position = start.position
        expectedOffset = start.offset
        self.lastEpoch = lastEpoch
    }

    /// It ended at bytes that the disk does not give.
    var metUnreadable: Bool { window.metUnreadable }

    /// The next sound batch; nil at the end of the file or at the first that is not. Throws only where the disk does.
    mutating func next() throws(LogError) -> BatchHeader? {
        // Mutant: a torn tail counts as a batch (S2).
        let isChecked = bug != .tornTailKept
        guard let (header, _) = try window.batch(at: position, isChecked: isChecked),
            header.baseOffset == expectedOffset, header.lastOffset - segment.baseOffset <= Offset(Int32.max),
            header.partitionLeaderEpoch >= lastEpoch
        else { return nil }
        position += Int64(header.sizeBytes)
        expectedOffset = header.nextOffset
        lastEpoch = header.partitionLeaderEpoch
        return header
    }
}
