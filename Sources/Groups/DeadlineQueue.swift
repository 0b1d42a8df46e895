// Which group wants to be ticked next: a heap with at most one entry that counts for each group.

import Model

/// A deadline that moves later leaves its entry where it is: the group is looked at once in vain, and a heartbeat costs
/// nothing here.
struct DeadlineQueue: Equatable, Sendable {
    private struct Entry: Equatable, Sendable {
        var deadline: Instant
        var group: String

        func precedes(_ other: Entry) -> Bool {
            deadline == other.deadline ? group < other.group : deadline < other.deadline
        }
    }

    private var heap: [Entry] = []
    /// The deadline under which each group's entry stands.
    private var armed: [String: Instant] = [:]

    var first: Instant { heap.first?.deadline ?? .distantFuture }

    mutating func arm(_ group: String, at deadline: Instant) {
        guard deadline < .distantFuture, deadline < armed[group] ?? .distantFuture else { return }
        armed[group] = deadline
        heap.append(Entry(deadline: deadline, group: group))
        var child = heap.count - 1
        while child > 0, heap[child].precedes(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Takes out the groups whose deadline has come, in order.
    mutating func takeDue(at now: Instant) -> [String] {
        var due: [String] = []
        while let first = heap.first, first.deadline <= now {
            removeFirst()
            // An entry that an earlier deadline replaced counts no more.
            if armed[first.group] == first.deadline {
                armed[first.group] = nil
                due.append(first.group)
            }
        }
        return due
    }

    mutating func removeAll() {
        heap.removeAll()
        armed.removeAll()
    }

    private mutating func removeFirst() {
        let last = heap.removeLast()
        guard !heap.isEmpty else { return }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if heap[child].precedes(heap[least]) { least = child }
            }
            if least == parent { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
