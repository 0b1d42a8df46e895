// Nodes in one process: real frames between them, a clock that only moves when asked, disks whose barriers can be held.

import Broker
import DiskSimulation
import Model
import NIOCore
import Storage
import Testing
import Wire

/// One connection of a test client and what came back on it.
final class Client {
    let host: Host
    let id: ConnectionID
    var frames: [ByteBuffer] = []
    var isClosed = false
    private var nextCorrelationID: Int32 = 1
    private let world: World

    init(_ host: Host, _ world: World, shard: Int? = nil) {
        self.host = host
        self.world = world
        self.id = world.accept(on: host, shard: shard)
        world.clients[id] = self
    }

    /// A connection that claims, by NodeHello, to be a node.
    static func introduced(as id: NodeID, to host: Host, _ world: World) throws -> Client {
        let client = Client(host, world)
        var hello = NodeHelloRequest()
        hello.nodeID = id
        hello.incarnationID = UUID128(high: 5, low: 5)
        _ = try client.call(hello)
        return client
    }

    @discardableResult
    func send<M: WireRequest>(_ message: M, version: Int16? = nil) -> Int32 {
        var frame = encodeRequestFrame(
            message, version: version ?? M.versions.upperBound, correlationID: nextCorrelationID, clientID: "test")
        frame.moveReaderIndex(forwardBy: 4)
        defer { nextCorrelationID += 1 }
        sendRaw(frame)
        return nextCorrelationID
    }

    func sendRaw(_ frame: ByteBuffer) { world.post(host, .shard(.frameReceived(id, frame), at: world.shard(of: id))) }

    /// The oldest answer not yet taken, as an answer to `type`.
    func take<M: WireRequest>(_ type: M.Type, version: Int16? = nil) throws -> M.Response {
        var frame = try #require(frames.isEmpty ? nil : frames.removeFirst(), "no answer to \(M.api)")
        return try decodeResponse(of: type, version: version ?? M.versions.upperBound, from: &frame).response
    }

    /// Sends and waits for the answer.
    func call<M: WireRequest>(_ message: M, version: Int16? = nil, withinMs: Int64 = 8_000) throws -> M.Response {
        let before = frames.count
        send(message, version: version)
        world.run(forMs: withinMs) { frames.count > before || isClosed }
        return try take(M.self, version: version)
    }
}

final class Host {
    enum Input {
        case shard(ShardInput, at: Int = 0)
        case control(ControlInput)
    }

    struct DirectoryAnswer: Equatable {
        var key: TopicPartition
        var directory: UUID128
        var error: ErrorCode
    }

    /// A link of one of its machines; control is −1.
    struct LinkKey: Hashable {
        var machine: Int
        var id: LinkID
    }

    struct Link {
        var endpoint: Endpoint
        /// The connection at the other end.
        var peer: (host: Host, connection: ConnectionID)?
    }

    let configuration: NodeConfiguration
    /// From the next start on.
    var shards: Int
    var controlDisk: SimulatedDisk
    var shardDisk: SimulatedDisk
    var node: Node?
    /// Counts the starts: what was posted to an earlier one is dropped.
    var life = 0
    var holdsShardFlushes = false
    var links: [LinkKey: Link] = [:]
    var served: [ConnectionID: (host: Host, link: LinkKey)] = [:]
    var lines: [LogLine] = []
    var halted: String?
    var isReady = false
    var isStopped = false
    var framesSent = 0
    /// What its control told its shard of replicas' directories.
    var directoryAnswers: [DirectoryAnswer] = []
    /// Requests of other nodes that this one must not see, by API and sender.
    var deaf: (APIKey, NodeID) -> Bool = { _, _ in false }

    init(_ configuration: NodeConfiguration, seed: UInt64, shards: Int) {
        self.configuration = configuration
        self.shards = shards
        controlDisk = SimulatedDisk(seed: seed)
        shardDisk = SimulatedDisk(seed: seed + 1)
    }

    var id: NodeID { configuration.nodeID }
}

final class World {
    private struct Event {
        var atMs: Int64
        var host: Host?
        var life: Int
        var input: Host.Input?
        var action: (() -> Void)?
    }

    private(set) var nowMs: Int64 = 1_000
    private var events: [Event] = []
    private var nextConnection: UInt64 = 1
    /// Of the last start; another world that goes on with the same disks must begin elsewhere.
    var seed: UInt64 = 7
    var clients: [ConnectionID: Client] = [:]
    private var shardOfConnection: [ConnectionID: Int] = [:]
    var hosts: [Host] = []

    init(nodes: Int, shards: Int = 1, _ configure: (inout NodeConfiguration) -> Void = { _ in }) {
        let voters = SortedMap((1...nodes).map { (NodeID($0), Endpoint(host: "n\($0)", port: UInt16(9000 + $0))) })
        for (id, endpoint) in voters {
            var configuration = NodeConfiguration(nodeID: id, voters: voters, advertised: endpoint, dataDirectory: "/d")
            configure(&configuration)
            hosts.append(Host(configuration, seed: UInt64(id) * 100, shards: shards))
        }
    }

    /// Formed, with all nodes ready.
    static func running(
        nodes: Int = 1, shards: Int = 1, _ configure: (inout NodeConfiguration) -> Void = { _ in }
    ) throws -> World {
        let world = World(nodes: nodes, shards: shards, configure)
        for host in world.hosts { try world.start(host) }
        world.run(forMs: 10_000) { world.hosts.allSatisfy(\.isReady) }
        let waiting = world.hosts.filter { !$0.isReady }.map(\.id)
        try #require(waiting.isEmpty, "not all nodes are ready")
        return world
    }

    var reading: ClockReading {
        ClockReading(now: Instant.zero.advanced(byMs: nowMs), wallMs: 1_700_000_000_000 + nowMs)
    }

    // MARK: Nodes

    func start(_ host: Host) throws {
        seed += 1
        host.life += 1
        host.isReady = false
        host.isStopped = false
        host.node = try Node.boot(
            host.configuration, controlDisk: host.controlDisk,
            shardDisks: (0..<host.shards).map { DiskView(host.shardDisk, machine: UInt32($0)) }, seed: seed,
            secret: ~seed, at: reading)
        post(host, .control(.ticked))
        for index in 0..<host.shards { post(host, .shard(.ticked, at: index)) }
    }

    /// kill -9: the page cache stays, every connection breaks.
    func kill(_ host: Host) {
        host.node = nil
        host.life += 1
        host.controlDisk.processCrash()
        host.shardDisk.processCrash()
        for (id, link) in host.links { if let peer = link.peer { drop(peer.connection, at: peer.host, of: host, id) } }
        host.links = [:]
        for (connection, owner) in host.served.sorted(by: { $0.key < $1.key }) {
            owner.host.links[owner.link]?.peer = nil
            fail(owner.host, owner.link, .reset)
            clients[connection]?.isClosed = true
        }
        host.served = [:]
        for client in clients.values where client.host === host { client.isClosed = true }
    }

    func leader() -> Host? { hosts.first { $0.node?.control.inspectedQuorum?.isLeader == true } }

    /// By turns, unless a shard is named.
    func accept(on host: Host, shard: Int? = nil) -> ConnectionID {
        let id = ConnectionID(number: nextConnection)
        nextConnection += 1
        shardOfConnection[id] = shard ?? Int(id.number) % host.shards
        post(host, .shard(.connectionOpened(id, client: "client\(id)"), at: self.shard(of: id)))
        return id
    }

    func shard(of connection: ConnectionID) -> Int { shardOfConnection[connection] ?? 0 }

    // MARK: Time

    func post(_ host: Host, _ input: Host.Input, afterMs: Int64 = 0) {
        add(Event(atMs: nowMs + afterMs, host: host, life: host.life, input: input))
    }

    private func later(_ ms: Int64, _ action: @escaping () -> Void) {
        add(Event(atMs: nowMs + ms, host: nil, life: 0, input: nil, action: action))
    }

    private func add(_ event: Event) {
        let index = events.lastIndex { $0.atMs <= event.atMs }.map { $0 + 1 } ?? 0
        events.insert(event, at: index)
    }

    /// Runs until `done`, for so much virtual time at most.
    func run(forMs: Int64, until done: () -> Bool = { false }) {
        let end = nowMs + forMs
        while !done() {
            let due = deadlines()
            let next = min(events.first?.atMs ?? .max, due.map(\.atMs).min() ?? .max)
            guard next <= end else {
                nowMs = end
                return
            }
            nowMs = max(nowMs, next)
            if let event = events.first, event.atMs <= nowMs {
                events.removeFirst()
                if let host = event.host, let input = event.input, host.life == event.life { step(host, input) }
                event.action?()
            } else {
                for (host, atMs, shard) in due where atMs <= nowMs {
                    step(host, shard.map { .shard(.ticked, at: $0) } ?? .control(.ticked))
                }
            }
        }
    }

    private func deadlines() -> [(host: Host, atMs: Int64, shard: Int?)] {
        func ms(_ instant: Instant) -> Int64 {
            instant == .distantFuture ? .max : (instant.nanoseconds + 999_999) / 1_000_000
        }
        return hosts.flatMap { host -> [(host: Host, atMs: Int64, shard: Int?)] in
            guard let node = host.node else { return [] }
            return [(host, ms(node.control.nextDeadline), nil)]
                + node.shards.enumerated().map { (host, ms($1.nextDeadline), $0) }
        }
    }

    // MARK: Steps

    private func step(_ host: Host, _ input: Host.Input) {
        guard let node = host.node else { return }
        switch input {
        case .shard(let input, let index):
            var effects: [ShardEffect] = []
            node.shards[index].step(input, at: reading, into: &effects)
            let missed = node.shards[index].inspectNotes().missed
            #expect(missed.isEmpty, "node \(host.id): nobody took note")
            for effect in effects { run(effect, of: host, index) }
            if !host.holdsShardFlushes { completeFlushes(of: host) }
        case .control(let input):
            var effects: [ControlEffect] = []
            node.control.step(input, at: reading, into: &effects)
            for effect in effects { run(effect, of: host) }
            for ticket in host.controlDisk.takeRequestedBarriers() {
                let life = host.life
                later(1) { [weak self] in
                    guard host.life == life, let done = host.controlDisk.completeBarrier(ticket) else { return }
                    self?.post(host, .control(.flushed(done.ticket, done.result)))
                }
            }
        }
    }

    func completeFlushes(of host: Host) {
        for ticket in host.shardDisk.pendingBarriers {
            if let done = host.shardDisk.completeBarrier(ticket) {
                let (machine, own) = DiskView.unmarked(done.ticket)
                post(host, .shard(.flushed(own, done.result), at: Int(machine)), afterMs: 1)
            }
        }
    }

    private func run(_ effect: ShardEffect, of host: Host, _ index: Int) {
        switch effect {
        case .respond(let id, let pieces): respond(id, pieces, from: host)
        case .close(let id):
            clients[id]?.isClosed = true
            if let owner = host.served.removeValue(forKey: id) {
                owner.host.links[owner.link]?.peer = nil
                fail(owner.host, owner.link, .reset)
            }
            post(host, .shard(.connectionClosed(id), at: index))
        case .pauseReading, .resumeReading: break
        case .openLink(let link, let endpoint): open(Host.LinkKey(machine: index, id: link), endpoint, of: host)
        case .closeLink(let link): close(Host.LinkKey(machine: index, id: link), of: host)
        case .send(let link, let frame): send(frame, on: Host.LinkKey(machine: index, id: link), of: host)
        case .mail(let mail): post(host, .control(.mailed(mail)))
        case .mailShard(let other, let mail): post(host, .shard(.mailed(mail), at: other))
        case .log(let line): host.lines.append(line)
        case .halt(let reason): host.halted = reason
        }
    }

    private func run(_ effect: ControlEffect, of host: Host) {
        switch effect {
        case .openLink(let link, let endpoint): open(Host.LinkKey(machine: -1, id: link), endpoint, of: host)
        case .closeLink(let link): close(Host.LinkKey(machine: -1, id: link), of: host)
        case .send(let link, let frame): send(frame, on: Host.LinkKey(machine: -1, id: link), of: host)
        case .mail(let mail, let index):
            if case .directoryAnswered(let key, let directory, let error) = mail {
                host.directoryAnswers.append(Host.DirectoryAnswer(key: key, directory: directory, error: error))
            }
            post(host, .shard(.mailed(mail), at: index))
        case .log(let line): host.lines.append(line)
        case .ready: host.isReady = true
        case .stopped: host.isStopped = true
        case .halt(let reason): host.halted = reason
        }
    }

    private func respond(_ id: ConnectionID, _ pieces: [OutboundPiece], from host: Host) {
        var bytes = ByteBuffer()
        for piece in pieces {
            switch piece {
            case .bytes(let buffer): bytes.writeImmutableBuffer(buffer)
            case .file(let slice):
                let read = try? host.shardDisk.read(slice.file, at: slice.position, length: slice.length)
                bytes.writeImmutableBuffer(read ?? ByteBuffer())
            }
        }
        while let length = bytes.readInteger(as: Int32.self), let frame = bytes.readSlice(length: Int(length)) {
            if let client = clients[id] {
                client.frames.append(frame)
            } else if let owner = host.served[id] {
                post(owner.host, input(of: owner.link, .frameReceived(owner.link.id, frame)), afterMs: 1)
            }
        }
        post(host, .shard(.outboundDrained(id), at: shard(of: id)))
    }

    // MARK: Links

    private func input(of link: Host.LinkKey, _ event: LinkEvent) -> Host.Input {
        link.machine < 0 ? .control(.link(event)) : .shard(.link(event), at: link.machine)
    }

    private func open(_ link: Host.LinkKey, _ endpoint: Endpoint, of host: Host) {
        host.links[link] = Host.Link(endpoint: endpoint)
        connect(link, of: host)
    }

    private func connect(_ link: Host.LinkKey, of host: Host) {
        guard let entry = host.links[link], entry.peer == nil, host.node != nil else { return }
        guard let target = hosts.first(where: { $0.configuration.advertised == entry.endpoint }), target.node != nil
        else { return fail(host, link, .refused) }
        let connection = accept(on: target)
        target.served[connection] = (host, link)
        host.links[link]?.peer = (target, connection)
        post(host, input(of: link, .connected(link.id)), afterMs: 1)
    }

    private func fail(_ host: Host, _ link: Host.LinkKey, _ failure: LinkFailure) {
        guard host.node != nil, host.links[link] != nil else { return }
        post(host, input(of: link, .failed(link.id, failure)), afterMs: 1)
        let life = host.life
        later(failure == .reset ? 2 : LinkTiming.retryMs) { [weak self] in
            if host.life == life { self?.connect(link, of: host) }
        }
    }

    private func close(_ link: Host.LinkKey, of host: Host) {
        guard let peer = host.links.removeValue(forKey: link)?.peer else { return }
        drop(peer.connection, at: peer.host, of: host, link)
    }

    private func drop(_ connection: ConnectionID, at target: Host, of host: Host, _ link: Host.LinkKey) {
        guard target.served.removeValue(forKey: connection) != nil else { return }
        post(target, .shard(.connectionClosed(connection), at: shard(of: connection)), afterMs: 1)
    }

    private func send(_ frame: ByteBuffer, on link: Host.LinkKey, of host: Host) {
        guard let peer = host.links[link]?.peer else { return }
        host.framesSent += 1
        var frame = frame
        frame.moveReaderIndex(forwardBy: 4)
        let api = APIKey(rawValue: frame.getInteger(at: frame.readerIndex, as: Int16.self) ?? -1)
        guard !peer.host.deaf(api, host.id) else { return }
        post(peer.host, .shard(.frameReceived(peer.connection, frame), at: shard(of: peer.connection)), afterMs: 1)
    }
}
