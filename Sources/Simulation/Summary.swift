// What a batch of seeds did: the denominators, for people and for machines.

package struct Summary: Sendable {
    package private(set) var seeds = 0
    package private(set) var failed = 0
    package private(set) var events: UInt64 = 0
    private var virtualMs: Int64 = 0
    private var acknowledgedRecords = 0
    private var elections = 0
    private var faults = [Int](repeating: 0, count: FaultKind.allCases.count)
    private var failures: [(seed: UInt64, violation: Violation)] = []
    private var invariants = [Int](repeating: 0, count: Invariant.allCases.count)

    package init() {}

    package mutating func add(_ result: SeedResult) {
        seeds += 1
        if let violation = result.violation {
            failed += 1
            failures.append((result.seed, violation))
        }
        events += result.events
        virtualMs += result.virtualMs
        acknowledgedRecords += result.acknowledgedRecords
        elections += result.elections
        for index in faults.indices { faults[index] += result.faultCounts[index] }
        for index in invariants.indices { invariants[index] += result.invariantCounts[index] }
    }

    /// Invariants that never had anything to check: a hole in the simulation.
    package var neverHeld: [String] {
        zip(Invariant.allCases, invariants).filter { $0.1 == 0 }.map(\.0.rawValue)
    }

    package func text(seconds: Double) -> String {
        var lines = [
            "\(seeds) seeds, \(events) events, \(virtualMs / 1_000) virtual seconds, "
                + "\(elections) quorum elections, \(acknowledgedRecords) records acknowledged",
            "\(Int(Double(events) / max(seconds, 0.001))) events/s, "
                + "\(Self.short(Double(seeds) / max(seconds, 0.001))) seeds/s",
            "faults: " + zip(FaultKind.allCases, faults).map { "\($0.0.rawValue) \($0.1)" }.joined(separator: ", "),
        ]
        for (invariant, count) in zip(Invariant.allCases, invariants) {
            lines.append(
                "  "
                    + "\(count)\t\(invariant.rawValue)")
        }
        return lines.joined(separator: "\n")
    }

    package func json(seconds: Double) -> String {
        let faults = zip(FaultKind.allCases, faults).map { "\"\($0.0.rawValue)\":\($0.1)" }.joined(separator: ",")
        let checks = zip(Invariant.allCases, invariants).map { "\"\($0.0.rawValue)\":\($0.1)" }.joined(separator: ",")
        let failures = failures.map { failure in
            "{\"seed\":\(failure.seed),\"invariant\":\(Self.quoted(failure.violation.invariant)),"
                + "\"words\":\(Self.quoted(failure.violation.words)),\"event\":\(failure.violation.event)}"
        }.joined(separator: ",")
        let speed = Int(Double(events) / max(seconds, 0.001))
        return "{\"seeds\":\(seeds),\"failed\":\(failed),\"events\":\(events),\"virtualMs\":\(virtualMs),"
            + "\"seconds\":\(seconds),\"acknowledgedRecords\":\(acknowledgedRecords),\"elections\":\(elections),"
            + "\"eventsPerSecond\":\(speed),\"faults\":{\(faults)},\"checks\":{\(checks)},\"failures\":[\(failures)]}"
    }

    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case "\u{0}"..<" ": quoted += " "
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }

    private static func short(_ value: Double) -> String { String(Double(Int(value * 10)) / 10) }
}
