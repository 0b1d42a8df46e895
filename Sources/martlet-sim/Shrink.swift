// martlet-sim shrink: a failing seed becomes a small case. martlet-sim replay: cases run again.

import ArgumentParser
import Model
import Simulation

struct Shrink: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Reduce a failing seed, or a case, to few faults, few clients and an early end.")

    @Argument(help: "The seed, or the file of a case.")
    var start: String

    @OptionGroup var choice: FaultChoice

    @Option(help: "The planted bug with which it fails.")
    var bug: PlantedBug = .none

    @Option(help: "Where the case goes.")
    var output: String?

    @Option(help: "Why the case is kept, for people.")
    var note = ""

    @Option(help: "How many runs it may take.")
    var runs = 600

    @Flag(help: "Write the case down as it is: a seed that traps cannot be shrunk.")
    var whole = false

    func run() throws {
        var first: SimulationCase
        if let seed = UInt64(start) {
            let swarm = choice.swarm(seed)
            first = SimulationCase(
                seed: seed, swarm: swarm, schedule: Schedule(seed: seed, swarm: swarm), bug: bug, note: note)
        } else {
            first = try CaseFile.read(start)
            if bug != .none { first.bug = bug.rawValue }
            if !note.isEmpty { first.note = note }
        }
        guard let planted = first.plantedBug else { throw ValidationError("there is no bug \(first.bug)") }
        if whole { return try CaseFile.write(first, to: output ?? "case-\(first.seed).json") }
        let before = first.schedule.faults.count
        guard var shrinker = Shrinker(first, bug: planted, runsMax: runs, progress: { print("… \($0)") }) else {
            print("\(start) does not fail")
            throw ExitCode.failure
        }
        shrinker.shrink()
        let best = shrinker.best
        let told = best.run(bug: planted, trace: Trace(.words))
        for line in told.lastLines { print("  \(line)") }
        print("\(best.schedule.faults.count) of \(before) faults left after \(shrinker.runs) runs:")
        for fault in best.schedule.faults { print("  \(fault)") }
        print("world: \(best.swarm.description)")
        if let violation = told.violation {
            print("\(violation.invariant): \(violation.words)")
            print("  at event \(violation.event), \(Double(violation.atNanoseconds / 1_000) / 1e6) s")
        }
        let path = output ?? "case-\(best.seed)\(planted == .none ? "" : "-\(best.bug)").json"
        try CaseFile.write(best, to: path)
        print("again: martlet-sim replay \(path) --trace\(planted == .none ? "" : " --with-bug")")
    }
}

struct Replay: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run cases again. Each must pass; and one with a planted bug must fail by its invariant with it.")

    @Argument(help: "Files of cases.")
    var files: [String]

    @Flag(help: "Print every step in words.")
    var trace = false

    @Flag(help: "Only with the planted bug, and show the failure.")
    var withBug = false

    func run() throws {
        var (passed, failed) = (0, 0)
        for path in files {
            let found = try CaseFile.read(path)
            guard let bug = found.plantedBug else {
                print("\(path): there is no bug \(found.bug) any more")
                failed += 1
                continue
            }
            var complaints: [String] = []
            if !withBug, let violation = run(found, .none).violation {
                complaints.append("fails: \(violation.invariant): \(violation.words)")
            }
            if bug != .none {
                let violation = run(found, bug).violation
                if violation?.invariant != found.invariant {
                    complaints.append(
                        "with \(bug.rawValue) it must fail by \(found.invariant), and "
                            + (violation.map { "fails by \($0.invariant): \($0.words)" } ?? "passes"))
                } else if withBug, let violation {
                    print("\(violation.invariant): \(violation.words)")
                }
            }
            for complaint in complaints { print("\(path) \(complaint)") }
            if complaints.isEmpty { passed += 1 } else { failed += 1 }
        }
        print("\(passed) passed, \(failed) failed")
        if failed > 0 { throw ExitCode.failure }
    }

    private func run(_ found: SimulationCase, _ bug: PlantedBug) -> SeedResult {
        found.run(bug: bug, trace: Trace(trace ? .words : .none) { print($0) })
    }
}
