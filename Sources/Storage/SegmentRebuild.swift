// Writes a damaged segment anew beside the old one: what is sound in that is copied, the gaps are filled with what a
// peer sends. Nothing is believed before it is on disk and was read back.

import Model
import NIOCore
import Records

/// The owner looks at `want` and does it, until it is `whole`; then `SegmentedLog.install` swaps the file in. A crash
/// before that leaves a file that the next opening sweeps away.
package final class SegmentRebuild {
    package enum Want: Equatable, Sendable {
        /// Call `work`.
        case work
        /// Give batches from this offset on. They must end exactly at `below`, and follow an epoch of at least
        /// `lastEpoch`.
        case batches(from: Offset, below: Offset, lastEpoch: LeaderEpoch)
        /// A barrier on `file`, then `barrierDone`.
        case barrier
        case whole
    }

    private enum Part {
        case run(SoundRun)
        /// The log's last gap may be filled past its end: nobody knows where the batch ended that is there.
        case gap(Range<Offset>, isLast: Bool)
    }

    package private(set) var want: Want = .work
    package let baseOffset: Offset
    package let file: FileHandle
    /// What had to be had from elsewhere.
    package private(set) var filledBytes: Int64 = 0
    private(set) var nextOffset: Offset
    private(set) var writtenBytes: Int64 = 0
    /// The epochs of its batches, where each is first seen.
    private(set) var epochs: [EpochHistory.Entry] = []
    /// Over offset, epoch and checksum of each batch written.
    package private(set) var digest = ChainDigest()
    private(set) var holdsEmptyBatches = false
    let path: String

    private let disk: any Disk
    private let wholeBytesMax: Int64
    private var parts: [Part]
    private var old: FileWindow?
    private var position: Int64 = 0
    /// What the batches of the gap at hand must come to, where they lie between sound ones: a batch whose offset is not
    /// its own, which no checksum tells, would otherwise pass for the one behind a gap.
    private var gapBytesLeft: Int64?
    private var lastEpoch: LeaderEpoch
    private var isOnDisk = false
    private var isClosed = false
    private var checked: (window: FileWindow, position: Int64, offset: Offset, digest: ChainDigest)?

    private static let stepBytes: Int64 = 1 << 20

    /// - Parameters:
    ///   - survey: nil: nothing is there yet.
    ///   - gaps: rising; with `endOffset` nil the last of them ends the log.
    init(
        disk: any Disk, directory: String, baseOffset: Offset, survey: SegmentSurvey?, oldFile: FileHandle?,
        gaps: [Range<Offset>], isLast: Bool, wholeBytesMax: Int64, epochBefore: LeaderEpoch
    ) throws(LogError) {
        lastEpoch = epochBefore
        self.disk = disk
        self.baseOffset = baseOffset
        self.wholeBytesMax = wholeBytesMax
        nextOffset = baseOffset
        path = SegmentFiles.path(directory, baseOffset, SegmentFiles.cleaned)
        let path = path
        file = try onDisk { () throws(DiskError) in try disk.open(path, create: true) }
        let file = file
        try onDisk { () throws(DiskError) in try disk.truncate(file, to: 0) }
        var parts: [Part] = (survey?.runs ?? []).map { .run($0) }
        for gap in gaps {
            let index = parts.firstIndex {
                if case .run(let run) = $0 { run.offsets.lowerBound >= gap.upperBound } else { false }
            }
            parts.insert(
                .gap(gap, isLast: isLast && index == nil && gap == gaps.last), at: index ?? parts.count)
        }
        self.parts = parts
        if let oldFile, let survey { old = FileWindow(disk: disk, file: oldFile, fileBytes: survey.fileBytes) }
        begin()
    }

    package func close() {
        guard !isClosed else { return }
        isClosed = true
        disk.close(file)
    }

    /// Without it the next opening does the same.
    package func abandon() {
        guard !isClosed else { return }
        close()
        try? disk.remove(path)
    }

    /// Says what the first part that is left wants.
    private func begin() {
        switch parts.first {
        case .run(let run):
            position = run.positions.lowerBound
            want = .work
        case .gap(let gap, _):
            want = .batches(from: nextOffset, below: gap.upperBound, lastEpoch: lastEpoch)
            if gapBytesLeft == nil, parts.count > 1, case .run(let run) = parts[1] {
                gapBytesLeft = run.positions.lowerBound - position
            }
        case nil: want = .barrier
        }
    }

    /// One step of copying, or of reading back.
    package func work() throws(LogError) {
        guard want == .work else { return }
        if isOnDisk { return try readBack() }
        guard case .run(let run)? = parts.first else { return begin() }
        let stop = position + Self.stepBytes
        while position < run.positions.upperBound, position < stop {
            guard let (header, bytes) = try old?.batch(at: position) else {
                throw .damaged("\(path): what was sound at position \(position) is not any more", from: nextOffset)
            }
            guard header.baseOffset == nextOffset, header.partitionLeaderEpoch >= lastEpoch else {
                throw .outOfOrder(
                    "\(path): what is sound at \(nextOffset) does not follow what the peers have before it")
            }
            try append(header, bytes)
            position += Int64(header.sizeBytes)
        }
        if position >= run.positions.upperBound { next() }
    }

    private func next() {
        parts.removeFirst()
        gapBytesLeft = nil
        begin()
    }

    /// Checked batches of a peer, from the offset wanted on. Throws `outOfOrder` when they do not fit in.
    package func give(_ batches: ByteBuffer, headers: [BatchHeader]) throws(LogError) {
        guard case .gap(let gap, let isLast)? = parts.first else { return }
        var batches = batches
        for sent in headers {
            guard nextOffset < gap.upperBound else { break }
            guard let sentBytes = batches.readSlice(length: sent.sizeBytes) else { break }
            let (header, bytes) = cut(sent, sentBytes, to: gap, isLast: isLast)
            guard header.baseOffset == nextOffset, header.partitionLeaderEpoch >= lastEpoch,
                isLast || header.nextOffset <= gap.upperBound
            else {
                throw .outOfOrder(
                    "\(path): a peer's batch \(header.baseOffset)..<\(header.nextOffset) of epoch "
                        + "\(header.partitionLeaderEpoch) does not fit between \(nextOffset) and \(gap.upperBound)"
                )
            }
            try append(header, bytes)
            filledBytes += Int64(header.sizeBytes)
            if let left = gapBytesLeft { gapBytesLeft = left - Int64(header.sizeBytes) }
            if let left = gapBytesLeft, left < 0 || (left > 0 && nextOffset >= gap.upperBound) {
                throw .outOfOrder(
                    "\(path): the batches that a peer has below \(gap.upperBound) are not of the length that lies there"
                )
            }
            if writtenBytes >= wholeBytesMax, nextOffset < gap.upperBound {
                // A segment's worth: the rest of the gap becomes the next segment.
                parts = []
                return begin()
            }
        }
        if nextOffset >= gap.upperBound { next() } else { begin() }
    }

    /// A peer's empty batch may stand for more than is missing here: copies are compacted at different times.
    private func cut(
        _ header: BatchHeader, _ bytes: ByteBuffer, to gap: Range<Offset>, isLast: Bool
    ) -> (header: BatchHeader, bytes: ByteBuffer) {
        let lower = max(header.baseOffset, nextOffset)
        let upper = isLast ? header.nextOffset : min(header.nextOffset, gap.upperBound)
        guard header.isFiller, lower < upper, lower != header.baseOffset || upper != header.nextOffset else {
            return (header, bytes)
        }
        let fitting = BatchHeader.filler(
            for: lower..<upper, leaderEpoch: header.partitionLeaderEpoch, maxTimestamp: header.maxTimestamp
        ).sealedWithoutRecords()
        return (fitting.header, fitting.batch)
    }

    private func append(_ header: BatchHeader, _ bytes: ByteBuffer) throws(LogError) {
        let (disk, file, at) = (disk, file, writtenBytes)
        try onDisk { () throws(DiskError) in try disk.write(ByteBuffer(), bytes, to: file, at: at) }
        if epochs.last?.epoch != header.partitionLeaderEpoch {
            epochs.append(EpochHistory.Entry(epoch: header.partitionLeaderEpoch, startOffset: header.baseOffset))
        }
        digest.add(header)
        if header.recordsCount == 0 { holdsEmptyBatches = true }
        writtenBytes += Int64(header.sizeBytes)
        nextOffset = header.nextOffset
        lastEpoch = header.partitionLeaderEpoch
    }

    package func barrierDone() {
        guard want == .barrier else { return }
        isOnDisk = true
        checked = (
            FileWindow(disk: disk, file: file, fileBytes: writtenBytes), 0, baseOffset, ChainDigest()
        )
        want = .work
    }

    private func readBack() throws(LogError) {
        guard var check = checked else { return }
        let stop = check.position + Self.stepBytes
        while check.position < writtenBytes, check.position < stop {
            guard let (header, _) = try check.window.batch(at: check.position), header.baseOffset == check.offset else {
                throw .damaged("\(path): it does not read back at position \(check.position)", from: check.offset)
            }
            check.digest.add(header)
            check.position += Int64(header.sizeBytes)
            check.offset = header.nextOffset
        }
        checked = check
        guard check.position >= writtenBytes else { return }
        guard check.digest == digest, check.offset == nextOffset else {
            throw .damaged("\(path): its digest is not that of what was written", from: baseOffset)
        }
        want = .whole
    }
}

/// Equal for two logs exactly when their batches are: a chain over offset, epoch and checksum of each (S11).
package struct ChainDigest: Hashable, Sendable, CustomStringConvertible {
    package private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    package init() {}

    package mutating func add(_ header: BatchHeader) {
        mix(UInt64(bitPattern: header.baseOffset))
        mix(UInt64(UInt32(bitPattern: header.partitionLeaderEpoch)) << 32 | UInt64(header.crc))
    }

    /// FNV-1a, a byte at a time.
    private mutating func mix(_ word: UInt64) {
        for shift in stride(from: 0, to: 64, by: 8) {
            value = (value ^ (word >> UInt64(shift) & 0xff)) &* 0x0000_0100_0000_01b3
        }
    }

    package var description: String { String(value, radix: 16) }
}
