// One partition's log on disk.
//
// A log is a directory `<topic>-<partition>` of segments, laid out as Apache Kafka lays it out, so that Kafka's own
// tools read it. A segment is three files named by the offset of its first record in twenty digits:
//
//   00000000000000001000.log         the batches, one behind the other, exactly as they travel (protocol.md §4.1)
//   00000000000000001000.index       8-byte entries {int32 offset − base, int32 position in .log}
//   00000000000000001000.timeindex   12-byte entries {int64 timestamp, int32 offset − base}
//
// and beside them `leader-epoch-checkpoint`: a line `0`, a line with the number of entries, then `epoch startOffset`
// lines. All integers are big-endian. Only the last segment grows; a batch never spans two.
//
// Only `.log` files carry truth. The batches are checked by CRC-32C and are contiguous: each base offset is one behind
// the last offset of the batch before it, also from one segment to the next, and leader epochs never fall. Indexes and
// the epoch checkpoint are caches of what a walk over the batch headers would find. They are written without barriers
// and believed only after a look at the batches that they speak of.
//
// Three offsets matter. `startOffset`: what lies below is deleted. `endOffset`: where the next record goes.
// `flushedEnd`: everything below has been behind a barrier, and a loss of power keeps it. The owner keeps a recovery
// point on disk, some offset that was at or below `flushedEnd`. A batch that does not check out is a torn tail at or
// above the recovery point, and cut off; below it, the disk has lost what it had promised: that is damage, nothing is
// cut, and appends are refused until the owner has decided by a truncation (reliability.md §4 rule 7). Hence the
// owner's part: a recovery point that is on disk may never lie above a later truncation. min(flushedEnd, high
// watermark) is such a point as long as elections are clean; before a truncation below it the owner lowers it durably.
//
// Barriers are asked for and reported, never waited for, but in `open` and `close`. A ticket covers all that was
// written, rolled, cut and removed before it. A truncation raises `generation`; the barrier that was under way then no
// longer counts, and the next one covers its files again, so that nothing appended behind a truncation is reported
// durable before the truncation itself is.

import Model
import NIOCore
import Records

package final class SegmentedLog {
    package let directory: String
    package let owner: UInt32
    package let recovery: Recovery
    package var settings: LogSettings

    package internal(set) var startOffset: Offset
    package var endOffset: Offset { active.nextOffset > damagedEnd ? active.nextOffset : damagedEnd }
    package internal(set) var flushedEnd: Offset
    package internal(set) var epochs: EpochHistory
    package internal(set) var generation: UInt32 = 0
    package internal(set) var isFenced = false
    /// What cannot be read; a truncation at or below it, or a full one, takes it away.
    package internal(set) var damages: [Damage]
    /// Its opening found that the end of it is damaged, and no repair came that far yet.
    package internal(set) var isEndLost: Bool
    /// From here on its opening took for damage what would have been a torn tail without the damage before it. Once
    /// that is repaired, another opening would cut it off.
    package internal(set) var tornBehindDamage: Offset?
    /// For the owner's checkpoint; see the rule about truncations above.
    package var recoveryPoint: Offset { flushedEnd }
    /// Where the newest segment begins: it changes with every roll.
    package var activeBaseOffset: Offset { active.baseOffset }
    /// Where the first segment begins, at or below the log start.
    package var firstBaseOffset: Offset { segments[0].baseOffset }
    package var sizeBytes: Int64 { segments.reduce(0) { $0 + $1.sizeBytes } }

    /// No record is of a later epoch; `.max`: not known yet. The checksum of a batch does not cover its epoch.
    package var epochMax: LeaderEpoch = .max

    let disk: any Disk
    /// By base offset; never empty. The last one is active.
    var segments: [Segment]
    var active: Segment { segments[segments.count - 1] }
    var flushing = FlushState()
    /// Segments that begin at or below this have names that no crash takes back.
    var durableNames: Offset
    var removed = RemovedSegments()
    /// The history as the checkpoint file has it, as far as it was asked for.
    var savedEpochs: EpochHistory?
    var checkpointSequence: UInt64 = 0
    /// Closed segments whose indexes are in memory, the least recently used first.
    var loadedIndexes: [Offset] = []

    /// Everything below was cleaned: for the owner's checkpoint, which is a cache.
    package internal(set) var cleanedEnd: Offset = 0
    /// There may be batches without records, which cleanings leave: here, or on the copy that these were copied from.
    /// They stay when the policy changes, so the owner's checkpoint remembers it.
    package var mayHoldEmptyBatches: Bool { settings.isCompacted || holdsEmptyBatches }
    /// Some were seen, or a checkpoint says so.
    package internal(set) var holdsEmptyBatches = false
    var cleaning: LogCleaning?
    /// Why the last one ended, until its owner has been told.
    var cleaningStop: CleaningStop?
    var cleaningSequence: UInt64 = 0
    var settling: SettlingSwap?
    /// Rises when batches get other positions.
    package internal(set) var swaps: UInt32 = 0
    var latestBatches = LatestBatches()

    /// The fresh first bytes of the batch that is appended; kept, so that no append allocates them.
    private var head = ByteBuffer()

    static let loadedIndexesMax = 8

    init(opened: OpenedLog, disk: any Disk, directory: String, owner: UInt32, settings: LogSettings) {
        precondition(!opened.segments.isEmpty, "a log has an active segment")
        self.disk = disk
        self.directory = directory
        self.owner = owner
        self.settings = settings
        recovery = opened.recovery
        isEndLost = opened.recovery.isEndLost
        tornBehindDamage = opened.recovery.tornBehindDamage
        damages = opened.recovery.damages
        segments = opened.segments
        startOffset = opened.startOffset
        epochs = opened.epochs
        savedEpochs = opened.savedEpochs
        holdsEmptyBatches = opened.holdsEmptyBatches
        flushedEnd = 0
        durableNames = opened.dirtyDirectories.isEmpty ? opened.segments[opened.segments.count - 1].baseOffset : -1
        flushing.dirtyDirectories = opened.dirtyDirectories
        if !opened.dirtyDirectories.isEmpty { flushing.markDirty(active.baseOffset) }
        flushedEnd = opened.recovery.damage?.offsets.lowerBound ?? active.nextOffset
    }

    /// Opens or creates the log of one partition in `directory` and recovers it. `recoveryPoint`: everything below it
    /// was reported durable once. `startOffset`: the log start that the owner remembers, and where a new log begins;
    /// nil: wherever the first segment begins, or 0.
    package static func open(
        disk: any Disk, directory: String, owner: UInt32, settings: LogSettings, recoveryPoint: Offset,
        startOffset: Offset?, wallMs: Int64
    ) throws(LogError) -> SegmentedLog {
        var opening = LogOpening(
            disk: disk, directory: directory, settings: settings, recoveryPoint: recoveryPoint, wallMs: wallMs)
        let opened = try opening.open(startOffset: startOffset)
        return SegmentedLog(opened: opened, disk: disk, directory: directory, owner: owner, settings: settings)
    }

    // MARK: Appending

    /// Leader: gives `batch` (one validated batch) the next offsets and answers its base offset. The first 16 bytes on
    /// disk are written fresh (base offset, length, leader epoch), the rest straight from `batch`, without a copy.
    package func append(
        _ batch: ByteBuffer, header: BatchHeader, leaderEpoch: LeaderEpoch, wallMs: Int64
    ) throws(LogError) -> Offset {
        precondition(batch.readableBytes == header.sizeBytes, "one whole batch")
        try checkAppendable()
        if let latest = epochs.entries.last, latest.epoch > leaderEpoch {
            // No leader writes in an older epoch, and a batch's epoch lies outside its CRC.
            throw .damaged("\(active.path): epoch \(latest.epoch) is above the leader's", from: latest.startOffset)
        }
        var stamped = header
        stamped.baseOffset = endOffset
        stamped.partitionLeaderEpoch = leaderEpoch
        try rollIfDue(for: stamped, wallMs: wallMs)
        head.clear()
        head.writeInteger(stamped.baseOffset)
        head.writeInteger(stamped.batchLength)
        head.writeInteger(stamped.partitionLeaderEpoch)
        var body = batch
        body.moveReaderIndex(forwardBy: 16)
        try write(head, body)
        noteAppended(stamped)
        return stamped.baseOffset
    }

    /// Follower: whole checked batches as received, offsets and epochs kept. One write per segment.
    package func appendReplicated(_ batches: ByteBuffer, headers: [BatchHeader], wallMs: Int64) throws(LogError) {
        precondition(batches.readableBytes == headers.reduce(0) { $0 + $1.sizeBytes }, "the headers of these batches")
        try checkAppendable()
        try checkFollowsOn(headers)
        var batches = batches
        var first = 0
        while first < headers.count {
            try rollIfDue(for: headers[first], wallMs: wallMs)
            var length = headers[first].sizeBytes
            var next = first + 1
            while next < headers.count, try !isRollDue(for: headers[next], behind: Int64(length), wallMs: wallMs) {
                length += headers[next].sizeBytes
                next += 1
            }
            guard let run = batches.readSlice(length: length) else { preconditionFailure("the headers add up") }
            try write(ByteBuffer(), run)
            for header in headers[first..<next] { noteAppended(header) }
            first = next
        }
    }

    /// Notes a new leader epoch beginning at the end, before any record of it is written. Without a record it may be
    /// lost by a crash.
    package func assign(epoch: LeaderEpoch) {
        epochs.assign(epoch, startOffset: endOffset)
    }

    func checkAppendable() throws(LogError) {
        if isFenced { throw .fenced }
        if let damage = damages.first {
            throw .damaged("\(damage.file): \(damage.reason)", from: damage.offsets.lowerBound)
        }
    }

    private func checkFollowsOn(_ headers: [BatchHeader]) throws(LogError) {
        var expected = endOffset
        // An epoch that was assigned here but never written gives way to what the leader has.
        if let first = headers.first, let latest = epochs.latestEpoch, first.partitionLeaderEpoch < latest {
            epochs.truncate(to: expected)
        }
        var epoch = epochs.latestEpoch ?? -1
        for header in headers {
            guard header.baseOffset == expected, header.lastOffsetDelta >= 0, header.nextOffset > header.baseOffset
            else {
                throw .outOfOrder("batch at \(header.baseOffset) does not follow on at \(expected)")
            }
            guard header.partitionLeaderEpoch >= epoch else {
                throw .outOfOrder("epoch \(header.partitionLeaderEpoch) at \(header.baseOffset) is below \(epoch)")
            }
            expected = header.nextOffset
            epoch = header.partitionLeaderEpoch
        }
    }

    private func noteAppended(_ header: BatchHeader) {
        epochs.assign(header.partitionLeaderEpoch, startOffset: header.baseOffset)
        active.note(header, indexIntervalBytes: settings.indexIntervalBytes)
        if header.recordsCount == 0 { holdsEmptyBatches = true }
    }

    /// Writes at the end of the active segment. A failure leaves nothing visible: what was written is cut off again,
    /// and where that is impossible, or the device itself failed, the log is fenced.
    private func write(_ head: ByteBuffer, _ body: ByteBuffer) throws(LogError) {
        let segment = active
        flushing.markDirty(segment.baseOffset)
        do {
            try disk.write(head, body, to: segment.file, at: segment.sizeBytes)
        } catch {
            do {
                try disk.truncate(segment.file, to: segment.sizeBytes)
            } catch {
                isFenced = true
            }
            if case .failed = error { isFenced = true }
            throw .disk(error)
        }
    }

    // MARK: Rolling

    private func rollIfDue(for header: BatchHeader, wallMs: Int64) throws(LogError) {
        if try isRollDue(for: header, behind: 0, wallMs: wallMs) { try roll(wallMs: wallMs) }
    }

    /// Whether a batch must begin a new segment when `pendingBytes` are written before it.
    private func isRollDue(
        for header: BatchHeader, behind pendingBytes: Int64, wallMs: Int64
    ) throws(LogError) -> Bool {
        let segment = active
        let size = segment.sizeBytes + pendingBytes
        guard size > 0 else { return false }
        let grown = size + Int64(header.sizeBytes)
        if grown > settings.segmentBytes || grown > Int64(Int32.max) { return true }
        if header.lastOffset - segment.baseOffset > Offset(Int32.max) { return true }
        let entries = max(
            (segment.offsetIndex.entries.count + 1) * OffsetIndex.entryBytes,
            (segment.timeIndex.entries.count + 2) * TimeIndex.entryBytes)
        if entries > settings.indexBytesMax { return true }
        let first = try segment.rollTimestamp()
        let (age, overflow) =
            first >= 0
            ? header.maxTimestamp.subtractingReportingOverflow(first)
            : wallMs.subtractingReportingOverflow(segment.createdMs)
        return !overflow && age > settings.segmentMs
    }

    /// Begins the next segment. The old one's bytes and the new name become durable with the next ticket.
    func roll(wallMs: Int64) throws(LogError) {
        let next: Segment
        do throws(LogError) {
            next = try Segment(
                disk: disk, directory: directory, baseOffset: active.nextOffset, create: true, wallMs: wallMs)
        } catch {
            if error == .fenced { isFenced = true }
            throw error
        }
        active.seal()
        disk.releaseRoom(of: active.file)
        noteIndexUse(active)
        segments.append(next)
        flushing.markDirty(next.baseOffset)
        // Mutant: flushed bytes of a file that the power makes nameless (S1).
        if settings.plantedBug != .directoryNotFlushed { flushing.markDirectoryDirty(directory) }
    }

    /// Keeps the indexes of only a few closed segments in memory.
    func noteIndexUse(_ segment: Segment) {
        loadedIndexes.removeAll { $0 == segment.baseOffset }
        loadedIndexes.append(segment.baseOffset)
        guard loadedIndexes.count > Self.loadedIndexesMax else { return }
        let oldest = loadedIndexes.removeFirst()
        if let segment = segments.first(where: { $0.baseOffset == oldest }), segment !== active {
            segment.unloadIndexes()
        }
    }

    private var damagedEnd: Offset { damages.last?.offsets.upperBound ?? 0 }
}
