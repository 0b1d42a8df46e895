// A log on a simulated disk with short ways to fill it, and the naive model that its answers are measured by.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage

final class TestLog {
    static let directory = "data/t-0"
    let disk: SimulatedDisk
    var log: SegmentedLog
    var settings: LogSettings
    /// Every batch appended: header as stored, and the timestamps of its records.
    var batches: [(header: BatchHeader, timestamps: [Int64])] = []

    init(_ settings: LogSettings = LogSettings(segmentBytes: 700, indexIntervalBytes: 100), disk: SimulatedDisk? = nil)
        throws
    {
        self.disk = disk ?? SimulatedDisk(seed: 1)
        self.settings = settings
        log = try Self.open(self.disk, settings)
    }

    static func open(
        _ disk: SimulatedDisk, _ settings: LogSettings, recoveryPoint: Offset = 0, startOffset: Offset? = nil
    ) throws(LogError) -> SegmentedLog {
        try SegmentedLog.open(
            disk: disk, directory: directory, owner: 1, settings: settings, recoveryPoint: recoveryPoint,
            startOffset: startOffset, wallMs: 0)
    }

    func reopen(recoveryPoint: Offset = 0, startOffset: Offset? = nil) throws(LogError) {
        log = try Self.open(disk, settings, recoveryPoint: recoveryPoint, startOffset: startOffset)
    }

    @discardableResult
    func append(_ timestamps: [Int64], sizeBytes: Int = 60, epoch: LeaderEpoch = 0, wallMs: Int64 = 0)
        throws(LogError) -> Offset
    {
        var builder = RecordBatchBuilder()
        for timestamp in timestamps {
            builder.append(
                timestamp: timestamp, key: nil, value: ByteBuffer(repeating: 7, count: sizeBytes / timestamps.count))
        }
        let batch = builder.build()
        guard var header = BatchHeader(reading: batch, at: batch.readerIndex) else { preconditionFailure("a batch") }
        header.baseOffset = try log.append(batch, header: header, leaderEpoch: epoch, wallMs: wallMs)
        header.partitionLeaderEpoch = epoch
        batches.append((header, timestamps))
        return header.baseOffset
    }

    /// Random batches of one to four records, timestamps wandering up and down, an epoch now and then.
    func fill(_ count: Int, random: inout SeededRandom) throws {
        var epoch = batches.last?.header.partitionLeaderEpoch ?? 0
        for _ in 0..<count {
            if random.oneIn(9) { epoch += 1 + Int32(random.below(2)) }
            let timestamps = (0...random.below(4)).map { _ in 1_000 + Int64(batches.count) * 3 + random.below(40) }
            try append(timestamps, sizeBytes: Int(20 + random.below(160)), epoch: epoch)
        }
    }

    /// Completes barriers until there is none.
    func flush() throws {
        log.requestFlush()
        while let ticket = disk.pendingBarriers.first, let report = disk.completeBarrier(ticket) {
            _ = try log.flushed(report.ticket, report.result)
        }
    }

    var files: [String] { disk.filePaths }

    func path(_ baseOffset: Offset, _ suffix: String) -> String {
        let digits = String(baseOffset)
        return Self.directory + "/" + String(repeating: "0", count: 20 - digits.count) + digits + suffix
    }

    // MARK: The model

    var records: [(offset: Offset, timestamp: Int64, epoch: LeaderEpoch)] {
        batches.flatMap { batch in
            batch.timestamps.enumerated().map {
                (batch.header.baseOffset + Offset($0.offset), $0.element, batch.header.partitionLeaderEpoch)
            }
        }
    }

    /// What `read` must answer but for the limit of one segment: base of the first batch, end of the last.
    func expectedRead(from offset: Offset, maxBytes: Int, below limit: Offset) -> (first: Offset, next: Offset)? {
        guard let start = batches.firstIndex(where: { $0.header.lastOffset >= offset }) else { return nil }
        let bases = log.segmentSummaries.map(\.baseOffset)
        var size = 0
        var next: Offset?
        for batch in batches[start...] {
            guard batch.header.lastOffset < limit else { break }
            if next != nil, bases.contains(batch.header.baseOffset) { break }
            size += batch.header.sizeBytes
            if size > maxBytes, next != nil { break }
            next = batch.header.nextOffset
        }
        return next.map { (batches[start].header.baseOffset, $0) }
    }
}
