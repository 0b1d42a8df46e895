// The bytes of frames that are not whole yet, over a whole node and for one loop's connections.

import Broker
import Synchronization

/// What all loops of a node hold together.
package final class FrameBudget: Sendable {
    private let limitBytes: Int
    private let heldBytes = Atomic<Int>(0)

    package init(limitBytes: Int) { self.limitBytes = limitBytes }

    package var isOver: Bool { heldBytes.load(ordering: .relaxed) > limitBytes }
    package var held: Int { heldBytes.load(ordering: .relaxed) }

    package func change(by bytes: Int) {
        if bytes != 0 { heldBytes.wrappingAdd(bytes, ordering: .relaxed) }
    }
}

/// Counts the node's connections.
package final class ConnectionCount: Sendable {
    private let limit: Int
    private let count = Atomic<Int>(0)

    package init(limit: Int) { self.limit = limit }

    package var current: Int { count.load(ordering: .relaxed) }

    /// False when the node serves all the connections it may.
    func admit() -> Bool {
        if count.wrappingAdd(1, ordering: .relaxed).newValue <= limit { return true }
        leave()
        return false
    }

    func leave() { count.wrappingSubtract(1, ordering: .relaxed) }
}

/// Who of one loop's connections may go on reading while the node's budget is used up: one at a time, until its frame
/// is whole. So a budget full of half frames still empties, and connections wait only while another of the same loop
/// makes progress.
package struct FrameAdmission {
    private let budget: FrameBudget
    private var holder: ConnectionID?
    private var waiting: [ConnectionID] = []

    package init(budget: FrameBudget) { self.budget = budget }

    /// Asked by a connection in the middle of a frame. False: it waits, and `nextToResume` will name it.
    package mutating func mayGoOn(_ connection: ConnectionID) -> Bool {
        if !budget.isOver || holder == connection { return true }
        if holder == nil {
            holder = connection
            return true
        }
        waiting.append(connection)
        return false
    }

    /// The connection's frame is whole, or the connection is gone.
    package mutating func finished(_ connection: ConnectionID) {
        if holder == connection { holder = nil }
        if !waiting.isEmpty { waiting.removeAll { $0 == connection } }
    }

    /// The next connection that need not wait any longer.
    package mutating func nextToResume() -> ConnectionID? {
        guard !waiting.isEmpty, !budget.isOver || holder == nil else { return nil }
        let next = waiting.removeFirst()
        if budget.isOver { holder = next }
        return next
    }
}
