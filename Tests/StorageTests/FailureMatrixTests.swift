// The k-th call of each kind fails, once or from then on: nothing that was reported durable is lost, nothing half done
// is seen, and a log that cannot be trusted takes no more (reliability.md §5, S6 and S9).

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

@Suite struct FailureMatrixTests {
    private static let errors: [DiskError] = [
        .failed("the simulated device", errno: 5), .noSpace("the simulated disk"), .readOnly("the simulated disk"),
    ]

    /// One life with one fault in it.
    private struct Run {
        let fault: FailingDisk.Fault?
        let disk: FailingDisk
        let life: MatrixLife

        init(_ fault: FailingDisk.Fault?) {
            self.fault = fault
            disk = FailingDisk(SimulatedDisk(seed: 3), fault)
            life = MatrixLife(disk: disk.disk, seam: disk)
        }

        func play() throws {
            do { try life.begin() } catch {
                try Violation.unless(disk.failures > 0, "opening failed without a fault: \(error)")
            }
            for step in MatrixLife.script {
                guard let log = life.log else { return }
                let before = (failures: disk.failures, isFenced: log.isFenced, flushedEnd: log.flushedEnd)
                do {
                    try life.perform(step)
                    let isAppend = [.append, .appendLarge, .appendFetched].contains(step)
                    try Violation.unless(!(before.isFenced && isAppend), "S6: a fenced log took a batch")
                } catch let error as LogError {
                    try Violation.unless(disk.failures > 0, "step \(life.stepCount) \(step): \(error)")
                    if disk.failures > before.failures { try checkFence(step, log, error) }
                }
                guard life.log === log else { continue }
                if before.isFenced {
                    try Violation.unless(log.flushedEnd <= before.flushedEnd, "S6: a fenced log became durable")
                }
                try checkVisible(log)
            }
            try goOn()
        }

        /// The device's own failure ends the trust; a full disk only refuses.
        private func checkFence(_ step: MatrixLife.Step, _ log: SegmentedLog, _ error: LogError) throws {
            guard life.log === log, let fault else { return }
            switch (fault.call, step) {
            case (.flush, .complete): try Violation.unless(log.isFenced, "S6: \(error) did not fence the log")
            case (.write, .append), (.write, .appendLarge), (.write, .appendFetched):
                if case .failed = fault.error {
                    try Violation.unless(log.isFenced, "S6: \(error) did not fence the log")
                } else {
                    try Violation.unless(!log.isFenced, "S9: \(error) fenced the log")
                }
            default: break
            }
        }

        /// The trouble is over: a log that is still trusted takes records and makes them durable, by itself.
        private func goOn() throws {
            guard fault != nil, let log = life.log, !log.isFenced else { return }
            disk.fault = nil
            try life.perform(.append)
            try life.perform(.flush)
            try life.perform(.complete)
            try life.perform(.complete)
            try Violation.unless(
                log.flushedEnd == log.endOffset, "S9: \(log.flushedEnd) of \(log.endOffset) is durable")
            try checkVisible(log)
        }

        /// Nothing but whole batches that were taken, in order.
        private func checkVisible(_ log: SegmentedLog) throws {
            // A full truncation that broke off: the files are gone, and the log has nothing to give any more.
            if log.isFenced, life.restart != nil { return }
            disk.isPaused = true
            defer { disk.isPaused = false }
            let found = try everything(log).map(\.bytes)
            let expected = life.batches.filter { $0.header.lastOffset >= log.startOffset }.map(\.bytes)
            try Violation.unless(
                found == expected, "step \(life.stepCount): \(found.count) batches, not \(expected.count)")
        }

        /// The process starts again, on what a kill or a loss of power left of the disk, which is sound again.
        func recover() throws {
            for policy in [nil, .keepNothing, .keepEverything, .someSectors(seed: 5)] as [PowerLossPolicy?] {
                let disk = life.disk.afterCrash(policy)
                let log = try MatrixLife.open(disk)
                do {
                    try MatrixCheck(life: life, disk: disk, log: log).run()
                } catch {
                    throw Violation(description: "after \(policy?.description ?? "kill"): \(error)")
                }
            }
        }
    }

    @Test func everyCallFailsOnceAndFromThenOn() throws {
        let whole = Run(nil)
        try whole.play()
        var (runs, violations) = (0, 0)
        var kinds: Set<FailingDisk.Call> = []
        for call in FailingDisk.Call.allCases {
            let count = whole.disk.counts[call] ?? 0
            for index in stride(from: 0, to: count, by: MatrixSize.stride) {
                for (error, isLasting) in Self.errors.flatMap({ [($0, false), ($0, true)] }) where violations < 8 {
                    let run = Run(FailingDisk.Fault(call: call, index: index, isLasting: isLasting, error: error))
                    do {
                        try run.play()
                        try Violation.unless(run.disk.failures > 0, "the fault did not happen")
                        try run.recover()
                    } catch {
                        violations += 1
                        Issue.record(
                            "\(call) \(index)\(isLasting ? " and on" : ""), \(run.fault?.error as Any): \(error)")
                    }
                    kinds.insert(call)
                    runs += 1
                }
            }
        }
        print("failure matrix: \(runs) runs, \(whole.disk.counts.map { "\($0.key) \($0.value)" }.sorted())")
        #expect(kinds.count == FailingDisk.Call.allCases.count)
        #expect(runs >= 2_400 / MatrixSize.stride)
    }

    /// An empty file of the next segment's name would cut the log off at the next opening.
    @Test func aRollThatFailsLeavesNoEmptySegment() throws {
        for isLasting in [false, true] {
            let disk = FailingDisk(SimulatedDisk(seed: 1), nil)
            try disk.disk.createDirectory("data")
            let settings = LogSettings(segmentBytes: 400)
            let log = try SegmentedLog.open(
                disk: disk, directory: "data/t-0", owner: 1, settings: settings, recoveryPoint: 0, startOffset: nil,
                wallMs: 0)
            func append(_ sizeBytes: Int) throws {
                let batch = makeBatch(count: 1, sizeBytes: sizeBytes, timestamp: 5)
                let header = try #require(BatchHeader(reading: batch, at: batch.readerIndex))
                _ = try log.append(batch, header: header, leaderEpoch: 0, wallMs: 0)
            }
            try append(100)
            disk.fault = FailingDisk.Fault(
                call: .truncate, index: disk.counts[.truncate] ?? 0, isLasting: isLasting,
                error: .failed("the simulated device", errno: 5))
            #expect(throws: LogError.self) { try append(300) }
            // What still has room goes on.
            try append(50)
            log.requestFlush()
            for ticket in disk.disk.pendingBarriers {
                if let report = disk.disk.completeBarrier(ticket) { _ = try log.flushed(report.ticket, report.result) }
            }
            #expect(log.flushedEnd == 2)
            let again = try SegmentedLog.open(
                disk: disk.disk.afterCrash(.keepNothing), directory: "data/t-0", owner: 1, settings: settings,
                recoveryPoint: 0, startOffset: nil, wallMs: 0)
            #expect(again.endOffset == 2)
        }
    }
}
