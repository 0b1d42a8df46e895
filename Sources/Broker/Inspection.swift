// What the simulator's checkers may see of a running node: read-only, and never used by the node itself.

import Groups
import Metadata
import Model
import Raft
import Records
import Replication
import Storage

/// A data replica as it stands.
package struct ReplicaInspection {
    package let topicPartition: TopicPartition
    package let isLeader: Bool
    package let leaderEpoch: LeaderEpoch
    package let partitionEpoch: PartitionEpoch
    package let highWatermark: Offset
    /// What this replica vouches for: of a directory whose name is not durable, nothing.
    package let flushedEnd: Offset
    /// Whether the topic's records count only once they are flushed.
    package let isSynchronous: Bool
    /// `cleanup.policy` holds compact.
    package let isCompacted: Bool
    /// The ISR change that this leader has asked for and not been told of.
    package let pendingISR: ISRProposal?
    package let log: SegmentedLog
}

/// Whom an acknowledgement of a leader has to count.
package struct ISRInspection {
    package let isr: [NodeID]
    package let maximalISR: [NodeID]
    package let minISR: Int
}

/// A group of a coordinator as it stands.
package struct GroupInspection {
    package let id: String
    package let generation: Int32
    /// Its members wait for what the leader deals out.
    package let isCompleting: Bool
    package let hasMembers: Bool
    /// Where its last offset stands in the log.
    package let offsetsEnd: Offset
}

extension Control {
    /// Nil until the cluster is formed.
    package var inspectedQuorum: RaftNode? { raft }
    package var inspectedLog: SegmentedLog { metadataLog.log }
    package var inspectedImage: MetadataImage { image }
    package var inspectedQuorumStatePath: String { directory.quorumStatePath }
    package var inspectedDirectoryID: UUID128 { directory.identity.directoryID }
    /// Nil until the cluster is formed.
    package var inspectedClusterID: String? { directory.identity.clusterID }
}

extension Shard {
    /// Timers of requests that wait for an answer.
    package var inspectedTimers: Int { timers.count }

    /// In the order of topic ids and partitions.
    package func inspectReplicas(_ body: (ReplicaInspection) -> Void) {
        for replica in replicas.values {
            body(
                ReplicaInspection(
                    topicPartition: replica.topicPartition, isLeader: replica.isLeader,
                    leaderEpoch: replica.partition.leaderEpoch, partitionEpoch: replica.partition.partitionEpoch,
                    highWatermark: replica.partition.highWatermark, flushedEnd: replica.flushedEnd,
                    isSynchronous: replica.settings.synchronous, isCompacted: replica.settings.compacts,
                    pendingISR: replica.partition.pendingProposal, log: replica.log))
        }
    }

    /// In the order of partitions and of names.
    package func inspectGroups(_ body: (GroupInspection) -> Void) {
        for coordinator in coordinators.values where coordinator.groups.phase == .active {
            for id in coordinator.groups.groups.keys.sorted() {
                guard let group = coordinator.groups.groups[id] else { continue }
                body(
                    GroupInspection(
                        id: id, generation: group.generation, isCompleting: group.state == .completingRebalance,
                        hasMembers: !group.members.isEmpty || group.consumer?.members.isEmpty == false,
                        offsetsEnd: group.offsetsEnd))
            }
        }
    }

    package func inspectedISR(of topicPartition: TopicPartition) -> ISRInspection? {
        guard let partition = replicas[topicPartition]?.partition else { return nil }
        return ISRInspection(
            isr: partition.isr, maximalISR: partition.maximalISR, minISR: partition.effectiveMinISR)
    }

    package func inspectedPartition(_ topicPartition: TopicPartition) -> Partition? {
        replicas[topicPartition]?.partition
    }

    package func inspectedProducerTable(of topicPartition: TopicPartition) -> ProducerTable? {
        replicas[topicPartition]?.producers
    }

    /// What this replica remembers of producers, and what its log says of them.
    package func inspectedProducers(
        of topicPartition: TopicPartition
    ) throws(LogError) -> (held: ProducerTable, replayed: ProducerTable)? {
        guard let replica = replicas[topicPartition] else { return nil }
        var replayed = ProducerTable()
        try replica.log.forEachHeader(from: replica.log.startOffset) { header in
            if header.hasProducer && !header.isControl { replayed.record(ProducedBatch(header)) }
        }
        return (replica.producers, replayed)
    }
}
