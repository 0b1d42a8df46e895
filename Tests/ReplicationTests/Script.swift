// Runs a golden script: lines that begin with ">" are commands to three replicas, what stands below each is what they
// did.

import Model
import Replication

struct Script {
    struct Replica {
        var partition: Partition
        var log = ModelLog()
        var received: [ModelRecord] = []
    }

    private var replicas: [NodeID: Replica] = [:]
    private var brokers = SortedMap<NodeID, BrokerView>()
    private var registration = PartitionRegistration(replicas: [1, 2, 3], isr: [1, 2, 3], leader: nil)
    private var proposals: [NodeID: ISRProposal] = [:]
    private var now = Instant.zero
    private var nextID = 1
    private var output: [String] = []
    private let settings = PartitionSettings(minInSyncReplicas: 2, synchronous: true, replicaLagTimeMaxMs: 10_000)

    init() {
        for id in World.ids {
            brokers[id] = BrokerView(epoch: 100 + BrokerEpoch(id), eligible: true)
            start(id, log: ModelLog())
        }
    }

    /// The script with its outcome as it is now.
    static func replay(_ text: String) -> String {
        var script = Script()
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line.hasPrefix(">") {
                script.output.append(line)
                script.run(line.dropFirst().split(separator: " ").map(String.init))
            } else if line.hasPrefix("#") || line.isEmpty {
                script.output.append(line)
            }
        }
        return script.output.joined(separator: "\n")
    }

    private mutating func start(_ id: NodeID, log: ModelLog) {
        let partition = Partition(
            TopicPartition(UUID128(low: 7), 0), me: id, myBrokerEpoch: brokers[id]!.epoch, settings: settings,
            log: log.view)
        replicas[id] = Replica(partition: partition, log: log)
    }

    private mutating func run(_ words: [String]) {
        let id = words.count > 1 ? NodeID(words[1]) ?? 0 : 0
        let number = words.count > 2 ? Int64(words[2]) ?? 0 : 0
        switch words.first {
        case "leader": assign(leader: id, isr: ids(words[3]), told: words.count > 5 ? ids(words[5]) : World.ids)
        case "produce": produce(id, Int(number))
        case "flush": flush(id)
        case "fetch": fetch(id)
        case "tick":
            now = now.advanced(byMs: number)
            input(id) { $0.ticked(log: $1, at: $2, into: &$3) }
        case "restart":
            brokers[id]?.epoch += 100
            replicas[id]!.log.crashToFlushed()
            start(id, log: replicas[id]!.log)
        case "answer": answer(id, words[2])
        case "state": state()
        default: output.append("    unknown command")
        }
    }

    private func ids(_ list: String) -> [NodeID] { list.split(separator: ",").compactMap { NodeID($0) } }

    /// `leader N isr A,B [told C,D]`: the next leader epoch, or the same where the leader stays.
    private mutating func assign(leader: NodeID, isr: [NodeID], told: [NodeID]) {
        if registration.leader != leader { registration.leaderEpoch += 1 }
        registration.leader = leader
        registration.isr = isr
        registration.partitionEpoch += 1
        let (registration, brokers) = (registration, brokers)
        for id in told { input(id) { $0.assigned(registration, brokers: brokers, log: $1, at: $2, into: &$3) } }
    }

    private mutating func produce(_ id: NodeID, _ count: Int) {
        if let error = replicas[id]!.partition.admission(acks: -1) {
            output.append("    \(id): acks=all gets \(error)")
        }
        for _ in 0..<count {
            replicas[id]!.log.append(ModelRecord(epoch: replicas[id]!.partition.leaderEpoch, id: nextID))
            nextID += 1
        }
        input(id) { $0.appended(log: $1, at: $2, into: &$3) }
    }

    private mutating func flush(_ id: NodeID) {
        replicas[id]!.log.flush()
        input(id) { $0.flushed(log: $1, at: $2, into: &$3) }
    }

    /// A whole round: ask, answer, append, flush.
    private mutating func fetch(_ id: NodeID) {
        let replica = replicas[id]!
        guard case .follower(let leader?) = replica.partition.role,
            let ask = replica.partition.nextFetch(log: replica.log.view)
        else { return output.append("    \(id): nothing to ask") }
        let fetch = ReplicaFetch(
            replica: id, brokerEpoch: replica.partition.myBrokerEpoch, fetchOffset: ask.offset,
            lastFetchedEpoch: ask.lastFetchedEpoch, currentLeaderEpoch: ask.currentLeaderEpoch, logStartOffset: 0)
        output.append("    \(id) -> \(leader): fetch at \(ask.offset), last epoch \(ask.lastFetchedEpoch)")
        var decision = FetchDecision.error(.unknownServerError)
        input(leader) { decision = $0.fetched(fetch, log: $1, at: $2, into: &$3) }
        var answer = ReplicaFetchAnswer(leaderEpoch: ask.currentLeaderEpoch, highWatermark: -1, logStartOffset: 0)
        switch decision {
        case .error(let error):
            answer.error = error
            output.append("    \(leader) -> \(id): \(error)")
        case .diverging(let epoch, let end):
            answer.diverging = EpochEnd(epoch: epoch, endOffset: end)
            output.append("    \(leader) -> \(id): diverging, epoch \(epoch) ends at \(end)")
        case .read(let below, let highWatermark):
            answer.highWatermark = highWatermark
            output.append("    \(leader) -> \(id): records below \(below), high watermark \(highWatermark)")
            if below > ask.offset {
                replicas[id]!.received = Array(replicas[leader]!.log.records[Int(ask.offset)..<Int(below)])
                answer.batches = BatchSpan(baseOffset: ask.offset, nextOffset: below)
            }
        }
        input(id) { $0.fetchAnswered(answer, log: $1, at: $2, into: &$3) }
        flush(id)
    }

    private mutating func answer(_ id: NodeID, _ word: String) {
        guard let proposal = proposals[id] else { return output.append("    \(id): nothing proposed") }
        var error = ErrorCode.none
        var answer: ISRAnswer?
        switch word {
        case "ok":
            registration.isr = proposal.isr.map(\.id)
            registration.partitionEpoch += 1
            answer = ISRAnswer(
                leaderID: id, leaderEpoch: registration.leaderEpoch, isr: registration.isr,
                partitionEpoch: registration.partitionEpoch)
        case "INELIGIBLE_REPLICA": error = .ineligibleReplica
        case "INVALID_UPDATE_VERSION": error = .invalidUpdateVersion
        default: error = .requestTimedOut
        }
        input(id) { $0.isrAnswered(error: error, answer, for: proposal, log: $1, at: $2, into: &$3) }
    }

    private mutating func state() {
        for id in World.ids {
            let replica = replicas[id]!
            let partition = replica.partition
            let records = replica.log.records.map(\.description).joined(separator: " ")
            output.append(
                "    \(id): \(partition.role) epoch \(partition.leaderEpoch) isr \(partition.isr) "
                    + "maximal \(partition.maximalISR) "
                    + "hw \(partition.highWatermark) flushed \(replica.log.flushedEnd) log [\(records)]")
        }
    }

    // MARK: Effects

    private mutating func input(
        _ id: NodeID, _ input: (inout Partition, LogView, Instant, inout [PartitionEffect]) -> Void
    ) {
        var effects: [PartitionEffect] = []
        input(&replicas[id]!.partition, replicas[id]!.log.view, now, &effects)
        for effect in effects { perform(effect, by: id) }
    }

    private mutating func perform(_ effect: PartitionEffect, by id: NodeID) {
        output.append("    \(id): \(Self.text(effect))")
        switch effect {
        case .proposeISR(let proposal): proposals[id] = proposal
        case .truncate(let to): replicas[id]!.log.truncate(to: to)
        case .assignEpoch(let epoch): replicas[id]!.log.assign(epoch)
        case .appendFetched:
            for record in replicas[id]!.received { replicas[id]!.log.append(record) }
            replicas[id]!.received = []
            input(id) { $0.appended(log: $1, at: $2, into: &$3) }
        default: break
        }
    }

    private static func text(_ effect: PartitionEffect) -> String {
        guard case .proposeISR(let proposal) = effect else { return "\(effect)" }
        let members = proposal.isr.map { "\($0.id)@\($0.brokerEpoch)" }.joined(separator: " ")
        return "propose ISR [\(members)] from partition epoch \(proposal.partitionEpoch)"
    }
}
