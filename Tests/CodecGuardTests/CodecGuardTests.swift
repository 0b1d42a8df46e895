// Counts the instructions that each message costs, called from another module than the codec's, and compares them with
// thresholds.txt. Time cannot be tested on a shared machine; instructions repeat to the digit. What this is here to
// notice is the silent slow path: a call that is no longer specialised (docs/decisions/0002-the-walk-codec.md).

import Foundation
import Testing

@Suite struct CodecGuard {
    /// Rewrite the thresholds with `UPDATE_GOLDEN=1 swift test -c release --filter CodecGuard`, and read the diff.
    @Test(.enabled(if: Callgrind.obstacle == nil, Callgrind.reason))
    func messagesCostNoMoreInstructionsThanCommitted() throws {
        let counted = try Callgrind.instructionsPerCall()
        #expect(counted.count >= 10, "codec-speed named too few cases")
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" { return try Thresholds.write(counted) }
        let committed = try Thresholds.read()
        #expect(Set(committed.keys) == Set(counted.map(\.name)), "the cases changed: rewrite thresholds.txt")
        for (name, instructions) in counted {
            let allowed = committed[name].map { Thresholds.allowed(for: $0) } ?? 0
            #expect(instructions <= allowed, "\(name): \(instructions) instructions, over \(allowed)")
        }
    }

    @Test func tenPercentAreAllowedAndNoMore() {
        #expect(Thresholds.allowed(for: 1_000) == 1_100)
        #expect(Thresholds.parse("# a comment\n\n1000\tFetch, decode\n") == ["Fetch, decode": 1_000])
    }

    @Test func aCountIsReadFromACallgrindDump() {
        #expect(Callgrind.total(inDump: "version: 1\nevents: Ir\nfn=(1) f\n5 40\n\ntotals: 47380\n") == 47_380)
        #expect(Callgrind.total(inDump: "version: 1\nevents: Ir\n") == nil)
    }
}

/// The committed counts: instructions for a call, a tab, the name of the case.
enum Thresholds {
    private static let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "thresholds.txt")

    static func allowed(for committed: Int) -> Int { committed + committed / 10 }

    static func parse(_ text: String) -> [String: Int] {
        var found: [String: Int] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: "\t", maxSplits: 1)
            if parts.count == 2, let count = Int(parts[0]) { found[String(parts[1])] = count }
        }
        return found
    }

    static func read() throws -> [String: Int] { parse(try String(contentsOf: file, encoding: .utf8)) }

    static func write(_ counted: [(name: String, instructions: Int)]) throws {
        let head = "# Instructions for a call (callgrind, x86-64, Swift 6.3.1, release). The test allows 10 % more.\n"
        let rows = counted.map { "\($0.instructions)\t\($0.name)\n" }.joined()
        try (head + rows).write(to: file, atomically: true, encoding: .utf8)
    }
}
