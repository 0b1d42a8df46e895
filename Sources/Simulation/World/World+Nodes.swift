// The nodes' processes: started, stepped, their effects carried out once a step is over, ended in three ways.

import Broker
import DiskSimulation
import Model
import NIOCore
import Storage

extension World {
    static let portBase: NodeID = 9_000
    static let dataDirectory = "/data"
    /// What the shell gives an orderly stop.
    static let stopTimeoutMs: Int64 = 10_000

    func node(_ id: NodeID) -> SimulatedNode { nodes[Int(id) - 1] }

    private func configuration(of id: NodeID) -> NodeConfiguration {
        var voters = SortedMap<NodeID, Endpoint>()
        for node in nodes { voters[node.id] = World.endpoint(of: node.id) }
        var configuration = NodeConfiguration(
            nodeID: id, voters: voters, advertised: World.endpoint(of: id), dataDirectory: World.dataDirectory)
        configuration.log.segmentBytes = swarm.segmentBytes
        configuration.topicDefaults["log.segment.bytes"] = String(swarm.segmentBytes)
        if swarm.retentionBytes >= 0 {
            configuration.topicDefaults["log.retention.bytes"] = String(swarm.retentionBytes)
            configuration.log.retentionCheckIntervalMs = 400
        }
        if swarm.compacts { configuration.log.cleanerBackoffMs = 150 }
        if swarm.heldCleaner == id, node(id).life % 2 == 1 { configuration.log.cleanerBytesPerSecond = 0 }
        configuration.topicDefaults["log.segment.delete.delay.ms"] = "500"
        configuration.log.openedInStepMax = 2
        if swarm.faults.contains(.rot) {
            configuration.log.scrubIntervalMs = 3_000
            configuration.log.scrubBytesPerSecond = 1 << 20
        }
        configuration.log.metadataSegmentBytes = swarm.metadataSegmentBytes
        configuration.log.metadataSnapshotBytes = swarm.metadataSnapshotBytes
        configuration.timing.replicaLagTimeMaxMs = swarm.replicaLagTimeMaxMs
        configuration.offsetsTopicPartitions = swarm.groupLogPartitions
        configuration.groups.sessionTimeoutMsMin = 100
        configuration.groups.consumerSessionTimeoutMs = SimulatedGroup.consumerSessionTimeoutMs
        configuration.groups.consumerHeartbeatIntervalMs = SimulatedGroup.heartbeatMs
        configuration.plantedBug = bug
        return configuration
    }

    static func endpoint(of id: NodeID) -> Endpoint { Endpoint(host: "node\(id)", port: UInt16(portBase + id)) }

    // MARK: Start

    func start(_ node: SimulatedNode) {
        guard !node.isRunning, node.isHostUp else { return }
        node.life += 1
        node.isStopping = false
        node.deferred = []
        node.isPaused = false
        var startLots = lots.stream(.start, UInt64(node.id), UInt64(node.life))
        let monotonic = startLots.below(1_000_000_000_000)
        let wallOffsetMs = startLots.below(20_000) - 10_000
        node.startClock(now, monotonic: monotonic, wallOffsetMs: swarm.hasRightClocks ? 0 : wallOffsetMs)
        node.lastMailAt = Machine.all.map { _ in now }
        node.tickAt = Machine.all.map { _ in .max }
        trace.note(now, "node \(node.id) starts, life \(node.life)")
        do throws(BootError) {
            let process = try Node.boot(
                configuration(of: node.id), controlDisk: DiskView(node.disk, machine: Machine.control.number),
                shardDisks: (0..<shardCount(of: node)).map {
                    DiskView(node.disk, machine: Machine.shard($0).number)
                },
                seed: startLots.next(), secret: startLots.next(), at: node.reading(now))
            node.process = process
            if node.disk.isCrashed { return crashInStep(node) }
            checkers.started(node, process, self)
            stepControl(node, .ticked)
            for index in process.shards.indices where node.isRunning { stepShard(node, index, .ticked) }
        } catch {
            if node.disk.isCrashed { return crashInStep(node) }
            trace.note(now, "node \(node.id) refuses to start: \(error)")
            if node.isDamaged { return }
            if now < node.troubledUntil { return planRestart(node) }
            violated("boot", "node \(node.id) refuses to start although its disk kept its promises: \(error)")
        }
    }

    /// Where the number of shards changes, each start draws it anew.
    private func shardCount(of node: SimulatedNode) -> Int {
        guard swarm.changesShards else { return swarm.shards }
        var random = lots.stream(.shards, UInt64(node.id), UInt64(node.life))
        return 1 + Int(random.below(Int64(swarm.shards)))
    }

    // MARK: Steps

    func stepControl(_ node: SimulatedNode, _ input: ControlInput) {
        guard let process = node.process else { return }
        var effects: [ControlEffect] = []
        process.control.step(input, at: node.reading(now), into: &effects)
        if node.disk.isCrashed { return crashInStep(node) }
        announceBarriers(node)
        checkers.controlStepped(node, process.control, self)
        for effect in effects where node.process != nil { carryOut(effect, of: node) }
        guard node.isRunning else { return }
        planTick(node, .control, process.control.nextDeadline)
    }

    func stepShard(_ node: SimulatedNode, _ index: Int, _ input: ShardInput) {
        guard let process = node.process else { return }
        let shard = process.shards[index]
        var effects: [ShardEffect] = []
        shard.step(input, at: node.reading(now), into: &effects)
        if node.disk.isCrashed { return crashInStep(node) }
        announceBarriers(node)
        // The checkers look before an acknowledgement leaves.
        checkers.shardStepped(node, shard, self)
        for effect in effects where node.process != nil { carryOut(effect, of: node, index) }
        guard node.isRunning else { return }
        planTick(node, .shard(index), shard.nextDeadline)
    }

    private func planTick(_ node: SimulatedNode, _ machine: Machine, _ deadline: Instant) {
        guard deadline != .distantFuture else { return }
        let at = max(now + 50_000, node.worldTime(of: deadline))
        guard at < node.tickAt[machine.place] else { return }
        node.tickAt[machine.place] = at
        plan(.tick(node.id, life: node.life, machine), at: at)
    }

    /// Its clock goes at another rate now: what was planned comes too late or too soon.
    func replanTicks(of node: SimulatedNode) {
        guard let process = node.process else { return }
        node.tickAt = Machine.all.map { _ in .max }
        planTick(node, .control, process.control.nextDeadline)
        for (index, shard) in process.shards.enumerated() { planTick(node, .shard(index), shard.nextDeadline) }
    }

    private func announceBarriers(_ node: SimulatedNode) {
        for ticket in node.disk.takeRequestedBarriers() {
            let range = swarm.barrierMicroseconds
            var delay = range.lowerBound + node.diskLots.below(range.upperBound - range.lowerBound + 1)
            if node.diskDelay > 0, node.diskLots.oneIn(2) { delay += node.diskLots.below(node.diskDelay) }
            if bug.makesBarrierLie(ticket) { delay = 1 }
            plan(.barrier(node.id, life: node.life, ticket), inMicroseconds: delay)
        }
    }

    func barrierDone(_ node: SimulatedNode, _ ticket: FlushTicket) {
        let (number, own) = DiskView.unmarked(ticket)
        let machine = Machine(number: number)
        let result: FlushResult
        if bug.makesBarrierLie(ticket) {
            result = .done
        } else {
            guard let done = node.disk.completeBarrier(ticket) else { return }
            result = done.result
        }
        if machine == .control { checkers.controlBarrierDone(node, own, self) }
        switch machine {
        case .control: deliver(.control(node.id, life: node.life, .flushed(own, result)))
        case .shard(let index): deliver(.shard(node.id, life: node.life, index, .flushed(own, result)))
        }
        if case .shard(let index) = machine, case .failed = result, !node.isPaused {
            deliver(
                .run(
                    "what becomes of a failed barrier",
                    { [unowned self] in checkers.disks.barrierFailed(node, shard: index, own, self) }))
        }
    }

    // MARK: Effects

    private func carryOut(_ effect: ControlEffect, of node: SimulatedNode) {
        switch effect {
        case .openLink(let link, let endpoint): openLink(link, endpoint, of: node, .control)
        case .closeLink(let link): closeLink(link, of: node, .control)
        case .send(let link, let frame): send(frame, on: link, of: node, .control)
        case .mail(let mail, let index):
            plan(.shard(node.id, life: node.life, index, .mailed(mail)), at: mailTime(of: node, .shard(index)))
        case .log(let line): trace.note(now, "node \(node.id) says: \(line.text)")
        case .ready: trace.note(now, "node \(node.id) is ready")
        case .stopped:
            trace.note(now, "node \(node.id) stopped in order")
            end(node, silently: false)
            node.disk.processCrash()
        case .halt(let reason): halted(node, reason)
        }
    }

    private func carryOut(_ effect: ShardEffect, of node: SimulatedNode, _ index: Int) {
        switch effect {
        case .respond(let id, let pieces): respond(id, pieces, of: node)
        case .close(let id):
            guard let connection = connections[Int(id.number)], connection.isAcceptorOpen else { return }
            close(connection, by: .acceptor)
            plan(.shard(node.id, life: node.life, index, .connectionClosed(id)), inMicroseconds: 20)
        case .pauseReading(let id): connections[Int(id.number)]?.isReadingPaused = true
        case .resumeReading(let id): resumeReading(id, of: node)
        case .openLink(let link, let endpoint): openLink(link, endpoint, of: node, .shard(index))
        case .closeLink(let link): closeLink(link, of: node, .shard(index))
        case .send(let link, let frame): send(frame, on: link, of: node, .shard(index))
        case .mail(let mail):
            plan(.control(node.id, life: node.life, .mailed(mail)), at: mailTime(of: node, .control))
        case .mailShard(let other, let mail):
            plan(.shard(node.id, life: node.life, other, .mailed(mail)), at: mailTime(of: node, .shard(other)))
        case .log(let line): trace.note(now, "node \(node.id) says: \(line.text)")
        case .halt(let reason): halted(node, reason)
        }
    }

    /// When mail sent now is there: behind all that was sent before to the same machine.
    private func mailTime(of node: SimulatedNode, _ machine: Machine) -> Int64 {
        let at = max(node.lastMailAt[machine.place], now + 1_000 + node.mailLots.below(60_000))
        node.lastMailAt[machine.place] = at
        return at
    }

    private func halted(_ node: SimulatedNode, _ reason: String) {
        trace.note(now, "node \(node.id) halts: \(reason)")
        if !node.isDamaged, now >= node.troubledUntil {
            violated("halt", "node \(node.id) gave up although its disk kept its promises: \(reason)")
        }
        end(node, silently: false)
        node.disk.processCrash()
    }

    private func send(_ frame: ByteBuffer, on link: LinkID, of node: SimulatedNode, _ machine: Machine) {
        guard let state = node.links(machine)[link], state.isConnected, let number = state.connection,
            let connection = connections[number]
        else { return }
        var frame = frame
        frame.moveReaderIndex(forwardBy: 4)
        load(.frame(frame), on: connection, towards: .acceptor)
    }

    private func respond(_ id: ConnectionID, _ pieces: [OutboundPiece], of node: SimulatedNode) {
        guard let connection = connections[Int(id.number)], connection.isAcceptorOpen else { return }
        var bytes = ByteBuffer()
        for piece in pieces {
            switch piece {
            case .bytes(let buffer): bytes.writeImmutableBuffer(buffer)
            case .file(let slice):
                do throws(DiskError) {
                    bytes.writeImmutableBuffer(
                        try node.disk.read(slice.file, at: slice.position, length: slice.length))
                } catch {
                    return violated("response", "node \(node.id) answers with \(slice), which cannot be read: \(error)")
                }
            }
        }
        while let length = bytes.readInteger(as: Int32.self) {
            guard let frame = bytes.readSlice(length: Int(length)) else {
                return violated("response", "node \(node.id) announced \(length) bytes and sent \(bytes.readableBytes)")
            }
            if case .client(let client) = connection.initiator { client.answerLeaves(frame, connection, from: node) }
            load(.frame(frame), on: connection, towards: .initiator)
        }
        guard !connection.isDrainPlanned else { return }
        connection.isDrainPlanned = true
        plan(
            .run("drained \(id)") { [unowned self] in
                connection.isDrainPlanned = false
                guard connection.isAcceptorOpen, node.life == connection.targetLife else { return }
                deliver(.shard(node.id, life: connection.targetLife, connection.shard, .outboundDrained(id)))
            }, inMicroseconds: 30)
    }

    private func resumeReading(_ id: ConnectionID, of node: SimulatedNode) {
        guard let connection = connections[Int(id.number)] else { return }
        connection.isReadingPaused = false
        for frame in connection.unread {
            plan(.shard(node.id, life: node.life, connection.shard, .frameReceived(id, frame)), inMicroseconds: 1)
        }
        connection.unread = []
    }

    // MARK: End

    /// The process is no more.
    func end(_ node: SimulatedNode, silently: Bool) {
        checkers.ended(node, self)
        node.process = nil
        node.deferred = []
        node.isPaused = false
        node.pendingCrash = nil
        node.dropLinks()
        closeConnections(of: node, silently: silently)
        planRestart(node)
    }

    func crashInStep(_ node: SimulatedNode) {
        let kind = node.pendingCrash?.kind ?? .process
        checkers.diedInStep(node)
        node.downtimeMs = node.pendingCrash?.downtimeMs
        trace.note(now, "node \(node.id) dies inside a step, \(node.disk.operationCount) disk operations old")
        crash(node, kind)
    }

    func crash(_ node: SimulatedNode, _ kind: CrashKind) {
        switch kind {
        case .process:
            trace.note(now, "node \(node.id) is killed")
            node.disk.processCrash()
            if node.isRunning { end(node, silently: false) } else { planRestart(node) }
        case .power(let policy):
            trace.note(now, "node \(node.id) loses power: \(policy)")
            powerLosses += 1
            node.isHostUp = false
            node.disk.powerLoss(policy: policy)
            if node.isRunning { end(node, silently: true) } else { planRestart(node) }
        }
    }

    private func planRestart(_ node: SimulatedNode) {
        let life = node.life
        var random = lots.stream(.downtime, UInt64(node.id), UInt64(life))
        let downtimeMs = node.downtimeMs ?? Schedule.drawDowntime(&random)
        node.downtimeMs = nil
        plan(
            .run("restart of node \(node.id)") { [unowned self] in
                guard node.life == life, !node.isRunning else { return }
                if !node.isHostUp {
                    node.isHostUp = true
                    release()
                }
                start(node)
            }, inMicroseconds: downtimeMs * 1_000)
    }
}
