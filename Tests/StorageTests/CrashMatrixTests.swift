// Every operation of a scripted life as the last one, under every policy of what the disk keeps, with every crash of
// the recovery that follows.

import DiskSimulation
import Foundation
import Model
import Storage
import Testing

/// `MARTLET_MATRIX=long` multiplies the lots and the recoveries; a debug build takes a sample.
enum MatrixSize {
    static let isLong = ProcessInfo.processInfo.environment["MARTLET_MATRIX"] == "long"
    #if DEBUG
        static let stride = isLong ? 1 : 9
    #else
        static let stride = 1
    #endif
}

/// What has been recovered from already, of one life: policies often leave the same.
struct SeenDisks {
    private(set) var states: Set<Int> = []

    mutating func insert(_ disk: SimulatedDisk) -> Bool {
        var hasher = Hasher()
        for path in disk.filePaths {
            hasher.combine(path)
            hasher.combine(disk.contents(of: path))
        }
        return states.insert(hasher.finalize()).inserted
    }
}

@Suite struct CrashMatrixTests {
    /// Nil: only the process ends.
    static let policies: [PowerLossPolicy?] = {
        let lots: [UInt64] = Array(1...(MatrixSize.isLong ? 40 : 6))
        var policies: [PowerLossPolicy?] = [
            nil, .keepNothing, .keepEverything, .contentsOnly, .namesOnly, .onlyLast, .allButFirst, .youngerFiles,
            .olderFiles, .lastWriteUpTo(sector: 0), .lastWriteUpTo(sector: 1), .lastWriteUpTo(sector: 2),
            .lastWriteBehind(sector: 1), .lastWriteBehind(sector: 2),
        ]
        for seed in lots {
            policies += [.someOperations(seed: seed), .someSectors(seed: seed)]
            if seed % 2 == 0 { policies += [.tornLastWrite(seed: seed), .sizesWithoutContents(seed: seed)] }
        }
        return policies
    }()

    /// In turn, one for each operation of a recovery; all of them in the long run.
    static let policiesInRecovery: [PowerLossPolicy?] =
        MatrixSize.isLong
        ? policies : [.keepNothing, .onlyLast, .someSectors(seed: 21), .someOperations(seed: 22)]

    static func life(until point: Int) -> MatrixLife {
        let life = MatrixLife()
        life.disk.operationsUntilCrash = point
        do {
            try life.begin()
            for step in MatrixLife.script where !life.disk.isCrashed { try life.perform(step) }
        } catch {
            if !life.disk.isCrashed { Issue.record("step \(life.stepCount): \(error)") }
        }
        return life
    }

    /// Answers how many crashes of the recovery there were. `again`: whether the recovery is to be stopped too.
    private static func recover(
        _ life: MatrixLife, _ crashed: SimulatedDisk, isKilled: Bool, again isStopped: Bool,
        _ seen: inout SeenDisks
    ) throws -> Int {
        // What a killed process leaves is not yet on the medium, so it is like no other.
        guard isKilled || seen.insert(crashed) else { return 0 }
        let disk = crashed.afterCrash(nil)
        let log = try MatrixLife.open(disk)
        let found = try MatrixCheck(life: life, disk: disk, log: log).run()
        // Recovered is recovered: what it says is there stays, even when the power goes again at once.
        let again = try MatrixLife.open(disk.afterCrash(.keepNothing))
        try Violation.unless(try everything(again).map(\.bytes) == found.map(\.bytes), "S2: recovered to another log")
        // An epoch without a record may be forgotten.
        let isSame = again.epochs == log.epochs || found.isEmpty
        try Violation.unless(isSame, "S2: epochs \(log.epochs), then \(again.epochs)")
        var crashes = 0
        for operations in 0..<(isStopped ? 1_000 : 0) {
            let interrupted = crashed.afterCrash(nil)
            interrupted.operationsUntilCrash = operations
            _ = try? MatrixLife.open(interrupted)
            guard interrupted.isCrashed else { break }
            let turn = MatrixSize.isLong ? policiesInRecovery[...] : [policiesInRecovery[operations % 4]]
            for policy in turn {
                crashes += 1
                let disk = interrupted.afterCrash(policy)
                guard seen.insert(disk) else { continue }
                do {
                    try MatrixCheck(life: life, disk: disk, log: try MatrixLife.open(disk)).run()
                } catch {
                    let policy = policy?.description ?? "kill"
                    throw Violation(description: "recovery stopped at \(operations), then \(policy): \(error)")
                }
            }
        }
        return crashes
    }

    @Test func everyOperationUnderEveryPolicyAndAgainInRecovery() throws {
        let names = Set(Self.policies.map { $0?.description ?? "kill" })
        #expect(names.count == Self.policies.count && names.count >= 30)
        let operations = Self.life(until: .max).disk.operationCount
        #expect(operations > 200, "the script has grown shorter")
        var (pairs, inRecovery, states, violations) = (0, 0, 0, 0)
        for point in stride(from: 1, through: operations, by: MatrixSize.stride) {
            let life = Self.life(until: point)
            var seen = SeenDisks()
            for (index, policy) in Self.policies.enumerated() where violations < 5 {
                // Every second policy has its recovery stopped, the others at the next point.
                let isStopped = MatrixSize.isLong || index % 2 == point / MatrixSize.stride % 2
                do {
                    inRecovery += try Self.recover(
                        life, life.disk.afterCrash(policy), isKilled: policy == nil, again: isStopped, &seen)
                } catch {
                    violations += 1
                    Issue.record("crash behind operation \(point), \(policy?.description ?? "kill"): \(error)")
                }
                pairs += 1
            }
            states += seen.states.count
        }
        print("crash matrix: \(operations) operations, \(pairs) pairs, \(inRecovery) in recovery, \(states) states")
        #expect(pairs >= 200 / MatrixSize.stride * 30)
        #expect(inRecovery >= 20_000 / MatrixSize.stride)
    }
}
