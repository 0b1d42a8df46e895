// A log of records with keys on a simulated disk, cleaned by the real cleaner, and beside it the naive model of what a
// cleaning may and must take away.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage

struct KeyedRecord: Hashable {
    var offset: Offset
    var timestamp: Int64
    var key: String?
    /// Nil: a tombstone.
    var value: String?
}

/// A batch as it was written, and as the model has it now.
struct ModelBatch {
    var header: BatchHeader
    var records: [KeyedRecord]
    var horizonMs: Int64?
}

final class KeyedLog {
    static let directory = "data/t-0"
    static let settings = LogSettings(
        segmentBytes: 900, indexIntervalBytes: 100, delaysRemoval: true, isCompacted: true)

    let disk: SimulatedDisk
    let seam: any Disk
    var settings: LogSettings
    var cleaning: CleaningSettings
    var log: SegmentedLog
    var wallMs: Int64 = 1_000_000
    var tombstonesRemovableBelow: Offset = .max
    var budgetBytes = 300
    /// All that was ever appended.
    private(set) var written: [KeyedRecord] = []
    private(set) var everWritten: Set<KeyedRecord> = []
    var model: [ModelBatch] = []

    init(
        _ settings: LogSettings = KeyedLog.settings, cleaning: CleaningSettings = CleaningSettings(),
        disk: SimulatedDisk = SimulatedDisk(seed: 1), seam: (any Disk)? = nil
    ) throws {
        self.disk = disk
        self.seam = seam ?? disk
        self.settings = settings
        self.cleaning = cleaning
        try disk.createDirectory("data")
        log = try Self.open(self.seam, settings)
    }

    static func open(
        _ disk: any Disk, _ settings: LogSettings = KeyedLog.settings, recoveryPoint: Offset = 0,
        startOffset: Offset? = nil
    ) throws(LogError) -> SegmentedLog {
        try SegmentedLog.open(
            disk: disk, directory: directory, owner: 7, settings: settings, recoveryPoint: recoveryPoint,
            startOffset: startOffset, wallMs: 1_000)
    }

    // MARK: Writing

    @discardableResult
    func append(
        _ records: [(key: String?, value: String?)], timestamp: Int64 = 1_000, epoch: LeaderEpoch = 0,
        compression: Compression = .none, producerID: ProducerID = -1, baseSequence: Int32 = -1,
        isTransactional: Bool = false, isControl: Bool = false, rolling: Bool = false
    ) throws(LogError) -> Offset {
        var builder = RecordBatchBuilder(
            compression: compression, producerID: producerID, producerEpoch: producerID < 0 ? -1 : 0,
            baseSequence: baseSequence, isTransactional: isTransactional, isControl: isControl)
        var noted: [KeyedRecord] = []
        for (index, record) in records.enumerated() {
            builder.append(
                timestamp: timestamp + Int64(index), key: record.key.map { ByteBuffer(string: $0) },
                value: record.value.map { ByteBuffer(string: $0) })
            noted.append(
                KeyedRecord(
                    offset: log.endOffset + Offset(index), timestamp: timestamp + Int64(index), key: record.key,
                    value: record.value))
        }
        let batch = builder.build()
        guard var header = BatchHeader(reading: batch, at: batch.readerIndex) else { preconditionFailure("a batch") }
        if rolling { log.settings.segmentBytes = 1 }
        defer { log.settings = settings }
        header.baseOffset = try log.append(batch, header: header, leaderEpoch: epoch, wallMs: 0)
        header.partitionLeaderEpoch = epoch
        written += noted
        everWritten.formUnion(noted)
        model.append(ModelBatch(header: header, records: noted))
        return header.baseOffset
    }

    /// Closes the active segment, with a record of no interest in the next one.
    func roll() throws(LogError) { try append([("-", "-")], rolling: true) }

    /// Completes barriers until there is none.
    func flush() throws(LogError) {
        log.requestFlush()
        try complete()
    }

    func complete() throws(LogError) {
        while let ticket = disk.pendingBarriers.first, let report = disk.completeBarrier(ticket) {
            if ticket.owner == 7 { _ = try log.flushed(report.ticket, report.result) }
        }
    }

    // MARK: Cleaning

    var part: CleanablePart? {
        (try? log.cleanablePart(cleaning, highWatermark: log.endOffset, wallMs: wallMs)) ?? nil
    }

    func order(_ part: CleanablePart) -> CleaningOrder {
        CleaningOrder(
            part: part, settings: cleaning, wallMs: wallMs, hasher: KeyHasher(7, 11), producers: floors(part),
            tombstonesRemovableBelow: tombstonesRemovableBelow)
    }

    /// As the Broker has it from its producer table: the oldest of the last five batches of each producer.
    func floors(_ part: CleanablePart) -> [ProducerID: Offset] {
        Self.floors(of: model.map(\.header), below: part.dirty.upperBound)
    }

    static func floors(of headers: [BatchHeader], below end: Offset) -> [ProducerID: Offset] {
        var last: [ProducerID: [Offset]] = [:]
        for header in headers where header.hasProducer && !header.isControl && header.nextOffset <= end {
            last[header.producerID, default: []].append(header.baseOffset)
        }
        return last.compactMapValues { $0.suffix(Limits.producerBatchesRemembered).first }
    }

    /// Cleans what can be cleaned, to the end.
    @discardableResult
    func clean() throws -> CleaningSummary {
        try flush()
        guard let part else { throw Violation(description: "there is nothing to clean") }
        guard log.beginCleaning(order(part)) else { throw Violation(description: "a cleaning does not begin") }
        while true {
            switch log.stepCleaning(budgetBytes: budgetBytes) {
            case .working: continue
            case .waiting: try complete()
            case .finished(let summary):
                try complete()
                return summary
            case let other: throw Violation(description: "the cleaning ended: \(other)")
            }
        }
    }

    func reopen(recoveryPoint: Offset = 0) throws(LogError) {
        let (start, cleaned) = (log.startOffset, log.cleanedEnd)
        try log.close(flushing: true)
        log = try Self.open(seam, settings, recoveryPoint: recoveryPoint, startOffset: start)
        log.restoreCleanedEnd(cleaned)
    }

    // MARK: Reading

    static func batches(of log: SegmentedLog) throws -> [(header: BatchHeader, bytes: ByteBuffer)] {
        var found: [(header: BatchHeader, bytes: ByteBuffer)] = []
        var offset = log.startOffset
        while let slice = try log.read(from: offset, maxBytes: 500, below: .max, atLeastOne: true) {
            let bytes = try log.bytes(of: slice)
            for (header, batch) in BatchSequence(bytes) {
                try Violation.unless(verifyCRC(of: batch), "a batch at \(header.baseOffset) does not check out")
                found.append((header, batch))
            }
            try Violation.unless(found.last?.header.nextOffset == slice.nextOffset, "the slice's end")
            offset = slice.nextOffset
        }
        return found
    }

    /// Contiguous, epochs rising, and every record in it.
    static func records(of log: SegmentedLog) throws -> [KeyedRecord] {
        var records: [KeyedRecord] = []
        var expected: Offset?
        var epoch: LeaderEpoch = -1
        for (header, bytes) in try batches(of: log) {
            try Violation.unless(
                expected.map { $0 == header.baseOffset } ?? (header.baseOffset <= log.startOffset),
                "a hole before \(header.baseOffset)")
            try Violation.unless(header.partitionLeaderEpoch >= epoch, "the epoch falls at \(header.baseOffset)")
            try Violation.unless(
                log.epochs.epoch(at: max(header.baseOffset, log.startOffset)) == header.partitionLeaderEpoch,
                "the epoch of \(header.baseOffset)")
            (expected, epoch) = (header.nextOffset, header.partitionLeaderEpoch)
            guard !header.isControl else { continue }
            for record in try decodeRecords(bytes) where record.offset >= log.startOffset {
                try Violation.unless(record.timestamp <= header.maxTimestamp, "the timestamps of \(header.baseOffset)")
                records.append(
                    KeyedRecord(
                        offset: record.offset, timestamp: record.timestamp,
                        key: record.key.map { String(buffer: $0) }, value: record.value.map { String(buffer: $0) }))
            }
        }
        try Violation.unless((expected ?? log.startOffset) == log.endOffset, "the log ends at \(log.endOffset)")
        return records
    }

    var records: [KeyedRecord] { get throws { try Self.records(of: log) } }
    var headers: [BatchHeader] { get throws { try Self.batches(of: log).map(\.header) } }
    var offsets: [Offset] { get throws { try records.map(\.offset) } }

    var segmentBases: [Offset] { log.segmentSummaries.map(\.baseOffset) }

    var strayFiles: [String] {
        disk.filePaths.filter { $0.hasSuffix(".cleaned") || $0.hasSuffix(".swap") }
    }
}
