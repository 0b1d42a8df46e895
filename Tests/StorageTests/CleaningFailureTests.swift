// The k-th call of each kind fails in a life with cleanings: nothing is lost, a cleaning is given up, and done again
// when the trouble is over; a barrier on names that fails ends the trust.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

@Suite struct CleaningFailureTests {
    private static let errors: [DiskError] = [
        .failed("the simulated device", errno: 5), .noSpace("the simulated disk"), .readOnly("the simulated disk"),
    ]

    private final class Run {
        let disk: FailingDisk
        let life: CleaningLife
        private let fault: FailingDisk.Fault?

        /// The fault counts from the first step on: opening an empty log is not what is tested.
        init(_ fault: FailingDisk.Fault?) throws {
            disk = FailingDisk(SimulatedDisk(seed: 3), nil)
            disk.isPaused = true
            life = try CleaningLife(disk: disk.disk, seam: disk)
            disk.isPaused = false
            self.fault = fault
            disk.fault = fault
        }

        func play() throws {
            for step in CleaningLife.script {
                let failures = disk.failures
                do {
                    try life.perform(step)
                } catch let error as LogError {
                    try Violation.unless(disk.failures > 0, "step \(life.stepCount) \(step): \(error)")
                    // A process whose log cannot be opened, or that is fenced, ends.
                    if step == .reopen || life.test.log.isFenced { return }
                }
                // What is read wrongly at an opening is not this test's.
                if step == .reopen, fault?.call == .read, disk.failures > failures { return }
                // Bytes that were not given are taken for damage, which is the owner's to have repaired.
                if life.test.log.isFenced || !life.test.log.damages.isEmpty { return }
                if disk.failures > failures { try checkVisible(step) }
            }
            try goOn()
        }

        /// Whatever failed, every promised record is still read.
        private func checkVisible(_ step: CleaningLife.Step) throws {
            try life.paused {
                let read = Set(try life.test.offsets)
                let outcome = Set((life.outcome ?? life.test.model).flatMap(\.records).map(\.offset))
                for record in life.test.model.flatMap(\.records) where record.offset >= life.test.log.startOffset {
                    try Violation.unless(
                        read.contains(record.offset) || !outcome.contains(record.offset),
                        "step \(life.stepCount) \(step): \(record.offset) is lost")
                }
            }
        }

        /// The trouble is over: the next cleaning gets to its end, and leaves nothing behind.
        private func goOn() throws {
            guard fault != nil else { return }
            disk.fault = nil
            for step in [.append, .append, .append, .append, .flush, .completeAll, .finish] as [CleaningLife.Step] {
                try life.perform(step)
            }
            let finished = life.finished
            for _ in 0..<3 where life.finished == finished {
                for step in [.append, .append, .append, .append, .append, .append] as [CleaningLife.Step] {
                    try life.perform(step)
                }
                for step in [.flush, .completeAll, .later, .begin, .finish] as [CleaningLife.Step] {
                    try life.perform(step)
                }
            }
            try Violation.unless(life.finished > finished, "no cleaning gets to its end: \(life.abandoned)")
            for path in disk.disk.filePaths {
                try Violation.unless(!path.hasSuffix(".swap") && !path.hasSuffix(".cleaned"), "\(path) is left")
            }
        }

        func recover() throws {
            for policy in [nil, .keepNothing, .keepEverything, .someSectors(seed: 5)] as [PowerLossPolicy?] {
                do {
                    try CleaningCheck(life).run(life.disk.afterCrash(policy), cleaning: policy == nil)
                } catch {
                    throw Violation(description: "after \(policy?.description ?? "kill"): \(error)")
                }
            }
        }
    }

    @Test func everyCallFailsOnceAndFromThenOn() throws {
        let whole = try Run(nil)
        try whole.play()
        #expect(whole.life.abandoned.allSatisfy { $0 == .overtaken })
        var (runs, violations, given) = (0, 0, 0)
        let sample = MatrixSize.isLong ? 1 : MatrixSize.stride > 1 ? 37 : 11
        for call in FailingDisk.Call.allCases {
            let count = whole.disk.counts[call] ?? 0
            for index in stride(from: 0, to: count, by: sample) {
                for (error, isLasting) in Self.errors.flatMap({ [($0, false), ($0, true)] }) where violations < 5 {
                    let run = try Run(FailingDisk.Fault(call: call, index: index, isLasting: isLasting, error: error))
                    do {
                        try run.play()
                        try Violation.unless(run.disk.failures > 0, "the fault did not happen")
                        try run.recover()
                    } catch {
                        violations += 1
                        Issue.record(
                            "\(call) \(index)\(isLasting ? " and on" : ""), step \(run.life.stepCount): \(error)")
                    }
                    given += run.life.abandoned.filter { $0 != .overtaken }.count
                    runs += 1
                }
            }
        }
        let calls = whole.disk.counts.map { "\($0.key) \($0.value)" }.sorted()
        print("cleaning failure matrix: \(runs) runs, \(given) cleanings given up, \(calls)")
        #expect(runs >= 3_000 / sample && given >= 1_000 / sample)
    }

    @Test func aFullDiskOnlyPutsACleaningOff() throws {
        let disk = SimulatedDisk(seed: 3)
        let test = try KeyedLog(disk: disk)
        for index in 0..<40 { try test.append([("k\(index % 4)", "\(index) " + String(repeating: "x", count: 40))]) }
        try test.roll()
        try test.flush()
        let before = try test.records
        let part = try #require(test.part)
        disk.capacityBytes = disk.usedBytes + 100
        #expect(test.log.beginCleaning(test.order(part)))
        var stop: CleaningStop?
        for _ in 0..<200 where stop == nil {
            if case .abandoned(let reason) = test.log.stepCleaning(budgetBytes: 500) { stop = reason }
            try test.complete()
        }
        guard case .failed(.disk(.noSpace)) = stop else { throw Violation(description: "it ended: \(stop as Any)") }
        #expect(!test.log.isFenced && test.strayFiles.isEmpty)
        #expect(try test.records.last == before.last)
        disk.capacityBytes = nil
        try test.clean()
        #expect(try test.records.count == 5)
    }
}
