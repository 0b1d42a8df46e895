// Deadlines of parked work, earliest first.

import Model

struct Timers<Action: Equatable> {
    fileprivate struct Key: Comparable, Hashable, Sendable {
        var at: Instant
        var number: UInt64

        static func < (a: Key, b: Key) -> Bool { a.at == b.at ? a.number < b.number : a.at < b.at }
    }

    private var actions = SortedMap<Key, Action>()
    private var nextNumber: UInt64 = 0

    var count: Int { actions.count }
    var nextDeadline: Instant { actions.keys.first?.at ?? .distantFuture }

    /// Names one timer, for `cancel`.
    struct ID: Hashable, Sendable {
        fileprivate var key: Key
    }

    @discardableResult
    mutating func add(_ action: Action, at instant: Instant) -> ID {
        let key = Key(at: instant, number: nextNumber)
        actions[key] = action
        nextNumber += 1
        return ID(key: key)
    }

    /// For work that ended before its deadline. Left behind, the timers of answered requests would pile up for as long
    /// as clients are ready to wait, and wake the shard for nothing.
    mutating func cancel(_ id: ID?) {
        if let id { actions.removeValue(forKey: id.key) }
    }

    /// The next action that is due.
    mutating func takeDue(at now: Instant) -> Action? {
        guard let first = actions.keys.first, first.at <= now else { return nil }
        return actions.removeValue(forKey: first)
    }
}
