// Which topics each expression names, remembered as long as the topics are the same.

import Model

/// Members of a group, and groups, mostly share their expressions: each is matched against all topics once, not once
/// for every member that joins.
struct PatternNames: Equatable, Sendable {
    private var found: [String: [String]] = [:]
    /// Beyond that all are forgotten: clients choose expressions, and must not choose how much is remembered.
    static let countMax = 100

    /// Sorted; none where the expression is not understood.
    mutating func names(_ text: String, among topics: any TopicLookup) -> [String] {
        if let names = found[text] { return names }
        let names = TopicPattern(text).map { topics.topicNames.filter($0.matches).sorted() } ?? []
        if found.count >= Self.countMax { found.removeAll() }
        found[text] = names
        return names
    }

    /// The topics are not what they were.
    mutating func removeAll() { found.removeAll() }
}
