// One shard on its event loop: feeds it what happens, carries out what it asks for.

import Broker
import Model
import NIOCore
import Storage

/// Everything here happens on one loop. Inputs are stepped one by one and their effects carried out after each; answers
/// go to the sockets once at the end of a turn (`finishTurn`), which every source of inputs calls after its last one.
/// Timer, links and mailboxes hold the runner: it lives as long as its loop, which is as long as the process.
package final class ShardRunner {
    package let loop: any EventLoop
    private let index: Int
    private let shardCount: Int
    private let machine: any ShardMachine
    private let disk: PosixDisk
    private let toControl: Mailbox<ControlMail>
    /// To the node's shards, by index; this one's own is not used.
    private let toShards: [Mailbox<ShardMail>]
    private let settings: ConnectionSettings
    private let budget: FrameBudget
    private let count: ConnectionCount
    private let hooks: ProcessHooks

    private var queue = StepQueue<ShardInput>()
    private var effects: [ShardEffect] = []
    private var mail: [ControlMail] = []
    private var shardMail: [(shard: Int, mail: ShardMail)] = []
    private var connections: [ConnectionID: Connection] = [:]
    private var connectionsMade: UInt64 = 0
    /// First answered, first sent: a producer's acknowledgement leaves before the fetches that it woke.
    private var unflushed: CircularBuffer<Connection> = []
    private var continuing: [Connection] = []
    private var admission: FrameAdmission
    private var isFinishing = false
    private var isCheckScheduled = false
    private var lastRefusalAt: Instant?
    private lazy var links = Links(
        loop: loop, frameBytesMax: settings.frameBytesMax,
        report: { [self] in take(.link($0)) }, endTurn: { [self] in finishTurn() })
    private lazy var timer = StepTimer(
        loop: loop, nextDeadline: { [self] in machine.nextDeadline },
        fire: { [self] in
            take(.ticked)
            finishTurn()
        })

    package init(
        machine: any ShardMachine, disk: PosixDisk, loop: any EventLoop, index: Int, shardCount: Int,
        toControl: Mailbox<ControlMail>, toShards: [Mailbox<ShardMail>] = [], settings: ConnectionSettings,
        budget: FrameBudget, count: ConnectionCount,
        hooks: ProcessHooks
    ) {
        self.machine = machine
        self.disk = disk
        self.loop = loop
        self.index = index
        self.shardCount = shardCount
        self.toControl = toControl
        self.toShards = toShards
        self.settings = settings
        self.budget = budget
        self.count = count
        self.hooks = hooks
        admission = FrameAdmission(budget: budget)
    }

    /// Takes over the disk's reports and the mail, and begins to count time.
    package func start(flushes: Mailbox<(FlushTicket, FlushResult)>, mail: Mailbox<ShardMail>) {
        disk.willTruncate = { [self] file, sizeBytes in
            for connection in connections.values { connection.willTruncate(file, to: sizeBytes) }
        }
        flushes.install { [self] reports in
            for (ticket, result) in reports { take(.flushed(ticket, result)) }
            finishTurn()
        }
        mail.install { [self] messages in
            for message in messages { take(.mailed(message)) }
            finishTurn()
        }
        finishTurn()
    }

    // MARK: Steps

    func take(_ input: ShardInput) {
        guard queue.begin(input) else { return }
        step(input)
        while let next = queue.next() { step(next) }
    }

    private func step(_ input: ShardInput) {
        var effects = effects
        self.effects = []
        machine.step(input, at: NodeClock.read(), into: &effects)
        for effect in effects { carryOut(effect) }
        effects.removeAll(keepingCapacity: true)
        self.effects = effects
        if !mail.isEmpty {
            toControl.post(mail)
            mail.removeAll(keepingCapacity: true)
        }
        if !shardMail.isEmpty {
            for (shard, message) in shardMail { toShards[shard].post([message]) }
            shardMail.removeAll(keepingCapacity: true)
        }
    }

    private func carryOut(_ effect: ShardEffect) {
        switch effect {
        case .respond(let id, let pieces): respond(id, pieces)
        case .close(let id): connections[id]?.closeAfterWrites()
        case .pauseReading(let id): connections[id]?.pauseReading()
        case .resumeReading(let id): connections[id]?.resumeReading()
        case .openLink(let id, let endpoint): links.open(id, to: endpoint)
        case .closeLink(let id): links.close(id)
        case .send(let id, let frame): links.send(id, frame)
        case .mail(let message): mail.append(message)
        case .mailShard(let shard, let message): shardMail.append((shard, message))
        case .log(let line): hooks.log(line)
        case .halt(let reason): hooks.halt(reason)
        }
    }

    private func respond(_ id: ConnectionID, _ pieces: [OutboundPiece]) {
        guard let connection = connections[id] else { return }
        do throws(DiskError) {
            try connection.respond(pieces, disk: disk)
            willFlush(connection)
        } catch {
            // Part of the answer is written: only the end of the connection can tell the client.
            hooks.log(LogLine(.error, "cannot open a log file to send from it: \(error.sentence)"))
            connection.closeNow()
        }
    }

    /// Hands out what resumed connections had read, sends what was answered, and sets the timer.
    func finishTurn() {
        guard !isFinishing, !queue.isBusy else { return }
        isFinishing = true
        while true {
            if let connection = continuing.popLast() {
                connection.continueReading()
            } else if let connection = unflushed.popFirst() {
                connection.isMarkedForFlush = false
                connection.flush()
            } else {
                break
            }
        }
        links.flush()
        isFinishing = false
        timer.arm()
    }

    // MARK: From connections

    /// A new connection's handler, or nil when the node serves all it may.
    func accept() -> Connection? {
        guard count.admit() else {
            let now = NodeClock.now
            if lastRefusalAt.map({ now.milliseconds(since: $0) >= 10_000 }) ?? true {
                lastRefusalAt = now
                hooks.log(
                    LogLine(.warning, "connections are turned away: the node serves \(count.current) (max.connections)")
                )
            }
            return nil
        }
        let id = ConnectionID(number: connectionsMade * UInt64(shardCount) + UInt64(index))
        connectionsMade += 1
        return Connection(id: id, shard: self, settings: settings, budget: budget)
    }

    func opened(_ connection: Connection, client: String) {
        connections[connection.id] = connection
        take(.connectionOpened(connection.id, client: client))
        finishTurn()
        scheduleCheck()
    }

    func closed(_ connection: Connection) {
        frameFinished(connection)
        if connections.removeValue(forKey: connection.id) != nil { take(.connectionClosed(connection.id)) }
        finishTurn()
    }

    /// The channel is gone, whether it ever was active or not.
    func left() { count.leave() }

    func drained(_ connection: Connection) {
        take(.outboundDrained(connection.id))
        finishTurn()
    }

    func willFlush(_ connection: Connection) {
        if connection.isMarkedForFlush { return }
        connection.isMarkedForFlush = true
        unflushed.append(connection)
    }

    func willContinue(_ connection: Connection) { continuing.append(connection) }

    func mayGoOn(_ connection: Connection) -> Bool { admission.mayGoOn(connection.id) }

    func frameFinished(_ connection: Connection) {
        admission.finished(connection.id)
        while let next = admission.nextToResume() { connections[next]?.resumeWithinBudget() }
    }

    // MARK: Silent peers

    private func scheduleCheck() {
        guard !isCheckScheduled else { return }
        isCheckScheduled = true
        let everyMs = min(5_000, max(10, min(settings.stallMs, settings.idleMs) / 4))
        loop.assumeIsolated().scheduleTask(in: .milliseconds(everyMs)) { self.checkConnections() }
    }

    private func checkConnections() {
        isCheckScheduled = false
        let now = NodeClock.now
        for connection in Array(connections.values) { connection.check(at: now) }
        finishTurn()
        if !connections.isEmpty { scheduleCheck() }
    }
}
