// Kafka's topic settings: which exist, which act here, what their values may be.

import Model

/// One topic setting by Kafka's name. Settings that do not act yet are stored and shown, so that tools which set them
/// by habit work;
/// a value that would promise what is not done is refused.
package struct TopicConfig: Hashable, Sendable {
    /// Kafka's codes of setting types, as DescribeConfigs v3+ answers them.
    package enum Kind: Int8, Sendable {
        case boolean = 1
        case string = 2
        case int = 3
        case long = 5
        case double = 6
        case list = 7
    }

    package enum Rule: Hashable, Sendable {
        case range(ClosedRange<Int64>)
        case oneOf([String])
        /// From 0 to 1.
        case fraction
        case anything
    }

    package var name: String
    package var kind: Kind
    /// Nil where the default depends on the topic: `min.insync.replicas`.
    package var defaultValue: String?
    package var rule: Rule
    /// Whether the value changes what a broker does.
    package var acts: Bool
    /// The broker setting that gives the default, by Kafka's name.
    package var brokerSynonym: String?
    /// One sentence for DescribeConfigs v3+.
    package var documentation: String

    package static func named(_ name: String) -> TopicConfig? { byName[name] }

    private static let byName = SortedMap(all.map { ($0.name, $0) })

    /// Checks one value. Throws INVALID_CONFIG's sentence.
    package func validate(_ value: String) throws(InvalidConfig) {
        let text = Self.trim(value)
        switch rule {
        case .anything: break
        case .fraction:
            guard let number = Double(text), (0...1).contains(number) else {
                throw InvalidConfig("\(value) is no value for \(name), which lies between 0 and 1.")
            }
        case .oneOf(let allowed):
            let refusal = Self.refusals[name].map { " " + $0 } ?? ""
            let parts = kind == .list ? Self.elements(of: text) : [text]
            guard !parts.isEmpty, parts.allSatisfy(allowed.contains) else {
                throw InvalidConfig(
                    "\(value) is no value for \(name), which takes \(allowed.joined(separator: ", ")).\(refusal)")
            }
        case .range(let range):
            guard let number = Int64(text) else {
                throw InvalidConfig("\(value) is no value for \(name), which is a whole number.")
            }
            guard range.contains(number) else {
                throw InvalidConfig(
                    "\(value) is no value for \(name), which lies between \(range.lowerBound) and \(range.upperBound).")
            }
        }
    }

    /// The parts of a list value, in order, without the empty ones.
    package static func elements(of value: some StringProtocol) -> [String] {
        value.split(separator: ",").map { trim($0) }.filter { !$0.isEmpty }
    }

    static func trim(_ text: some StringProtocol) -> String {
        var slice = text[...]
        while let first = slice.first, first.isWhitespace { slice.removeFirst() }
        while let last = slice.last, last.isWhitespace { slice.removeLast() }
        return String(slice)
    }

    private static let refusals = SortedMap([
        ("compression.type", "Batches are kept as the producer made them; recompression is not done."),
        ("remote.storage.enable", "Tiered storage is not done yet."),
        ("message.timestamp.type", "The name is written as Kafka writes it."),
    ])
}

/// Why a setting was refused: the sentence that goes beside INVALID_CONFIG.
package struct InvalidConfig: Error, Hashable, Sendable {
    package var sentence: String

    package init(_ sentence: String) { self.sentence = sentence }
}
