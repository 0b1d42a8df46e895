// The three ways to measure: by the clock, by callgrind's and malloc's counters, and one operation for ever (for a
// profiler).

import CAllocations
import MicroCases

/// Interleaved rounds over all cases, the best of each: other load then slows a round, not a case.
func time(_ cases: [MicroCase], rounds: Int) {
    let runs = cases.map { $0.prepare() }
    var best = [Double](repeating: .infinity, count: cases.count)
    for _ in 0..<rounds {
        for (index, one) in cases.enumerated() {
            for _ in 0..<5 {
                let start = ContinuousClock.now
                runs[index](one.calls)
                let took = (ContinuousClock.now - start) / one.calls
                best[index] = min(best[index], Double(took.components.attoseconds) / 1e9)
            }
        }
    }
    for (one, ns) in zip(cases, best) { print("\(Int(ns.rounded()))\t\(one.name)") }
}

/// Prints calls, allocations and name of each case. Under `callgrind --dump-before=*stretchEnds*` the counter of
/// instructions is written and zeroed at each mark: the stretch that ends at the second mark of a case holds
/// `countedCalls` operations and nothing else.
func count(_ cases: [MicroCase]) {
    for one in cases where !one.isYardstick {
        let run = one.prepare()
        run(2)
        stretchEnds()
        let before = martlet_allocations()
        run(countedCalls)
        let allocations = martlet_allocations() - before
        stretchEnds()
        print("\(countedCalls)\t\(allocations)\t\(one.name)")
    }
}

/// Enough that what happens now and then (an index entry every few batches, an array that grows) has its share.
let countedCalls = 100

nonisolated(unsafe) private var marks = 0  // One thread; the benchmark has no other.

@inline(never)
func stretchEnds() { marks += 1 }

func loop(_ cases: [MicroCase], named name: String) {
    for one in cases where one.name == name {
        let run = one.prepare()
        while true { run(one.calls) }
    }
}
