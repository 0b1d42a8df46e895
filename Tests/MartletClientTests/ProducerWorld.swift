// A cluster made of arrays, and the producer's machine driven against it in virtual time. One seed is one run: who
// leads, what breaks, and what gets lost on the way are drawn from it.

import MartletClient
import Model
import NIOCore
import Records

struct ProducerWorld {
    struct Settings {
        var deliveryTimeoutMs: Int64 = 3_600_000
        /// How long faults are drawn.
        var faultsMs: Int64 = 4_000
        /// What was sent on a connection that broke may still arrive, even after what was sent on the next one. The
        /// protocol has no answer to that once a batch in between was given up: its sequence cannot tell late from
        /// never.
        var mayArriveLate = true
        /// A planted bug: nodes forget what they have written, as if there were no idempotence.
        var nodesForget = false
        var isIdempotent = true
    }

    struct LogPartition {
        var leader: NodeID?
        var epoch: LeaderEpoch = 0
        /// Tokens in the order in which they were written.
        var written: [Int] = []
        var producers: [ProducerID: ProducerState] = [:]
    }

    /// What a partition remembers of a producer (KIP-98).
    struct ProducerState {
        var epoch: Int16
        var nextSequence: Int32
        /// First sequence, count and offset of the last five batches.
        var recent: [(first: Int32, count: Int, offset: Offset)]
    }

    enum Event {
        case arrive(ProducerMachine<Int>.Dispatch, connection: Int)
        case answer(ProducerMachine<Int>.Dispatch, [PartitionAnswer?], connection: Int)
        case lost(ProducerMachine<Int>.Dispatch)
        case connected(NodeID, Bool)
        case metadata([ClusterView.Topic]?)
        case identity(Bool)
        case append
        case fault
        case wake
    }

    static let nodes: [NodeID] = [1, 2, 3]

    let settings: Settings
    /// Whether nodes take any sequence from a producer that they do not know, as Kafka's do.
    let isLenient: Bool
    var random: SeededRandom
    var machine: ProducerMachine<Int>
    var now = Instant.zero.advanced(byMs: 1_000_000)
    let start = Instant.zero.advanced(byMs: 1_000_000)
    var events: [(at: Instant, order: Int, event: Event)] = []
    var lastOrder = 0
    var partitions: [LogPartition]
    /// Old views that a node may still give as metadata.
    var formerViews: [ClusterView.Topic] = []
    /// Of the open connection to a node.
    var connections: [NodeID: Int] = [:]
    var lastConnection = 0
    /// Until when nothing that was sent on a connection may arrive, so that order is kept.
    var pipeFreeAt: [Int: Instant] = [:]
    var answerFreeAt: [Int: Instant] = [:]
    /// Connections on which no answer comes any more.
    var mute: Set<Int> = []
    var down: Set<NodeID> = []
    let batchBytesLimit: Int
    /// Tokens in the order of append, by partition.
    var appended: [[Int]]
    var outcomes: [Int: Result<ProducerMachine<Int>.Completion.Written, ClientError>] = [:]
    /// Where a record stood in the batch that ended.
    var placeInBatch: [Int: Int] = [:]
    var lastToken = 0
    let tokenCount: Int
    var wakeAt: Instant?
    var trace: [String] = []
    var isTracing = false
    var complaints: [String] = []
    var effectCount = 0
    var drainCount = 0

    init(seed: UInt64, settings: Settings = Settings()) {
        var random = SeededRandom(seed: seed)
        self.settings = settings
        var configuration = ProducerConfiguration()
        configuration.isIdempotent = settings.isIdempotent
        configuration.batchBytesMax = 150 + Int(random.below(500))
        configuration.requestBytesMax = 300 + Int(random.below(3_000))
        configuration.lingerMs = random.below(8)
        configuration.deliveryTimeoutMs = settings.deliveryTimeoutMs
        configuration.retryPauseMs = (1 + random.below(20))...(20 + random.below(200))
        configuration.lateAnswerMs = 100
        configuration.requestTimeoutMs = 2_000
        configuration.metadataMaxAgeMs = random.oneIn(3) ? 500 : 300_000
        configuration.bufferBytesMax = random.oneIn(3) ? 2_000 : 1 << 20
        configuration.inFlightPerNodeMax = 1 + Int(random.below(6))
        machine = ProducerMachine(configuration: configuration, seed: random.next())
        let count = 1 + Int(random.below(3))
        partitions = (0..<count).map { _ in LogPartition(leader: 1) }
        appended = Array(repeating: [], count: count)
        batchBytesLimit = random.oneIn(3) ? 250 : 1 << 20
        tokenCount = 40 + Int(random.below(120))
        isLenient = seed % 2 == 0
        self.random = random
        machine.learned(topics: [view], at: now)
        schedule(.append, afterMs: 0)
        schedule(.fault, afterMs: 20)
    }

    var isFaulty: Bool { now.milliseconds(since: start) < settings.faultsMs }
    var isDone: Bool { lastToken == tokenCount && outcomes.count == tokenCount }

    var view: ClusterView.Topic {
        ClusterView.Topic(
            name: "t",
            partitions: partitions.enumerated().map { index, log in
                ClusterView.Partition(index: PartitionIndex(index), leader: log.leader, leaderEpoch: log.epoch)
            })
    }

    mutating func note(_ text: @autoclosure () -> String) {
        guard isTracing else { return }
        let text = text()
        trace.append("\(now): \(text)")
        if trace.count > 400 { trace.removeFirst(200) }
    }

    mutating func schedule(_ event: Event, afterMs: Int64) { schedule(event, at: now.advanced(byMs: afterMs)) }

    mutating func schedule(_ event: Event, at instant: Instant) {
        lastOrder += 1
        let entry = (at: instant, order: lastOrder, event: event)
        var (low, high) = (0, events.count)
        while low < high {
            let middle = (low + high) / 2
            // The next event stands last.
            if (events[middle].at, events[middle].order) > (entry.at, entry.order) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        events.insert(entry, at: low)
    }

    // MARK: The run

    /// Runs until everything has come to its end; says what went wrong.
    mutating func run() -> [String] {
        drain()
        while let next = events.popLast(), complaints.isEmpty {
            now = max(now, next.at)
            if now.milliseconds(since: start) > settings.faultsMs + 120_000 {
                complaints.append("not done after two quiet minutes: \(outcomes.count) of \(tokenCount) ended")
                break
            }
            handle(next.event)
            drain()
            if isDone, !isFaulty { break }
        }
        check()
        return complaints
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .arrive(let dispatch, let connection): arrive(dispatch, connection)
        case .answer(let dispatch, let answers, let connection):
            guard connections[dispatch.node] == connection else { return }
            note("answer \(dispatch.id): \(answers.map { $0?.code.description ?? "-" })")
            machine.answered(dispatch.id, answers, at: now)
        case .lost(let dispatch):
            note("lost \(dispatch.id)")
            // A request that times out takes its connection with it.
            if let connection = connections[dispatch.node], mute.contains(connection) {
                breakConnection(dispatch.node)
            }
            machine.lost(dispatch.id, .connectionLost(Endpoint(host: "n", port: 1)), wasSent: true, at: now)
        case .connected(let node, let isOpen): connected(node, isOpen)
        case .metadata(let topics):
            note(
                "metadata \(topics.map { "\($0[0].partitions.map { ($0.leader ?? -1, $0.leaderEpoch) })" } ?? "failed")"
            )
            if let topics {
                machine.learned(topics: topics, at: now)
            } else {
                machine.failedToLearn(at: now)
            }
        case .identity(let isGiven):
            if isGiven {
                machine.learned(identity: ProducerIdentity(id: 7, epoch: 0))
            } else {
                machine.failedToIdentify(.connectionLost(Endpoint(host: "n", port: 1)), at: now)
            }
        case .append: append()
        case .fault: fault()
        case .wake: break
        }
    }

    private mutating func append() {
        for _ in 0..<(1 + random.below(6)) where lastToken < tokenCount {
            let partition = Int(random.below(Int64(partitions.count)))
            var value = ByteBuffer(integer: lastToken + 1)
            value.writeRepeatingByte(1, count: Int(random.below(120)))
            let record = ProducerRecord(topic: "t", partition: PartitionIndex(partition), value: value)
            switch Result(catching: { try machine.append(record, token: lastToken + 1, timestampMs: 5, at: now) }) {
            case .success(.appended):
                lastToken += 1
                appended[partition].append(lastToken)
            case .success(.bufferIsFull): break
            case let other: complaints.append("append gave \(other)")
            }
        }
        if random.oneIn(10) { _ = machine.flush() }
        if lastToken < tokenCount { schedule(.append, afterMs: random.below(60)) }
    }

    // MARK: Effects

    private mutating func drain() {
        drainCount += 1
        let (effects, wakeAt) = machine.drain(at: now)
        if let wakeAt, wakeAt <= now { complaints.append("drain wants to run again at once, at \(now)") }
        effectCount += effects.count
        for effect in effects { perform(effect) }
        if let wakeAt, self.wakeAt.map({ $0 <= now || wakeAt < $0 }) ?? true {
            self.wakeAt = wakeAt
            schedule(.wake, at: wakeAt)
        }
    }

    private mutating func perform(_ effect: ProducerMachine<Int>.Effect) {
        switch effect {
        case .connect(let node):
            schedule(
                .connected(node, !down.contains(node) && !(isFaulty && random.oneIn(5))), afterMs: random.below(10))
        case .send(let dispatch): send(dispatch)
        case .askProducerIdentity:
            schedule(.identity(!(isFaulty && random.oneIn(2))), afterMs: random.below(10))
        case .askMetadata:
            let isLost = isFaulty && random.oneIn(5)
            let stale = isFaulty && random.oneIn(3) ? formerViews.randomElement(using: &random) : nil
            schedule(.metadata(isLost ? nil : [stale ?? view]), afterMs: 1 + random.below(20))
        case .complete(let completion): complete(completion)
        case .abandon(let node):
            note("abandon \(node)")
            breakConnection(node)
        }
    }

    private mutating func complete(_ completion: ProducerMachine<Int>.Completion) {
        for (place, token) in completion.tokens.enumerated() {
            guard let token else { continue }
            placeInBatch[token] = place
            if outcomes[token] != nil { complaints.append("record \(token) ended twice") }
            outcomes[token] = completion.outcome
        }
        if case .failure(let error) = completion.outcome { note("failed \(completion.tokens): \(error)") }
    }

    private mutating func send(_ dispatch: ProducerMachine<Int>.Dispatch) {
        if isTracing {
            let batches = dispatch.entries.map { entry in
                let header = BatchHeader(reading: entry.builder.build(), at: 0) ?? BatchHeader()
                return "p\(entry.partition) e\(header.producerEpoch) s\(header.baseSequence)+\(header.recordsCount)"
            }
            note("send \(dispatch.id) to \(dispatch.node): \(batches.joined(separator: ", "))")
        }
        if dispatch.entries.count != Set(dispatch.entries.map(\.partition)).count {
            complaints.append("two batches of a partition in one request")
        }
        guard let connection = connections[dispatch.node] else {
            // It was given up by an effect before this one.
            machine.disconnected(dispatch.node, at: now)
            machine.lost(
                dispatch.id, .connectionLost(Endpoint(host: "n", port: 1)), wasSent: false, at: now)
            return schedule(.wake, afterMs: 0)
        }
        // A request may be a long time on its way; those behind it wait.
        let delayMs = random.below(isFaulty && random.oneIn(10) ? 400 : 5)
        let at = max(now.advanced(byMs: delayMs), pipeFreeAt[connection] ?? now)
        pipeFreeAt[connection] = at
        schedule(.arrive(dispatch, connection: connection), at: at)
    }

    private mutating func connected(_ node: NodeID, _ isOpen: Bool) {
        guard isOpen, !down.contains(node) else { return machine.disconnected(node, at: now) }
        lastConnection += 1
        connections[node] = lastConnection
        machine.connected(node)
    }

    /// Requests in the pipe may still reach the node, the ones in front of the break.
    mutating func breakConnection(_ node: NodeID) {
        guard let connection = connections.removeValue(forKey: node) else { return }
        note("connection to \(node) broke")
        var dropped: Set<Int> = []
        let survives = settings.mayArriveLate ? random.below(4) : 0
        var count: Int64 = 0
        for entry in events.reversed() {
            if case .arrive(let dispatch, connection) = entry.event {
                count += 1
                if count > survives { dropped.insert(dispatch.id) }
            }
        }
        events.removeAll { entry in
            if case .arrive(let dispatch, connection) = entry.event { return dropped.contains(dispatch.id) }
            return false
        }
        for id in machine.requests.keys where machine.requests[id]?.node == node {
            // The machine looks only at the id.
            schedule(
                .lost(ProducerMachine<Int>.Dispatch(id: id, node: node, entries: [], timeoutMs: 0)), afterMs: 0)
        }
        machine.disconnected(node, at: now)
    }

    // MARK: Faults

    private mutating func fault() {
        guard isFaulty else {
            down = []
            for index in partitions.indices where partitions[index].leader == nil { move(index) }
            return
        }
        switch random.below(7) {
        case 0, 1: move(Int(random.below(Int64(partitions.count))))
        case 2:
            let index = Int(random.below(Int64(partitions.count)))
            partitions[index].leader = nil
        case 3, 4: breakConnection(Self.nodes[Int(random.below(3))])
        case 5:
            let node = Self.nodes[Int(random.below(3))]
            down.insert(node)
            breakConnection(node)
            for index in partitions.indices where partitions[index].leader == node { move(index) }
        default: down = []
        }
        schedule(.fault, afterMs: 5 + random.below(250))
    }

    private mutating func move(_ index: Int) {
        formerViews.append(view)
        partitions[index].leader = Self.nodes.filter { !down.contains($0) }.randomElement(using: &random) ?? 1
        partitions[index].epoch += 1
        let log = partitions[index]
        note("partition \(index) moves to \(log.leader ?? -1) in epoch \(log.epoch)")
    }
}
