// Each case of MicroCases as a benchmark of its own, timed by the wall clock for a second.

import Benchmark
import MicroCases

let benchmarks: @Sendable () -> Void = {
    for one in microCases() {
        // What takes a microsecond or less is timed a thousand at a time; the figures are those of one. Longer stretches
        // would often hold a time slice of another process, which is 4 ms.
        let scale: BenchmarkScalingFactor = one.calls >= 500 ? .kilo : .one
        Benchmark(
            one.name,
            configuration: .init(
                metrics: [.wallClock], warmupIterations: 3, scalingFactor: scale, maxDuration: .seconds(1),
                maxIterations: .mega(1)),
            closure: { (benchmark: Benchmark, run: (Int) -> Void) in run(benchmark.scaledIterations.count) },
            setup: { one.prepare() })
    }
}
