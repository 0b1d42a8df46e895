// Taking typed values out of YAML nodes, with the line in every complaint.

import Model
import Yams

/// A mapping of the file, with the file's name for complaints.
struct YamlMapping {
    let file: String
    let line: Int?
    let entries: [(key: String, line: Int?, value: Node)]

    init(_ node: Node, _ what: String, file: String) throws(ConfigurationError) {
        self.file = file
        line = node.mark?.line
        guard case .mapping(let mapping) = node else {
            throw ConfigurationError(file, line: line, "\(what) must be keys with values")
        }
        var entries: [(key: String, line: Int?, value: Node)] = []
        for (key, value) in mapping {
            guard let name = key.scalar?.string else {
                throw ConfigurationError(file, line: key.mark?.line, "a key must be a word")
            }
            entries.append((name, key.mark?.line, value))
        }
        self.entries = entries
    }

    func line(of key: String) -> Int? { entries.first { $0.key == key }?.line ?? line }

    func value(_ key: String) -> Node? { entries.first { $0.key == key }?.value }

    func complaint(_ key: String, _ sentence: String) -> ConfigurationError {
        ConfigurationError(file, line: line(of: key), sentence)
    }

    func rejectUnknown(_ known: [String], in what: String) throws(ConfigurationError) {
        for entry in entries where !known.contains(entry.key) {
            let near = known.filter { isNear($0, entry.key) }.first
            let advice = near.map { ": did you mean \($0)?" } ?? ""
            throw ConfigurationError(file, line: entry.line, "unknown key \(entry.key) in \(what)\(advice)")
        }
    }

    func string(_ key: String) throws(ConfigurationError) -> String? {
        guard let node = value(key) else { return nil }
        guard case .scalar(let scalar) = node, !scalar.string.isEmpty else {
            throw complaint(key, "\(key) must be a text")
        }
        return scalar.string
    }

    func integer(_ key: String, in range: ClosedRange<Int64>) throws(ConfigurationError) -> Int64? {
        guard let text = try string(key) else { return nil }
        guard let number = Int64(text.filter { $0 != "_" }), range.contains(number) else {
            throw complaint(
                key, "\(key) is \(text), but must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func boolean(_ key: String) throws(ConfigurationError) -> Bool? {
        guard let text = try string(key) else { return nil }
        switch text {
        case "true": return true
        case "false": return false
        default: throw complaint(key, "\(key) is \(text), but must be true or false")
        }
    }

    /// `host:port`, or Kafka's `PLAINTEXT://host:port`.
    func endpoint(_ key: String) throws(ConfigurationError) -> Endpoint? {
        guard let text = try string(key) else { return nil }
        guard let endpoint = Endpoint(parsing: text) else {
            throw complaint(key, "\(key) is \(text), but must be host:port (one listener, PLAINTEXT)")
        }
        return endpoint
    }
}

extension Endpoint {
    /// `host:port` or `[v6]:port`, with or without `PLAINTEXT://` before it. Nil when it is neither.
    package init?(parsing text: String) {
        var rest = text[...]
        if let scheme = rest.firstRange(of: "://") {
            guard rest[..<scheme.lowerBound].uppercased() == "PLAINTEXT" else { return nil }
            rest = rest[scheme.upperBound...]
        }
        guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]), port > 0 else {
            return nil
        }
        var host = rest[..<colon]
        if host.first == "[", host.last == "]" {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        if host.isEmpty || host.contains("/") || host.contains(",") { return nil }
        self.init(host: String(host), port: port)
    }
}

/// Whether two keys differ by a slip of the hand: at most two letters.
private func isNear(_ a: String, _ b: String) -> Bool {
    let (a, b) = (Array(a.utf8), Array(b.utf8))
    if abs(a.count - b.count) > 2 { return false }
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var previous = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let substituted = previous + (x == y ? 0 : 1)
            previous = row[j + 1]
            row[j + 1] = min(substituted, previous + 1, row[j] + 1)
        }
    }
    return row[b.count] <= 2
}
