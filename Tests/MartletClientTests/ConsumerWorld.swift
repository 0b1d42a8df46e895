// Logs with epochs, leaders that move and cut logs off, and the consumer's machine driven against them in virtual time.

import MartletClient
import Model
import NIOCore
import Records

typealias TopicPartition = MartletClient.TopicPartition

struct ConsumerWorld {
    enum Event {
        case fetch(ConsumerMachine.FetchDispatch)
        case fetched(Int, [TopicPartition: ConsumerMachine.FetchAnswer])
        case located(ConsumerMachine.Question)
        case compared(ConsumerMachine.Question)
        case lost(Int)
        case connected(NodeID, Bool)
        case metadata([ClusterView.Topic]?)
        case change, read, user, wake
    }

    struct Log {
        var leader: NodeID?
        var epoch: LeaderEpoch = 0
        /// By offset: the epoch in which the record was written, and what it says.
        var records: [(epoch: LeaderEpoch, value: Int)] = []
    }

    /// What the reader saw of a partition since its last seek.
    struct Seen {
        var next: Offset?
        var values: [(offset: Offset, value: Int)] = []
        var isFailed = false
    }

    let faultsMs: Int64 = 4_000
    /// Nodes before KIP-595 do not compare in Fetch.
    let fetchCompares: Bool
    /// A planted bug: Fetch does not compare, and neither does OffsetForLeaderEpoch tell the truth.
    let nodesLie: Bool
    var random: SeededRandom
    var machine: ConsumerMachine
    var now = Instant.zero.advanced(byMs: 1_000_000)
    let start = Instant.zero.advanced(byMs: 1_000_000)
    var events: [(at: Instant, order: Int, event: Event)] = []
    var lastOrder = 0
    var logs: [Log]
    var seen: [Seen]
    var lastValue = 0
    var connected: Set<NodeID> = []
    var fetching: Set<NodeID> = []
    var fetchNodes: [Int: NodeID] = [:]
    var wakeAt: Instant?
    var complaints: [String] = []
    var trace: [String] = []
    var truncationsTold = 0
    var effectCount = 0
    var isDone = false

    init(seed: UInt64, nodesLie: Bool = false) {
        var random = SeededRandom(seed: seed)
        self.nodesLie = nodesLie
        fetchCompares = !nodesLie && random.oneIn(2)
        var configuration = ConsumerConfiguration()
        configuration.partitionBytesMax = 200 + Int32(random.below(600))
        configuration.prefetchBytesMax = 500 + Int(random.below(3_000))
        configuration.fetchWaitMs = 50
        configuration.lateAnswerMs = 100
        configuration.retryPauseMs = (1 + random.below(20))...(20 + random.below(200))
        configuration.metadataMaxAgeMs = random.oneIn(3) ? 500 : 300_000
        machine = ConsumerMachine(configuration: configuration)
        let count = 1 + Int(random.below(3))
        logs = (0..<count).map { _ in Log(leader: 1) }
        self.random = random
        seen = Array(repeating: Seen(), count: count)
        for index in logs.indices {
            append(to: index, count: 5 + Int(self.random.below(30)))
            machine.seek(Self.name(index), to: .offset(0))
            seen[index].next = 0
        }
        machine.learned(topics: [view], at: now)
        schedule(.change, afterMs: 10)
        schedule(.read, afterMs: 1)
        schedule(.user, afterMs: 100)
    }

    static func name(_ index: Int) -> TopicPartition { TopicPartition("t", PartitionIndex(index)) }
    var isFaulty: Bool { now.milliseconds(since: start) < faultsMs }

    var view: ClusterView.Topic {
        ClusterView.Topic(
            name: "t",
            partitions: logs.enumerated().map { index, log in
                ClusterView.Partition(index: PartitionIndex(index), leader: log.leader, leaderEpoch: log.epoch)
            })
    }

    var isTracing = false

    mutating func note(_ text: @autoclosure () -> String) {
        guard isTracing else { return }
        let text = text()
        trace.append("\(now): \(text)")
        if trace.count > 400 { trace.removeFirst(200) }
    }

    mutating func schedule(_ event: Event, afterMs: Int64) {
        lastOrder += 1
        events.append((now.advanced(byMs: afterMs), lastOrder, event))
        events.sort { ($0.at, $0.order) > ($1.at, $1.order) }
    }

    mutating func append(to index: Int, count: Int) {
        for _ in 0..<count {
            lastValue += 1
            logs[index].records.append((logs[index].epoch, lastValue))
        }
    }

    // MARK: The run

    mutating func run() -> [String] {
        drain()
        while let next = events.popLast(), complaints.isEmpty, !isDone {
            now = max(now, next.at)
            if now.milliseconds(since: start) > faultsMs + 60_000 {
                complaints.append("not done after a quiet minute: \(seen.map { $0.next ?? -1 })")
                break
            }
            handle(next.event)
            drain()
        }
        let seconds = Int(now.milliseconds(since: start) / 1_000) + 1
        if effectCount > 4_000 + seconds * 1_000 { complaints.append("\(effectCount) effects in \(seconds) s") }
        return complaints
    }

    private mutating func handle(_ event: Event) {
        let error = ClientError.connectionLost(Endpoint(host: "n", port: 1))
        switch event {
        case .fetch(let dispatch): answer(dispatch)
        case .fetched(let id, let answers):
            endFetch(id)
            _ = machine.fetched(id, answers, at: now)
        case .located(let question):
            machine.located(question.id, offsets(question) { log, _, _ in Offset(log.records.count) }, at: now)
        case .compared(let question):
            let answers = offsets(question) { log, asked, _ in log.end(of: LeaderEpoch(asked)).offset }
            _ = machine.compared(question.id, answers, at: now)
        case .lost(let id):
            endFetch(id)
            _ = machine.lost(id, error, at: now)
        case .connected(let node, let isOpen):
            if isOpen {
                connected.insert(node)
                machine.connected(node)
            } else {
                machine.disconnected(node, at: now)
            }
        case .metadata(let topics):
            if let topics { machine.learned(topics: topics, at: now) } else { machine.failedToLearn(at: now) }
        case .change: change()
        case .read: read()
        case .user: user()
        case .wake: break
        }
    }

    private mutating func endFetch(_ id: Int) {
        if let node = fetchNodes.removeValue(forKey: id) { fetching.remove(node) }
    }

    private func offsets(
        _ question: ConsumerMachine.Question, _ offset: (Log, Int64, LeaderEpoch) -> Offset
    ) -> [TopicPartition: ConsumerMachine.OffsetAnswer] {
        var answers: [TopicPartition: ConsumerMachine.OffsetAnswer] = [:]
        for entry in question.entries {
            let log = logs[Int(entry.partition.partition)]
            if let code = log.refusal(of: question.node, entry.leaderEpoch) {
                answers[entry.partition] = .init(code: code)
            } else {
                let epoch = log.end(of: LeaderEpoch(clamping: entry.subject)).epoch
                let end = nodesLie ? Offset.max : offset(log, entry.subject, entry.leaderEpoch)
                answers[entry.partition] = .init(offset: end, epoch: epoch)
            }
        }
        return answers
    }

    // MARK: Effects

    private mutating func drain() {
        let (effects, wakeAt) = machine.drain(at: now)
        if let wakeAt, wakeAt <= now { complaints.append("drain wants to run again at once, at \(now)") }
        effectCount += effects.count
        for effect in effects { perform(effect) }
        if let wakeAt, self.wakeAt.map({ $0 <= now || wakeAt < $0 }) ?? true {
            self.wakeAt = wakeAt
            schedule(.wake, afterMs: max(0, wakeAt.milliseconds(since: now) + 1))
        }
    }

    private mutating func perform(_ effect: ConsumerMachine.Effect) {
        let mayFail = isFaulty
        switch effect {
        case .connect(let node): schedule(.connected(node, !(mayFail && random.oneIn(4))), afterMs: random.below(10))
        case .fetch(let dispatch):
            if !fetching.insert(dispatch.node).inserted { complaints.append("two fetches at node \(dispatch.node)") }
            fetchNodes[dispatch.id] = dispatch.node
            for entry in dispatch.entries where machine.assignments[entry.partition]?.isPaused != false {
                complaints.append("fetches \(entry.partition), which is paused")
            }
            schedule(.fetch(dispatch), afterMs: 1 + random.below(mayFail && random.oneIn(10) ? 300 : 5))
        case .locate(let question):
            schedule(mayFail && random.oneIn(6) ? .lost(question.id) : .located(question), afterMs: random.below(20))
        case .compare(let question):
            note("compare \(question.entries.map { ($0.partition.partition, $0.subject) })")
            schedule(mayFail && random.oneIn(6) ? .lost(question.id) : .compared(question), afterMs: random.below(20))
        case .askMetadata: schedule(.metadata(mayFail && random.oneIn(5) ? nil : [view]), afterMs: random.below(20))
        case .abandon(let node): breakConnection(node)
        }
    }

    mutating func breakConnection(_ node: NodeID) {
        connected.remove(node)
        for id in machine.requests.keys where machine.requests[id]?.node == node { schedule(.lost(id), afterMs: 0) }
        machine.disconnected(node, at: now)
    }

    private mutating func answer(_ dispatch: ConsumerMachine.FetchDispatch) {
        if isFaulty, random.oneIn(20) { return breakConnection(dispatch.node) }
        // A node that stopped: only `abandon` ends this early.
        if isFaulty, random.oneIn(30) { return schedule(.lost(dispatch.id), afterMs: 3_000) }
        var answers: [TopicPartition: ConsumerMachine.FetchAnswer] = [:]
        for entry in dispatch.entries {
            answers[entry.partition] = logs[Int(entry.partition.partition)].answer(
                entry, from: dispatch.node, compares: fetchCompares, hints: random.oneIn(2))
        }
        schedule(.fetched(dispatch.id, answers), afterMs: random.below(10))
    }
}

extension ConsumerWorld.Log {
    func refusal(of node: NodeID, _ known: LeaderEpoch) -> ErrorCode? {
        if leader != node { return .notLeaderOrFollower }
        if known < epoch { return .fencedLeaderEpoch }
        return known > epoch ? .unknownLeaderEpoch : nil
    }

    /// The newest epoch up to `asked` that the log holds, and where it ends.
    func end(of asked: LeaderEpoch) -> (epoch: LeaderEpoch, offset: Offset) {
        guard let last = records.lastIndex(where: { $0.epoch <= asked }) else { return (-1, 0) }
        return (records[last].epoch, Offset(last + 1))
    }

    func answer(
        _ entry: ConsumerMachine.FetchDispatch.Entry, from node: NodeID, compares: Bool, hints: Bool
    ) -> ConsumerMachine.FetchAnswer {
        if let code = refusal(of: node, entry.leaderEpoch) {
            var answer = ConsumerMachine.FetchAnswer(code: code)
            if hints, code == .notLeaderOrFollower, let leader { answer.leaderHint = (leader, epoch) }
            return answer
        }
        if compares, entry.lastEpoch >= 0 {
            let end = end(of: entry.lastEpoch)
            if end.epoch < entry.lastEpoch || end.offset < entry.offset {
                var answer = ConsumerMachine.FetchAnswer()
                answer.divergedAt = (end.offset, end.epoch)
                return answer
            }
        }
        guard entry.offset <= Offset(records.count) else {
            return ConsumerMachine.FetchAnswer(code: .offsetOutOfRange)
        }
        return ConsumerMachine.FetchAnswer(
            highWatermark: Offset(records.count), bytes: batches(from: entry.offset, bytesMax: Int(entry.bytesMax)))
    }

    /// Batches of up to four records, cut at epochs and at multiples of four, so that one may begin before `offset`.
    private func batches(from offset: Offset, bytesMax: Int) -> ByteBuffer {
        var bytes = ByteBuffer()
        var at = Int(offset) / 4 * 4
        while at < records.count, bytes.readableBytes < bytesMax {
            let epoch = records[at].epoch
            var end = at + 1
            while end < records.count, end % 4 != 0, records[end].epoch == epoch { end += 1 }
            defer { at = end }
            if end <= Int(offset) { continue }
            var builder = RecordBatchBuilder(baseOffset: Offset(at), leaderEpoch: epoch)
            for record in records[at..<end] {
                builder.append(timestamp: 1, key: nil, value: ByteBuffer(integer: record.value))
            }
            bytes.writeImmutableBuffer(builder.build())
        }
        return bytes
    }
}
