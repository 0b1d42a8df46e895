// Since when all copies of a log have been clean.

import Broker
import Model
import Testing

struct AgedEndsTests {
    private func at(_ ms: Int64) -> Instant { Instant.zero.advanced(byMs: ms) }

    @Test func anEndCountsWhenItIsOldEnough() {
        var ends = AgedEnds()
        ends.note(10, at: at(100), ageMs: 1_000)
        #expect(ends.end(at: at(1_099), ageMs: 1_000) == 0)
        #expect(ends.end(at: at(1_100), ageMs: 1_000) == 10)
        // That one copy is away for a while changes nothing about what was.
        ends.note(0, at: at(1_200), ageMs: 1_000)
        #expect(ends.end(at: at(1_300), ageMs: 1_000) == 10)
    }

    @Test func withoutRetentionItCountsAtOnce() {
        var ends = AgedEnds()
        for (end, ms) in [(5, 10), (7, 10), (9, 30)] {
            ends.note(Offset(end), at: at(Int64(ms)), ageMs: 0)
            #expect(ends.end(at: at(Int64(ms)), ageMs: 0) == Offset(end))
        }
    }

    @Test func whatRisesAllTheTimeRipensAllTheTime() {
        var ends = AgedEnds()
        for ms in stride(from: Int64(0), through: 10_000, by: 10) {
            ends.note(Offset(ms), at: at(ms), ageMs: 1_000)
            let ripe = ends.end(at: at(ms), ageMs: 1_000)
            #expect(ripe <= max(0, ms - 1_000), "at \(ms)")
            #expect(ripe >= ms - 1_000 - 200, "at \(ms)")
        }
        #expect(ends.end(at: at(11_000), ageMs: 1_000) == 10_000)
    }

    @Test func aCutTakesBackWhatLayAboveIt() {
        var ends = AgedEnds()
        ends.note(10, at: at(0), ageMs: 1_000)
        ends.note(20, at: at(500), ageMs: 1_000)
        ends.note(30, at: at(900), ageMs: 1_000)
        ends.lower(to: 20)
        #expect(ends.end(at: at(1_200), ageMs: 1_000) == 10)
        #expect(ends.end(at: at(5_000), ageMs: 1_000) == 20)
        ends.lower(to: 4)
        #expect(ends.end(at: at(5_000), ageMs: 1_000) == 4)
        ends.note(30, at: at(6_000), ageMs: 1_000)
        #expect(ends.end(at: at(6_500), ageMs: 1_000) == 4)
        #expect(ends.end(at: at(7_000), ageMs: 1_000) == 30)
    }
}
