// How a command speaks: text for people, JSON for programs, and silence once nobody reads any more.

import ArgumentParser
import Glibc
import NIOCore

/// Whoever read standard output has gone away, as `| head -1` does. Not a failure: the command ends with 0.
struct OutputClosed: Error {}

enum StandardOutput {
    /// - Throws: as `writeToStandardOutput`.
    static func write(_ text: String) throws { try writeToStandardOutput(ByteBuffer(string: text)) }
}

struct OutputOptions: ParsableArguments {
    @Flag(help: "Print JSON instead of text.")
    var json = false

    /// Prints one answer: as a JSON document, or as what `text` puts on a page.
    /// - Throws: as `writeToStandardOutput`.
    func show(_ document: @autoclosure () -> Json, _ text: (inout Page) -> Void) throws {
        guard !json else { return try StandardOutput.write(document().document + "\n") }
        var page = Page(.output)
        text(&page)
        try StandardOutput.write(page.text)
    }
}

/// Text that is put together line by line.
struct Page {
    let terminal: Terminal
    private(set) var text = ""

    init(_ terminal: Terminal) { self.terminal = terminal }

    mutating func line(_ cells: Cell...) {
        text += cells.map { terminal.show($0.text, as: $0.style) }.joined() + "\n"
    }

    /// Pieces with two blanks between them; on a terminal a piece that does not fit begins a new line.
    mutating func pieces(_ pieces: Cell...) {
        var used = 0
        for piece in pieces where !piece.text.isEmpty {
            if used > 0 {
                let fits = terminal.width.map { used + 2 + piece.text.count <= $0 } ?? true
                text += fits ? "  " : "\n"
                used = fits ? used + 2 : 0
            }
            text += terminal.show(piece.text, as: piece.style)
            used += piece.text.count
        }
        text += "\n"
    }

    /// `lead` as it is and a sentence behind it, which is broken between words where the terminal ends; its later lines
    /// begin below its first word.
    mutating func sentence(_ sentence: String, behind lead: Cell) {
        text += terminal.show(lead.text, as: lead.style)
        guard let width = terminal.width else { return text += sentence + "\n" }
        let indent = lead.text.count
        var used = indent
        for word in sentence.split(separator: " ") {
            if used > indent, used + 1 + word.count > width {
                text += "\n" + String(repeating: " ", count: indent)
                used = indent
            } else if used > indent {
                text += " "
                used += 1
            }
            text += word
            used += word.count
        }
        text += "\n"
    }

    mutating func table(_ table: Table, indent: String = "") {
        for line in table.lines(for: terminal, indent: indent) { text += line + "\n" }
    }
}

// MARK: Times

/// `ms` since 1970 as 2026-11-21T10:20:30.456Z; as the number where it is no time that a calendar has.
func timeText(_ ms: Int64) -> String {
    var seconds = time_t(ms / 1_000)
    var rest = ms % 1_000
    if rest < 0 { (seconds, rest) = (seconds - 1, rest + 1_000) }
    var parts = tm()
    guard ms > -60_000_000_000_000, ms < 250_000_000_000_000, gmtime_r(&seconds, &parts) != nil else { return "\(ms)" }
    func digits(_ number: Int, _ width: Int) -> String {
        let text = "\(number)"
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
    let day =
        "\(digits(Int(parts.tm_year) + 1900, 4))-\(digits(Int(parts.tm_mon) + 1, 2))-\(digits(Int(parts.tm_mday), 2))"
    let clock = "\(digits(Int(parts.tm_hour), 2)):\(digits(Int(parts.tm_min), 2)):\(digits(Int(parts.tm_sec), 2))"
    return "\(day)T\(clock).\(digits(Int(rest), 3))Z"
}

/// "3.2 ms", "1.4 s", "12 min", "3 h", "5 d".
func durationText(ms: Double) -> String {
    func tenths(_ value: Double) -> String {
        let rounded = (value * 10).rounded() / 10
        return rounded >= 100 ? "\(Int(rounded))" : "\(rounded)"
    }
    switch ms {
    case ..<1_000: return tenths(ms) + " ms"
    case ..<120_000: return tenths(ms / 1_000) + " s"
    case ..<7_200_000: return "\(Int(ms / 60_000)) min"
    case ..<172_800_000: return "\(Int(ms / 3_600_000)) h"
    default: return "\(Int(min(ms / 86_400_000, 1e9))) d"
    }
}

/// "3 nodes", "1 node"; `plural` where it is not the noun with an s.
func counted(_ count: Int, _ noun: String, _ plural: String? = nil) -> String {
    "\(count) \(count == 1 ? noun : plural ?? noun + "s")"
}
