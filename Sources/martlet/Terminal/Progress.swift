// A line on the terminal that says how far a command is, drawn over itself a few times a second.

struct Progress {
    private let isShown: Bool
    private let totalBytes: Int?
    private let start = ContinuousClock.now
    private var bytes = 0
    private var lastShown: ContinuousClock.Instant?
    private static let pause = Duration.milliseconds(100)
    private static let barWidth = 24

    /// `totalBytes`: nil when nobody knows. Shown only where standard error is a terminal.
    init(isShown: Bool, totalBytes: Int?) {
        self.isShown = isShown && Terminal.errors.isTerminal
        self.totalBytes = totalBytes
    }

    mutating func add(_ bytes: Int) { self.bytes += bytes }

    /// Draws the line if it is time to. `records`: acknowledged so far.
    mutating func show(_ records: @autoclosure () -> Int) {
        guard isShown else { return }
        let now = ContinuousClock.now
        if let lastShown, now - lastShown < Self.pause { return }
        lastShown = now
        let seconds = max(0.001, Double((now - start) / .milliseconds(1)) / 1_000)
        let (done, width) = (records(), Terminal.errors.width ?? .max)
        var line = "\(done) records, \(Int(Double(done) / seconds)) a second"
        if let totalBytes, totalBytes > 0 {
            let share = min(1, Double(bytes) / Double(totalBytes))
            let percent = "\(Int(share * 100)) %"
            // What does not fit is left out, the least important first: a line that wraps cannot be taken away again.
            if percent.count + 2 + line.count < width { line = "\(percent)  \(line)" } else { line = percent }
            if Self.barWidth + 1 + line.count < width {
                let full = Int(share * Double(Self.barWidth))
                let bar = String(repeating: "█", count: full) + String(repeating: "░", count: Self.barWidth - full)
                line = Terminal.errors.show(bar, as: .bar) + " " + line
            }
        } else {
            line = line.cut(to: width - 1)
        }
        writeToStandardError("\r\u{1B}[K" + line)
    }

    /// Takes the line away.
    func clear() {
        if isShown, lastShown != nil { writeToStandardError("\r\u{1B}[K") }
    }
}
