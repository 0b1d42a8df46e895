// Tables that align: numbers to the right, and on a terminal no wider than it is.

/// A piece of text and its looks.
struct Cell: ExpressibleByStringInterpolation, Sendable {
    var text: String
    var style: Style

    init(_ text: String, _ style: Style = .plain) {
        self.text = text
        self.style = style
    }

    init(stringLiteral text: String) { self.init(text) }

    /// A number, or "-" where there is none.
    init(_ number: (some BinaryInteger)?, _ style: Style = .plain) {
        self.init(number.map { "\($0)" } ?? "-", style)
    }
}

struct Table {
    struct Column: Sendable {
        var title: String
        var isRight: Bool

        static func left(_ title: String) -> Column { Column(title: title, isRight: false) }
        static func right(_ title: String) -> Column { Column(title: title, isRight: true) }
    }

    private let columns: [Column]
    private var rows: [[Cell]] = []

    /// No column is cut to less, so that a very narrow terminal wraps rather than shows nothing.
    private static let cutWidthMin = 6

    init(_ columns: Column...) { self.columns = columns }

    /// One cell for each column; missing ones are empty.
    mutating func add(_ cells: Cell...) { rows.append(cells) }

    var isEmpty: Bool { rows.isEmpty }

    func lines(for terminal: Terminal, indent: String = "") -> [String] {
        let widths = widths(within: terminal.width.map { $0 - indent.count })
        if let width = terminal.width, widths.reduce(indent.count + 2 * (columns.count - 1), +) > width {
            return stacked(for: terminal, indent: indent)
        }
        let heading = columns.map { Cell($0.title, .faint) }
        return ([heading] + rows).map { row in
            var line = indent
            for (index, column) in columns.enumerated() {
                let cell = index < row.count ? row[index] : ""
                let text = cell.text.cut(to: widths[index])
                let padding = String(repeating: " ", count: widths[index] - text.count)
                let isLast = index == columns.count - 1
                if column.isRight { line += padding }
                line += terminal.show(text, as: cell.style)
                if !column.isRight, !isLast { line += padding }
                if !isLast { line += "  " }
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }

    /// For a terminal that has no room for the columns side by side: a line for each cell, behind its column's title.
    private func stacked(for terminal: Terminal, indent: String) -> [String] {
        let titleWidth = columns.map(\.title.count).max() ?? 0
        return rows.enumerated().flatMap { number, row in
            (number == 0 ? [] : [""])
                + zip(columns, row).filter { !$0.1.text.isEmpty }.map { column, cell in
                    let padding = String(repeating: " ", count: titleWidth - column.title.count)
                    return indent + terminal.show(column.title, as: .faint) + padding + "  "
                        + terminal.show(cell.text, as: cell.style)
                }
        }
    }

    /// As wide as the widest cell. What is too wide for the terminal is taken from the last column, then from the
    /// widest ones; numbers are never cut.
    private func widths(within limit: Int?) -> [Int] {
        var widths = columns.indices.map { index in
            rows.map { index < $0.count ? $0[index].text.count : 0 }.reduce(columns[index].title.count, max)
        }
        guard let limit else { return widths }
        let gaps = 2 * (columns.count - 1)
        var excess = widths.reduce(gaps, +) - limit
        if excess > 0, let last = columns.indices.last, !columns[last].isRight {
            let spare = max(0, widths[last] - max(Self.cutWidthMin * 2, columns[last].title.count))
            widths[last] -= min(excess, spare)
            excess -= min(excess, spare)
        }
        while excess > 0 {
            let cuttable = columns.indices.filter { !columns[$0].isRight && widths[$0] > Self.cutWidthMin }
            guard let widest = cuttable.max(by: { widths[$0] < widths[$1] }) else { return widths }
            widths[widest] -= 1
            excess -= 1
        }
        return widths
    }
}
