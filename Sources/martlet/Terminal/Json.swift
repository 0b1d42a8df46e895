// JSON as commands print it: keys in order and in camelCase, null where there is nothing.

enum Json: Equatable, Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([Json])
    case object([String: Json])

    /// On one line, for streams.
    var line: String {
        var text = ""
        write(into: &text, indent: nil)
        return text
    }

    /// Indented, for documents.
    var document: String {
        var text = ""
        write(into: &text, indent: 0)
        return text
    }

    private var isScalar: Bool {
        switch self {
        case .array, .object: false
        case .null, .bool, .integer, .number, .string: true
        }
    }

    private func write(into text: inout String, indent: Int?) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += "\(value)"
        // JSON has no word for what is no number.
        case .number(let value): text += value.isFinite ? "\(value)" : "null"
        case .string(let value): Self.writeString(value, into: &text)
        case .array(let values):
            // Lists of numbers and words, such as an ISR, read better on one line.
            let inner = values.allSatisfy(\.isScalar) ? nil : indent
            Self.writeList("[", "]", values.count, into: &text, indent: inner) { index, text, inner in
                values[index].write(into: &text, indent: inner)
            }
        case .object(let fields):
            let keys = fields.keys.sorted()
            Self.writeList("{", "}", keys.count, into: &text, indent: indent) { index, text, inner in
                Self.writeString(keys[index], into: &text)
                text += indent == nil ? ":" : ": "
                (fields[keys[index]] ?? .null).write(into: &text, indent: inner)
            }
        }
    }

    private static func writeList(
        _ open: String, _ close: String, _ count: Int, into text: inout String, indent: Int?,
        _ element: (Int, inout String, Int?) -> Void
    ) {
        text += open
        for index in 0..<count {
            if index > 0 { text += "," }
            if let indent { text += "\n" + String(repeating: "  ", count: indent + 1) }
            element(index, &text, indent.map { $0 + 1 })
        }
        if let indent, count > 0 { text += "\n" + String(repeating: "  ", count: indent) }
        text += close
    }

    private static func writeString(_ value: String, into text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}

extension BinaryInteger {
    var json: Json { .integer(Int64(clamping: self)) }
}
extension String {
    var json: Json { .string(self) }
}
extension Bool {
    var json: Json { .bool(self) }
}
extension Double {
    var json: Json { .number(self) }
}
extension Optional where Wrapped: BinaryInteger {
    var json: Json { map(\.json) ?? .null }
}
extension String? {
    var json: Json { map(\.json) ?? .null }
}
extension Array where Element: BinaryInteger {
    var json: Json { .array(map(\.json)) }
}
extension [String] {
    var json: Json { .array(map(\.json)) }
}
