// Names that clients chose, as a line of the log may show them.

/// At most 249 letters, as long as a topic's name may be, and none that moves the cursor or turns the line around: a
/// client must not write the node's log for it.
func shown(_ name: String) -> String {
    var text = String.UnicodeScalarView()
    for scalar in name.unicodeScalars.prefix(shownMax) { text.append(isPlain(scalar) ? scalar : "?") }
    return String(text) + (name.unicodeScalars.count > shownMax ? "…" : "")
}

let shownMax = 249

private func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
    default: true
    }
}
