// martlet-sim mutants: each planted bug is hunted until a checker sees it, and the list says how long that took.

import ArgumentParser
import Glibc
import Model
import Simulation

struct Mutants: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Plant each known bug and run seeds until a checker sees it. Fails if one survives.")

    @Option(name: .customLong("seeds-max"), help: "Give a bug up after so many seeds.")
    var seedsMax: UInt64 = 1_000

    @Option(help: "Only this bug (may be repeated).")
    var only: [PlantedBug] = []

    @Option(help: "How many bugs are hunted at a time.")
    var jobs = 2

    @Flag(help: "Print the list as JSON.")
    var json = false

    @Flag(help: "Only name the bugs that can be hunted.")
    var list = false

    func validate() throws {
        guard jobs > 0, seedsMax > 0 else { throw ValidationError("--jobs and --seeds-max begin at 1") }
    }

    func run() throws {
        let hunted = only.isEmpty ? PlantedBug.allCases.filter { $0 != .none } : only
        if list { return hunted.forEach { print($0.rawValue) } }
        var waiting = hunted[...]
        var running: [Hunt] = []
        var outcomes: [PlantedBug: HuntOutcome] = [:]
        while !waiting.isEmpty || !running.isEmpty {
            while running.count < jobs, let bug = waiting.popFirst() {
                running.append(try Hunt(bug, seedsMax: seedsMax))
            }
            for hunt in Hunt.readAny(of: running) {
                running.removeAll { $0 === hunt }
                let outcome = hunt.outcome()
                outcomes[hunt.bug] = outcome
                if !json { print(outcome.line) }
                fflush(nil)
            }
        }
        let inOrder = hunted.compactMap { outcomes[$0] }
        let survivors = inOrder.filter { $0.caughtBy == nil }
        if json {
            print("[" + inOrder.map(\.json).joined(separator: ",\n ") + "]")
        } else {
            print("\(inOrder.count - survivors.count) of \(inOrder.count) planted bugs caught")
        }
        if !survivors.isEmpty { throw ExitCode.failure }
    }
}

struct HuntOutcome {
    var bug: PlantedBug
    /// The invariant, or what else ended the run; nil: the bug survived.
    var caughtBy: String?
    var words: String
    var seeds: UInt64
    var seconds: Double

    var line: String {
        let time = "\(seeds) seeds\t\(Double(Int(seconds * 10)) / 10) s"
        guard let caughtBy else { return "\(bug.rawValue)\tSURVIVED\t\(time)\t\(words)" }
        return "\(bug.rawValue)\t\(caughtBy)\t\(time)\t\(words)"
    }

    var json: String {
        var escaped = ""
        for character in words.unicodeScalars {
            switch character {
            case "\"", "\\": escaped += "\\\(character)"
            case _ where character.value < 32: escaped += " "
            default: escaped.unicodeScalars.append(character)
            }
        }
        return
            "{\"name\":\"\(bug.rawValue)\",\"caughtBy\":\(caughtBy.map { "\"\($0)\"" } ?? "null"),\"seeds\":\(seeds),"
            + "\"seconds\":\(Double(Int(seconds * 10)) / 10),\"words\":\"\(escaped)\"}"
    }
}

/// Runs of `martlet-sim run` of their own, because a planted bug may well end the process by a trap: a broken
/// precondition of the broker sees as well as any checker.
private final class Hunt {
    let bug: PlantedBug
    private let seedsMax: UInt64
    private let program: String
    private var pipe: UnsafeMutablePointer<FILE>
    private let begin = ContinuousClock.now
    private var output: [UInt8] = []
    /// What was seen in a seed, while the same seed is run without the bug: what fails there, too, proves nothing.
    private var seen: HuntOutcome?
    private var failingAnyway: [UInt64] = []

    init(_ bug: PlantedBug, seedsMax: UInt64) throws {
        self.bug = bug
        self.seedsMax = seedsMax
        var path = [CChar](repeating: 0, count: 4_096)
        let length = path.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.map { readlink("/proc/self/exe", $0, buffer.count) } ?? 0
        }
        guard length > 0 else { throw ValidationError("this program's own file cannot be found") }
        program = String(decoding: path.prefix(length).map(UInt8.init(bitPattern:)), as: UTF8.self)
        guard let pipe = Hunt.start(program, bug, bug, 1...seedsMax) else {
            throw ValidationError("no process can be started")
        }
        self.pipe = pipe
    }

    private static func start(
        _ program: String, _ hunted: PlantedBug, _ bug: PlantedBug, _ seeds: ClosedRange<UInt64>
    ) -> UnsafeMutablePointer<FILE>? {
        var command = "SWIFT_BACKTRACE=enable=no exec '\(program)' run --bug \(bug.rawValue)"
        command += " --seeds \(seeds.lowerBound)..\(seeds.upperBound)"
        if hunted.isOfGroups { command += " --groups" }
        if hunted.isOfCompaction { command += " --compaction" }
        for fault in hunted.suitedFaults { command += " --fault \(fault.rawValue)" }
        return popen(command + " 2>&1", "r")
    }

    /// Waits for output of any, and answers those that have ended.
    static func readAny(of hunts: [Hunt]) -> [Hunt] {
        var watched = hunts.map { pollfd(fd: fileno($0.pipe), events: Int16(POLLIN), revents: 0) }
        guard poll(&watched, nfds_t(watched.count), -1) > 0 else { return [] }
        return zip(hunts, watched).filter { hunt, entry in entry.revents != 0 && !hunt.read() && !hunt.goesOn() }
            .map(\.0)
    }

    private func read() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { Glibc.read(fileno(pipe), $0, bytes.count) } ?? 0
        }
        guard count > 0 else { return false }
        output += buffer.prefix(count)
        return true
    }

    /// A process has ended. What it saw is tried without the bug, or, when that fails as well, sought further on.
    private func goesOn() -> Bool {
        pclose(pipe)
        let found = verdict()
        output = []
        if let caught = seen {
            guard found.caughtBy != nil else { return false }
            failingAnyway.append(caught.seeds)
            seen = nil
            return caught.seeds < seedsMax && begin(bug, caught.seeds + 1...seedsMax)
        }
        guard found.caughtBy != nil else { return false }
        seen = found
        return begin(.none, found.seeds...found.seeds)
    }

    private func begin(_ bug: PlantedBug, _ seeds: ClosedRange<UInt64>) -> Bool {
        guard let next = Hunt.start(program, self.bug, bug, seeds) else { return false }
        pipe = next
        return true
    }

    func outcome() -> HuntOutcome {
        var outcome = seen ?? HuntOutcome(bug: bug, caughtBy: nil, words: "", seeds: seedsMax, seconds: 0)
        outcome.seconds = Double((ContinuousClock.now - begin) / .milliseconds(1)) / 1_000
        if !failingAnyway.isEmpty { outcome.words += " (seeds \(failingAnyway) fail without the bug, too)" }
        return outcome
    }

    /// What the process that has ended found.
    private func verdict() -> HuntOutcome {
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n")
        func made(_ caughtBy: String?, _ words: some StringProtocol, _ seed: UInt64?) -> HuntOutcome {
            HuntOutcome(bug: bug, caughtBy: caughtBy, words: String(words), seeds: seed ?? seedsMax, seconds: 0)
        }
        if let trap = lines.first(where: { $0.contains("trapped in seed ") }) {
            let words = lines.first { $0.contains("Fatal error") }.map { $0.drop { $0 != ":" }.dropFirst() } ?? ""
            return made("precondition", words, trap.split(separator: " ").last.flatMap { UInt64($0) })
        }
        if let failed = lines.first(where: { $0.hasPrefix("seed ") && $0.contains(" FAILED") }),
            let place = lines.firstIndex(where: { $0.hasPrefix("  at event") }), place > 0
        {
            let parts = lines[place - 1].split(separator: ":", maxSplits: 1)
            let seed = failed.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }
            let invariant = parts.first?.split(separator: " ").first.map(String.init)
            return made(invariant, parts.last?.drop { $0 == " " } ?? "", seed)
        }
        return made(nil, lines.last ?? "", nil)
    }
}
