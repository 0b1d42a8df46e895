// What goes wrong, as the schedule says. A fault that finds nothing to strike, like a pause of a node that is down,
// does nothing.

import Broker
import DiskSimulation
import Model
import Storage

extension World {
    func planFaults() {
        for fault in schedule.faults {
            plan(.run("due: \(fault)") { [unowned self] in begin(fault) }, at: fault.atMs * 1_000_000)
        }
    }

    private func begin(_ fault: Fault) {
        guard fault.node >= 1, Int(fault.node) <= nodes.count else { return }
        let node = self.node(fault.node)
        // Everything that the list leaves open, from the fault's own lot.
        var random = lots.stream(.chaos, fault.lot)
        let isDone =
            switch fault.kind {
            case .delaySpike: delaySpike(fault, &random)
            case .stall: stall(fault)
            case .connectionReset: resetConnection(&random)
            case .isolation: cut(of: node, oneWay: false, fault, &random)
            case .oneWayCut: cut(of: node, oneWay: true, fault, &random)
            case .split: split(node, fault)
            case .bridge: bridge(node, fault, &random)
            case .pause: pause(node, fault)
            case .clockDrift: drift(node, fault, &random)
            case .clockJump: jump(node, &random)
            case .crash: kill(node, .process, fault)
            case .crashInStep: kill(node, .process, fault, afterOperations: Int(random.below(12)))
            case .crashOfSome, .crashOfAll: crash(beginningWith: node, fault, &random)
            case .powerLoss: kill(node, .power(Self.drawPolicy(&random)), fault)
            case .powerLossInStep:
                kill(node, .power(Self.drawPolicy(&random)), fault, afterOperations: Int(random.below(12)))
            case .powerLossOfAll: powerLossOfAll(fault, &random)
            case .stop: stop(node, fault)
            case .stopOfAll: stopAll(fault, &random)
            case .slowDisk: slowDisk(node, fault, &random)
            case .fullDisk: fullDisk(node, fault, &random)
            case .writeError, .flushError: failDisk(node, fault)
            case .wipe: wipe(node, fault)
            case .rot: rot(node, fault, &random)
            case .blindness: blind(node, fault, &random)
            case .lateProposals: delayProposals(node, fault, &random)
            case .lateCopies: delayCopies(node, fault, &random)
            }
        if isDone, let index = FaultKind.allCases.firstIndex(of: fault.kind) { faultCounts[index] += 1 }
    }

    private func after(_ fault: Fault, _ words: String, _ action: @escaping () -> Void) {
        plan(.run(words, action), inMicroseconds: fault.durationMs * 1_000)
    }

    // MARK: Network

    private func delaySpike(_ fault: Fault, _ random: inout SeededRandom) -> Bool {
        spikeUntil = now + fault.durationMs * 1_000_000
        spikeMicroseconds = 1_000 << random.below(10)
        trace.note(now, "FAULT delays up to \(spikeMicroseconds) µs until \(Trace.seconds(spikeUntil))")
        return true
    }

    private func stall(_ fault: Fault) -> Bool {
        stallUntil = now + fault.durationMs * 1_000_000
        stallLot = fault.lot
        trace.note(now, "FAULT half of the connections stall until \(Trace.seconds(stallUntil))")
        return true
    }

    private func resetConnection(_ random: inout SeededRandom) -> Bool {
        // By their keys, which stay what they are when other faults go.
        let lot = random.next()
        let open = connectionsInOrder.filter { $0.isAcceptorOpen && $0.isInitiatorOpen }
        guard let connection = open.min(by: { Lots.mixed($0.key, lot) < Lots.mixed($1.key, lot) }) else { return false }
        trace.note(now, "FAULT connection \(connection.id) is reset")
        reset(connection)
        return true
    }

    private func cut(of node: SimulatedNode, oneWay: Bool, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        let id = Int(node.id)
        let inward = random.oneIn(2)
        let clientsToo = !oneWay && random.oneIn(2)
        var pairs: [(Int, Int)] = []
        for other in (clientsToo ? 0 : 1)...nodes.count where other != id {
            if !oneWay || inward { pairs.append((other, id)) }
            if !oneWay || !inward { pairs.append((id, other)) }
        }
        return cut(pairs, "node \(id) is cut off\(oneWay ? (inward ? ", inward" : ", outward") : "")", fault)
    }

    private func split(_ node: SimulatedNode, _ fault: Fault) -> Bool {
        let a = Int(node.id)
        let b = a % nodes.count + 1
        return cut([(a, b), (b, a)], "nodes \(a) and \(b) cannot see each other", fault)
    }

    /// `node` is the bridge.
    private func bridge(_ node: SimulatedNode, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        let others = nodes.map { Int($0.id) }.filter { $0 != Int(node.id) }
        let rotation = Int(random.below(Int64(others.count)))
        let turned = others[rotation...] + others[..<rotation]
        let left = turned.prefix(others.count / 2)
        let right = turned.dropFirst(others.count / 2)
        let pairs = left.flatMap { a in right.flatMap { b in [(a, b), (b, a)] } }
        return cut(
            pairs, "\(Array(left)) and \(Array(right)) see each other only through node \(node.id)", fault)
    }

    private func cut(_ pairs: [(Int, Int)], _ words: String, _ fault: Fault) -> Bool {
        trace.note(now, "FAULT \(words) for \(fault.durationMs) ms")
        for (from, to) in pairs { cuts[from][to] += 1 }
        after(fault, "heals: \(words)") { [unowned self] in
            for (from, to) in pairs where cuts[from][to] > 0 { cuts[from][to] -= 1 }
            release()
        }
        return true
    }

    // MARK: Clocks

    private func drift(_ node: SimulatedNode, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        // From a bad quartz to a machine that was given half or twice the time.
        let strength = [200, 20_000, 200_000, 500_000][Int(random.below(4))]
        let ppm = random.oneIn(2) ? strength : -strength
        trace.note(now, "FAULT the clock of node \(node.id) drifts by \(ppm) ppm for \(fault.durationMs) ms")
        setDrift(of: node, ppm: Int64(ppm))
        after(fault, "the clock of node \(node.id) goes right again") { [unowned self] in
            setDrift(of: node, ppm: 0)
        }
        return true
    }

    private func setDrift(of node: SimulatedNode, ppm: Int64) {
        guard node.driftPPM != ppm else { return }
        node.drift(now, ppm: ppm)
        replanTicks(of: node)
    }

    /// Wall time only: the monotonic clock knows no jumps.
    private func jump(_ node: SimulatedNode, _ random: inout SeededRandom) -> Bool {
        let reach: Int64 = [2_000, 3_600_000, 86_400_000, 31_536_000_000][Int(random.below(4))]
        let jumpMs = random.below(2 * reach) - reach
        trace.note(now, "FAULT the wall clock of node \(node.id) jumps by \(jumpMs) ms")
        node.wallOffsetMs += jumpMs
        return true
    }

    // MARK: Processes

    func pause(_ node: SimulatedNode, _ fault: Fault) -> Bool {
        guard node.isRunning, !node.isPaused else { return false }
        let life = node.life
        trace.note(now, "FAULT node \(node.id) pauses for \(fault.durationMs) ms")
        node.isPaused = true
        troubleByLag(node, fault)
        after(fault, "node \(node.id) goes on") { [unowned self] in
            if node.life == life { resume(node) }
        }
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
    private func kill(_ node: SimulatedNode, _ kind: CrashKind, _ fault: Fault, afterOperations: Int? = nil) -> Bool {
        guard node.isRunning, node.pendingCrash == nil else { return false }
        guard let afterOperations else {
            trace.note(now, "FAULT node \(node.id) dies")
            node.downtimeMs = fault.durationMs
            crash(node, kind)
            return true
        }
        trace.note(now, "FAULT node \(node.id) will die after \(afterOperations) disk operations")
        node.pendingCrash = PendingCrash(kind: kind, downtimeMs: fault.durationMs)
        node.disk.operationsUntilCrash = afterOperations
        return true
    }

    /// Several processes, or all, are killed at once, and come back one by one.
    private func crash(beginningWith node: SimulatedNode, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        let count = fault.kind == .crashOfAll ? nodes.count : 2 + Int(random.below(Int64(nodes.count - 2)))
        trace.note(now, "FAULT \(count) nodes die")
        for step in 0..<count {
            let victim = nodes[(Int(node.id) - 1 + step) % nodes.count]
            victim.downtimeMs = drawShare(of: fault, &random)
            crash(victim, .process)
        }
        return true
    }

    /// Half of the duration up to the whole: they do not come back at the same instant.
    private func drawShare(of fault: Fault, _ random: inout SeededRandom) -> Int64 {
        fault.durationMs / 2 + random.below(fault.durationMs / 2 + 1)
    }

    private func powerLossOfAll(_ fault: Fault, _ random: inout SeededRandom) -> Bool {
        trace.note(now, "FAULT the power of all fails")
        let policy = Self.drawPolicy(&random)
        for node in nodes {
            let own = Self.drawPolicy(&random)
            node.downtimeMs = drawShare(of: fault, &random)
            crash(node, .power(random.oneIn(2) ? policy : own))
        }
        return true
    }

    private func stop(_ node: SimulatedNode, _ fault: Fault) -> Bool {
        guard node.isRunning, !node.isPaused, !node.isStopping else { return false }
        let life = node.life
        trace.note(now, "FAULT node \(node.id) is asked to stop")
        node.isStopping = true
        node.downtimeMs = fault.durationMs
        deliver(.control(node.id, life: life, .stopRequested))
        plan(
            .run("node \(node.id) has had its time to stop") { [unowned self] in
                guard node.life == life, node.isRunning else { return }
                crash(node, .process)
            }, inMicroseconds: Self.stopTimeoutMs * 1_000)
        return true
    }

    private func stopAll(_ fault: Fault, _ random: inout SeededRandom) -> Bool {
        var isAny = false
        for node in nodes {
            var own = fault
            own.durationMs = drawShare(of: fault, &random)
            if stop(node, own) { isAny = true }
        }
        return isAny
    }

    // MARK: Disks

    private func slowDisk(_ node: SimulatedNode, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        node.diskDelay = 1_000 << random.below(11)
        troubleByLag(node, fault)
        trace.note(
            now,
            "FAULT the disk of node \(node.id) needs up to \(node.diskDelay) µs more for \(fault.durationMs) ms")
        after(fault, "the disk of node \(node.id) is as fast as before") { node.diskDelay = 0 }
        return true
    }

    private func fullDisk(_ node: SimulatedNode, _ fault: Fault, _ random: inout SeededRandom) -> Bool {
        let left = random.oneIn(3) ? 0 : random.below(4_000)
        trace.note(now, "FAULT the disk of node \(node.id) has \(left) bytes left for \(fault.durationMs) ms")
        trouble(node, fault)
        node.disk.capacityBytes = node.disk.usedBytes + left
        // Not even for the name of a log file: none is rolled, and a partition that is new here cannot be opened.
        if random.oneIn(2) { node.disk.noSpaceForNamesEndingIn = ".log" }
        after(fault, "the disk of node \(node.id) has room again") {
            node.disk.capacityBytes = nil
            node.disk.noSpaceForNamesEndingIn = nil
        }
        return true
    }

    /// The next write leaves part of itself; the next barrier leaves its bytes readable and clean, and off the medium.
    private func failDisk(_ node: SimulatedNode, _ fault: Fault) -> Bool {
        let error = DiskError.failed("simulated", errno: 5)
        trace.note(now, "FAULT the next \(fault.kind.rawValue) on the disk of node \(node.id)")
        trouble(node, fault)
        if fault.kind == .writeError { node.disk.failNextWrite = error } else { node.disk.failNextFlush = error }
        after(fault, "the disk of node \(node.id) fails no more") {
            if fault.kind == .writeError { node.disk.failNextWrite = nil } else { node.disk.failNextFlush = nil }
        }
        return true
    }

    /// A node may give up on such a disk, and starts again.
    private func trouble(_ node: SimulatedNode, _ fault: Fault) {
        node.troubledUntil = max(node.troubledUntil, now + (fault.durationMs + 3_000) * 1_000_000)
        checkers.mayFail(node)
    }

    /// A barrier that takes longer than `replica.lag.time.max.ms` ends a node, and here that may be short.
    private func troubleByLag(_ node: SimulatedNode, _ fault: Fault) {
        if swarm.replicaLagTimeMaxMs < 10_000 { trouble(node, fault) }
    }

    /// At most one disk in a run is replaced: a minority.
    private func wipe(_ node: SimulatedNode, _ fault: Fault) -> Bool {
        guard !hasWiped, rotten == nil, admin?.hasCreated == true, node.isRunning else { return false }
        wiped = node.id
        trace.note(now, "FAULT node \(node.id) loses its disk and gets an empty one")
        node.downtimeMs = fault.durationMs
        crash(node, .process)
        node.disk.wipe()
        checkers.wiped(node)
        return true
    }

    private static func drawPolicy(_ random: inout SeededRandom) -> PowerLossPolicy {
        let seed = random.next()
        return switch random.below(9) {
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

    /// What is cut, paused or slow is well again at once, and who is down comes back by itself.
    func healAll() {
        spikeUntil = 0
        stallUntil = 0
        for from in cuts.indices { for to in cuts[from].indices { cuts[from][to] = 0 } }
        trace.note(now, "all faults end")
        for node in nodes {
            node.pendingCrash = nil
            node.disk.operationsUntilCrash = nil
            node.disk.capacityBytes = nil
            node.disk.noSpaceForNamesEndingIn = nil
            (node.disk.failNextWrite, node.disk.failNextFlush) = (nil, nil)
            node.diskDelay = 0
            node.blindUntil = 0
            setDrift(of: node, ppm: 0)
            if node.isPaused { resume(node) }
        }
        release()
    }
}
