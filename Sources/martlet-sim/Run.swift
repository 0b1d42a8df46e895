// martlet-sim run: a range of seeds, a verdict for each, a summary for all.

import ArgumentParser
import Glibc
import Model
import Simulation

extension PlantedBug: ExpressibleByArgument {
    package init?(argument: String) {
        guard let bug = Self.allCases.first(where: { $0.name == argument }) else { return nil }
        self = bug
    }
}

extension FaultKind: ExpressibleByArgument {}

/// "7..207", both included, or one number.
struct SeedRange: ExpressibleByArgument {
    var seeds: ClosedRange<UInt64>

    init?(argument: String) {
        let parts = argument.split(separator: ".", omittingEmptySubsequences: true)
        guard let first = parts.first.flatMap({ UInt64($0) }) else { return nil }
        let last = parts.count == 2 ? UInt64(parts[1]) : first
        guard parts.count <= 2, let last, first <= last else { return nil }
        seeds = first...last
    }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run seeds and check every step of each.")

    @Option(help: "Seeds, as A..B with both included.")
    var seeds: SeedRange

    @Flag(help: "Print every step in words.")
    var trace = false

    @Flag(help: "Print the summary as JSON.")
    var json = false

    @Option(help: "Allow only these faults (may be repeated).")
    var fault: [FaultKind] = []

    @Flag(help: "Allow no faults.")
    var calm = false

    @Flag(help: "Let one node lose its disk, too.")
    var wipe = false

    @Option(help: "Plant a bug: the run must fail.")
    var bug: PlantedBug = .none

    @Flag(help: "Go on after a failure.")
    var keepGoing = false

    func run() throws {
        var faults = calm ? [] : fault.isEmpty ? Swarm.defaultFaults : fault
        if wipe, !faults.contains(.wipe) { faults.append(.wipe) }
        var summary = Summary()
        let start = ContinuousClock.now
        // With a trace the runtime's own backtrace says more.
        let progress = trace ? nil : TrapNotice()
        for seed in seeds.seeds {
            progress?.note(seed)
            let result = SeedRun.run(
                seed: seed, allowing: faults, bug: bug,
                trace: Trace(trace ? .words : .none) { line in
                    print(line)
                    // A trap must not swallow the lines that tell of it.
                    fflush(nil)
                })
            summary.add(result)
            if result.violation != nil {
                report(result, faults)
                if !keepGoing { break }
            }
            if !json, summary.seeds % 50 == 0 { print("… \(summary.seeds) seeds, \(summary.events) events") }
        }
        let seconds = Double((ContinuousClock.now - start) / .milliseconds(1)) / 1_000
        print(json ? summary.json(seconds: seconds) : summary.text(seconds: seconds))
        let isWhole = seeds.seeds.count >= 100 && fault.isEmpty && !calm && bug == .none
        let unheld = isWhole ? summary.neverHeld : []
        for name in unheld { print("never had anything to check: \(name)") }
        print("\(summary.seeds - summary.failed) passed, \(summary.failed) failed")
        if summary.failed > 0 || !unheld.isEmpty { throw ExitCode.failure }
    }

    private func report(_ result: SeedResult, _ faults: [FaultKind]) {
        // The same seed again, this time with words.
        let told =
            trace ? result : SeedRun.run(seed: result.seed, allowing: faults, bug: bug, trace: Trace(.words))
        guard let violation = result.violation else { return }
        print("seed \(result.seed) FAILED: \(result.description)")
        for line in told.lastLines where !trace { print("  \(line)") }
        print("\(violation.invariant): \(violation.words)")
        print("  at event \(violation.event), \(Double(violation.atNanoseconds / 1_000) / 1e6) s")
        if told.violation?.event != violation.event {
            print("  NOT REPRODUCED when run again: the simulation is not deterministic")
        }
        var command = "martlet-sim run --seeds \(result.seed)..\(result.seed) --trace"
        if calm { command += " --calm" }
        for kind in fault { command += " --fault \(kind.rawValue)" }
        if wipe { command += " --wipe" }
        if bug != .none { command += " --bug \(bug.name)" }
        print("again: \(command)")
    }
}

struct Hash: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print a hash of one seed's whole trace.")

    @Option(help: "The seed.")
    var seed: UInt64

    func run() throws {
        let result = SeedRun.run(seed: seed, trace: Trace(.hashed))
        print(String(result.traceHash, radix: 16))
    }
}
