// Three replicas, a controller and a network that delays, repeats and loses: one seed, one history, checked after every
// event.

import Model
import Replication

struct ModelNode {
    var partition: Partition
    var log = ModelLog()
    var isAlive = true
    var imagesSeen = 0
    /// The fetch whose answer is awaited: an answer to any other is void, as on a closed connection.
    var fetchToken: Int?
    var received: [ModelRecord] = []
    /// Last offset and record of each acks=all produce that waits.
    var waiters: [(offset: Offset, id: Int)] = []
}

enum Message {
    case fetch(ReplicaFetch, to: NodeID, token: Int)
    case fetched(ReplicaFetchAnswer, [ModelRecord], to: NodeID, token: Int)
    case alter(ISRProposal, from: NodeID, brokerEpoch: BrokerEpoch)
    case altered(ErrorCode, ISRAnswer?, ISRProposal, to: NodeID, brokerEpoch: BrokerEpoch)
}

struct World {
    var random: SeededRandom
    var controller: ModelController
    var nodes: [NodeID: ModelNode] = [:]
    var network: [Message] = []
    var now = Instant.zero
    var nextID = 1
    var nextToken = 1
    var violations: [String] = []
    /// What any leader has declared committed: it stays, whatever happens.
    var committed: [ModelRecord] = []
    var shown: Offset = 0
    var acked = 0
    var elections = 0
    /// How often something breaks or moves, drawn by the seed.
    let chaosPerMille: Int64
    let topicPartition = TopicPartition(UUID128(low: 7), 0)
    let settings: PartitionSettings

    static let ids: [NodeID] = [1, 2, 3]

    init(seed: UInt64, minISR: Int = 2) {
        random = SeededRandom(seed: seed)
        chaosPerMille = [5, 20, 60, 120][Int(random.below(4))]
        settings = PartitionSettings(minInSyncReplicas: minISR, synchronous: true, replicaLagTimeMaxMs: 300)
        controller = ModelController(replicas: Self.ids, minISR: minISR)
        for id in Self.ids { start(id, log: ModelLog(), brokerEpoch: controller.brokers[id]?.epoch ?? -1) }
    }

    private mutating func start(_ id: NodeID, log: ModelLog, brokerEpoch: BrokerEpoch) {
        let partition = Partition(
            topicPartition, me: id, myBrokerEpoch: brokerEpoch, settings: settings, log: log.view)
        nodes[id] = ModelNode(partition: partition, log: log)
    }

    mutating func fail(_ what: String) { violations.append("at \(now): \(what)") }

    // MARK: Running one input

    /// Gives `input` to node `id` and runs its effects.
    mutating func run(_ id: NodeID, _ input: (inout Partition, LogView, Instant, inout [PartitionEffect]) -> Void) {
        guard var node = nodes[id], node.isAlive else { return }
        var effects: [PartitionEffect] = []
        let before = node.partition
        input(&node.partition, node.log.view, now, &effects)
        checkHighWatermark(before, node.partition, node.log)
        nodes[id] = node
        for effect in effects { perform(effect, by: id) }
    }

    private mutating func perform(_ effect: PartitionEffect, by id: NodeID) {
        switch effect {
        case .advanceHighWatermark(let to): advanced(to: to, by: id)
        case .proposeISR(let proposal):
            network.append(.alter(proposal, from: id, brokerEpoch: nodes[id]!.partition.myBrokerEpoch))
        case .truncate(let to): nodes[id]!.log.truncate(to: to)
        case .truncateFully: fail("node \(id) drops its whole log")
        case .advanceStart: fail("node \(id) moves its start")
        case .appendFetched:
            for record in nodes[id]!.received { nodes[id]!.log.append(record) }
            nodes[id]!.received = []
            run(id) { $0.appended(log: $1, at: $2, into: &$3) }
        case .assignEpoch(let epoch): nodes[id]!.log.assign(epoch)
        case .startFetching, .stopFetching: nodes[id]!.fetchToken = nil
        case .failWaiters: nodes[id]!.waiters = []
        case .flush, .wakeFetches: break
        }
    }

    private mutating func advanced(to offset: Offset, by id: NodeID) {
        guard let node = nodes[id], node.partition.role == .leader else { return }
        for (index, record) in node.log.records.prefix(Int(offset)).enumerated() {
            if index < committed.count {
                if committed[index] != record { fail("P1 offset \(index): \(committed[index]) became \(record)") }
            } else {
                committed.append(record)
            }
        }
        for member in node.partition.maximalISR where durableEnd(member, under: node.log) < offset {
            fail("P6 node \(id) commits \(offset) without \(member)")
        }
        let done = node.waiters.filter { $0.offset < offset }
        nodes[id]!.waiters.removeAll { $0.offset < offset }
        for waiter in done where node.partition.verdict(forWaiterAt: waiter.offset) == nil {
            acked += 1
            if node.partition.isr.count < settings.minInSyncReplicas { fail("P13 acknowledged below min ISR") }
            if committed.prefix(Int(offset)).allSatisfy({ $0.id != waiter.id }) {
                fail("acknowledged but not committed")
            }
        }
    }

    /// How much of `log` a power cut would leave on `id`.
    private func durableEnd(_ id: NodeID, under log: ModelLog) -> Offset {
        Offset(zip(nodes[id]!.log.disk, log.records).prefix { $0 == $1 }.count)
    }

    // MARK: Events

    mutating func step() {
        now = now.advanced(byMs: random.below(20))
        let id = Self.ids[Int(random.below(3))]
        if random.below(1000) < chaosPerMille { disturb(id) }
        switch random.below(100) {
        case 0..<50: deliver()
        case 50..<58: produce(at: id)
        case 58..<70: flush(id)
        case 70..<85: if nodes[id]!.fetchToken == nil || random.oneIn(10) { fetch(id) }
        case 85..<96: learn(id)
        default: if nodes[id]!.partition.nextDeadline <= now { tick(id) }
        }
        check()
    }

    private mutating func disturb(_ id: NodeID) {
        switch random.below(10) {
        case 0..<3: crash(id)
        case 3..<7: for dead in Self.ids { revive(dead) }
        case 7..<9: controller.move(to: id)
        default: if random.oneIn(2) { controller.fence(id) } else { reregister(id) }
        }
    }

    mutating func produce(at id: NodeID) {
        guard let node = nodes[id], node.isAlive, node.partition.admission(acks: -1) == nil else { return }
        let record = ModelRecord(epoch: node.partition.leaderEpoch, id: nextID)
        nextID += 1
        nodes[id]!.waiters.append((node.log.endOffset, record.id))
        nodes[id]!.log.append(record)
        run(id) { $0.appended(log: $1, at: $2, into: &$3) }
    }

    mutating func flush(_ id: NodeID) {
        guard nodes[id]!.isAlive else { return }
        nodes[id]!.log.flush()
        run(id) { $0.flushed(log: $1, at: $2, into: &$3) }
    }

    mutating func tick(_ id: NodeID) { run(id) { $0.ticked(log: $1, at: $2, into: &$3) } }

    mutating func fetch(_ id: NodeID) {
        guard let node = nodes[id], node.isAlive, case .follower(let leader?) = node.partition.role,
            let ask = node.partition.nextFetch(log: node.log.view)
        else { return }
        let fetch = ReplicaFetch(
            replica: id, brokerEpoch: node.partition.myBrokerEpoch, fetchOffset: ask.offset,
            lastFetchedEpoch: ask.lastFetchedEpoch, currentLeaderEpoch: ask.currentLeaderEpoch, logStartOffset: 0)
        nodes[id]!.fetchToken = nextToken
        network.append(.fetch(fetch, to: leader, token: nextToken))
        nextToken += 1
    }

    /// The next image, in order.
    mutating func learn(_ id: NodeID) {
        guard let node = nodes[id], node.isAlive, node.imagesSeen < controller.images.count else { return }
        // Sometimes several changes arrive as one image.
        let last = controller.images.count - 1
        let index = random.oneIn(4) ? last : node.imagesSeen
        nodes[id]!.imagesSeen = index + 1
        let image = controller.images[index]
        let wasLeader = node.partition.role == .leader
        run(id) { $0.assigned(image.partition, brokers: image.brokers, log: $1, at: $2, into: &$3) }
        if !wasLeader, nodes[id]!.partition.role == .leader { elections += 1 }
    }

    mutating func crash(_ id: NodeID) {
        guard nodes[id]!.isAlive else { return }
        nodes[id]!.isAlive = false
        nodes[id]!.waiters = []
        nodes[id]!.log.crash(&random)
    }

    /// Starts again with nothing but its disk, and reads the metadata log anew, so that it meets its own past.
    mutating func revive(_ id: NodeID) {
        guard !nodes[id]!.isAlive else { return }
        let epoch = controller.restarted(id)
        start(id, log: nodes[id]!.log, brokerEpoch: epoch)
        nodes[id]!.imagesSeen = Int(random.below(Int64(controller.images.count)))
    }

    /// A fenced node that lives is let in again under the same incarnation only through a restart here.
    private mutating func reregister(_ id: NodeID) {
        guard controller.brokers[id]?.eligible == false else { return }
        crash(id)
        revive(id)
    }

    mutating func deliver() {
        guard !network.isEmpty else { return }
        // Half the time the oldest: a network is not all chaos.
        let index = random.oneIn(2) ? 0 : Int(random.below(Int64(network.count)))
        let message = network[index]
        // Most messages arrive once; some again later; some never.
        if !random.oneIn(15) { network.remove(at: index) }
        if network.count > 40 { network.removeFirst() }
        if random.oneIn(20) { return }
        switch message {
        case .fetch(let fetch, let to, let token): answer(fetch, at: to, token: token)
        case .fetched(let answer, let records, let to, let token):
            guard nodes[to]!.isAlive, nodes[to]!.fetchToken == token else { return }
            nodes[to]!.fetchToken = nil
            nodes[to]!.received = records
            run(to) { $0.fetchAnswered(answer, log: $1, at: $2, into: &$3) }
        case .alter(let proposal, let from, let brokerEpoch):
            // The route itself refuses a broker that is not the registered one.
            guard controller.brokers[from]?.epoch == brokerEpoch else { return }
            let (error, answer) = controller.alterPartition(proposal, from: from)
            network.append(.altered(error, answer, proposal, to: from, brokerEpoch: brokerEpoch))
        case .altered(let error, let answer, let proposal, let to, let brokerEpoch):
            guard nodes[to]!.isAlive, nodes[to]!.partition.myBrokerEpoch == brokerEpoch else { return }
            run(to) { $0.isrAnswered(error: error, answer, for: proposal, log: $1, at: $2, into: &$3) }
        }
    }

    private mutating func answer(_ fetch: ReplicaFetch, at id: NodeID, token: Int) {
        guard nodes[id]!.isAlive else { return }
        var decision = FetchDecision.error(.unknownServerError)
        run(id) { decision = $0.fetched(fetch, log: $1, at: $2, into: &$3) }
        var answer = ReplicaFetchAnswer(
            leaderEpoch: fetch.currentLeaderEpoch, highWatermark: nodes[id]!.partition.highWatermark, logStartOffset: 0)
        var records: [ModelRecord] = []
        switch decision {
        case .error(let error): answer.error = error
        case .diverging(let epoch, let endOffset): answer.diverging = EpochEnd(epoch: epoch, endOffset: endOffset)
        case .read(let below, let highWatermark):
            answer.highWatermark = highWatermark
            let count = min(below - fetch.fetchOffset, 1 + random.below(4))
            if count > 0 {
                records = Array(nodes[id]!.log.records[Int(fetch.fetchOffset)..<Int(fetch.fetchOffset + count)])
                answer.batches = BatchSpan(baseOffset: fetch.fetchOffset, nextOffset: fetch.fetchOffset + count)
            }
        }
        network.append(.fetched(answer, records, to: fetch.replica, token: token))
    }
}
