// What a coordinator wants done, in this order. The shard runs the effects of one input before it gives the next.

import Wire

package enum GroupEffect: Equatable, Sendable {
    /// Append as one batch to the coordinator's partition, and say `appended` or `refused` at once, before any other
    /// input.
    case append(DecisionID, [GroupRecord])
    /// Send the answer.
    case reply(GroupTicket, GroupResponse)
    /// Write a line to the node's log.
    case log(GroupEvent)
}

/// Names an append that was asked for.
package struct DecisionID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var rawValue: UInt64

    package init(_ rawValue: UInt64) { self.rawValue = rawValue }

    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    package var description: String { "\(rawValue)" }
}
