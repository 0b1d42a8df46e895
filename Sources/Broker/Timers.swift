// Deadlines of parked work, earliest first.

import Model

struct Timers<Action: Equatable> {
    private struct Key: Comparable, Hashable, Sendable {
        var at: Instant
        var number: UInt64

        static func < (a: Key, b: Key) -> Bool { a.at == b.at ? a.number < b.number : a.at < b.at }
    }

    private var actions = SortedMap<Key, Action>()
    private var nextNumber: UInt64 = 0

    var nextDeadline: Instant { actions.keys.first?.at ?? .distantFuture }

    mutating func add(_ action: Action, at instant: Instant) {
        actions[Key(at: instant, number: nextNumber)] = action
        nextNumber += 1
    }

    /// The next action that is due. Work that ended before its deadline leaves its timer behind; whoever runs the
    /// action finds nothing to do.
    mutating func takeDue(at now: Instant) -> Action? {
        guard let first = actions.keys.first, first.at <= now else { return nil }
        return actions.removeValue(forKey: first)
    }
}
