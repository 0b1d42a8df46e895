// Time as an argument: nothing below Server reads a clock.

/// A point on the node's monotonic clock, in nanoseconds. Only differences mean anything.
public struct Instant: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var nanoseconds: Int64

    public static let zero = Instant(nanoseconds: 0)
    public static let distantFuture = Instant(nanoseconds: .max)

    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

    public func advanced(byMs milliseconds: Int64) -> Instant {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(
            milliseconds.multipliedReportingOverflow(by: 1_000_000).0)
        return overflow ? .distantFuture : Instant(nanoseconds: sum)
    }

    public func advanced(byMicroseconds microseconds: Int64) -> Instant {
        Instant(nanoseconds: nanoseconds + microseconds * 1_000)
    }

    /// Whole milliseconds from `earlier` to here; negative when `earlier` lies ahead.
    public func milliseconds(since earlier: Instant) -> Int64 { (nanoseconds - earlier.nanoseconds) / 1_000_000 }

    public var description: String {
        let fraction = String(nanoseconds / 1_000 % 1_000_000)
        return "\(nanoseconds / 1_000_000_000)." + String(repeating: "0", count: max(0, 6 - fraction.count)) + fraction
    }
}

/// Both clocks of a node, read once at the start of a step.
public struct ClockReading: Hashable, Sendable {
    /// Monotonic: timeouts and waiting.
    public var now: Instant
    /// Wall clock, milliseconds since 1970: timestamps only; it may jump.
    public var wallMs: Int64

    public init(now: Instant, wallMs: Int64) {
        self.now = now
        self.wallMs = wallMs
    }
}
