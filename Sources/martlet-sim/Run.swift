// martlet-sim run: a range of seeds, a verdict for each, a summary for all.

import ArgumentParser
import Glibc
import Model
import Simulation

extension PlantedBug: ExpressibleByArgument {}

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

/// Which faults a seed may draw from.
struct FaultChoice: ParsableArguments {
    @Option(help: "Allow only these faults (may be repeated).")
    var fault: [FaultKind] = []

    @Flag(help: "Allow no faults.")
    var calm = false

    @Option(help: "Give every node so many shards, 1 to \(Swarm.shardsMax), whatever the seed draws.")
    var shards: Int?

    @Flag(help: "Give every seed consumer groups, not only those that draw them.")
    var groups = false

    @Flag(help: "Give every seed a compacted topic, not only those that draw one.")
    var compaction = false

    func validate() throws {
        if let shards, !(1...Swarm.shardsMax).contains(shards) {
            throw ValidationError("--shards is \(shards), but must be 1 to \(Swarm.shardsMax)")
        }
    }

    var faults: [FaultKind] {
        return calm ? [] : fault.isEmpty ? Swarm.defaultFaults : fault
    }

    /// A whole run with all of them may be asked for all invariants.
    var isWhole: Bool { fault.isEmpty && !calm && !groups && !compaction }

    func swarm(_ seed: UInt64) -> Swarm {
        var drawn = Swarm(seed: seed, allowing: faults)
        if groups { drawn = drawn.withGroups(seed) }
        if compaction { drawn = drawn.withCompaction(seed) }
        return shards.map { drawn.divided(into: $0) } ?? drawn
    }

    /// As they were given.
    var words: String {
        (calm ? " --calm" : "") + fault.map { " --fault \($0.rawValue)" }.joined()
            + (shards.map { " --shards \($0)" } ?? "") + (groups ? " --groups" : "")
            + (compaction ? " --compaction" : "")
    }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run seeds and check every step of each.")

    @Option(help: "Seeds, as A..B with both included.")
    var seeds: SeedRange

    @Flag(help: "Print every step in words.")
    var trace = false

    @Flag(help: "Print nothing but a report in JSON: seeds, events, virtual time, faults, checks, failures.")
    var json = false

    @OptionGroup var choice: FaultChoice

    @Option(help: "Plant a bug: the run must fail.")
    var bug: PlantedBug = .none

    @Flag(help: "Go on after a failure.")
    var keepGoing = false

    func run() throws {
        var summary = Summary()
        let start = ContinuousClock.now
        func seconds() -> Double { Double((ContinuousClock.now - start) / .milliseconds(1)) / 1_000 }
        // With a trace the runtime's own backtrace says more.
        let trap = trace ? nil : TrapNotice()
        let showsProgress = !trace && isatty(STDERR_FILENO) == 1
        for seed in seeds.seeds {
            trap?.note(seed)
            let swarm = choice.swarm(seed)
            let result = SeedRun.run(
                seed: seed, swarm: swarm, schedule: Schedule(seed: seed, swarm: swarm), bug: bug,
                trace: Trace(trace && !json ? .words : .none) { line in
                    print(line)
                    // A trap must not swallow the lines that tell of it.
                    fflush(nil)
                })
            summary.add(result)
            if result.violation != nil {
                if !json { report(result) }
                if !keepGoing { break }
            }
            if showsProgress { showProgress(summary, seconds()) }
        }
        if showsProgress { tell("") }
        let isWhole = seeds.seeds.count >= 100 && choice.isWhole && bug == .none && !json
        let unheld = isWhole ? summary.neverHeld : []
        if json {
            print(summary.json(seconds: seconds()))
        } else {
            print(summary.text(seconds: seconds()))
            for name in unheld { print("never had anything to check: \(name)") }
            print("\(summary.seeds - summary.failed) passed, \(summary.failed) failed")
        }
        if summary.failed > 0 || !unheld.isEmpty { throw ExitCode.failure }
    }

    private func showProgress(_ summary: Summary, _ seconds: Double) {
        let speed = Int(Double(summary.events) / max(seconds, 0.001))
        tell(
            "\(summary.seeds) of \(seeds.seeds.count) seeds, \(summary.failed) failed, "
                + "\(summary.events) events, \(speed)/s")
    }

    /// One line on the terminal that the next one covers.
    private func tell(_ line: String) {
        let bytes = Array("\r\u{1B}[K\(line)".utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }

    private func report(_ result: SeedResult) {
        // The same seed again, this time with words.
        let told =
            trace
            ? result
            : SeedRun.run(
                seed: result.seed, swarm: result.swarm, schedule: result.schedule, bug: bug, trace: Trace(.words))
        guard let violation = result.violation else { return }
        print("seed \(result.seed) FAILED: \(result.description)")
        for line in told.lastLines where !trace { print("  \(line)") }
        print("\(violation.invariant): \(violation.words)")
        print("  at event \(violation.event), \(Double(violation.atNanoseconds / 1_000) / 1e6) s")
        if told.violation?.event != violation.event {
            print("  NOT REPRODUCED when run again: the simulation is not deterministic")
        }
        let options = choice.words + (bug == .none ? "" : " --bug \(bug.rawValue)")
        print("faults: \(result.schedule.faults.count { $0.atMs * 1_000_000 <= violation.atNanoseconds }) until then:")
        for fault in result.schedule.faults.filter({ $0.atMs * 1_000_000 <= violation.atNanoseconds }).suffix(12) {
            print("  \(fault)")
        }
        print("again: martlet-sim run --seeds \(result.seed)..\(result.seed) --trace\(options)")
        print("smaller: martlet-sim shrink \(result.seed)\(options)")
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
