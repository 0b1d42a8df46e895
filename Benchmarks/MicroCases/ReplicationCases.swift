// A record on its way through one replica of a partition with three, flush.mode=sync. Effects go into a new array each
// time, as the shard's do.

import Model
import Replication

func replicationCases() -> [MicroCase] {
    [
        MicroCase("replica leading 3, one append: written, flushed, fetched by both followers", calls: 1_000) {
            let replica = MeasuredReplica(leader: 1)
            return { count in
                for _ in 0..<count { replica.appendAndCommit() }
                precondition(replica.partition.highWatermark == replica.log.endOffset, "committed")
            }
        },
        MicroCase("replica following, one answer: received, written, flushed, next fetch", calls: 1_000) {
            let replica = MeasuredReplica(leader: 2)
            return { count in
                for _ in 0..<count { replica.takeAnswer() }
                precondition(replica.partition.highWatermark == replica.log.endOffset - 1, "one behind the last")
            }
        },
    ]
}

/// Node 1 of the replicas 1, 2 and 3, all in sync.
private final class MeasuredReplica {
    var partition: Partition
    var log = LogView()
    private let now = Instant(nanoseconds: 5_000_000_000)

    init(leader: NodeID) {
        let settings = PartitionSettings(minInSyncReplicas: 2, synchronous: true)
        partition = Partition(
            TopicPartition(UUID128(low: 9), 0), me: 1, myBrokerEpoch: 101, settings: settings, log: log)
        var brokers = SortedMap<NodeID, BrokerView>()
        for id in 1...3 as ClosedRange<NodeID> {
            brokers[id] = BrokerView(epoch: 100 + BrokerEpoch(id), eligible: true)
        }
        let registration = PartitionRegistration(
            replicas: [1, 2, 3], isr: [1, 2, 3], leader: leader, leaderEpoch: 1, partitionEpoch: 1)
        var effects: [PartitionEffect] = []
        partition.assigned(registration, brokers: brokers, log: log, at: now, into: &effects)
        precondition(partition.isLeader == (leader == 1), "as assigned")
        log.epochs.assign(1, startOffset: 0)
    }

    private func step(_ input: (inout Partition, inout [PartitionEffect]) -> Void) {
        var effects: [PartitionEffect] = []
        input(&partition, &effects)
        Sink.total += effects.count
    }

    func appendAndCommit() {
        log.endOffset += 1
        step { $0.appended(log: log, at: now, into: &$1) }
        log.flushedEnd = log.endOffset
        step { $0.flushed(log: log, at: now, into: &$1) }
        for id in 2...3 as ClosedRange<NodeID> {
            let fetch = ReplicaFetch(
                replica: id, brokerEpoch: 100 + BrokerEpoch(id), fetchOffset: log.endOffset, lastFetchedEpoch: 1,
                currentLeaderEpoch: 1, logStartOffset: 0)
            step { _ = $0.fetched(fetch, log: log, at: now, into: &$1) }
        }
    }

    /// One record; the leader has committed all before it.
    func takeAnswer() {
        let end = log.endOffset
        let answer = ReplicaFetchAnswer(
            leaderEpoch: 1, highWatermark: end, logStartOffset: 0,
            batches: BatchSpan(baseOffset: end, nextOffset: end + 1))
        step { $0.fetchAnswered(answer, log: log, at: now, into: &$1) }
        log.endOffset += 1
        step { $0.appended(log: log, at: now, into: &$1) }
        log.flushedEnd = log.endOffset
        step { $0.flushed(log: log, at: now, into: &$1) }
        Sink.total += Int(partition.nextFetch(log: log)?.offset ?? 0)
    }
}
