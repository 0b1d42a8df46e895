// What goes wrong, by lot: one fault at a time begins, and most end by themselves.

import Broker
import DiskSimulation
import Model

extension World {
    func startFaults() {
        guard !swarm.faults.isEmpty else { return }
        areFaultsOn = true
        planFault()
    }

    private func planFault() {
        let wait = 1 + faultRandom.below(2 * swarm.faultIntervalMs)
        plan(
            .run("a fault is due") { [unowned self] in
                guard areFaultsOn else { return }
                begin(swarm.faults[Int(faultRandom.below(Int64(swarm.faults.count)))])
                planFault()
            }, inMicroseconds: wait * 1_000)
    }

    private func drawNode() -> SimulatedNode { nodes[Int(faultRandom.below(Int64(nodes.count)))] }

    /// Milliseconds; mostly short, sometimes longer than any session.
    private func drawDuration() -> Int64 {
        faultRandom.oneIn(3) ? 500 + faultRandom.below(3_000) : 10 + faultRandom.below(600)
    }

    private func begin(_ kind: FaultKind) {
        let node = drawNode()
        let isDone =
            switch kind {
            case .delaySpike: delaySpike()
            case .connectionReset: resetConnection()
            case .isolation: cut(of: node, oneWay: false, clientsToo: faultRandom.oneIn(2))
            case .oneWayCut: cut(of: node, oneWay: true, clientsToo: false)
            case .split: split(node)
            case .pause: pause(node)
            case .crash: kill(node, .process, afterOperations: nil)
            case .crashInStep: kill(node, .process, afterOperations: Int(faultRandom.below(12)))
            case .powerLoss: kill(node, .power(drawPolicy()), afterOperations: nil)
            case .powerLossInStep: kill(node, .power(drawPolicy()), afterOperations: Int(faultRandom.below(12)))
            case .powerLossOfAll: powerLossOfAll()
            case .stop: stop(node)
            case .slowDisk: slowDisk(node)
            case .wipe: wipe(node)
            }
        if isDone, let index = FaultKind.allCases.firstIndex(of: kind) { faultCounts[index] += 1 }
    }

    // MARK: Network

    private func delaySpike() -> Bool {
        spikeUntil = now + drawDuration() * 1_000_000
        spikeMicroseconds = 1_000 << faultRandom.below(10)
        trace.note(now, "FAULT delays up to \(spikeMicroseconds) µs until \(Trace.seconds(spikeUntil))")
        return true
    }

    private func resetConnection() -> Bool {
        guard !connections.isEmpty else { return false }
        let connection = connectionsInOrder[Int(faultRandom.below(Int64(connections.count)))]
        guard connection.isAcceptorOpen, connection.isInitiatorOpen else { return false }
        trace.note(now, "FAULT connection \(connection.id) is reset")
        reset(connection)
        return true
    }

    private func cut(of node: SimulatedNode, oneWay: Bool, clientsToo: Bool) -> Bool {
        let id = Int(node.id)
        let inward = faultRandom.oneIn(2)
        var pairs: [(Int, Int)] = []
        for other in (clientsToo ? 0 : 1)...nodes.count where other != id {
            if !oneWay || inward { pairs.append((other, id)) }
            if !oneWay || !inward { pairs.append((id, other)) }
        }
        return cut(pairs, "node \(id) is cut off\(oneWay ? (inward ? ", inward" : ", outward") : "")")
    }

    private func split(_ node: SimulatedNode) -> Bool {
        let a = Int(node.id)
        let b = a % nodes.count + 1
        return cut([(a, b), (b, a)], "nodes \(a) and \(b) cannot see each other")
    }

    private func cut(_ pairs: [(Int, Int)], _ words: String) -> Bool {
        let duration = drawDuration()
        trace.note(now, "FAULT \(words) for \(duration) ms")
        for (from, to) in pairs { cuts[from][to] += 1 }
        plan(
            .run("heals: \(words)") { [unowned self] in
                for (from, to) in pairs where cuts[from][to] > 0 { cuts[from][to] -= 1 }
                release()
            }, inMicroseconds: duration * 1_000)
        return true
    }

    // MARK: Processes

    private func pause(_ node: SimulatedNode) -> Bool {
        guard node.isRunning, !node.isPaused else { return false }
        let (life, duration) = (node.life, drawDuration())
        trace.note(now, "FAULT node \(node.id) pauses for \(duration) ms")
        node.isPaused = true
        plan(
            .run("node \(node.id) goes on") { [unowned self] in
                if node.life == life { resume(node) }
            }, inMicroseconds: duration * 1_000)
        return true
    }

    private func resume(_ node: SimulatedNode) {
        guard node.isPaused else { return }
        node.isPaused = false
        let deferred = node.deferred
        node.deferred = []
        for event in deferred { deliver(event) }
    }

    /// At once, or in the middle of a step when the disk has taken so many more changes.
    private func kill(_ node: SimulatedNode, _ kind: CrashKind, afterOperations: Int?) -> Bool {
        guard node.isRunning, node.pendingCrash == nil else { return false }
        guard let afterOperations else {
            trace.note(now, "FAULT node \(node.id) dies")
            crash(node, kind)
            return true
        }
        trace.note(now, "FAULT node \(node.id) will die after \(afterOperations) disk operations")
        node.pendingCrash = kind
        node.disk.operationsUntilCrash = afterOperations
        return true
    }

    private func powerLossOfAll() -> Bool {
        trace.note(now, "FAULT the power of all fails")
        let policy = drawPolicy()
        for node in nodes { crash(node, .power(faultRandom.oneIn(2) ? policy : drawPolicy())) }
        return true
    }

    private func stop(_ node: SimulatedNode) -> Bool {
        guard node.isRunning, !node.isPaused, !node.isStopping else { return false }
        trace.note(now, "FAULT node \(node.id) is asked to stop")
        node.isStopping = true
        deliver(.control(node.id, life: node.life, .stopRequested))
        return true
    }

    private func slowDisk(_ node: SimulatedNode) -> Bool {
        let duration = drawDuration()
        node.diskDelay = 1_000 << faultRandom.below(11)
        trace.note(now, "FAULT the disk of node \(node.id) needs up to \(node.diskDelay) µs more for \(duration) ms")
        plan(
            .run(
                "the disk of node \(node.id) is as fast as "
                    + "before"
            ) { node.diskDelay = 0 }, inMicroseconds: duration * 1_000)
        return true
    }

    /// At most one disk in a run is replaced: a minority.
    private func wipe(_ node: SimulatedNode) -> Bool {
        guard !hasWiped, admin?.isDone == true, node.isRunning else { return false }
        wiped = node.id
        trace.note(now, "FAULT node \(node.id) loses its disk and gets an empty one")
        crash(node, .process)
        node.disk.wipe()
        checkers.wiped(node)
        return true
    }

    private func drawPolicy() -> PowerLossPolicy {
        let seed = faultRandom.next()
        return switch faultRandom.below(9) {
        case 0: .keepNothing
        case 1: .keepEverything
        case 2: .contentsOnly
        case 3: .namesOnly
        case 4: .sizesWithoutContents(seed: seed)
        case 5: .someOperations(seed: seed)
        case 6: .someSectors(seed: seed)
        case 7: .tornLastWrite(seed: seed)
        default: .allButFirst
        }
    }

    // MARK: The end of faults

    /// No new faults; what is cut, paused or slow is well again at once, and who is down comes back by itself.
    func healAll() {
        areFaultsOn = false
        spikeUntil = 0
        for from in cuts.indices { for to in cuts[from].indices { cuts[from][to] = 0 } }
        trace.note(now, "all faults end")
        for node in nodes {
            node.pendingCrash = nil
            node.disk.operationsUntilCrash = nil
            node.diskDelay = 0
            if node.isPaused { resume(node) }
        }
        release()
    }
}
