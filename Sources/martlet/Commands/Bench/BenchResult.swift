// What a benchmark found, as a table and as JSON; and how it is collected while it runs.

import ArgumentParser
import Histogram
import MartletClient
import NIOConcurrencyHelpers

/// Times in microseconds.
struct Latencies: Sendable {
    private var histogram = Histogram<UInt32>(
        highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: .three)

    mutating func add(microseconds: Int64) {
        _ = histogram.record(UInt64(clamping: min(max(1, microseconds), 600_000_000)))
    }

    var isEmpty: Bool { histogram.totalCount == 0 }
    func ms(atPercentile percentile: Double) -> Double { Double(histogram.valueAtPercentile(percentile)) / 1_000 }
    var maxMs: Double { Double(histogram.max) / 1_000 }

    var json: Json {
        isEmpty
            ? .null
            : .object([
                "p50": ms(atPercentile: 50).json, "p99": ms(atPercentile: 99).json,
                "p999": ms(atPercentile: 99.9).json, "max": maxMs.json,
            ])
    }
}

struct BenchResult {
    var name: String
    var records: Int
    /// Of keys and values.
    var bytes: Int
    var seconds: Double
    var latencies: Latencies?
    var nodes: NodeTimes?
    /// Ctrl-C ended it before it was done.
    var isCut = false
    /// Written, and without an answer when it was cut.
    var inDoubt = 0

    var recordsPerSecond: Double { Double(records) / max(seconds, 1e-9) }
    var megabytesPerSecond: Double { Double(bytes) / 1e6 / max(seconds, 1e-9) }
    /// Sum over the nodes whose processes are on this machine; nil where none is, or where too little was done to tell.
    var cpuSecondsPerGB: Double? {
        nodes.flatMap { bytes >= 10_000_000 ? $0.seconds / (Double(bytes) / 1e9) : nil }
    }

    var json: Json {
        .object([
            "name": name.json, "records": records.json, "bytes": bytes.json, "seconds": seconds.json,
            "recordsPerSecond": recordsPerSecond.json, "megabytesPerSecond": megabytesPerSecond.json,
            "latencyMs": latencies?.json ?? .null, "nodeCpuSeconds": nodes.map { $0.seconds.json } ?? .null,
            "cut": isCut.json, "inDoubt": inDoubt.json, "nodesMeasured": (nodes?.count ?? 0).json,
            "nodeCpuSecondsPerGB": cpuSecondsPerGB.map(\.json) ?? .null,
        ])
    }

    /// - Throws: `CommandFailure` when one of them was cut, behind what is shown; what writing throws.
    static func show(_ results: [BenchResult], _ output: OutputOptions) throws {
        try output.show(.array(results.map(\.json))) { page in
            var table = Table(
                .left(""), .right("records"), .right("records/s"), .right("MB/s"), .right("p50 ms"), .right("p99"),
                .right("p99.9"), .right("max"), .right("CPU s/GB"))
            for result in results {
                let times = result.latencies.flatMap { $0.isEmpty ? nil : $0 }
                func percentile(_ p: Double) -> Cell { Cell(times.map { fixed($0.ms(atPercentile: p), 1) } ?? "-") }
                table.add(
                    Cell(result.name + (result.isCut ? " (cut)" : "")), Cell(grouped(result.records)),
                    Cell(grouped(Int(result.recordsPerSecond))),
                    Cell(fixed(result.megabytesPerSecond, 1)), percentile(50), percentile(99), percentile(99.9),
                    Cell(times.map { fixed($0.maxMs, 1) } ?? "-"),
                    Cell(result.cpuSecondsPerGB.map { fixed($0, 2) } ?? "-"))
            }
            page.table(table)
            if let nodes = results.compactMap(\.nodes).first {
                page.line(Cell("CPU s/GB: of \(counted(nodes.count, "node")) on this machine together", .faint))
            }
        }
        guard let cut = results.first(where: \.isCut) else { return }
        throw CommandFailure(
            "cut short by Ctrl-C: \(cut.name) had done \(counted(cut.records, "record"))"
                + (cut.inDoubt > 0 ? ", and \(grouped(cut.inDoubt)) more are in doubt" : ""))
    }
}

/// A number with `digits` behind the point; what rounds to nothing has no sign.
func fixed(_ value: Double, _ digits: Int) -> String {
    let factor = (0..<digits).reduce(1.0) { power, _ in power * 10 }
    let rounded = Int64((abs(value) * factor).rounded())
    let whole = (value < 0 && rounded > 0 ? "-" : "") + "\(rounded / Int64(factor))"
    guard digits > 0 else { return whole }
    let rest = "\(rounded % Int64(factor))"
    return whole + "." + String(repeating: "0", count: digits - rest.count) + rest
}

/// 500,000.
func grouped(_ number: Int) -> String {
    var text = "\(abs(number))"
    var at = text.count - 3
    while at > 0 {
        text.insert(",", at: text.index(text.startIndex, offsetBy: at))
        at -= 3
    }
    return (number < 0 ? "-" : "") + text
}

/// Counts what is done and shows it every second.
final class BenchMeter: Sendable {
    struct State: Sendable {
        var records = 0
        var bytes = 0
        var submitted = 0
        var failed = 0
        var all = Latencies()
        var recent = Latencies()
        var failure: ClientError?
    }

    let start = ContinuousClock.now
    private let state = NIOLockedValueBox(State())

    /// `nil` latency: only counted.
    func add(records: Int, bytes: Int, microseconds: Int64? = nil) {
        state.withLockedValue { state in
            state.records += records
            state.bytes += bytes
            guard let microseconds else { return }
            state.all.add(microseconds: microseconds)
            state.recent.add(microseconds: microseconds)
        }
    }

    func submitted() { state.withLockedValue { $0.submitted += 1 } }

    func fail(_ error: ClientError) {
        state.withLockedValue { state in
            state.failed += 1
            state.failure = state.failure ?? error
        }
    }

    var failure: ClientError? { state.withLockedValue { $0.failure } }
    var records: Int { state.withLockedValue { $0.records } }

    /// What was counted, where somebody else took the time.
    func result(_ name: String, seconds: Double) -> BenchResult {
        let state = state.withLockedValue { $0 }
        return BenchResult(
            name: name, records: state.records, bytes: state.bytes, seconds: seconds,
            latencies: state.all.isEmpty ? nil : state.all, isCut: Interrupt.isSeen)
    }

    /// Prints a line each second until the task is cancelled.
    func showProgress() async {
        var (records, bytes) = (0, 0)
        var last = ContinuousClock.now
        while (try? await Task.sleep(for: .seconds(1))) != nil {
            let now = ContinuousClock.now
            let seconds = (now - last) / .seconds(1)
            let (state, recent) = state.withLockedValue { state in
                defer { state.recent = Latencies() }
                return (state, state.recent)
            }
            var line = "\(Int((now - start) / .seconds(1))) s  "
            line += "\(grouped(Int(Double(state.records - records) / seconds))) records/s  "
            line += "\(fixed(Double(state.bytes - bytes) / 1e6 / seconds, 1)) MB/s"
            if !recent.isEmpty {
                line +=
                    "  p50 \(fixed(recent.ms(atPercentile: 50), 1)) ms  p99 \(fixed(recent.ms(atPercentile: 99), 1)) ms"
            }
            printToStandardError(Terminal.errors.width.map { line.cut(to: $0) } ?? line)
            (records, bytes, last) = (state.records, state.bytes, now)
        }
    }

    /// How far it is, for somebody who ends it.
    private var account: String {
        let state = state.withLockedValue { $0 }
        let open = state.submitted - state.records - state.failed
        return "\(counted(state.records, "record")) done" + (open > 0 ? ", \(open) in doubt" : "")
    }

    /// Runs `body`, with progress lines beside it, and sums up. `cluster`: whose nodes' CPU time is counted.
    func measure(
        _ name: String, _ cluster: ClusterClient, isQuiet: Bool, _ body: () async throws -> Void
    ) async throws -> BenchResult {
        Interrupt.account { "\(name): \(self.account)" }
        let nodes = try? await LocalNodes.find(of: cluster)
        let before = nodes?.times()
        let clock = ContinuousClock.now
        let progress = isQuiet ? nil : Task { await self.showProgress() }
        defer { progress?.cancel() }
        try await body()
        let seconds = (ContinuousClock.now - clock) / .seconds(1)
        let used = nodes.flatMap { nodes in before.map { nodes.times().since($0) } }
        let state = state.withLockedValue { $0 }
        if let failure = state.failure {
            throw CommandFailure("\(failure.sentence) (after \(counted(state.records, "record")))")
        }
        return BenchResult(
            name: name, records: state.records, bytes: state.bytes, seconds: seconds,
            latencies: state.all.isEmpty ? nil : state.all, nodes: used, isCut: Interrupt.isSeen,
            inDoubt: max(0, state.submitted - state.records - state.failed))
    }
}

extension Duration {
    var microseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
