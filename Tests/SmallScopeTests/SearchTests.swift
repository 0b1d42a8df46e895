// The exhaustive search: it counts what it should, ends, and finds what is planted.

import SmallScope
import Testing

/// A counter that goes up by one or two until it reaches its end; nine is wrong.
private struct Counter: SmallWorld {
    var end: UInt32
    var wrong: UInt32?
    var depthMax: Int?
    let width = 1
    let name = "counter"
    let bounds: [String] = []
    let checks: [(name: String, count: Int)] = []
    let sizes = ""

    func first() -> StateRow { StateRow() }

    func successors(of row: StateRow, into found: inout [Successor<UInt32>]) {
        for step in [UInt32(1), 2] where row[0] + step <= end {
            var next = row
            next[0] += step
            found.append(Successor(move: step, row: next, violation: next[0] == wrong ? "wrong" : nil))
        }
    }

    func words(_ move: UInt32, from row: StateRow) -> [String] { ["\(row[0]) + \(move)"] }
}

@Suite struct SearchTests {
    @Test func everyStateIsMetOnce() {
        var search = Search(Counter(end: 100_000))
        let report = search.run()
        #expect(report.isComplete)
        #expect(report.states == 100_001)
        #expect(report.transitions == 199_999)
        #expect(report.depth == 50_000)
    }

    @Test func theShortestPathIsShown() {
        var search = Search(Counter(end: 20, wrong: 9))
        let report = search.run()
        #expect(report.violation == "wrong")
        #expect(report.path.count == 5)
        #expect(report.path.first == "0 + 1" || report.path.first == "0 + 2")
        #expect(!report.isComplete)
    }

    @Test func aLimitOfMovesMeetsAllThatIsSoNear() {
        var search = Search(Counter(end: 100, depthMax: 3))
        let report = search.run()
        #expect(report.isComplete)
        #expect(report.depth == 3)
        #expect(report.states == 7)
    }

    @Test func aLimitOfStatesIsNoCompleteSearch() {
        var search = Search(Counter(end: 100))
        #expect(!search.run(statesMax: 10).isComplete)
    }
}
