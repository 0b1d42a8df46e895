// What a search of some bounds found, in words and as JSON.

import Foundation
import SmallScope

struct ExploredBounds {
    var world: String
    var number: Int
    var bounds: [String]
    /// Ended at a number of moves, not where nothing was new.
    var isToDepth: Bool
    var report: SearchReport
    var milliseconds: Int
    var processorMilliseconds: Int

    /// Every state within the bounds was met and every invariant held.
    var holds: Bool { report.isComplete && report.violation == nil }

    var words: String {
        let end = !report.isComplete ? "NOT ALL: " : isToDepth ? "all within these moves: " : "all: "
        return end
            + "\(report.states) states, \(report.transitions) transitions, depth \(report.depth), "
            + "\(Double(milliseconds) / 1_000) s, "
            + "\(Double(processorMilliseconds) / 1_000) s of processor time"
    }

    /// Of this process.
    static var processorMilliseconds: Int {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
    }

    /// The most that this process had in memory.
    static var memoryMiB: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss / 1_024
    }

    private struct Document: Encodable {
        var commit: String
        var scope: String
        var states: Int
        var transitions: Int
        var violations: Int
        var seconds: Double
        var processorSeconds: Double
        var memoryMiB: Int
        var searches: [Entry]
    }

    private struct Entry: Encodable {
        var world: String
        var number: Int
        var bounds: [String]
        var end: String
        var states: Int
        var transitions: Int
        var depth: Int
        var seconds: Double
        var processorSeconds: Double
        var violation: String?
        var checks: [String: Int]
    }

    private var entry: Entry {
        Entry(
            world: world, number: number, bounds: bounds,
            end: !report.isComplete ? "not all states" : isToDepth ? "all states within the moves" : "all states",
            states: report.states, transitions: report.transitions, depth: report.depth,
            seconds: Double(milliseconds) / 1_000,
            processorSeconds: Double(processorMilliseconds) / 1_000, violation: report.violation,
            checks: Dictionary(report.checks.map { ($0.name, $0.count) }, uniquingKeysWith: { $1 }))
    }

    static func write(_ searched: [ExploredBounds], scope: String, commit: String, to path: String) throws {
        let entries = searched.map(\.entry)
        func sum(_ part: (Entry) -> Double) -> Double {
            (entries.reduce(0) { $0 + part($1) } * 1_000).rounded() / 1_000
        }
        let document = Document(
            commit: commit, scope: scope, states: entries.reduce(0) { $0 + $1.states },
            transitions: entries.reduce(0) { $0 + $1.transitions },
            violations: entries.count { $0.violation != nil }, seconds: sum(\.seconds),
            processorSeconds: sum(\.processorSeconds), memoryMiB: memoryMiB, searches: entries)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try encoder.encode(document).write(to: URL(fileURLWithPath: path))
    }
}
