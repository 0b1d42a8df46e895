// The log start moves up: what goes, what stays readable, and what no crash brings back or takes along.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

@Suite struct StartTests {
    @Test func segmentsBelowItLoseTheirNamesFirstAndTheirBytesLater() throws {
        let test = try TestLog(LogSettings(segmentBytes: 300, indexIntervalBytes: 100, delaysRemoval: true))
        for index in 0..<12 { try test.append([Int64(index)], sizeBytes: 60) }
        try test.flush()
        let second = try #require(test.log.segmentSummaries.dropFirst().first).baseOffset
        let slice = try #require(
            try test.log.read(from: 0, maxBytes: 100, below: .max, atLeastOne: true))
        let before = try test.log.bytes(of: slice)
        try test.log.advanceStart(to: second + 1)
        #expect(!test.files.contains(test.path(0, ".log")) && test.files.contains(test.path(0, ".log") + ".deleted"))
        #expect(try test.log.bytes(of: slice) == before, "whoever reads it reads on")
        #expect(test.log.segmentSummaries.first?.baseOffset == second)
        #expect(test.log.hasRemovedSegments)
        let start = Instant(nanoseconds: 5_000_000_000)
        test.log.purgeRemoved(at: start, delayMs: 100)
        test.log.purgeRemoved(at: start.advanced(byMs: 99), delayMs: 100)
        #expect(test.log.hasRemovedSegments)
        test.log.purgeRemoved(at: start.advanced(byMs: 100), delayMs: 100)
        #expect(!test.log.hasRemovedSegments)
        #expect(!test.files.contains { $0.hasSuffix(".deleted") })
        #expect(throws: LogError.self) { try test.log.bytes(of: slice) }
    }

    @Test func atTheEndTheActiveSegmentGoesTooAndTheEpochStays() throws {
        let test = try TestLog(LogSettings(segmentBytes: 300, indexIntervalBytes: 100, delaysRemoval: true))
        for index in 0..<10 { try test.append([Int64(index)], sizeBytes: 60, epoch: index < 5 ? 0 : 3) }
        try test.flush()
        try test.log.advanceStart(to: 10, emptying: true)
        try test.flush()
        #expect(test.log.sizeBytes == 0)
        #expect(test.log.segmentSummaries.map(\.baseOffset) == [10])
        try test.reopen(recoveryPoint: 10, startOffset: 10)
        #expect(test.log.startOffset == 10 && test.log.endOffset == 10)
        #expect(test.log.epochs.latestEpoch == 3)
        #expect(!test.files.contains { $0.hasSuffix(".deleted") })
        #expect(try test.append([99], epoch: 4) == 10)
    }

    @Test func theLastSegmentGoesOnlyWhenTheNextOnesNameIsSafe() throws {
        let test = try TestLog(LogSettings(segmentBytes: 300, indexIntervalBytes: 100, delaysRemoval: true))
        for index in 0..<2 { try test.append([Int64(index)], sizeBytes: 60) }
        try test.flush()
        #expect(test.log.segmentSummaries.count == 1)
        try test.log.advanceStart(to: 2, emptying: true)
        #expect(test.files.contains(test.path(0, ".log")), "the new segment's name has no barrier yet")
        try test.flush()
        #expect(!test.files.contains(test.path(0, ".log")))
    }
}

/// A log whose start goes up now and then, with an owner that keeps it in a file, on disk before the log moves.
final class DeletingLife {
    static let directory = "data/t-0"
    static let startPath = "data/start"
    static let settings = LogSettings(segmentBytes: 400, indexIntervalBytes: 100, delaysRemoval: true)

    let disk: SimulatedDisk
    var random: SeededRandom
    var batches: [(header: BatchHeader, bytes: [UInt8])] = []
    var flushedEnd: Offset = 0
    /// Operations until the first segment's name was behind a barrier. Before, the power may keep a later segment and
    /// lose this one: such a log begins where nobody asked it to, but has promised nothing yet.
    var birth: Int?
    var recoveryPoint: Offset = 0
    /// What was asked for at most, and what was shown as the start.
    var wanted: Offset = 0
    var shown: Offset = 0

    init(seed: UInt64, crashAfter: Int?) {
        disk = SimulatedDisk(seed: seed)
        disk.operationsUntilCrash = crashAfter
        random = SeededRandom(seed: seed)
        try? disk.createDirectory("data")
    }

    var savedStart: Offset? {
        disk.contents(of: Self.startPath).flatMap { Offset(String(decoding: $0, as: UTF8.self)) }
    }

    func open(crashAfter: Int? = nil) throws(LogError) -> SegmentedLog {
        disk.operationsUntilCrash = crashAfter
        return try SegmentedLog.open(
            disk: disk, directory: Self.directory, owner: 7, settings: Self.settings, recoveryPoint: recoveryPoint,
            startOffset: savedStart, wallMs: 1_000)
    }

    func run(steps: Int) {
        guard let log = try? open(crashAfter: disk.operationsUntilCrash), !disk.isCrashed else { return }
        for step in 0..<steps where !disk.isCrashed {
            do {
                try self.step(step, log)
            } catch {
                if !disk.isCrashed { Issue.record("step \(step): \(error)") }
                return
            }
        }
    }

    private func step(_ step: Int, _ log: SegmentedLog) throws(LogError) {
        switch step % 10 {
        case 3, 6: log.requestFlush()
        case 4, 7: try complete(log)
        case 8: requestStart(log)
        case 9:
            try complete(log)
            log.purgeRemoved(at: Instant(nanoseconds: Int64(step) * 1_000_000), delayMs: 12)
        default: try append(log)
        }
    }

    private func append(_ log: SegmentedLog) throws(LogError) {
        let batch = makeBatch(
            count: 1 + Int(random.below(3)), sizeBytes: 40 + Int(random.below(120)), timestamp: random.below(1_000))
        guard var header = BatchHeader(reading: batch, at: batch.readerIndex) else { return }
        header.baseOffset = try log.append(batch, header: header, leaderEpoch: 2, wallMs: 0)
        header.partitionLeaderEpoch = 2
        batches.append((header, stampedBytes(batch, header)))
    }

    /// Anywhere below what is durable, every third time at its very end.
    private func requestStart(_ log: SegmentedLog) {
        let room = flushedEnd - log.startOffset
        guard room > 0, !disk.isCrashed else { return }
        wanted = max(wanted, log.startOffset + (random.oneIn(3) ? room : 1 + random.below(room)))
        disk.replace(
            FlushTicket(owner: 0, generation: 0, sequence: UInt64(wanted)), path: Self.startPath,
            contents: ByteBuffer(string: String(wanted)))
    }

    private func complete(_ log: SegmentedLog) throws(LogError) {
        for ticket in disk.takeRequestedBarriers() {
            guard let report = disk.completeBarrier(ticket) else { continue }
            if ticket.owner == 0 {
                try log.advanceStart(to: Offset(ticket.sequence), emptying: true)
                if !disk.isCrashed { shown = max(shown, Offset(ticket.sequence)) }
                log.requestFlush()
            } else {
                _ = try log.flushed(report.ticket, report.result)
            }
        }
        flushedEnd = log.flushedEnd
        if birth == nil, flushedEnd > 0 { birth = disk.operationCount }
        recoveryPoint = flushedEnd
    }
}

@Suite struct DeletionCrashTests {
    private static func check(_ life: DeletingLife, _ log: SegmentedLog, _ context: String) throws {
        #expect(log.recovery.damages.isEmpty && log.recovery.missingStart == nil, "\(context)")
        #expect(log.startOffset >= life.shown, "\(context): S7, it began at \(life.shown)")
        #expect(log.startOffset <= life.wanted, "\(context): nobody asked for \(log.startOffset)")
        #expect(log.endOffset >= life.flushedEnd, "\(context)")
        #expect(log.epochs.latestEpoch == 2 || log.endOffset == 0, "\(context): the epoch is forgotten")
        if life.shown > 0 {
            #expect(throws: LogError.self, "\(context): S7") {
                try log.read(from: life.shown - 1, maxBytes: 1, below: .max, atLeastOne: true)
            }
        }
        let found = try everything(log)
        for batch in life.batches
        where batch.header.nextOffset <= life.flushedEnd && batch.header.lastOffset >= log.startOffset {
            #expect(found.contains { $0.bytes == batch.bytes }, "\(context): lost \(batch.header.baseOffset)")
        }
        for batch in found {
            #expect(life.batches.contains { $0.bytes == batch.bytes }, "\(context): S1 at \(batch.header.baseOffset)")
        }
        #expect(!life.disk.filePaths.contains { $0.hasSuffix(".deleted") }, "\(context)")
    }

    @Test(arguments: [1, 2] as [UInt64])
    func noCrashBringsBackWhatWasDeletedOrTakesMore(seed: UInt64) throws {
        let whole = DeletingLife(seed: seed, crashAfter: nil)
        whole.run(steps: 90)
        #expect(whole.shown > 20)
        for point in try #require(whole.birth)...whole.disk.operationCount {
            for policy in CrashTests.policies {
                let life = DeletingLife(seed: seed, crashAfter: point)
                life.run(steps: 90)
                if let policy { life.disk.powerLoss(policy: policy) } else { life.disk.processCrash() }
                let context = "seed \(seed) point \(point) \(policy?.description ?? "kill")"
                let log = try life.open()
                try Self.check(life, log, context)
                life.disk.powerLoss(policy: .keepNothing)
                let again = try life.open()
                try Self.check(life, again, "\(context), recovered again")
            }
        }
    }

    @Test func noCrashDuringRecoveryEither() throws {
        let whole = DeletingLife(seed: 5, crashAfter: nil)
        whole.run(steps: 60)
        for point in stride(from: try #require(whole.birth), through: whole.disk.operationCount, by: 4) {
            for policy in CrashTests.policies.prefix(8) {
                var operations = 0
                while true {
                    let life = DeletingLife(seed: 5, crashAfter: point)
                    life.run(steps: 60)
                    if let policy { life.disk.powerLoss(policy: policy) } else { life.disk.processCrash() }
                    let log = try? life.open(crashAfter: operations)
                    let isWhole = log != nil && !life.disk.isCrashed
                    life.disk.powerLoss(policy: .someSectors(seed: UInt64(operations)))
                    try Self.check(life, try life.open(), "point \(point) recovery \(operations)")
                    if isWhole { break }
                    operations += 1
                }
            }
        }
    }
}
