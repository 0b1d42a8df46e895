// Steps of a replica: one input, the effects run as the shard runs them, and the rules that one replica can break
// alone.

import Model
import Replication

extension ReplicaMember {
    static let topic = TopicPartition(UUID128(high: 1, low: 1), 0)
    static let settings = PartitionSettings(minInSyncReplicas: 2, synchronous: true, replicaLagTimeMaxMs: 10_000)

    /// A replica whose process begins on what the disk holds. Opening a log flushes it and reads its epochs from its
    /// batches.
    init(id: NodeID, log: ReplicaLog, highWatermark: Offset?, previousEpoch: BrokerEpoch) {
        images = [log]
        flushedEnd = Offset(log.count)
        epochs = EpochHistory()
        for (offset, entry) in log.enumerated() {
            epochs.assign(LeaderEpoch(entry.epoch), startOffset: Offset(offset))
        }
        brokerEpoch = -1
        self.previousEpoch = previousEpoch
        partition = Partition(
            Self.topic, me: id, myBrokerEpoch: -1, settings: Self.settings,
            log: LogView(
                startOffset: 0, endOffset: Offset(log.count), flushedEnd: Offset(log.count), epochs: epochs),
            highWatermark: highWatermark)
    }

    func stepped(_ input: ReplicaInput, bug: SmallScopeBug) -> ReplicaStep {
        var step = ReplicaStep(member: self)
        var member = self
        if case .restarted(let image, let highWatermark) = input {
            member = ReplicaMember(
                id: partition.me, log: images[image], highWatermark: highWatermark,
                previousEpoch: brokerEpoch < 0 ? previousEpoch : brokerEpoch)
        } else {
            member.take(input, bug, into: &step)
        }
        member.settle()
        step.member = member
        step.judge(since: self, input)
        return step
    }

    private mutating func take(_ input: ReplicaInput, _ bug: SmallScopeBug, into step: inout ReplicaStep) {
        switch input {
        case .assigned(let state):
            applied = state.number
            partition.myBrokerEpoch = brokerEpoch
            var brokers = SortedMap<NodeID, BrokerView>()
            for (index, broker) in state.brokers.enumerated() { brokers[NodeID(index + 1)] = broker }
            perform(bug, &step) {
                $0.assigned(state.registration, brokers: brokers, log: $1, at: Partition.searchMoment, into: &$2)
            }
            if bug == .truncatedToHighWatermark, case .follower(.some) = partition.role {
                cut(to: partition.highWatermark)
            }
        case .produced(let value):
            write([ReplicaEntry(epoch: Int8(partition.leaderEpoch), value: value)])
            waiters.append(Offset(log.count))
            requestFlush()
            perform(bug, &step) { $0.appended(log: $1, at: Partition.searchMoment, into: &$2) }
        case .flushed:
            guard let mark = barrier else { return }
            flushedEnd = max(flushedEnd, Offset(images[mark].count))
            images.removeFirst(mark)
            barrier = nil
            if isFlushWanted {
                isFlushWanted = false
                requestFlush()
            }
            perform(bug, &step) { $0.flushed(log: $1, at: Partition.searchMoment, into: &$2) }
        case .timer(let timer):
            partition.expire(timer)
            perform(bug, &step) { $0.ticked(log: $1, at: Partition.searchMoment, into: &$2) }
        case .fetched(let fetch):
            var decision: FetchDecision?
            perform(bug, &step) {
                decision = $0.fetched(fetch, log: $1, at: Partition.searchMoment, into: &$2)
            }
            step.decision = decision
            if case .read(let end, _) = decision, fetch.fetchOffset < end {
                step.records = ReplicaLog(log[Int(fetch.fetchOffset)..<Int(end)])
            }
        case .answered(let answer):
            // The fetcher drops what answers an earlier question.
            guard partition.nextFetch(log: view) == answer.position else { return }
            perform(bug, &step, fetched: answer.records) {
                $0.fetchAnswered(answer.answer, log: $1, at: Partition.searchMoment, into: &$2)
            }
            if flushedEnd < Offset(log.count) { requestFlush() }
        case .isrAnswered(let error, let answer, let proposal):
            perform(bug, &step) {
                $0.isrAnswered(
                    error: error, answer, for: proposal, log: $1, at: Partition.searchMoment, into: &$2)
            }
        case .registered(let epoch): brokerEpoch = epoch
        case .restarted: break
        }
    }

    private mutating func settle() {
        partition.forgetTimes()
        var distinct: [ReplicaLog] = []
        var mark: Int?
        for (index, image) in images.enumerated() {
            if distinct.last != image { distinct.append(image) }
            if index == barrier { mark = distinct.count - 1 }
        }
        (images, barrier) = (distinct, mark)
    }

    // MARK: Effects

    private mutating func perform(
        _ bug: SmallScopeBug, _ step: inout ReplicaStep, fetched: ReplicaLog = [],
        _ input: (inout Partition, LogView, inout [PartitionEffect]) -> Void
    ) {
        let before = partition.highWatermark
        var seen = view
        if bug == .ownEndCounted, partition.isLeader { seen.flushedEnd = seen.endOffset }
        var effects: [PartitionEffect] = []
        input(&partition, seen, &effects)
        for effect in effects { run(effect, fetched, before, &step) }
        if effects.contains(.appendFetched) {
            perform(bug, &step) { $0.appended(log: $1, at: Partition.searchMoment, into: &$2) }
        }
    }

    private mutating func run(
        _ effect: PartitionEffect, _ fetched: ReplicaLog, _ before: Offset, _ step: inout ReplicaStep
    ) {
        switch effect {
        case .advanceHighWatermark(let end):
            guard partition.isLeader else { return step.facts.append(.followed(end)) }
            step.facts.append(.committed(end, maximalISR: partition.maximalISR))
            let done = waiters.filter { $0 <= end }
            waiters.removeAll { $0 <= end }
            let acknowledged = done.filter { partition.verdict(forWaiterAt: $0 - 1) == nil }
            if !acknowledged.isEmpty {
                step.facts.append(
                    .acknowledged(acknowledged, isr: partition.isr, maximalISR: partition.maximalISR))
            }
        case .proposeISR(let proposal): step.proposals.append(proposal)
        case .truncate(let end):
            cut(to: end)
            epochs.truncate(to: end)
        case .truncateFully, .advanceStart:
            step.facts.append(.violated("an effect that this scope never asks for: \(effect)"))
        case .appendFetched: write(fetched)
        case .assignEpoch(let epoch): epochs.assign(epoch, startOffset: Offset(log.count))
        case .flush: requestFlush()
        case .failWaiters: waiters = []
        case .startFetching, .stopFetching, .wakeFetches: break
        }
    }

    private mutating func write(_ entries: ReplicaLog) {
        for entry in entries {
            images.append(log + [entry])
            epochs.assign(LeaderEpoch(entry.epoch), startOffset: Offset(log.count - 1))
        }
    }

    /// A cut makes a barrier under way void and asks for another.
    private mutating func cut(to end: Offset) {
        guard end < log.count else { return }
        images.append(ReplicaLog(log.prefix(Int(end))))
        epochs.truncate(to: end)
        flushedEnd = min(flushedEnd, end)
        barrier = nil
        isFlushWanted = false
        requestFlush()
    }

    private mutating func requestFlush() {
        guard images.count > 1 else { return }
        if let barrier {
            isFlushWanted = isFlushWanted || barrier < images.count - 1
        } else {
            barrier = images.count - 1
        }
    }
}

extension ReplicaStep {
    /// What this replica's own before and after can break: P8 and P10.
    mutating func judge(since before: ReplicaMember, _ input: ReplicaInput) {
        let partition = member.partition
        let me = partition.me
        if partition.highWatermark > Offset(member.log.count) {
            facts.append(.violated("P8: the high watermark of \(me) lies beyond its log"))
        }
        let starts = member.epochs.entries
        if !zip(starts, starts.dropFirst()).allSatisfy({ $0.epoch < $1.epoch && $0.startOffset <= $1.startOffset })
            || member.log.indices.contains(where: {
                member.epochs.epoch(at: Offset($0)) != LeaderEpoch(member.log[$0].epoch)
            })
        {
            facts.append(.violated("P10: the epochs \(member.epochs) of \(me) are not those of \(member.log)"))
        }
        if case .restarted = input { return }
        let old = before.partition
        if partition.leaderEpoch < old.leaderEpoch || partition.partitionEpoch < old.partitionEpoch {
            facts.append(.violated("P10: an epoch of \(me) falls"))
        }
        if partition.isLeader, old.isLeader, partition.leaderEpoch == old.leaderEpoch,
            partition.highWatermark < old.highWatermark
        {
            facts.append(.violated("P8: the high watermark of leader \(me) falls"))
        }
        if partition.isLeader, partition.leaderEpoch > old.leaderEpoch || !old.isLeader {
            facts.insert(.led, at: 0)
        }
    }
}
