// Control on its event loop: feeds it what happens, carries out what it asks for.

import Broker
import Model
import NIOCore
import Storage

/// Like `ShardRunner`, without connections: control speaks only on the links that it opens.
final class ControlRunner {
    let loop: any EventLoop
    private let machine: any ControlMachine
    private let toShards: [Mailbox<ShardMail>]
    private let frameBytesMax: Int
    private let hooks: ProcessHooks

    private var queue = StepQueue<ControlInput>()
    private var effects: [ControlEffect] = []
    private var mail: [[ShardMail]]
    private var isReady = false
    private lazy var links = Links(
        loop: loop, frameBytesMax: frameBytesMax,
        report: { [self] in take(.link($0)) }, endTurn: { [self] in finishTurn() })
    private lazy var timer = StepTimer(
        loop: loop, nextDeadline: { [self] in machine.nextDeadline },
        fire: { [self] in
            take(.ticked)
            finishTurn()
        })

    init(
        machine: any ControlMachine, loop: any EventLoop, toShards: [Mailbox<ShardMail>], frameBytesMax: Int,
        hooks: ProcessHooks
    ) {
        self.machine = machine
        self.loop = loop
        self.toShards = toShards
        self.frameBytesMax = frameBytesMax
        self.hooks = hooks
        mail = Array(repeating: [], count: toShards.count)
    }

    func start(flushes: Mailbox<(FlushTicket, FlushResult)>, mail: Mailbox<ControlMail>) {
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

    func stop() {
        take(.stopRequested)
        finishTurn()
    }

    func take(_ input: ControlInput) {
        guard queue.begin(input) else { return }
        step(input)
        while let next = queue.next() { step(next) }
    }

    private func step(_ input: ControlInput) {
        var effects = effects
        self.effects = []
        machine.step(input, at: NodeClock.read(), into: &effects)
        for effect in effects { carryOut(effect) }
        effects.removeAll(keepingCapacity: true)
        self.effects = effects
        for shard in mail.indices where !mail[shard].isEmpty {
            toShards[shard].post(mail[shard])
            mail[shard].removeAll(keepingCapacity: true)
        }
    }

    private func carryOut(_ effect: ControlEffect) {
        switch effect {
        case .openLink(let id, let endpoint): links.open(id, to: endpoint)
        case .closeLink(let id): links.close(id)
        case .send(let id, let frame): links.send(id, frame)
        case .mail(let message, let shard): mail[shard].append(message)
        case .log(let line): hooks.log(line)
        case .ready:
            if !isReady { hooks.ready() }
            isReady = true
        case .stopped: hooks.stopped()
        case .halt(let reason): hooks.halt(reason)
        }
    }

    private func finishTurn() {
        guard !queue.isBusy else { return }
        links.flush()
        timer.arm()
    }
}
