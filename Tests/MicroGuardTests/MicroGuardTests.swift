// Counts the instructions and allocations of Martlet's inner operations (Benchmarks/MicroCases), called from outside
// their modules, and compares them with thresholds.txt. Time cannot be tested on a shared machine; these repeat to the
// digit. What this is here to notice is the silent slow path: a call that is no longer specialised (decision 0002), and
// a copy that was not there yesterday.

import Foundation
import Testing

@Suite struct MicroGuard {
    /// Rewrite the thresholds with `UPDATE_GOLDEN=1 swift test -c release --filter MicroGuard`, and read the diff.
    @Test(.enabled(if: Callgrind.obstacle == nil, Callgrind.reason))
    func operationsCostNoMoreThanCommitted() throws {
        let counted = try Callgrind.costsPerCall()
        #expect(counted.count >= 30, "micro-speed named too few cases")
        // A counter that counts nothing holds every threshold.
        #expect(counted.contains { $0.cost.allocations > 10 }, "nobody counts allocations")
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" { return try Thresholds.write(counted) }
        let committed = try Thresholds.read()
        #expect(Set(committed.keys) == Set(counted.map(\.name)), "the cases changed: rewrite thresholds.txt")
        for (name, cost) in counted {
            let allowed = committed[name].map { Thresholds.allowed(for: $0) } ?? Cost(instructions: 0, allocations: 0)
            #expect(
                cost.instructions <= allowed.instructions,
                "\(name): \(cost.instructions) instructions, over \(allowed.instructions)")
            #expect(
                cost.allocations <= allowed.allocations,
                "\(name): \(cost.allocations) allocations, over \(allowed.allocations)")
        }
    }

    @Test func tenPercentAreAllowedAndNoMore() {
        let allowed = Thresholds.allowed(for: Cost(instructions: 1_000, allocations: 20))
        #expect(allowed == Cost(instructions: 1_100, allocations: 22))
        #expect(Thresholds.allowed(for: Cost(instructions: 9, allocations: 9)) == Cost(instructions: 9, allocations: 9))
    }

    @Test func thresholdsAreRead() {
        let text = "# a comment\n\n1000\t3\tFetch, decode\nnonsense\n"
        #expect(Thresholds.parse(text) == ["Fetch, decode": Cost(instructions: 1_000, allocations: 3)])
    }

    @Test func aCountIsReadFromACallgrindDump() {
        #expect(Callgrind.total(inDump: "version: 1\nevents: Ir\nfn=(1) f\n5 40\n\ntotals: 47380\n") == 47_380)
        #expect(Callgrind.total(inDump: "version: 1\nevents: Ir\n") == nil)
    }
}

/// What one call costs, the mean of many. Allocations are rounded, so that an array that grows once in a hundred calls
/// is none.
struct Cost: Equatable {
    var instructions: Int
    var allocations: Int
}

/// The committed costs: instructions, a tab, allocations, a tab, the name of the case.
enum Thresholds {
    private static let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "thresholds.txt")

    static func allowed(for committed: Cost) -> Cost {
        Cost(
            instructions: committed.instructions + committed.instructions / 10,
            allocations: committed.allocations + committed.allocations / 10)
    }

    static func parse(_ text: String) -> [String: Cost] {
        var found: [String: Cost] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: "\t", maxSplits: 2)
            guard parts.count == 3, let instructions = Int(parts[0]), let allocations = Int(parts[1]) else { continue }
            found[String(parts[2])] = Cost(instructions: instructions, allocations: allocations)
        }
        return found
    }

    static func read() throws -> [String: Cost] { parse(try String(contentsOf: file, encoding: .utf8)) }

    static func write(_ counted: [(name: String, cost: Cost)]) throws {
        let head = """
            # Instructions and allocations of a call (callgrind, x86-64, Swift 6.3.1, release). The test allows 10 %.

            """
        let rows = counted.map { "\($0.cost.instructions)\t\($0.cost.allocations)\t\($0.name)\n" }.joined()
        try (head + rows).write(to: file, atomically: true, encoding: .utf8)
    }
}
