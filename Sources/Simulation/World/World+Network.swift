// The network: connections that deliver in order and late, cuts that hold everything, and the three ways in which
// connecting fails.

import Broker
import Model
import NIOCore

extension World {
    // MARK: Links of nodes

    func openLink(_ link: LinkID, _ endpoint: Endpoint, of node: SimulatedNode, _ machine: Machine) {
        if let open = node.links(machine)[link] {
            if open.endpoint == endpoint { return }
            closeLink(link, of: node, machine)
        }
        linkAttempts += 1
        node.setLink(machine, link, SimulatedLink(endpoint: endpoint, attempt: linkAttempts))
        plan(.connect(node.id, life: node.life, machine, link, attempt: linkAttempts), inMicroseconds: 5)
    }

    func closeLink(_ link: LinkID, of node: SimulatedNode, _ machine: Machine) {
        if let number = node.links(machine)[link]?.connection, let connection = connections[number] {
            close(connection, by: .initiator)
        }
        node.setLink(machine, link, nil)
    }

    func connect(_ node: SimulatedNode, _ machine: Machine, _ link: LinkID, attempt: Int) {
        guard let state = node.links(machine)[link], state.attempt == attempt else { return }
        let target = NodeID(state.endpoint.port) - World.portBase
        let initiator = Initiator.link(node.id, life: node.life, machine, link, attempt: attempt)
        let connection = makeConnection(initiator, to: target)
        node.updateLink(machine, link) { $0.connection = connection.number }
    }

    func makeConnection(_ initiator: Initiator, to target: NodeID) -> Connection {
        connectionsMade += 1
        let pair = Lots.mixed(initiator.key, UInt64(target))
        let ordinal = connectionOrdinals[pair, default: 0] + 1
        connectionOrdinals[pair] = ordinal
        let key = Lots.mixed(pair, ordinal)
        let connection = Connection(
            number: connectionsMade, initiator: initiator, target: target, key: key, lots: lots.stream(.network, key))
        connections[connection.number] = connection
        if isBlocked(initiator.host, Int(target)) || isBlocked(Int(target), initiator.host) {
            plan(.knock(connection.number), inMicroseconds: LinkTiming.connectTimeoutMs * 1_000)
        } else {
            plan(.knock(connection.number), at: now + drawDelay(connection))
        }
        return connection
    }

    /// The first packet arrives, or the time for it is over.
    func knock(_ connection: Connection) {
        guard connection.isInitiatorOpen else { return drop(connection) }
        let host = connection.initiator.host
        if isBlocked(host, Int(connection.target)) || isBlocked(Int(connection.target), host) {
            connection.isInitiatorOpen = false
            drop(connection)
            return failed(connection, .timedOut)
        }
        let node = self.node(connection.target)
        guard node.isRunning else {
            connection.isInitiatorOpen = false
            drop(connection)
            return failed(connection, .refused)
        }
        connection.targetLife = node.life
        // By its key, which stays what it is when other connections go.
        connection.shard = Int(Lots.mixed(connection.key, 0x5348) % UInt64(max(1, node.shards.count)))
        connection.isAcceptorOpen = true
        load(.opened, on: connection, towards: .initiator)
        deliver(
            .shard(node.id, life: node.life, connection.shard, .connectionOpened(connection.id, client: "host\(host)")))
    }

    func failed(_ connection: Connection, _ failure: LinkFailure) {
        switch connection.initiator {
        case .client(let client): client.connectionFailed(connection)
        case .link(let id, let life, let machine, let link, let attempt):
            let node = self.node(id)
            guard node.life == life, let state = node.links(machine)[link], state.attempt == attempt else { return }
            var retry = state.retry
            let delayMs = retry.delayMs(after: failure, at: Instant(nanoseconds: now))
            linkAttempts += 1
            let next = linkAttempts
            node.updateLink(machine, link) {
                $0.attempt = next
                $0.connection = nil
                $0.isConnected = false
                $0.retry = retry
            }
            plan(
                .connect(id, life: life, machine, link, attempt: next),
                inMicroseconds: delayMs == 0 ? 20 : delayMs * 1_000)
            report(.failed(link, failure), to: node, machine)
        }
    }

    func report(_ event: LinkEvent, to node: SimulatedNode, _ machine: Machine) {
        switch machine {
        case .control: deliver(.control(node.id, life: node.life, .link(event)))
        case .shard(let index): deliver(.shard(node.id, life: node.life, index, .link(event)))
        }
    }

    // MARK: Cargo

    func load(_ cargo: Cargo, on connection: Connection, towards side: Side) {
        var notBefore = now + drawDelay(connection)
        if stallUntil > now, Lots.mixed(connection.key, stallLot) & 1 == 1 { notBefore = max(notBefore, stallUntil) }
        notBefore = max(notBefore, lateness(connection, towards: side))
        if side == .acceptor {
            connection.toAcceptor.cargo.append((notBefore, cargo))
        } else {
            connection.toInitiator.cargo.append((notBefore, cargo))
        }
        move(connection, towards: side)
    }

    /// Plans the next arrival, unless one is planned or a cut holds it.
    func move(_ connection: Connection, towards side: Side) {
        let lane = side == .acceptor ? connection.toAcceptor : connection.toInitiator
        guard !lane.isMoving, !lane.isEmpty, !isCut(connection, towards: side) else { return }
        if side == .acceptor { connection.toAcceptor.isMoving = true } else { connection.toInitiator.isMoving = true }
        plan(.arrival(connection.number, towards: side), at: max(now, lane.cargo[lane.head].notBefore))
    }

    private func isCut(_ connection: Connection, towards side: Side) -> Bool {
        let (a, b) = (connection.initiator.host, Int(connection.target))
        return side == .acceptor ? isBlocked(a, b) : isBlocked(b, a)
    }

    func arrived(_ connection: Connection, towards side: Side) {
        if side == .acceptor { connection.toAcceptor.isMoving = false } else { connection.toInitiator.isMoving = false }
        guard !isCut(connection, towards: side) else { return }
        if side == .acceptor {
            arrivedAtAcceptor(connection, connection.toAcceptor.takeFirst())
        } else {
            arrivedAtInitiator(connection, connection.toInitiator.takeFirst())
        }
        move(connection, towards: side)
        if !connection.isInitiatorOpen, !connection.isAcceptorOpen { drop(connection) }
    }

    private func arrivedAtAcceptor(_ connection: Connection, _ cargo: Cargo) {
        let node = self.node(connection.target)
        guard connection.isAcceptorOpen, node.life == connection.targetLife, node.isRunning else {
            // Nobody holds that end any more, and the kernel says so.
            connection.isAcceptorOpen = false
            if connection.isInitiatorOpen { load(.closed, on: connection, towards: .initiator) }
            return
        }
        switch cargo {
        case .opened: break
        case .frame(let frame):
            if connection.isReadingPaused { return connection.unread.append(frame) }
            deliver(.shard(node.id, life: node.life, connection.shard, .frameReceived(connection.id, frame)))
        case .closed:
            connection.isAcceptorOpen = false
            deliver(.shard(node.id, life: node.life, connection.shard, .connectionClosed(connection.id)))
        }
    }

    private func arrivedAtInitiator(_ connection: Connection, _ cargo: Cargo) {
        guard connection.isInitiatorOpen else { return }
        if case .closed = cargo {
            connection.isInitiatorOpen = false
            return failed(connection, .reset)
        }
        switch connection.initiator {
        case .client(let client):
            if case .frame(let frame) = cargo {
                client.frameReceived(frame, on: connection)
            } else {
                client.connected(connection)
            }
        case .link(let id, let life, let machine, let link, let attempt):
            let node = self.node(id)
            guard node.life == life, node.isRunning, node.links(machine)[link]?.attempt == attempt else { return }
            if case .frame(let frame) = cargo { return report(.frameReceived(link, frame), to: node, machine) }
            node.updateLink(machine, link) {
                $0.isConnected = true
                $0.retry.connected(at: Instant(nanoseconds: now))
            }
            report(.connected(link), to: node, machine)
        }
    }

    // MARK: Ends

    /// One side lets go; the other learns it behind everything that is on its way.
    func close(_ connection: Connection, by side: Side) {
        if side == .initiator {
            guard connection.isInitiatorOpen else { return }
            connection.isInitiatorOpen = false
            if connection.isAcceptorOpen { load(.closed, on: connection, towards: .acceptor) }
        } else {
            guard connection.isAcceptorOpen else { return }
            connection.isAcceptorOpen = false
            if connection.isInitiatorOpen { load(.closed, on: connection, towards: .initiator) }
        }
        if !connection.isInitiatorOpen, !connection.isAcceptorOpen { drop(connection) }
    }

    private func drop(_ connection: Connection) { connections.removeValue(forKey: connection.number) }

    /// Both sides learn at once that it broke.
    func reset(_ connection: Connection) {
        let node = self.node(connection.target)
        let wasOpen = connection.isInitiatorOpen
        connection.isInitiatorOpen = false
        if connection.isAcceptorOpen, node.life == connection.targetLife, node.isRunning {
            connection.isAcceptorOpen = false
            deliver(.shard(node.id, life: node.life, connection.shard, .connectionClosed(connection.id)))
        }
        connection.isAcceptorOpen = false
        drop(connection)
        if wasOpen { failed(connection, .reset) }
    }

    /// The process is gone, and its kernel closes what it held; with the power gone, nobody says anything.
    func closeConnections(of node: SimulatedNode, silently: Bool) {
        for connection in connectionsInOrder {
            var isOwn = false
            if case .link(let id, _, _, _, _) = connection.initiator { isOwn = id == node.id }
            if isOwn {
                if silently { connection.isInitiatorOpen = false } else { close(connection, by: .initiator) }
            } else if connection.target == node.id {
                if silently { connection.isAcceptorOpen = false } else { close(connection, by: .acceptor) }
            }
        }
    }

    // MARK: Cuts

    func isBlocked(_ from: Int, _ to: Int) -> Bool {
        if from > 0, !nodes[from - 1].isHostUp { return true }
        if to > 0, !nodes[to - 1].isHostUp { return true }
        return cuts[from][to] > 0
    }

    /// What was held goes on its way again, or its connection breaks.
    func release() {
        for connection in connectionsInOrder {
            let isHeld =
                (!connection.toAcceptor.isEmpty && !connection.toAcceptor.isMoving)
                || (!connection.toInitiator.isEmpty && !connection.toInitiator.isMoving)
            guard isHeld else { continue }
            if swarm.healsByReset, connection.isAcceptorOpen,
                !isCut(connection, towards: .acceptor), !isCut(connection, towards: .initiator)
            {
                reset(connection)
            } else {
                move(connection, towards: .acceptor)
                move(connection, towards: .initiator)
            }
        }
    }

    func drawDelay(_ connection: Connection) -> Int64 {
        let range = swarm.delayMicroseconds
        var delay = range.lowerBound + connection.lots.below(range.upperBound - range.lowerBound + 1)
        if spikeUntil > now, connection.lots.oneIn(4) { delay += connection.lots.below(spikeMicroseconds) }
        return delay * 1_000
    }
}
