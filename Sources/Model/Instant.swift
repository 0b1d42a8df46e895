// Time as an argument: nothing below Server reads a clock.

/// A point on the node's monotonic clock, in nanoseconds. Only differences mean anything.
package struct Instant: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var nanoseconds: Int64

    package static let zero = Instant(nanoseconds: 0)
    package static let distantFuture = Instant(nanoseconds: .max)

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    package static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

    package func advanced(byMs milliseconds: Int64) -> Instant {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(
            milliseconds.multipliedReportingOverflow(by: 1_000_000).0)
        return overflow ? .distantFuture : Instant(nanoseconds: sum)
    }

    package func advanced(byMicroseconds microseconds: Int64) -> Instant {
        Instant(nanoseconds: nanoseconds + microseconds * 1_000)
    }

    /// Whole milliseconds from `earlier` to here; negative when `earlier` lies ahead.
    package func milliseconds(since earlier: Instant) -> Int64 { (nanoseconds - earlier.nanoseconds) / 1_000_000 }

    package var description: String {
        let fraction = String(nanoseconds / 1_000 % 1_000_000)
        return "\(nanoseconds / 1_000_000_000)." + String(repeating: "0", count: max(0, 6 - fraction.count)) + fraction
    }
}

/// Both clocks of a node, read once at the start of a step.
package struct ClockReading: Hashable, Sendable {
    /// Monotonic: timeouts and waiting.
    package var now: Instant
    /// Wall clock, milliseconds since 1970: timestamps only; it may jump.
    package var wallMs: Int64

    package init(now: Instant, wallMs: Int64) {
        self.now = now
        self.wallMs = wallMs
    }
}
