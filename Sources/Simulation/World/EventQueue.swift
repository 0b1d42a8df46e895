// What will happen, by virtual time and then by the order in which it was planned: the only scheduler of the
// simulation.

import Broker
import Model
import Storage

enum Half: Hashable, Sendable { case control, shard }

enum Side: Hashable, Sendable { case initiator, acceptor }

enum Event {
    case control(NodeID, life: Int, ControlInput)
    case shard(NodeID, life: Int, ShardInput)
    case tick(NodeID, life: Int, Half)
    /// The disk finishes a barrier.
    case barrier(NodeID, life: Int, FlushTicket)
    /// A link tries to connect.
    case connect(NodeID, life: Int, Half, LinkID, attempt: Int)
    /// The first packet of connection `number` reaches its target.
    case knock(Int)
    /// The next thing on its way towards one side of connection `number` arrives.
    case arrival(Int, towards: Side)
    /// A timer of a client, a fault, its end: whatever needs no words of its own.
    case run(String, () -> Void)
}

struct EventQueue {
    /// The heap moves these small ones; events are large and stay where they are.
    private struct Entry {
        var at: Int64
        var number: UInt64
        var place: Int
    }

    private var heap: [Entry] = []
    private var events: [Event?] = []
    private var free: [Int] = []
    private var nextNumber: UInt64 = 0

    mutating func add(_ event: Event, at: Int64) {
        let place: Int
        if let reused = free.popLast() {
            place = reused
            events[place] = event
        } else {
            place = events.count
            events.append(event)
        }
        heap.append(Entry(at: at, number: nextNumber, place: place))
        nextNumber += 1
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard isBefore(child, parent) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func takeFirst() -> (at: Int64, event: Event)? {
        guard let last = heap.indices.last else { return nil }
        heap.swapAt(0, last)
        let first = heap.removeLast()
        var parent = 0
        while true {
            let left = 2 * parent + 1
            guard left < heap.count else { break }
            let right = left + 1
            let child = right < heap.count && isBefore(right, left) ? right : left
            guard isBefore(child, parent) else { break }
            heap.swapAt(child, parent)
            parent = child
        }
        guard let event = events[first.place] else { preconditionFailure("an entry without its event") }
        events[first.place] = nil
        free.append(first.place)
        return (first.at, event)
    }

    private func isBefore(_ a: Int, _ b: Int) -> Bool {
        heap[a].at == heap[b].at ? heap[a].number < heap[b].number : heap[a].at < heap[b].at
    }
}
