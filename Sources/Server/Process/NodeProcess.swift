// One node's process from start to end: the parts are made, joined and left to their loops.

import Broker
import CPosix
import Glibc
import Logging
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Storage

/// `run` returns when the node has stopped: 0 after an orderly stop, 1 when it could not start or cannot go on.
package enum NodeProcess {
    /// The shortest that Linux grants. Each acknowledgement is a chain of short wake-ups, of loops and flushers on all
    /// nodes; beside busy neighbours each of them would wait for a tick of 4 ms (docs/decisions/0031).
    private static let turnNanoseconds: UInt64 = 100_000

    /// Threads that bring into memory what consumers want and only the disk has: a barrier must not stand behind them.
    private static let readerThreads = 2

    package static func run(_ configuration: StartConfiguration) -> Int32 {
        let startedAt = NodeClock.now
        // Before there are other threads, which have it from this one. Where it fails, the node is only slower.
        _ = posix_ask_for_short_turns(turnNanoseconds)
        do throws(StartError) {
            let end = try ProcessEnd()
            let level = try StderrLog.level(named: configuration.logLevelName)
            let nodeID = configuration.node.nodeID
            let log = Logger(label: "martlet") { _ in StderrLog(nodeID: nodeID, level: level) }
            let parts = try start(configuration, log: log, startedAt: startedAt, end: end)
            let stopTimeoutMs = configuration.node.timing.stopTimeoutMs
            let code = end.wait { stop(parts, stopTimeoutMs, $0, log: log, end: end) }
            log.notice("\(code == 0 ? "stopped" : "ends after a failure")")
            // The loops run until the kernel ends them: waiting for them could only delay the end.
            return code
        } catch {
            writeToStandardError("Error: \(error.description)\n")
            return 1
        }
    }

    /// What must live as long as the node.
    private struct Parts {
        var listener: any Channel
        var control: NIOLoopBound<ControlRunner>
        var groups: [MultiThreadedEventLoopGroup]
    }

    /// Asks for an orderly stop and bounds it.
    private static func stop(_ parts: Parts, _ timeoutMs: Int64, _ signal: String, log: Logger, end: ProcessEnd) {
        log.notice("\(signal): stopping, at most \(timeoutMs) ms; a second signal ends the process at once")
        let control = parts.control
        control.eventLoop.execute { control.value.stop() }
        control.eventLoop.scheduleTask(in: .milliseconds(timeoutMs)) {
            log.warning("the orderly stop took longer than \(timeoutMs) ms and was cut short")
            end.decide(0)
        }
    }

    private static func start(
        _ configuration: StartConfiguration, log: Logger, startedAt: Instant, end: ProcessEnd
    ) throws(StartError) -> Parts {
        var configuration = configuration
        fitToOpenFilesLimit(&configuration, log: log)
        // Only the end of the process gives the lock back: loops and flushers may write until then.
        _ = Unmanaged.passRetained(try DirectoryLock(dataDirectory: configuration.node.dataDirectory))
        let controlGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let controlLoop = controlGroup.next()
        let shardGroup = MultiThreadedEventLoopGroup(numberOfThreads: configuration.shardThreads)
        let shardLoops = Array(shardGroup.makeIterator()).map { $0 as any EventLoop }

        let hooks = ProcessHooks(
            log: { log.write($0) },
            halt: { reason in
                log.error("cannot go on: \(reason)")
                end.decide(1)
            },
            ready: {
                log.notice("ready in \(NodeClock.now.milliseconds(since: startedAt)) ms")
                // A third of an idle node's memory: Foundation and more, for the command line and cluster.yaml.
                posix_let_go_of_library_code()
            },
            stopped: { end.decide(0) })

        let boxes = Mailboxes(controlLoop: controlLoop, shardLoops: shardLoops)
        let reserve = SpaceReserve(dataDirectory: configuration.node.dataDirectory) { log.warning("\($0)") }
        let node = try boot(configuration, boxes: boxes, reserve: reserve)
        let wiring = Wiring(configuration: configuration, node: node, boxes: boxes, hooks: hooks)
        let shards = try wiring.startShards(on: shardLoops)
        let listener = try Listener.open(on: configuration.listen, group: shardGroup, shards: shards)
        introduce(configuration, log: log, loop: controlLoop)
        let control = try wiring.startControl(on: controlLoop)
        return Parts(listener: listener, control: control, groups: [controlGroup, shardGroup])
    }

    private static func boot(
        _ configuration: StartConfiguration, boxes: Mailboxes, reserve: SpaceReserve
    ) throws(StartError) -> Booted {
        // The Broker names every file with its data directory.
        let root = ""
        let controlBox = boxes.controlFlushes
        let controlDisk = PosixDisk(
            root: root, flushers: FlusherPool(threadCount: 1), openFilesMax: 64, reserve: reserve, holdsRecords: false,
            deliver: { controlBox.post([($0, $1)]) })
        let flushers = FlusherPool(threadCount: configuration.flusherThreads)
        let readers = FlusherPool(threadCount: readerThreads)
        let shardDisks = boxes.shardFlushes.map { box in
            PosixDisk(
                root: root, flushers: flushers, readers: readers,
                openFilesMax: configuration.openFilesMax / configuration.shardThreads,
                reserve: reserve, deliver: { box.post([($0, $1)]) })
        }
        do throws(BootError) {
            let node = try Node.boot(
                configuration.node, controlDisk: controlDisk, shardDisks: shardDisks,
                seed: UInt64.random(in: .min ... .max), secret: UInt64.random(in: .min ... .max), at: NodeClock.read())
            return Booted(control: node.control, shards: node.shards, shardDisks: shardDisks)
        } catch {
            switch error {
            case .refused(let sentence): throw StartError(sentence)
            }
        }
    }

    /// Connections and log files share the process's descriptors.
    private static func fitToOpenFilesLimit(_ configuration: inout StartConfiguration, log: Logger) {
        let limit = Int(posix_raise_open_files_limit())
        let files = min(configuration.openFilesMax, max(64, limit / 4))
        let connections = min(configuration.connections.connectionsMax, max(64, limit - files - 512))
        if files < configuration.openFilesMax || connections < configuration.connections.connectionsMax {
            log.debug("the limit of \(limit) open files leaves \(files) log files and \(connections) connections")
        }
        configuration.openFilesMax = files
        configuration.connections.connectionsMax = connections
    }

    private static func introduce(_ configuration: StartConfiguration, log: Logger, loop: any EventLoop) {
        let node = configuration.node
        let voters = node.voters.count
        let place = voters == 1 ? "a cluster of one node" : "one of \(voters) nodes"
        log.notice("\(place), data in \(node.dataDirectory)")
        log.notice("acks=all is answered when a write is fsynced on every in-sync replica")
        log.notice("listens on \(configuration.listen), tells others \(node.advertised)")
        Listener.canReach(node.advertised, from: loop).whenSuccess { isReachable in
            if isReachable { return }
            let address = "\(node.advertised), the address that clients and other nodes are told"
            log.warning("cannot connect to \(address): check advertised in the configuration")
        }
    }
}

/// What boot made, on its way from the thread that started the process to the loops.
final class Booted: @unchecked Sendable {
    // Proof: made and filled on the starting thread; afterwards each element is touched by one loop only, once it has
    // been handed over by a task on that loop, which orders the accesses.
    let control: Control
    let shards: [Shard]
    let shardDisks: [PosixDisk]

    init(control: Control, shards: [Shard], shardDisks: [PosixDisk]) {
        self.control = control
        self.shards = shards
        self.shardDisks = shardDisks
    }
}

/// The ways in from other threads, made before the machines that they lead to.
struct Mailboxes: Sendable {
    let controlFlushes: Mailbox<(FlushTicket, FlushResult)>
    let shardFlushes: [Mailbox<(FlushTicket, FlushResult)>]
    let controlMail: Mailbox<ControlMail>
    let shardMail: [Mailbox<ShardMail>]

    init(controlLoop: any EventLoop, shardLoops: [any EventLoop]) {
        controlFlushes = Mailbox(loop: controlLoop)
        controlMail = Mailbox(loop: controlLoop)
        shardFlushes = shardLoops.map { Mailbox(loop: $0) }
        shardMail = shardLoops.map { Mailbox(loop: $0) }
    }
}

/// Puts each machine on its loop.
private struct Wiring: Sendable {
    let configuration: StartConfiguration
    let node: Booted
    let boxes: Mailboxes
    let hooks: ProcessHooks

    func startShards(on loops: [any EventLoop]) throws(StartError) -> [NIOLoopBound<ShardRunner>] {
        let settings = configuration.connections
        let budget = FrameBudget(limitBytes: settings.partialFrameBytesMax)
        let count = ConnectionCount(limit: settings.connectionsMax)
        var runners: [NIOLoopBound<ShardRunner>] = []
        for (index, loop) in loops.enumerated() {
            runners.append(
                try onLoop(loop) {
                    let runner = ShardRunner(
                        machine: node.shards[index], disk: node.shardDisks[index], loop: loop, index: index,
                        shardCount: loops.count, toControl: boxes.controlMail, toShards: boxes.shardMail,
                        settings: settings, budget: budget, count: count, hooks: hooks)
                    runner.start(flushes: boxes.shardFlushes[index], mail: boxes.shardMail[index])
                    return NIOLoopBound(runner, eventLoop: loop)
                })
        }
        return runners
    }

    func startControl(on loop: any EventLoop) throws(StartError) -> NIOLoopBound<ControlRunner> {
        try onLoop(loop) {
            let runner = ControlRunner(
                machine: node.control, loop: loop, toShards: boxes.shardMail,
                frameBytesMax: configuration.connections.frameBytesMax, hooks: hooks)
            runner.start(flushes: boxes.controlFlushes, mail: boxes.controlMail)
            return NIOLoopBound(runner, eventLoop: loop)
        }
    }

    private func onLoop<Value: Sendable>(
        _ loop: any EventLoop, _ body: @escaping @Sendable () -> Value
    ) throws(StartError) -> Value {
        do {
            return try loop.submit(body).wait()
        } catch {
            throw StartError("an event loop could not be started: \(error)")
        }
    }
}
