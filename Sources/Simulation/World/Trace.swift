// What happened, in words. Words cost time, so a run writes none unless asked; a failing seed is run again with words.

package final class Trace {
    package enum Detail: Sendable {
        case none
        /// Only a hash of all lines.
        case hashed
        /// The last lines, and each line to the sink.
        case words
    }

    package static let keptLines = 60

    let detail: Detail
    private let sink: ((String) -> Void)?
    private(set) var lines: [String] = []
    /// FNV-1a over all lines.
    package private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325

    package init(_ detail: Detail, sink: ((String) -> Void)? = nil) {
        self.detail = detail
        self.sink = sink
    }

    func note(_ now: Int64, _ words: @autoclosure () -> String) {
        guard detail != .none else { return }
        let line = "\(Trace.seconds(now)) \(words())"
        for byte in line.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        guard detail == .words else { return }
        lines.append(line)
        if lines.count > 2 * Self.keptLines { lines.removeFirst(Self.keptLines) }
        sink?(line)
    }

    var lastLines: [String] { Array(lines.suffix(Self.keptLines)) }

    static func seconds(_ nanoseconds: Int64) -> String {
        let fraction = String(nanoseconds / 1_000 % 1_000_000)
        return "\(nanoseconds / 1_000_000_000)." + String(repeating: "0", count: 6 - fraction.count) + fraction
    }
}
