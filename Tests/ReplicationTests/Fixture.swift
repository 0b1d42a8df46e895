// One replica under test with its inputs in short form: node 1 of {1, 2, 3} unless said otherwise.

import Model
import Replication

struct Fixture {
    var partition: Partition
    var log: LogView
    var now = Instant.zero
    var brokers = SortedMap<NodeID, BrokerView>()
    var registration: PartitionRegistration

    /// A replica whose log holds `end` flushed records of epoch 0.
    init(
        me: NodeID = 1, replicas: [NodeID] = [1, 2, 3], isr: [NodeID]? = nil, minISR: Int = 2, synchronous: Bool = true,
        end: Offset = 0, highWatermark: Offset? = nil
    ) {
        log = LogView(endOffset: end, flushedEnd: end)
        if end > 0 { log.epochs.assign(0, startOffset: 0) }
        registration = PartitionRegistration(replicas: replicas, isr: isr ?? replicas, leader: nil)
        for id in replicas { brokers[id] = BrokerView(epoch: 100 + BrokerEpoch(id), eligible: true) }
        partition = Partition(
            TopicPartition(UUID128(low: 9), 0), me: me, myBrokerEpoch: 100 + BrokerEpoch(me),
            settings: PartitionSettings(
                minInSyncReplicas: minISR, synchronous: synchronous, replicaLagTimeMaxMs: 1_000), log: log,
            highWatermark: highWatermark)
    }

    /// The metadata names `leader` under `epoch`; the epoch is noted in the log where the effects say so.
    mutating func assign(
        leader: NodeID?, epoch: LeaderEpoch, partitionEpoch: PartitionEpoch? = nil, isr: [NodeID]? = nil
    ) -> [PartitionEffect] {
        registration.leader = leader
        registration.leaderEpoch = epoch
        registration.partitionEpoch = partitionEpoch ?? registration.partitionEpoch + 1
        registration.isr = isr ?? registration.isr
        return publish()
    }

    mutating func publish() -> [PartitionEffect] {
        var effects: [PartitionEffect] = []
        partition.assigned(registration, brokers: brokers, log: log, at: now, into: &effects)
        for case .assignEpoch(let epoch) in effects { log.epochs.assign(epoch, startOffset: log.endOffset) }
        return effects
    }

    mutating func append(_ count: Offset, epoch: LeaderEpoch? = nil) -> [PartitionEffect] {
        if let epoch { log.epochs.assign(epoch, startOffset: log.endOffset) }
        log.endOffset += count
        var effects: [PartitionEffect] = []
        partition.appended(log: log, at: now, into: &effects)
        return effects
    }

    mutating func flush() -> [PartitionEffect] {
        log.flushedEnd = log.endOffset
        var effects: [PartitionEffect] = []
        partition.flushed(log: log, at: now, into: &effects)
        return effects
    }

    mutating func requestStart(_ offset: Offset) -> [PartitionEffect] {
        var effects: [PartitionEffect] = []
        partition.startRequested(offset, log: log, at: now, into: &effects)
        return effects
    }

    mutating func tick() -> [PartitionEffect] {
        var effects: [PartitionEffect] = []
        partition.ticked(log: log, at: now, into: &effects)
        return effects
    }

    /// Replica `id` fetches at `offset`, its last record being of `lastEpoch` (by default the leader's word for it).
    mutating func fetch(
        _ id: NodeID, _ offset: Offset, lastEpoch: LeaderEpoch? = nil, epoch: LeaderEpoch? = nil,
        brokerEpoch: BrokerEpoch? = nil, logStart: Offset = 0
    ) -> (FetchDecision, [PartitionEffect]) {
        var effects: [PartitionEffect] = []
        let last = lastEpoch ?? (offset > 0 ? log.epochs.epoch(at: offset - 1) : nil) ?? -1
        let decision = partition.fetched(
            ReplicaFetch(
                replica: id, brokerEpoch: brokerEpoch ?? 100 + BrokerEpoch(id), fetchOffset: offset,
                lastFetchedEpoch: last,
                currentLeaderEpoch: epoch ?? partition.leaderEpoch, logStartOffset: logStart),
            log: log, at: now, into: &effects)
        return (decision, effects)
    }

    mutating func answer(
        _ error: ErrorCode = .none, epoch: LeaderEpoch? = nil, highWatermark: Offset = 0, logStart: Offset = 0,
        diverging: EpochEnd? = nil, batches: BatchSpan? = nil
    ) -> [PartitionEffect] {
        var effects: [PartitionEffect] = []
        partition.fetchAnswered(
            ReplicaFetchAnswer(
                error: error, leaderEpoch: epoch ?? partition.leaderEpoch, highWatermark: highWatermark,
                logStartOffset: logStart,
                diverging: diverging, batches: batches),
            log: log, at: now, into: &effects)
        return effects
    }

    mutating func isrAnswered(_ error: ErrorCode, _ answer: ISRAnswer? = nil, for proposal: ISRProposal)
        -> [PartitionEffect]
    {
        var effects: [PartitionEffect] = []
        partition.isrAnswered(error: error, answer, for: proposal, log: log, at: now, into: &effects)
        return effects
    }

    func proposal(_ isr: [NodeID], brokerEpochs: [NodeID: BrokerEpoch] = [:]) -> ISRProposal {
        ISRProposal(
            leaderEpoch: partition.leaderEpoch, partitionEpoch: partition.partitionEpoch,
            isr: isr.map { ISRMember(id: $0, brokerEpoch: brokerEpochs[$0] ?? 100 + BrokerEpoch($0)) },
            recoveryState: .recovered)
    }

    func accepted(_ isr: [NodeID]) -> ISRAnswer {
        ISRAnswer(
            leaderID: partition.me, leaderEpoch: partition.leaderEpoch, isr: isr,
            partitionEpoch: partition.partitionEpoch + 1)
    }
}
