// Where the node's lines go: standard error, one line per event.

import Glibc
import Logging
import Model
import Broker

/// `2026-01-31T08:15:30.123Z INFO  node 1  text`. One `write` a line, so that lines of several threads do not mix.
struct StderrLog: LogHandler {
    private let node: String
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    init(nodeID: NodeID, level: Logger.Level) {
        node = " node \(nodeID)  "
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line = isoTime(wallMs: NodeClock.wallMs())
        line += Self.word(for: event.level)
        line += node
        line += oneLine(event.message.description)
        line += "\n"
        writeToStandardError(line)
    }

    private static func word(for level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: " DEBUG"
        case .info, .notice: " INFO "
        case .warning: " WARN "
        case .error, .critical: " ERROR"
        }
    }

    /// The level that `MARTLET_LOG` names, `notice` without it. Kafka's words are taken too.
    static func level(named name: String?) throws(StartError) -> Logger.Level {
        switch name?.lowercased() {
        case nil, "", "info", "notice": return .notice
        case "trace", "debug": return .debug
        case "warn", "warning": return .warning
        case "error": return .error
        case let other?:
            throw StartError("MARTLET_LOG is \(other): use debug, info, warning or error")
        }
    }
}

extension Logger {
    func write(_ line: LogLine) {
        switch line.level {
        case .debug: debug("\(line.text)")
        case .notice: notice("\(line.text)")
        case .warning: warning("\(line.text)")
        case .error: error("\(line.text)")
        }
    }
}

/// A client names itself in lines; it must not make new ones, nor move the operator's cursor.
private func oneLine(_ text: String) -> String {
    guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) else { return text }
    return String(
        String.UnicodeScalarView(
            text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? "?" : $0 }))
}

package func writeToStandardError(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
        var sent = 0
        while sent < bytes.count {
            let count = write(STDERR_FILENO, bytes.baseAddress.map { $0 + sent }, bytes.count - sent)
            if count <= 0 { return }
            sent += count
        }
    }
}

/// UTC with milliseconds, as in ISO 8601.
package func isoTime(wallMs: Int64) -> String {
    var seconds = time_t(wallMs / 1_000)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func digits(_ number: Int, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
    let date =
        "\(digits(Int(parts.tm_year) + 1900, 4))-\(digits(Int(parts.tm_mon) + 1, 2))-\(digits(Int(parts.tm_mday), 2))"
    let time = "\(digits(Int(parts.tm_hour), 2)):\(digits(Int(parts.tm_min), 2)):\(digits(Int(parts.tm_sec), 2))"
    return "\(date)T\(time).\(digits(Int(wallMs % 1_000), 3))Z"
}
