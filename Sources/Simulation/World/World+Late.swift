// Faults that make one word come late: each arranges a meeting of an old message and a newer state that chance hardly
// ever brings about. They strike only where they are asked for by name, and so move no other seed's lots.

import Broker
import Model

extension World {
    /// `node` hears nothing of the metadata for some seconds, and everything else. Meanwhile another one restarts: it
    /// may cease to lead and lead again before this one has heard of either.
    func blind(_ node: SimulatedNode, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        guard node.isRunning else { return false }
        let forMs = 4_000 + fault.durationMs
        trace.note(now, "FAULT node \(node.id) hears nothing of the metadata for \(forMs) ms")
        node.blindUntil = now + forMs * 1_000_000
        let others = nodes.filter { $0 !== node }
        let other = others[Int(random.below(Int64(others.count)))]
        restart(other, inMs: 20 + random.below(200), downMs: 10 + random.below(60))
        return true
    }

    /// `node` restarts, and once more about when its leaders ask to take it in again; what they ask comes late. It may
    /// arrive when another incarnation is there.
    func delayProposals(_ node: SimulatedNode, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        guard node.isRunning else { return false }
        trace.note(now, "FAULT node \(node.id) restarts twice, and others ask the controller late")
        restart(node, inMs: 0, downMs: 10 + random.below(60))
        let heldInMs = 50 + random.below(400)
        plan(
            .run("what others ask the controller comes late") { [unowned self] in
                holdCalls(forMs: 900) { $0 != node.id }
            }, inMicroseconds: heldInMs * 1_000)
        restart(node, inMs: heldInMs + 20 + random.below(150), downMs: 5 + random.below(20))
        return true
    }

    /// `node` pauses for so long that leaders put it out of ISRs. What they ask of the controller about then comes so
    /// late that they ask again on other connections, and is there when the node is in sync again. Where the lag that
    /// leaders bear is long, it comes to nothing.
    func delayCopies(_ node: SimulatedNode, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        guard swarm.replicaLagTimeMaxMs < 10_000 else { return false }
        var pausing = fault
        pausing.durationMs = swarm.replicaLagTimeMaxMs + 300 + random.below(300)
        guard pause(node, pausing) else { return false }
        let heldInMs = swarm.replicaLagTimeMaxMs - random.below(300)
        let forMs = 2_000 + random.below(1_500)
        plan(
            .run("what is asked of the controller on the connections of now comes \(forMs) ms late") {
                [unowned self] in
                holdCalls(forMs: forMs) { $0 != node.id }
            }, inMicroseconds: heldInMs * 1_000)
        return true
    }

    /// On connections that stand now; those that are made later know nothing of it.
    private func holdCalls(forMs: Int64, of isHeld: (NodeID) -> Bool) {
        for connection in connectionsInOrder {
            guard case .link(let id, _, .control, let link, _) = connection.initiator, link.kind == .control,
                isHeld(id)
            else { continue }
            connection.toAcceptor.lateUntil = now + forMs * 1_000_000
            heldUntil = max(heldUntil, connection.toAcceptor.lateUntil)
        }
    }

    private func restart(_ node: SimulatedNode, inMs: Int64, downMs: Int64) {
        plan(
            .run("node \(node.id) is to restart") { [unowned self] in
                guard node.isRunning, node.pendingCrash == nil else { return }
                node.downtimeMs = downMs
                crash(node, .process)
            }, inMicroseconds: max(1, inMs * 1_000))
    }

    /// When what is loaded now arrives at the earliest.
    func lateness(_ connection: Connection, towards side: Side) -> Int64 {
        if side == .acceptor { return connection.toAcceptor.lateUntil }
        guard case .link(let id, _, .control, let link, _) = connection.initiator, link.kind == .quorum else {
            return 0
        }
        return node(id).blindUntil
    }
}
