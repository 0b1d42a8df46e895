// Looks what is still sound in a damaged segment, so that only the rest has to be had from elsewhere.

import Model
import NIOCore
import Records

/// Sound batches that follow on from each other.
struct SoundRun: Equatable {
    var offsets: Range<Offset>
    var positions: Range<Int64>
}

/// Goes through a segment's file in steps of bounded work, because a shard has other things to do. Behind a batch that
/// does not check out it searches on, byte by byte, for the next one that does: its checksum, its offset, its epoch and
/// all that follows must fit. What is found is believed for good only when what the peers send for the gap before it
/// ends exactly where it begins.
package struct SegmentSurvey {
    package let baseOffset: Offset
    /// Where the next segment begins; nil for the last one.
    let endOffset: Offset?
    /// The last segment must reach this.
    let leastEnd: Offset
    /// Which epoch each offset belongs to, where that is known for certain.
    private let history: EpochHistory?
    private let epochMax: LeaderEpoch
    private var window: FileWindow
    private(set) var runs: [SoundRun] = []
    package private(set) var isFinished = false
    private var position: Int64 = 0
    private var expected: Offset
    private var lastEpoch: LeaderEpoch = -1
    private var isSearching = false
    /// The disk does not give all that lies behind the last sound batch.
    private var isRestUnreadable = false

    private static let stepBytes: Int64 = 1 << 20
    private static let searchBytes: Int64 = 1 << 17
    private static let pageBytes: Int64 = 4_096

    init(
        disk: any Disk, file: FileHandle, baseOffset: Offset, endOffset: Offset?, leastEnd: Offset,
        history: EpochHistory?, epochMax: LeaderEpoch
    ) throws(LogError) {
        let fileBytes = try onDisk { () throws(DiskError) in try disk.sizeBytes(of: file) }
        self.baseOffset = baseOffset
        self.endOffset = endOffset
        self.leastEnd = leastEnd
        self.history = history
        self.epochMax = epochMax
        window = FileWindow(disk: disk, file: file, fileBytes: fileBytes)
        expected = baseOffset
    }

    /// One step. What the disk cannot read is not sound, nor is what comes behind it.
    package mutating func work() {
        var left = Self.stepBytes
        do throws(LogError) {
            while left > 0, !isFinished {
                let before = position
                if isSearching { try search() } else { try follow() }
                left -= max(1, position - before)
            }
        } catch {
            isRestUnreadable = true
            isFinished = true
        }
    }

    private mutating func follow() throws(LogError) {
        guard position < window.fileBytes else {
            isFinished = true
            return
        }
        if let (header, _) = try window.batch(at: position), header.baseOffset == expected, fits(header) {
            return take(header)
        }
        isSearching = true
        // Where the header still tells its length, the next batch is probably where it says.
        if let head = try readableHead(), let header = BatchHeader(reading: head, at: head.readerIndex),
            header.baseOffset == expected,
            let (next, _) = try window.batch(at: position + Int64(header.sizeBytes)),
            next.baseOffset == header.nextOffset, fits(next)
        {
            position += Int64(header.sizeBytes)
            return begin(next)
        }
        position += 1
    }

    private mutating func readableHead() throws(LogError) -> ByteBuffer? {
        do throws(LogError) {
            return try window.slice(at: position, length: Int64(BatchHeader.sizeBytes))
        } catch {
            guard error.isUnreadable else { throw error }
            isRestUnreadable = true
            return nil
        }
    }

    private mutating func search() throws(LogError) {
        let last = window.fileBytes - Int64(BatchHeader.sizeBytes)
        guard position <= last else {
            isFinished = true
            return
        }
        let end = min(position + Self.searchBytes, last + 1)
        while position < end {
            let pageEnd = min(end, (position | (Self.pageBytes - 1)) + 1)
            do throws(LogError) {
                guard let next = try window.nextMagic(from: position, below: pageEnd) else {
                    position = pageEnd
                    continue
                }
                position = next
                if let (header, _) = try candidate(), header.baseOffset > expected, fits(header) {
                    return begin(header)
                }
                position += 1
            } catch {
                // Behind a bad sector there may be sound ones, which another copy lacks.
                guard error.isUnreadable else { throw error }
                isRestUnreadable = true
                position = pageEnd
            }
        }
    }

    /// A batch at the position, if its header does not rule it out at once.
    private mutating func candidate() throws(LogError) -> (header: BatchHeader, bytes: ByteBuffer)? {
        guard let head = try window.slice(at: position, length: Int64(BatchHeader.sizeBytes)),
            let header = BatchHeader(reading: head, at: head.readerIndex), header.baseOffset >= expected, fits(header)
        else { return nil }
        return try window.batch(at: position)
    }

    private func fits(_ header: BatchHeader) -> Bool {
        guard header.lastOffsetDelta >= 0, header.nextOffset > header.baseOffset,
            header.partitionLeaderEpoch >= lastEpoch, header.partitionLeaderEpoch <= epochMax,
            header.nextOffset <= endOffset ?? .max,
            header.lastOffset - baseOffset <= Offset(Int32.max)
        else { return false }
        guard let epoch = history?.epoch(at: header.baseOffset) else { return true }
        return header.partitionLeaderEpoch == epoch
    }

    private mutating func begin(_ header: BatchHeader) {
        isSearching = false
        runs.append(
            SoundRun(offsets: header.baseOffset..<header.baseOffset, positions: position..<position))
        take(header)
    }

    private mutating func take(_ header: BatchHeader) {
        if runs.isEmpty { runs = [SoundRun(offsets: baseOffset..<baseOffset, positions: 0..<0)] }
        let end = position + Int64(header.sizeBytes)
        let index = runs.count - 1
        runs[index].offsets = runs[index].offsets.lowerBound..<header.nextOffset
        runs[index].positions = runs[index].positions.lowerBound..<end
        position = end
        expected = header.nextOffset
        lastEpoch = header.partitionLeaderEpoch
        isRestUnreadable = false
    }

    // MARK: What was found

    var fileBytes: Int64 { window.fileBytes }
    private var soundEnd: Offset { runs.last?.offsets.upperBound ?? baseOffset }

    /// The offsets that are missing, rising.
    var gaps: [Range<Offset>] {
        var gaps: [Range<Offset>] = []
        var end = baseOffset
        for run in runs {
            if run.offsets.lowerBound > end { gaps.append(end..<run.offsets.lowerBound) }
            end = run.offsets.upperBound
        }
        let last = endOffset ?? leastEnd
        if last > end { gaps.append(end..<last) }
        return gaps
    }

    /// It found batches up to where the log is known to have reached, and behind them at most what a crash tears.
    var reachesEnd: Bool { soundEnd >= endOffset ?? leastEnd && !isRestUnreadable }

    /// The file holds sound batches from its first byte to its last, and nothing else.
    var isFileSound: Bool {
        runs.isEmpty ? fileBytes == 0 : runs.count == 1 && runs[0].positions == 0..<fileBytes
    }
}
