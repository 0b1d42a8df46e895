// A whole quorum in one value: nodes, disks and a network, all drawn from one seed. Logs are arrays of epochs and
// record ids.

import Model
import Raft

/// What one log holds at one offset.
struct Entry: Equatable {
    var epoch: LeaderEpoch
    var record: Int
    var voters: VoterSet?
}

/// A disk as its owner sees it and as it survives.
struct TestDisk {
    var state = QuorumState()
    var start: Offset = 0
    var entries: [Entry] = []
    var durableEntries: [Entry] = []
    var snapshot: LogEnd?
    var baseVoters: VoterSet
    var end: Offset { start + Offset(entries.count) }

    func entry(_ offset: Offset) -> Entry? {
        offset >= start && offset < end ? entries[Int(offset - start)] : nil
    }

    func durableEntry(_ offset: Offset) -> Entry? {
        let index = offset - start
        return index >= 0 && index < durableEntries.count ? durableEntries[Int(index)] : nil
    }

    /// The positions that a restart finds.
    func positions() -> (LogPositions, [VotersAt]) {
        var epochs = EpochHistory()
        if let snapshot { epochs.assign(snapshot.epoch, startOffset: start) }
        var voters: [VotersAt] = []
        for (index, entry) in entries.enumerated() {
            let offset = start + Offset(index)
            epochs.assign(entry.epoch, startOffset: offset)
            if let set = entry.voters { voters.append(VotersAt(offset: offset, voters: set)) }
        }
        let same = zip(entries, durableEntries).prefix { $0 == $1 }.count
        let log = LogPositions(
            startOffset: start, endOffset: end, flushedEnd: start + Offset(same), epochs: epochs, snapshotEnd: snapshot)
        return (log, voters)
    }
}

struct TestNode {
    var key: ReplicaKey
    var disk: TestDisk
    var raft: RaftNode?
    /// Raised by a crash, so that work of a former life comes to nothing.
    var life = 0
    /// When the next tick is due that is scheduled already.
    var tickAt = Instant.distantFuture
    /// Raised by every save, because a later one replaces an earlier.
    var saveGeneration = 0
    /// Raised by a truncation, so that flushes begun before it report nothing.
    var flushGeneration = 0
    /// The answer whose records wait for `.appendFetched`.
    var fetched: [Entry] = []
}

enum Message {
    case request(RaftEffect, RequestID)
    case voteResponse(VoteResponse)
    case beginResponse(ErrorCode, LeaderEpoch, NodeID?)
    case endResponse
    case fetchResponse(QuorumFetchAnswer, [Entry])
}

enum Event {
    case message(Message, from: Int, to: Int, connection: Int)
    case saved(Int, life: Int, generation: Int, QuorumState)
    case flushed(Int, life: Int, generation: Int, [Entry], start: Offset)
    case snapshotFetched(Int, life: Int, LogEnd, from: Int)
    case input(Int, life: Int, RaftInput)
    case tick(Int)
    case fault
    case load
}

struct Pending {
    var from: Int
    var to: Int
    var connection: Int
    var request: RaftRequest?
}

struct Cluster {
    var random: SeededRandom
    var now = Instant(nanoseconds: 1_000_000_000)
    var nodes: [TestNode] = []
    var queue: [(at: Instant, sequence: Int, event: Event)] = []
    var sequence = 0
    var nextRequest: RequestID = 1
    var nextRecord = 1
    var nextDirectory: UInt64 = 100
    /// Requests on their way, by the order they were sent in.
    var pending = SortedMap<RequestID, Pending>()
    var connections: [[Int]] = []
    var lastArrival: [[Instant]] = []
    var isCut: [[Bool]] = []
    var lossOneIn: Int64 = 0
    var delayMaxMs: Int64 = 5
    var provesDeath = true
    var takesSnapshots = false
    var changesVoters = false
    /// Records come by themselves, and the controller looks after the voters.
    var hasLoad = true
    var isLoaded = false
    var batchesMax: Int64 = 60
    var checker = Checker()
    var trace: [String] = []
    var keepsTrace = false
    var voterAnswers: [ErrorCode] = []
    let settings = RaftSettings()

    static func endpoint(_ id: NodeID) -> Endpoint { Endpoint(host: "n\(id)", port: 9092) }

    init(nodes count: Int, voters voterCount: Int, seed: UInt64) {
        random = SeededRandom(seed: seed)
        let keys = (1...count).map { ReplicaKey(id: NodeID($0), directoryID: UUID128(low: UInt64($0))) }
        let voters = VoterSet(keys.prefix(voterCount).map { Voter(key: $0, endpoint: Self.endpoint($0.id)) })
        nodes = keys.map { TestNode(key: $0, disk: TestDisk(baseVoters: voters)) }
        connections = Array(repeating: Array(repeating: 0, count: count), count: count)
        lastArrival = Array(repeating: Array(repeating: now, count: count), count: count)
        isCut = Array(repeating: Array(repeating: false, count: count), count: count)
        for index in nodes.indices { start(index) }
    }

    // MARK: Life and death

    mutating func start(_ index: Int) {
        let (log, later) = nodes[index].disk.positions()
        nodes[index].life += 1
        nodes[index].raft = RaftNode(
            key: nodes[index].key, settings: settings, saved: nodes[index].disk.state, log: log,
            voters: nodes[index].disk.baseVoters, laterVoters: later, bootstrap: nodes.map(\.key.id),
            seed: random.next(), now: now)
        checker.nodeStarted(index, nodes[index].disk.state)
        nodes[index].tickAt = now
        schedule(.tick(index), at: now)
    }

    /// Ends a process; with `power` the unflushed goes too.
    mutating func crash(_ index: Int, power: Bool) {
        guard nodes[index].raft != nil else { return }
        nodes[index].raft = nil
        nodes[index].fetched = []
        nodes[index].life += 1
        if power { nodes[index].disk.entries = nodes[index].disk.durableEntries }
        for other in nodes.indices where other != index {
            breakConnection(index, other)
            breakConnection(other, index)
            if provesDeath, nodes[other].raft != nil, !isCut[other][index] {
                schedule(.input(other, life: nodes[other].life, .peerDied(nodes[index].key.id)), at: soon())
            }
        }
    }

    /// A new, empty disk under the same id.
    mutating func wipe(_ index: Int) {
        crash(index, power: true)
        nextDirectory += 1
        nodes[index].key.directoryID = UUID128(low: nextDirectory)
        nodes[index].disk = TestDisk(baseVoters: VoterSet([]))
        checker.nodeWiped(index)
        start(index)
    }

    // MARK: Network

    func soon() -> Instant { now.advanced(byMs: 1) }

    mutating func schedule(_ event: Event, at: Instant) {
        sequence += 1
        let item = (at: at, sequence: sequence, event: event)
        var low = 0
        var high = queue.count
        while low < high {
            // Latest first, so that the next event is the last of the array.
            let middle = (low + high) / 2
            let other = queue[middle]
            let isLater = other.at == at ? other.sequence > item.sequence : other.at > at
            if isLater { low = middle + 1 } else { high = middle }
        }
        queue.insert(item, at: low)
    }

    /// In order within one connection, as over TCP; a lost message breaks the connection.
    mutating func send(_ message: Message, from: Int, to: Int, connection: Int) {
        let pair = isRequest(message) ? (from, to) : (to, from)
        guard connections[pair.0][pair.1] == connection else { return }
        if isCut[from][to] || (lossOneIn > 0 && random.oneIn(lossOneIn)) {
            return breakConnection(pair.0, pair.1)
        }
        let delay = now.advanced(byMicroseconds: 100 + random.below(delayMaxMs * 1_000))
        let arrival = max(delay, lastArrival[from][to])
        lastArrival[from][to] = arrival
        schedule(.message(message, from: from, to: to, connection: connection), at: arrival)
    }

    private func isRequest(_ message: Message) -> Bool {
        if case .request = message { return true }
        return false
    }

    /// Every request that waits on it fails, after a while, in order.
    mutating func breakConnection(_ from: Int, _ to: Int) {
        connections[from][to] += 1
        for (id, waiting) in pending where waiting.from == from && waiting.to == to {
            pending[id] = nil
            if let request = waiting.request, nodes[from].raft != nil {
                let input = RaftInput.requestFailed(request, to: nodes[to].key.id)
                schedule(.input(from, life: nodes[from].life, input), at: soon())
            }
            if nodes[to].raft != nil {
                schedule(.input(to, life: nodes[to].life, .fetchCancelled(id)), at: soon())
            }
        }
    }

    func index(_ id: NodeID) -> Int { Int(id) - 1 }

    mutating func request(_ effect: RaftEffect, _ kind: RaftRequest?, from: Int, to id: NodeID) {
        let to = index(id)
        let request = nextRequest
        nextRequest += 1
        pending[request] = Pending(from: from, to: to, connection: connections[from][to], request: kind)
        guard nodes[to].raft != nil else { return breakConnection(from, to) }
        send(.request(effect, request), from: from, to: to, connection: connections[from][to])
    }

    mutating func respond(_ message: Message, _ id: RequestID, from: Int) {
        guard let waiting = pending[id] else { return }
        send(message, from: from, to: waiting.from, connection: waiting.connection)
    }

    // MARK: Running

    mutating func run(until end: Instant, faults: Bool = false) {
        if faults { schedule(.fault, at: soon()) }
        if hasLoad, !isLoaded { schedule(.load, at: soon()) }
        isLoaded = hasLoad
        while let next = queue.last, next.at <= end, checker.failures.isEmpty {
            queue.removeLast()
            now = max(now, next.at)
            handle(next.event, faults: faults)
        }
        now = max(now, end)
    }

    mutating func handle(_ event: Event, faults: Bool) {
        switch event {
        case .message(let message, let from, let to, let connection): deliver(message, from, to, connection)
        case .saved(let node, let life, let generation, let state):
            guard nodes[node].life == life, nodes[node].saveGeneration == generation else { return }
            checker.saved(node, from: nodes[node].disk.state, to: state)
            nodes[node].disk.state = state
            step(node, .saved(state))
        case .flushed(let node, let life, let generation, let entries, let start):
            guard nodes[node].life == life, nodes[node].flushGeneration == generation else { return }
            let cut = max(0, Int(nodes[node].disk.start - start))
            nodes[node].disk.durableEntries = Array(entries.dropFirst(cut))
            step(node, .flushed(through: start + Offset(entries.count)))
        case .snapshotFetched(let node, let life, let end, let from):
            guard nodes[node].life == life else { return }
            installSnapshot(node, end, from)
        case .input(let node, let life, let input):
            if nodes[node].life == life { step(node, input) }
        case .tick(let node):
            if nodes[node].tickAt <= now { nodes[node].tickAt = .distantFuture }
            guard let raft = nodes[node].raft else { return }
            if raft.nextDeadline <= now { step(node, .ticked) } else { scheduleTick(node, raft) }
        case .fault: if faults { injectFault() }
        case .load: applyLoad()
        }
    }

    mutating func step(_ index: Int, _ input: RaftInput) {
        guard var raft = nodes[index].raft else { return }
        nodes[index].raft = nil
        var effects: [RaftEffect] = []
        raft.step(input, at: now, into: &effects)
        nodes[index].raft = raft
        if keepsTrace { note(index, input, effects) }
        var checker = self.checker
        self.checker = Checker()
        checker.stepped(index, raft, effects, self)
        self.checker = checker
        scheduleTick(index, raft)
        for effect in effects { run(effect, index) }
    }

    mutating func scheduleTick(_ index: Int, _ raft: RaftNode) {
        let deadline = max(raft.nextDeadline, now.advanced(byMicroseconds: 1))
        guard deadline < nodes[index].tickAt else { return }
        nodes[index].tickAt = deadline
        schedule(.tick(index), at: deadline)
    }
}
