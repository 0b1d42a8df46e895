// Many random histories, and proof that they reach what they are there for.

import Foundation
import Testing

struct HistoryTests {
    /// `GROUP_HISTORIES=from..<to` plays others.
    static var seeds: Range<UInt64> {
        let words = (ProcessInfo.processInfo.environment["GROUP_HISTORIES"] ?? "").components(separatedBy: "..<")
        guard words.count == 2, let from = UInt64(words[0]), let to = UInt64(words[1]), from < to else { return 1..<61 }
        return from..<to
    }

    @Test func invariantsHoldInRandomHistories() {
        var seen: [String: Int] = [:]
        for seed in Self.seeds {
            var history = History(seed: seed)
            history.play(steps: 400)
            history.recover()
            history.end()
            #expect(history.failures.isEmpty, "seed \(seed): \(history.failures.prefix(3))")
            seen.merge(history.seen, uniquingKeysWith: +)
        }
        for what in ["crash", "failover", "connection lost", "restart", "commit", "fetch", "assignment", "compared"] {
            #expect(seen[what, default: 0] > 20, "\(what) came \(seen[what, default: 0]) times")
        }
    }
}
