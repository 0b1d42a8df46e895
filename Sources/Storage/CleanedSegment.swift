// One segment on its way to take the place of one or several that are cleaned.

import Model
import NIOCore
import Records

/// Written beside the segments that it stands for, under a name that an opening sweeps away. Of its offsets none is
/// missing: where whole batches go, one empty batch stands for the run of them, so that openings, repairs and followers
/// go on taking a hole for damage.
final class CleanedSegment {
    /// Batches that are gone and for which no empty one is written yet. All of one leader epoch, so that each epoch
    /// still begins with a batch.
    private struct Run {
        var offsets: Range<Offset>
        var epoch: LeaderEpoch
        var maxTimestamp: Int64
        var isSoleFiller: Bool
    }

    let output: Segment
    private(set) var sources: [Segment] = []
    private(set) var sourceBytes: Int64 = 0
    /// Whether it would differ from its one source.
    private(set) var isChanged = false

    private let settings: LogSettings
    private var run: Run?
    private var pending = ByteBuffer()
    private var writtenBytes: Int64 = 0
    private var isClosed = false

    private static let writeBytes = 256 << 10
    /// Their names go in one step.
    private static let sourcesMax = 256

    init(for first: Segment, settings: LogSettings) throws(LogError) {
        self.settings = settings
        output = try Segment(
            disk: first.disk, directory: first.directory, baseOffset: first.baseOffset, create: true,
            wallMs: first.createdMs, fileSuffix: SegmentFiles.cleaned)
        // What is read from it later was not read back here.
        output.forgetProof()
        add(first)
    }

    func add(_ source: Segment) {
        sources.append(source)
        sourceBytes += source.sizeBytes
        output.createdMs = max(output.createdMs, source.createdMs)
        if sources.count > 1 { isChanged = true }
    }

    /// Whether all of `next`, which follows on the last source, may become part of the same segment.
    func hasRoom(for next: Segment) -> Bool {
        guard let last = sources.last, next.baseOffset == last.nextOffset, sources.count < Self.sourcesMax else {
            return false
        }
        let grown = output.sizeBytes + Int64(BatchHeader.sizeBytes) + next.sizeBytes
        let entries =
            Int64(output.offsetIndex.entries.count + 2) + next.sizeBytes / Int64(max(1, settings.indexIntervalBytes))
        return grown <= min(settings.segmentBytes, Int64(Int32.max))
            && next.nextOffset - 1 - output.baseOffset <= Offset(Int32.max)
            && entries * Int64(TimeIndex.entryBytes) <= Int64(settings.indexBytesMax)
    }

    // MARK: Batches, in order

    func keep(_ header: BatchHeader, _ bytes: ByteBuffer) throws(LogError) {
        try endRun()
        try append(header, bytes)
    }

    func replace(with header: BatchHeader, _ bytes: ByteBuffer) throws(LogError) {
        isChanged = true
        try keep(header, bytes)
    }

    /// Nothing of the batch stays but that its offsets were there.
    func absorb(_ header: BatchHeader) throws(LogError) {
        if let known = run, known.epoch == header.partitionLeaderEpoch,
            header.lastOffset - known.offsets.lowerBound <= Offset(Int32.max)
        {
            run?.offsets = known.offsets.lowerBound..<header.nextOffset
            run?.maxTimestamp = max(known.maxTimestamp, header.maxTimestamp)
            run?.isSoleFiller = false
            return
        }
        try endRun()
        run = Run(
            offsets: header.baseOffset..<header.nextOffset, epoch: header.partitionLeaderEpoch,
            maxTimestamp: header.maxTimestamp, isSoleFiller: header.isFiller)
    }

    private func endRun() throws(LogError) {
        guard let ended = run else { return }
        run = nil
        if !ended.isSoleFiller { isChanged = true }
        let filler = BatchHeader.filler(
            for: ended.offsets, leaderEpoch: ended.epoch, maxTimestamp: ended.maxTimestamp
        ).sealedWithoutRecords()
        try append(filler.header, filler.batch)
    }

    private func append(_ header: BatchHeader, _ bytes: ByteBuffer) throws(LogError) {
        pending.writeImmutableBuffer(bytes)
        output.note(header, indexIntervalBytes: settings.indexIntervalBytes)
        if pending.readableBytes >= Self.writeBytes { try write() }
    }

    /// What was collected goes to the file.
    func write() throws(LogError) {
        guard pending.readableBytes > 0 else { return }
        let (disk, file, at, bytes) = (output.disk, output.file, writtenBytes, pending)
        try onDisk { () throws(DiskError) in try disk.write(ByteBuffer(), bytes, to: file, at: at) }
        writtenBytes += Int64(bytes.readableBytes)
        pending.clear()
    }

    func finish() throws(LogError) {
        try endRun()
        try write()
    }

    // MARK: Its end

    func close() {
        guard !isClosed else { return }
        isClosed = true
        output.close()
    }

    /// Nothing of it is wanted. Answers whether its file is gone; without that the next opening finds it.
    func discard() -> Bool {
        close()
        do {
            try output.disk.remove(output.path)
            return true
        } catch {
            return false
        }
    }
}
