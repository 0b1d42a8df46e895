// What will happen, by virtual time and then by the order in which it was planned: the only scheduler of the
// simulation.

import Broker
import Model
import Storage

/// Of one node: its control, and its shards by index.
enum Machine: Hashable, Sendable, CustomStringConvertible {
    case control
    case shard(Int)

    /// Its place among the node's machines.
    var place: Int {
        switch self {
        case .control: 0
        case .shard(let index): 1 + index
        }
    }

    /// The most that a world is made for.
    static let shardsMax = 4

    /// Its number as the disk's barriers carry it.
    var number: UInt32 {
        switch self {
        case .control: 8
        case .shard(let index): UInt32(index)
        }
    }

    init(number: UInt32) { self = number == 8 ? .control : .shard(Int(number)) }

    static let all = [Machine.control] + (0..<shardsMax).map { .shard($0) }

    var description: String {
        switch self {
        case .control: "control"
        case .shard(0): "shard"
        case .shard(let index): "shard \(index)"
        }
    }
}

enum Side: Hashable, Sendable { case initiator, acceptor }

enum Event {
    case control(NodeID, life: Int, ControlInput)
    case shard(NodeID, life: Int, Int, ShardInput)
    case tick(NodeID, life: Int, Machine)
    /// The disk finishes a barrier.
    case barrier(NodeID, life: Int, FlushTicket)
    /// A link tries to connect.
    case connect(NodeID, life: Int, Machine, LinkID, attempt: Int)
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
