// The three ways to measure: by the clock, by callgrind's counter, and one operation for ever (for a profiler).

/// Interleaved rounds over all cases, the best of each: other load then slows a round, not a case.
func time(_ cases: [CodecCase], rounds: Int) {
    var best = [Double](repeating: .infinity, count: cases.count)
    for _ in 0..<rounds {
        for (index, one) in cases.enumerated() {
            for _ in 0..<5 {
                let start = ContinuousClock.now
                one.run(one.calls)
                let took = (ContinuousClock.now - start) / one.calls
                best[index] = min(best[index], Double(took.components.attoseconds) / 1e9)
            }
        }
    }
    for (one, ns) in zip(cases, best) { print("\(Int(ns.rounded()))\t\(one.name)") }
}

/// Under `callgrind --dump-before=stretchEnds`, the counter is written and zeroed at each mark: the stretch that
/// ends at the second mark of a case holds `countedCalls` operations and nothing else.
func count(_ cases: [CodecCase]) {
    for one in cases where !one.name.hasPrefix("yardstick") {
        one.run(2)
        stretchEnds()
        one.run(countedCalls)
        stretchEnds()
        print("\(countedCalls)\t\(one.name)")
    }
}

let countedCalls = 20

@inline(never)
func stretchEnds() { Sink.total += 1 }

func loop(_ cases: [CodecCase], named name: String) {
    for one in cases where one.name == name { one.run(one.calls) }
}
