// Answers that tell of records which are not committed yet, in the order of the offsets that they wait for.

import Model

struct HeldReplies: Equatable, Sendable {
    private struct Held: Equatable, Sendable {
        var after: Offset
        var ticket: GroupTicket
        var response: GroupResponse
    }

    private var replies: [Held] = []

    var isEmpty: Bool { replies.isEmpty }

    mutating func hold(_ ticket: GroupTicket, _ response: GroupResponse, after: Offset) {
        var place = replies.count
        while place > 0, replies[place - 1].after > after { place -= 1 }
        replies.insert(Held(after: after, ticket: ticket, response: response), at: place)
    }

    /// Takes out what may leave now that all below `committed` is committed.
    mutating func release(committed: Offset) -> [(ticket: GroupTicket, response: GroupResponse)] {
        let count = replies.firstIndex { $0.after > committed } ?? replies.count
        defer { replies.removeFirst(count) }
        return replies[..<count].map { ($0.ticket, $0.response) }
    }

    mutating func removeAll() { replies.removeAll() }
}
