// What the simulator's checkers may see of a running node: read-only, and never used by the node itself.

import Metadata
import Model
import Raft
import Replication
import Storage

/// A data replica as it stands.
package struct ReplicaInspection {
    package let topicPartition: TopicPartition
    package let isLeader: Bool
    package let leaderEpoch: LeaderEpoch
    package let partitionEpoch: PartitionEpoch
    package let highWatermark: Offset
    /// Whether the topic's records count only once they are flushed.
    package let isSynchronous: Bool
    package let log: SegmentedLog
}

/// Whom an acknowledgement of a leader has to count.
package struct ISRInspection {
    package let maximalISR: [NodeID]
    package let minISR: Int
}

extension Control {
    /// Nil until the cluster is formed.
    package var inspectedQuorum: RaftNode? { raft }
    package var inspectedLog: SegmentedLog { metadataLog.log }
    package var inspectedImage: MetadataImage { image }
    package var inspectedQuorumStatePath: String { directory.quorumStatePath }
    package var inspectedDirectoryID: UUID128 { directory.identity.directoryID }
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
                    highWatermark: replica.partition.highWatermark, isSynchronous: replica.settings.synchronous,
                    log: replica.log))
        }
    }

    package func inspectedISR(of topicPartition: TopicPartition) -> ISRInspection? {
        guard let partition = replicas[topicPartition]?.partition else { return nil }
        return ISRInspection(maximalISR: partition.maximalISR, minISR: partition.effectiveMinISR)
    }
}
