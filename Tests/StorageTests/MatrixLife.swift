// A log and its owner, as the crash and failure matrices drive them: every kind of operation, and beside each step what
// a crash must keep and what it must not bring back.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

/// The owner's files, kept as Broker keeps them: replaced whole, the recovery point never above a cut to come, the log
/// start on disk before the log moves.
struct OwnerFiles {
    static let recoveryPoint = "data/recovery-point-offset-checkpoint"
    static let logStart = "data/log-start-offset-checkpoint"
    static let identity = MatrixLife.directory + "/partition.metadata"

    static func snapshot(_ offset: Offset) -> String {
        SegmentFiles.path(MatrixLife.directory, offset, ".snapshot")
    }

    static func offset(_ path: String, on disk: SimulatedDisk) -> Offset? {
        disk.contents(of: path).flatMap { Offset(String(decoding: $0, as: UTF8.self)) }
    }
}

final class MatrixLife {
    static let directory = "data/t-0"
    static let settings = LogSettings(segmentBytes: 900, indexIntervalBytes: 100, delaysRemoval: true)

    enum Step {
        case append, appendLarge, appendFetched, assignEpoch, flush, complete, checkpoint, truncate, truncateFully
        case raiseStart, raiseStartToEnd, purge, snapshot, reopen
    }

    /// Every operation of a log and its owner at least twice, and cuts at a roll, behind a barrier and before one.
    static let script: [Step] =
        [.append, .flush, .complete]
        + [.append, .append, .appendLarge, .flush, .append, .complete, .checkpoint, .append, .flush, .complete]
        + [.assignEpoch, .append, .appendLarge, .snapshot, .truncate, .append, .flush, .complete, .checkpoint]
        + [.complete, .appendFetched, .appendLarge, .flush, .append, .truncate, .complete, .append, .flush, .complete]
        + [.raiseStart, .complete, .append, .complete, .purge, .checkpoint, .flush, .append, .complete, .assignEpoch]
        + [.appendFetched, .truncate, .truncate, .append, .flush, .complete, .purge, .reopen, .append, .appendLarge]
        + [.flush, .complete, .checkpoint, .complete, .raiseStartToEnd, .complete, .append, .flush, .complete, .purge]
        + [.appendFetched, .appendLarge, .flush, .complete, .truncateFully, .append, .append, .flush, .complete]
        + [.snapshot, .checkpoint, .complete, .append, .truncateFully, .flush, .complete, .append, .raiseStart]
        + [.complete, .appendLarge, .flush, .complete, .purge, .reopen, .append, .truncate, .flush, .complete]

    let disk: SimulatedDisk
    /// Between the log and the disk, where a test puts its faults; else the disk itself.
    let seam: any Disk
    /// Nil where it could not be opened.
    private(set) var log: SegmentedLog?
    private var random = SeededRandom(seed: 11)
    private var epoch: LeaderEpoch = 0
    private var sequence: UInt64 = 0
    private(set) var stepCount = 0

    /// Every batch that the log ever held: nothing else may ever be read.
    private(set) var everWritten: Set<[UInt8]> = []
    /// The log as it stands, in order.
    private(set) var batches: [(header: BatchHeader, bytes: [UInt8])] = []
    /// Reported durable, since the last cut below it.
    private(set) var flushedEnd: Offset = 0
    /// Cut off by a truncation that a later barrier covered.
    private(set) var buried: Set<[UInt8]> = []
    private var dying: [(bytes: [UInt8], generation: UInt32)] = []
    /// At least one barrier has covered the directory, so that there is a promise to keep.
    private(set) var isBorn = false
    private(set) var highWatermark: Offset = 0
    /// Log starts that were asked for, and the highest that was shown.
    private(set) var wantedStart: Offset = 0
    private(set) var shownStart: Offset = 0
    /// Everything may be gone: a full truncation is under way that no barrier has covered.
    private(set) var restart: Offset?
    /// What the owner's files held in turn; a file holds one of them, whole, and none older than was reported.
    private(set) var versions: [String: [[UInt8]]] = [:]
    private(set) var reported: [String: Int] = [:]
    private var tickets: [UInt64: (path: String, version: Int, start: Offset?)] = [:]

    init(disk: SimulatedDisk = SimulatedDisk(seed: 3), seam: (any Disk)? = nil) {
        self.disk = disk
        self.seam = seam ?? disk
        try? disk.createDirectory("data")
    }

    static func open(_ disk: SimulatedDisk, seam: (any Disk)? = nil) throws(LogError) -> SegmentedLog {
        try SegmentedLog.open(
            disk: seam ?? disk, directory: directory, owner: 7, settings: settings,
            recoveryPoint: OwnerFiles.offset(OwnerFiles.recoveryPoint, on: disk) ?? 0,
            startOffset: OwnerFiles.offset(OwnerFiles.logStart, on: disk), wallMs: 1_000)
    }

    func begin() throws(LogError) {
        log = try Self.open(disk, seam: seam)
        replace(OwnerFiles.identity, with: Array("version: 0\ntopic_id: matrix\n".utf8))
    }

    func perform(_ step: Step) throws(LogError) {
        guard let log else { return }
        stepCount += 1
        // An owner whose log is fenced ends; what it would still write speaks of a log that no longer moves.
        if log.isFenced, [.raiseStart, .raiseStartToEnd, .truncateFully, .checkpoint, .snapshot].contains(step) {
            return
        }
        switch step {
        case .append: try append(log, sizeBytes: 40 + Int(random.below(150)))
        case .appendLarge: try append(log, sizeBytes: 560 + Int(random.below(700)))
        case .appendFetched: try appendFetched(log)
        case .assignEpoch:
            epoch += 1
            log.assign(epoch: epoch)
        case .flush: log.requestFlush()
        case .complete: try complete(log)
        case .checkpoint:
            let point = min(flushedEnd, highWatermark)
            if point > 0 { replace(OwnerFiles.recoveryPoint, with: Array(String(point).utf8)) }
        case .truncate: try truncate(log)
        case .truncateFully: try truncateFully(log)
        case .raiseStart: requestStart(log, by: 1 + random.below(max(1, highWatermark - log.startOffset)))
        case .raiseStartToEnd: requestStart(log, by: highWatermark - log.startOffset)
        case .purge: log.purgeRemoved(at: Instant(nanoseconds: Int64(stepCount) * 1_000_000), delayMs: 8)
        case .snapshot: replace(OwnerFiles.snapshot(flushedEnd), with: Array("producers at \(flushedEnd)".utf8))
        case .reopen: try reopen(log)
        }
    }

    // MARK: Steps

    private func make(_ count: Int, _ sizeBytes: Int) -> (batch: ByteBuffer, header: BatchHeader) {
        let batch = makeBatch(count: count, sizeBytes: sizeBytes, timestamp: Int64(stepCount) * 10 + random.below(40))
        guard let header = BatchHeader(reading: batch, at: batch.readerIndex) else { preconditionFailure("a batch") }
        return (batch, header)
    }

    /// Noted before it is written: a crash inside the write may leave it whole.
    private func append(_ log: SegmentedLog, sizeBytes: Int) throws(LogError) {
        var (batch, header) = make(1 + Int(random.below(3)), sizeBytes)
        header.baseOffset = log.endOffset
        header.partitionLeaderEpoch = max(epoch, log.epochs.latestEpoch ?? 0)
        let bytes = stampedBytes(batch, header)
        everWritten.insert(bytes)
        _ = try log.append(batch, header: header, leaderEpoch: header.partitionLeaderEpoch, wallMs: 0)
        batches.append((header, bytes))
    }

    /// Four batches at once, over a roll.
    private func appendFetched(_ log: SegmentedLog) throws(LogError) {
        var (run, headers, noted): (ByteBuffer, [BatchHeader], [[UInt8]]) = (ByteBuffer(), [], [])
        var offset = log.endOffset
        for index in 0..<4 {
            var (batch, header) = make(1 + index % 2, 90 + Int(random.below(200)))
            header.baseOffset = offset
            header.partitionLeaderEpoch = max(epoch, log.epochs.latestEpoch ?? 0)
            offset = header.nextOffset
            noted.append(stampedBytes(batch, header))
            run.writeBytes(noted[index])
            headers.append(header)
        }
        noted.forEach { everWritten.insert($0) }
        defer {
            // A failure may have left the first of them, whole.
            for (header, bytes) in zip(headers, noted) where header.nextOffset <= log.endOffset {
                batches.append((header, bytes))
            }
        }
        try log.appendReplicated(run, headers: headers, wallMs: 0)
    }

    func complete(_ log: SegmentedLog) throws(LogError) {
        for ticket in disk.pendingBarriers {
            (seam as? FailingDisk)?.armBarrier(isReplacement: ticket.owner == 0 || ticket.sequence >> 63 != 0)
            guard let report = disk.completeBarrier(ticket) else { continue }
            if ticket.owner == 0 {
                if let file = tickets.removeValue(forKey: ticket.sequence), report.result == .done {
                    reported[file.path] = max(reported[file.path] ?? 0, file.version)
                    if let start = file.start, start > log.startOffset { try raise(log, to: start) }
                }
                continue
            }
            _ = try log.flushed(report.ticket, report.result)
            guard ticket.sequence >> 63 == 0, ticket.generation == log.generation, report.result == .done,
                !log.isFenced
            else { continue }
            isBorn = true
            if let restart {
                shownStart = restart
                self.restart = nil
            }
            for gone in dying where gone.generation <= ticket.generation { buried.insert(gone.bytes) }
            dying = []
        }
        noteFlushed(log)
    }

    private func noteFlushed(_ log: SegmentedLog) {
        flushedEnd = log.flushedEnd
        // As everywhere it lies between two batches; the last ones stay above it, so that they can be cut.
        let behind = batches.last { $0.header.baseOffset <= flushedEnd - 3 }?.header.baseOffset
        highWatermark = max(highWatermark, behind ?? 0)
    }

    private func raise(_ log: SegmentedLog, to start: Offset) throws(LogError) {
        try log.advanceStart(to: start, emptying: true, wallMs: 0)
        if !disk.isCrashed { shownStart = max(shownStart, start) }
    }

    private func requestStart(_ log: SegmentedLog, by count: Offset) {
        guard count > 0, log.startOffset + count <= highWatermark else { return }
        wantedStart = log.startOffset + count
        replace(OwnerFiles.logStart, with: Array(String(wantedStart).utf8), start: wantedStart)
    }

    private func truncate(_ log: SegmentedLog) throws(LogError) {
        let target = max(highWatermark, log.endOffset - 4)
        let cut = batches.filter { $0.header.lastOffset >= target }
        // From here on the cut may have happened, whole or in part, or not.
        let end = cut.first?.header.baseOffset ?? log.endOffset
        flushedEnd = min(flushedEnd, end)
        epoch += 1
        let generation = log.generation
        // Where the cut's place could not be read, nothing has happened.
        defer { if log.generation != generation { drop(cut, log) } }
        try log.truncate(to: target)
    }

    /// What a cut has taken; a cut that failed may have taken only the last of it.
    private func drop(_ cut: [(header: BatchHeader, bytes: [UInt8])], _ log: SegmentedLog) {
        let gone = cut.filter { log.isFenced ? $0.header.nextOffset > log.endOffset : true }.map(\.bytes)
        batches.removeAll { gone.contains($0.bytes) }
        dying += gone.map { ($0, log.generation) }
    }

    /// The owner lowers its files first, as Broker does before a follower starts over.
    private func truncateFully(_ log: SegmentedLog) throws(LogError) {
        let target = log.endOffset + 5
        (flushedEnd, highWatermark) = (0, 0)
        wantedStart = max(wantedStart, target)
        try replaceNow(OwnerFiles.recoveryPoint, with: Array("0".utf8))
        try replaceNow(OwnerFiles.logStart, with: Array(String(target).utf8))
        restart = target
        epoch += 1
        let cut = batches
        defer { drop(cut, log) }
        try log.truncateFully(startingAt: target)
        if !disk.isCrashed { (flushedEnd, highWatermark) = (target, target) }
    }

    private func reopen(_ log: SegmentedLog) throws(LogError) {
        // Where it could not be closed in order, the process has ended all the same.
        try? log.close(flushing: true)
        if !disk.isCrashed { noteFlushed(log) }
        self.log = nil
        let next = try Self.open(disk, seam: seam)
        batches = try everything(next)
        self.log = next
    }

    // MARK: The owner's files

    private func note(_ path: String, _ contents: [UInt8]) -> Int {
        versions[path, default: []].append(contents)
        return (versions[path]?.count ?? 1) - 1
    }

    private func replace(_ path: String, with contents: [UInt8], start: Offset? = nil) {
        sequence += 1
        tickets[sequence] = (path, note(path, contents), start)
        seam.replace(
            FlushTicket(owner: 0, generation: 0, sequence: sequence), path: path, contents: ByteBuffer(bytes: contents))
    }

    private func replaceNow(_ path: String, with contents: [UInt8]) throws(LogError) {
        let version = note(path, contents)
        do throws(DiskError) { try seam.replaceNow(path: path, contents: ByteBuffer(bytes: contents)) } catch {
            throw .disk(error)
        }
        if !disk.isCrashed { reported[path] = version }
    }
}
