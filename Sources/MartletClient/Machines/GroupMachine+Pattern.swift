// A member that reads the topics whose names match a pattern: it looks which ones there are from time to time.

import Model

extension GroupMachine {
    mutating func match(at now: Instant) {
        guard pattern != nil, !isMatching, matchAt <= now, !isClosing else { return }
        isMatching = true
        waiting.append(.matchTopics)
    }

    /// The topics that match, as one node knows them.
    /// - Parameters:
    ///   - unclear: those of which it cannot say more now.
    ///   - others: those that do not match. The coordinator may see that otherwise, and it is to be obeyed.
    package mutating func matched(
        _ found: [KnownTopic], unclear: [String] = [], others: [UUID128: String] = [:], at now: Instant
    ) {
        guard isMatching else { return }
        isMatching = false
        self.others = others
        let news = SortedMap(found.map { ($0.name, $0) })
        let names = Set(topics).union(news.keys).sorted()
        for name in names where news[name] != nil || !unclear.contains(name) { learn(news[name], of: name, at: now) }
        topics = names.filter { known[$0] != nil }
        hasMatched = true
        resolve()
        if unresolved == nil {
            troubles[.topics] = nil
            topicsBackoff.reset()
            matchAt = now.advanced(byMs: lookPauseMs)
        } else {
            struggle(.topics, "no node names all topics that were assigned in group \(groupID)", at: now)
            matchAt = topicsBackoff.pause(configuration.retryPauseMs, from: now)
        }
    }

    package mutating func failedToMatch(_ error: ClientError, at now: Instant) {
        isMatching = false
        guard error.isRetriable else { return fail(error, at: now) }
        // Without a first look there is nothing to join for.
        if !hasMatched || unresolved != nil { struggle(.topics, error.description, at: now) }
        matchAt = topicsBackoff.pause(configuration.retryPauseMs, from: now)
    }

    /// A classic group knows a member's topics by its last join.
    mutating func rejoinForOtherTopics(at now: Instant) {
        guard pattern != nil, !isNextGeneration, membership == .member, !isClosing, subscribed != topics else { return }
        rejoinReason = rejoinReason ?? "other topics match the pattern"
        if releasing == nil { membershipAt = now }
    }
}
