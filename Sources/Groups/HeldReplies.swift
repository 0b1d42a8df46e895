// Answers that tell of records which are not committed yet, in the order of the offsets that they wait for.

import Model

struct HeldReplies: Equatable, Sendable {
    private struct Held: Equatable, Sendable {
        var after: Offset
        var since: Instant
        var ticket: GroupTicket
        var response: GroupResponse
    }

    private var replies: [Held] = []
    /// Since when the one that has waited longest waits; distant future: nothing waits.
    private(set) var oldest = Instant.distantFuture

    var isEmpty: Bool { replies.isEmpty }

    mutating func hold(_ ticket: GroupTicket, _ response: GroupResponse, after: Offset, at now: Instant) {
        var place = replies.count
        while place > 0, replies[place - 1].after > after { place -= 1 }
        replies.insert(Held(after: after, since: now, ticket: ticket, response: response), at: place)
        oldest = min(oldest, now)
    }

    /// Takes out what may leave now that all below `committed` is committed.
    mutating func release(committed: Offset) -> [(ticket: GroupTicket, response: GroupResponse)] {
        let count = replies.firstIndex { $0.after > committed } ?? replies.count
        defer {
            replies.removeFirst(count)
            settle()
        }
        return replies[..<count].map { ($0.ticket, $0.response) }
    }

    /// When the first of them has waited for this long.
    func deadline(afterMs patienceMs: Int64) -> Instant {
        replies.isEmpty ? .distantFuture : oldest.advanced(byMs: patienceMs)
    }

    /// Takes out what has waited for this long, and drops what it was to say.
    mutating func takeDue(at now: Instant, afterMs patienceMs: Int64) -> [GroupTicket] {
        guard deadline(afterMs: patienceMs) <= now else { return [] }
        let due = replies.filter { $0.since.advanced(byMs: patienceMs) <= now }.map(\.ticket)
        replies.removeAll { $0.since.advanced(byMs: patienceMs) <= now }
        settle()
        return due
    }

    /// They wait as if they had come so much later.
    mutating func postpone(byMs lateMs: Int64) {
        for place in replies.indices { replies[place].since = replies[place].since.advanced(byMs: lateMs) }
        settle()
    }

    mutating func removeAll() {
        replies.removeAll()
        settle()
    }

    private mutating func settle() {
        oldest = replies.lazy.map(\.since).min() ?? .distantFuture
    }
}
