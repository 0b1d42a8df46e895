// What stands behind a standard stream: a terminal with a width and colours, or a pipe or file with neither.

import Glibc

struct Terminal: Sendable {
    let isTerminal: Bool
    /// Characters in a line; nil in a pipe or file, where lines are as long as they are.
    let width: Int?
    let hasColours: Bool

    static let output = Terminal(descriptor: 1)
    static let errors = Terminal(descriptor: 2)

    private static let widthWhenUnknown = 80

    init(descriptor: Int32) {
        isTerminal = isatty(descriptor) == 1
        guard isTerminal else {
            (width, hasColours) = (nil, false)
            return
        }
        var size = winsize()
        let known = ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        width = known ? Int(size.ws_col) : environment("COLUMNS").flatMap { Int($0) } ?? Self.widthWhenUnknown
        // https://no-color.org: set to anything but nothing.
        hasColours = (environment("NO_COLOR") ?? "").isEmpty && environment("TERM") != "dumb"
    }

    func show(_ text: String, as style: Style) -> String {
        guard hasColours, style != .plain, !text.isEmpty else { return text }
        return "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m"
    }
}

/// How a piece of text looks on a terminal; the raw value is its SGR code.
enum Style: Int, Sendable {
    case plain = 0
    case bold = 1
    case faint = 2
    case bad = 31
    case good = 32
    case warning = 33
    case bar = 36
}

func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

extension String {
    /// At most `width` characters, the last of them "…" where something is missing.
    func cut(to width: Int) -> String { count <= width ? self : prefix(max(0, width - 1)) + "…" }

    /// Safe to show on any terminal: control characters, which could move the cursor or worse, are escaped.
    var printable: String {
        guard unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else { return self }
        return unicodeScalars.map { scalar in
            switch scalar {
            case "\t": "\\t"
            case "\n": "\\n"
            case "\r": "\\r"
            case _ where scalar.properties.generalCategory == .control:
                "\\u{" + String(scalar.value, radix: 16) + "}"
            default: String(scalar)
            }
        }.joined()
    }
}
