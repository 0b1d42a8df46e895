// A steady rate, for commands that write no faster than they are told.

/// Spreads records evenly over time.
struct Pace {
    private let perSecond: Double?
    private let start = ContinuousClock.now
    private var count = 0.0

    init(perSecond: Double?) { self.perSecond = perSecond }

    /// How long to wait before the next record; nil when it is due.
    mutating func next() -> Int64? {
        guard let perSecond else { return nil }
        let spent = ContinuousClock.now - start
        let aheadMs =
            count / perSecond * 1_000 - Double(spent.components.seconds) * 1_000
            - Double(spent.components.attoseconds) / 1e15
        count += 1
        return aheadMs >= 1 ? Int64(aheadMs) : nil
    }
}
