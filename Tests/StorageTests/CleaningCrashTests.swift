// Every operation of a life with cleanings as the last one, under every policy of what the disk keeps, with every crash
// of the recovery that follows.

import DiskSimulation
import Model
import Storage
import Testing

@Suite struct CleaningCrashTests {
    /// The script is long; unless asked for all, its operations are sampled.
    private static let stride = MatrixSize.isLong ? 1 : MatrixSize.stride > 1 ? 37 : 11

    private static func life(until point: Int) throws -> CleaningLife {
        let disk = SimulatedDisk(seed: 3)
        let life = try CleaningLife(disk: disk)
        disk.operationsUntilCrash = point - disk.operationCount
        do {
            for step in CleaningLife.script where !disk.isCrashed { try life.perform(step) }
        } catch {
            if !disk.isCrashed { throw Violation(description: "step \(life.stepCount): \(error)") }
        }
        return life
    }

    @Test func theScriptMeetsWhatItIsFor() throws {
        let life = try Self.life(until: .max / 2)
        #expect(life.finished >= 3)
        #expect(life.abandoned.contains(.overtaken))
        #expect(life.disk.operationCount > 200)
        try CleaningCheck(life).run(life.disk.afterCrash(nil), cleaning: true)
    }

    @Test func everyOperationUnderEveryPolicyAndAgainInRecovery() throws {
        let operations = try Self.life(until: .max / 2).disk.operationCount
        var (pairs, inRecovery, violations) = (0, 0, 0)
        for point in Swift.stride(from: 1, through: operations, by: Self.stride) {
            let life = try Self.life(until: point)
            let check = CleaningCheck(life)
            var seen = SeenDisks()
            for (index, policy) in CrashMatrixTests.policies.enumerated() where violations < 3 {
                let isStopped = MatrixSize.isLong || index % 4 == point / Self.stride % 4
                do {
                    let crashed = life.disk.afterCrash(policy)
                    pairs += 1
                    // What a killed process leaves is not yet on the medium, so it is like no other.
                    guard policy == nil || seen.insert(crashed) else { continue }
                    let found = try check.run(crashed.afterCrash(nil), cleaning: index % 5 == point % 5)
                    if isStopped { inRecovery += try Self.stopRecoveries(of: crashed, life, check, found, &seen) }
                } catch {
                    violations += 1
                    Issue.record("crash behind operation \(point), \(policy?.description ?? "kill"): \(error)")
                }
            }
        }
        print("cleaning crash matrix: \(operations) operations, \(pairs) pairs, \(inRecovery) in recovery")
        #expect(pairs >= 800 / Self.stride * 20)
        #expect(inRecovery >= 10_000 / Self.stride)
    }

    /// Each stage of a swap by itself, with every stop of the opening that follows under more than one policy.
    @Test func everyStageOfASwapAndEveryStopOfItsCompletion() throws {
        var crashes = 0
        for stage in 0..<4 {
            for policy in CrashMatrixTests.policies.prefix(MatrixSize.stride > 1 ? 12 : 26) {
                let life = try CleaningLife()
                for step in CleaningLife.merging { try life.perform(step) }
                let segments = life.test.segmentBases.count
                for _ in 0..<stage { try life.perform(.complete) }
                #expect(stage < 2 || life.test.segmentBases.count < segments)
                let crashed = life.disk.afterCrash(policy)
                let check = CleaningCheck(life)
                var seen = SeenDisks()
                do {
                    let found = try check.run(crashed.afterCrash(nil), cleaning: true)
                    for lots in 0..<4 as Range<UInt64> {
                        let policies: [PowerLossPolicy?] = [
                            .keepNothing, .onlyLast, .allButFirst, .someOperations(seed: 31 + lots),
                        ]
                        crashes += try Self.stopRecoveries(
                            of: crashed, life, check, found, &seen, policies: policies, from: Int(lots))
                    }
                } catch {
                    Issue.record("stage \(stage), \(policy?.description ?? "kill"): \(error)")
                    return
                }
            }
        }
        print("stages of a swap: \(crashes) crashes in openings")
        #expect(crashes > 1_000)
    }

    private static func stopRecoveries(
        of crashed: SimulatedDisk, _ life: CleaningLife, _ check: CleaningCheck, _ found: [KeyedRecord],
        _ seen: inout SeenDisks, policies: [PowerLossPolicy?] = CrashMatrixTests.policiesInRecovery, from first: Int = 0
    ) throws -> Int {
        // Recovered is recovered, even when the power goes again at once.
        let recovered = crashed.afterCrash(nil)
        _ = try life.open(recovered)
        let again = try KeyedLog.records(of: try life.open(recovered.afterCrash(.keepNothing)))
        try Violation.unless(again == found, "S2: recovered to another log")
        var crashes = 0
        for operations in 0..<1_000 {
            let interrupted = crashed.afterCrash(nil)
            interrupted.operationsUntilCrash = operations
            _ = try? life.open(interrupted)
            guard interrupted.isCrashed else { break }
            let policy = policies[(operations + first) % policies.count]
            crashes += 1
            let disk = interrupted.afterCrash(policy)
            guard seen.insert(disk) else { continue }
            do {
                try check.run(disk, cleaning: false)
            } catch {
                throw Violation(
                    description: "recovery stopped at \(operations), \(policy?.description ?? "kill"): \(error)")
            }
        }
        return crashes
    }
}
