// Each case of MicroCases as a benchmark of its own, timed by the wall clock for a second.

import Benchmark
import MicroCases

let benchmarks: @Sendable () -> Void = {
    for one in microCases() {
        // Cheap operations are timed a thousand at a time; the figures are those of one.
        let scale: BenchmarkScalingFactor = one.calls >= 200 ? .kilo : .one
        Benchmark(
            one.name,
            configuration: .init(
                metrics: [.wallClock], warmupIterations: 3, scalingFactor: scale, maxDuration: .seconds(1),
                maxIterations: .mega(1)),
            closure: { (benchmark: Benchmark, run: (Int) -> Void) in run(benchmark.scaledIterations.count) },
            setup: { one.prepare() })
    }
}
