// A scripted life of a log, cut off after every operation, under every kind of loss.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

/// Runs a log through its life and remembers what a crash must keep, and what it must never bring back.
final class ScriptedLife {
    static let directory = "data/t-0"
    static let settings = LogSettings(segmentBytes: 600, indexIntervalBytes: 100)

    let disk: SimulatedDisk
    var log: SegmentedLog?
    var random: SeededRandom
    /// Every batch in the log, as it stands on disk.
    var batches: [(header: BatchHeader, bytes: [UInt8])] = []
    /// Reported durable, since the last truncation below it.
    var flushedEnd: Offset = 0
    /// Batches cut off by a truncation that a later barrier covered: they must not come back. By base offset and epoch.
    var buried: [(offset: Offset, epoch: LeaderEpoch)] = []
    var dying: [(offset: Offset, epoch: LeaderEpoch, generation: UInt32)] = []
    /// The owner's checkpoints: the recovery point never above a truncation to come, the log start.
    var highWatermark: Offset = 0
    var recoveryPoint: Offset = 0
    var startOffset: Offset = 0
    var epoch: LeaderEpoch = 0

    init(seed: UInt64, crashAfter: Int?) {
        disk = SimulatedDisk(seed: seed)
        disk.operationsUntilCrash = crashAfter
        random = SeededRandom(seed: seed)
        try? disk.createDirectory("data")
    }

    func open(crashAfter: Int? = nil) throws(LogError) -> SegmentedLog {
        disk.operationsUntilCrash = crashAfter
        return try SegmentedLog.open(
            disk: disk, directory: Self.directory, owner: 7, settings: Self.settings, recoveryPoint: recoveryPoint,
            startOffset: startOffset, wallMs: 1_000)
    }

    /// Ends at the crash, or when the script does.
    func run(steps: Int) {
        guard let log = try? open(crashAfter: disk.operationsUntilCrash), !disk.isCrashed else { return }
        self.log = log
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
        switch step % 12 {
        case 5:
            epoch += 1
            log.assign(epoch: epoch)
        case 3, 7, 9: log.requestFlush()
        case 4, 8, 10: try complete(log)
        case 11 where step % 24 == 23: try truncate(log)
        case 11:
            try log.advanceStart(to: min(highWatermark, log.startOffset + 3))
            if !disk.isCrashed { startOffset = log.startOffset }
        default: try append(log)
        }
    }

    private func append(_ log: SegmentedLog) throws(LogError) {
        let count = 1 + Int(random.below(3))
        let batch = makeBatch(count: count, sizeBytes: 40 + Int(random.below(150)), timestamp: random.below(1_000))
        guard let header = BatchHeader(reading: batch, at: batch.readerIndex) else { return }
        let base = try log.append(batch, header: header, leaderEpoch: epoch, wallMs: 0)
        var stamped = header
        stamped.baseOffset = base
        stamped.partitionLeaderEpoch = epoch
        if !disk.isCrashed { batches.append((stamped, stampedBytes(batch, stamped))) }
        // What was being written when the disk stopped may be there or not.
        if disk.isCrashed { batches.append((stamped, stampedBytes(batch, stamped))) }
    }

    private func complete(_ log: SegmentedLog) throws(LogError) {
        for ticket in disk.takeRequestedBarriers() {
            guard let report = disk.completeBarrier(ticket) else { continue }
            _ = try log.flushed(report.ticket, report.result)
            guard ticket.sequence >> 63 == 0, ticket.generation == log.generation else { continue }
            buried += dying.filter { $0.generation <= ticket.generation }.map { ($0.offset, $0.epoch) }
            dying = []
        }
        flushedEnd = log.flushedEnd
        // As everywhere, it lies between two batches.
        let behind = batches.last { $0.header.baseOffset <= flushedEnd - 4 }?.header.baseOffset
        highWatermark = max(highWatermark, behind ?? 0)
        recoveryPoint = min(flushedEnd, highWatermark)
    }

    private func truncate(_ log: SegmentedLog) throws(LogError) {
        let target = max(highWatermark, log.endOffset - 5)
        // From here on the cut may have happened, whole or in part, or not.
        let cut = batches.filter { $0.header.lastOffset >= target }
        batches.removeAll { $0.header.lastOffset >= target }
        let end = cut.first?.header.baseOffset ?? log.endOffset
        flushedEnd = min(flushedEnd, end)
        do {
            try log.truncate(to: target)
        } catch {
            throw error
        }
        dying += cut.map { ($0.header.baseOffset, $0.header.partitionLeaderEpoch, log.generation) }
        epoch += 1
    }
}

func makeBatch(count: Int, sizeBytes: Int, timestamp: Int64) -> ByteBuffer {
    var builder = RecordBatchBuilder()
    for index in 0..<count {
        let value = ByteBuffer(repeating: UInt8(truncatingIfNeeded: timestamp), count: sizeBytes / count)
        builder.append(timestamp: timestamp + Int64(index), key: nil, value: value)
    }
    return builder.build()
}

func stampedBytes(_ batch: ByteBuffer, _ header: BatchHeader) -> [UInt8] {
    var head = ByteBuffer()
    head.writeMultipleIntegers(header.baseOffset, header.batchLength, header.partitionLeaderEpoch)
    return Array(head.readableBytesView) + Array(batch.readableBytesView.dropFirst(16))
}

/// Every batch of a log with its bytes.
func everything(_ log: SegmentedLog) throws(LogError) -> [(header: BatchHeader, bytes: [UInt8])] {
    var found: [(header: BatchHeader, bytes: [UInt8])] = []
    var offset = log.startOffset
    while let slice = try log.read(from: offset, maxBytes: 1, below: .max, atLeastOne: true) {
        let bytes = try log.bytes(of: slice)
        guard let header = BatchHeader(reading: bytes, at: bytes.readerIndex), verifyCRC(of: bytes) else {
            throw .damaged("read a batch that does not check out", from: offset)
        }
        found.append((header, Array(bytes.readableBytesView)))
        offset = slice.nextOffset
    }
    return found
}

@Suite struct CrashTests {
    static let policies: [PowerLossPolicy?] =
        [
            nil, .keepNothing, .keepEverything, .contentsOnly, .namesOnly, .allButFirst,
        ]
        + (1...3).flatMap { seed -> [PowerLossPolicy?] in
            [
                .sizesWithoutContents(seed: seed), .someOperations(seed: seed), .someSectors(seed: seed),
                .tornLastWrite(seed: seed),
            ]
        }

    static func crash(_ life: ScriptedLife, _ policy: PowerLossPolicy?) {
        if let policy { life.disk.powerLoss(policy: policy) } else { life.disk.processCrash() }
    }

    /// S1, S2, S7 and the epochs.
    static func check(_ life: ScriptedLife, _ log: SegmentedLog, _ context: String) throws {
        #expect(log.recovery.damages.isEmpty, "\(context)")
        #expect(log.endOffset >= life.flushedEnd, "\(context)")
        #expect(log.flushedEnd == log.endOffset, "\(context)")
        let found = try everything(log)
        var expected = log.startOffset
        for (index, batch) in found.enumerated() {
            let base = batch.header.baseOffset
            #expect(index == 0 ? base <= expected : base == expected, "\(context)")
            expected = batch.header.nextOffset
            if let original = life.batches.first(where: { $0.header.baseOffset == base }), base < life.flushedEnd {
                #expect(original.bytes == batch.bytes, "\(context): S1 at \(base)")
            }
            let isBuried = life.buried.contains {
                $0.offset == base && $0.epoch == batch.header.partitionLeaderEpoch
            }
            #expect(!isBuried, "\(context): S7 at \(base)")
            let epochs = log.epochs
            #expect(epochs.epoch(at: max(base, log.startOffset)) == batch.header.partitionLeaderEpoch, "\(context)")
        }
        #expect(expected == log.endOffset, "\(context): S2")
        // Everything that was reported durable is there.
        for batch in life.batches where batch.header.lastOffset < life.flushedEnd {
            guard batch.header.lastOffset >= log.startOffset else { continue }
            #expect(found.contains { $0.bytes == batch.bytes }, "\(context): S1 lost \(batch.header.baseOffset)")
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func everyCrashPointKeepsWhatWasFlushed(seed: UInt64) throws {
        let whole = ScriptedLife(seed: seed, crashAfter: nil)
        whole.run(steps: 72)
        let operations = whole.disk.operationCount
        #expect(operations > 60)
        for point in 2...operations {
            for policy in Self.policies {
                let life = ScriptedLife(seed: seed, crashAfter: point)
                life.run(steps: 72)
                Self.crash(life, policy)
                let context = "seed \(seed) point \(point) \(policy?.description ?? "kill")"
                let log = try life.open()
                try Self.check(life, log, context)
                let first = try everything(log)
                life.disk.powerLoss(policy: .keepNothing)
                let again = try life.open()
                #expect(try everything(again).map(\.bytes) == first.map(\.bytes), "\(context): recovered again")
                #expect(again.epochs == log.epochs, "\(context)")
            }
        }
    }

    @Test func everyCrashDuringRecoveryKeepsWhatWasFlushed() throws {
        let whole = ScriptedLife(seed: 4, crashAfter: nil)
        whole.run(steps: 60)
        for point in stride(from: 3, through: whole.disk.operationCount, by: 3) {
            for policy in Self.policies.prefix(10) {
                var recoveryPoint = 0
                while true {
                    let life = ScriptedLife(seed: 4, crashAfter: point)
                    life.run(steps: 60)
                    Self.crash(life, policy)
                    let log = try? life.open(crashAfter: recoveryPoint)
                    let isWhole = log != nil && !life.disk.isCrashed
                    Self.crash(life, .someSectors(seed: UInt64(recoveryPoint)))
                    let context = "point \(point) \(policy?.description ?? "kill") recovery \(recoveryPoint)"
                    try Self.check(life, try life.open(), context)
                    if isWhole { break }
                    recoveryPoint += 1
                }
            }
        }
    }
}
