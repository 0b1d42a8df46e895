// A simulated TCP connection: two queues of whole frames, in order within each, each on its own time.

import Broker
import Model
import NIOCore

enum Initiator {
    case link(NodeID, life: Int, Machine, LinkID, attempt: Int)
    case client(SimulatedClient)

    /// 0 is the clients' network.
    var host: Int {
        switch self {
        case .link(let node, _, _, _, _): Int(node)
        case .client: 0
        }
    }
}

extension Initiator {
    /// Who it is, the same in every run.
    var key: UInt64 {
        switch self {
        case .link(let node, _, let machine, let link, _):
            UInt64(node) << 32 | UInt64(link.node) << 16 | UInt64(link.kind.rawValue) << 1 | machine.lot
        case .client(let client): 1 << 63 | UInt64(client.number)
        }
    }
}

enum Cargo {
    /// The connection is there, as its initiator learns.
    case opened
    /// Without the length prefix.
    case frame(ByteBuffer)
    /// The other side is gone.
    case closed
}

/// One direction of a connection.
struct Lane {
    var cargo: [(notBefore: Int64, cargo: Cargo)] = []
    var head = 0
    /// Nothing that is loaded arrives before.
    var lateUntil: Int64 = 0
    /// Whether the event of the next arrival is planned. Not so while a cut holds everything.
    var isMoving = false

    var isEmpty: Bool { head == cargo.count }

    mutating func takeFirst() -> Cargo {
        let first = cargo[head].cargo
        head += 1
        if head == cargo.count {
            cargo.removeAll(keepingCapacity: true)
            head = 0
        }
        return first
    }
}

final class Connection {
    let number: Int
    let initiator: Initiator
    let target: NodeID
    /// The target's shard that accepted.
    var shard = 0
    /// For its delays.
    var lots: SeededRandom
    /// The same for the connection in its place in another run.
    let key: UInt64
    /// The life of the target's process that accepted.
    var targetLife = -1
    var toAcceptor = Lane()
    var toInitiator = Lane()
    /// Whether each side still holds its end.
    var isInitiatorOpen = true
    var isAcceptorOpen = false
    var isReadingPaused = false
    var unread: [ByteBuffer] = []
    var isDrainPlanned = false

    init(number: Int, initiator: Initiator, target: NodeID, key: UInt64, lots: SeededRandom) {
        self.number = number
        self.initiator = initiator
        self.target = target
        self.key = key
        self.lots = lots
    }

    var id: ConnectionID { ConnectionID(number: UInt64(number)) }
}

extension Machine {
    /// Its part of a link's key.
    fileprivate var lot: UInt64 {
        switch self {
        case .control: 1
        case .shard(let index): UInt64(index) << 8
        }
    }
}
