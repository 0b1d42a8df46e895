// What a node is told at its start, already read and checked by the shell.

import Groups
import Model

package struct NodeConfiguration: Sendable {
    package var nodeID: NodeID
    /// All configured voters, this node among them, by node id.
    package var voters: SortedMap<NodeID, Endpoint>
    /// The address that clients and other nodes are told.
    package var advertised: Endpoint
    package var rack: String?
    package var dataDirectory: String
    /// Settings of the configuration file that topics fall back to, under their broker names (`log.segment.bytes`, …).
    package var topicDefaults = SortedMap<String, String>()
    package var autoCreateTopics = true
    package var defaultPartitions: Int32 = 1
    /// Nil: min(3, nodes).
    package var defaultReplicationFactor: Int16?
    package var log = LogDefaults()
    package var groups = GroupSettings()
    /// Kafka's `offsets.topic.num.partitions`, once `__consumer_offsets` is made.
    package var offsetsTopicPartitions: Int32 = 50
    /// Kafka's `offsets.topic.replication.factor`; nil: min(3, configured nodes).
    package var offsetsTopicReplicationFactor: Int16?
    package var timing = NodeTiming()
    /// For the simulator alone: no file and no variable of the environment leads here.
    package var plantedBug = PlantedBug.none

    package init(nodeID: NodeID, voters: SortedMap<NodeID, Endpoint>, advertised: Endpoint, dataDirectory: String) {
        self.nodeID = nodeID
        self.voters = voters
        self.advertised = advertised
        self.dataDirectory = dataDirectory
    }
}

package struct LogDefaults: Sendable {
    package var segmentBytes: Int64 = 1 << 30
    /// Of partitions that come at once, at a start or with a topic, a step opens so many, or an eighth of that where
    /// they have records. To make one takes a quarter of a millisecond when nothing is in its way, and whatever else
    /// the shard has to do, the quorum's messages among it, waits for those of one step.
    package var openedInStepMax = 64
    /// Kafka's `log.retention.check.interval.ms`.
    package var retentionCheckIntervalMs: Int64 = 300_000
    /// How much the scrub reads each second, all partitions together; 0: it does not run.
    package var scrubBytesPerSecond: Int64 = 10 << 20
    /// The scrub begins with all logs again after this, or when it is through with them, if that is later.
    package var scrubIntervalMs: Int64 = 6 * 3_600_000
    /// Kafka's `log.cleaner.io.max.bytes.per.second`, all partitions together; 0: nothing is compacted.
    package var cleanerBytesPerSecond: Int64 = 32 << 20
    /// Kafka's `log.cleaner.backoff.ms`: how often it is looked for a log to compact when there was none.
    package var cleanerBackoffMs: Int64 = 15_000
    package var metadataSegmentBytes: Int64 = 64 << 20
    /// New metadata bytes after which a snapshot is taken, Kafka's `metadata.log.max.record.bytes.between.snapshots`.
    package var metadataSnapshotBytes: Int64 = 20 << 20

    package init() {}
}

/// Ours, shorter than Kafka's: docs/decisions lists them as differences. `scaled` stretches all of them for slow test
/// machines.
package struct NodeTiming: Hashable, Sendable {
    package var heartbeatMs: Int64 = 150
    package var sessionTimeoutMs: Int64 = 1_500
    package var quorumFetchTimeoutMs: Int64 = 1_000
    package var quorumElectionTimeoutMs: Int64 = 1_000
    package var quorumFetchMaxWaitMs: Int64 = 500
    package var replicaFetchMaxWaitMs: Int64 = 500
    package var replicaLagTimeMaxMs: Int64 = 10_000
    package var requestTimeoutMs: Int64 = 1_000
    package var preferredLeaderDelayMs: Int64 = 3_000
    package var stopTimeoutMs: Int64 = 10_000

    package init() {}

    package func scaled(by factor: Int64) -> NodeTiming {
        var t = self
        t.heartbeatMs *= factor
        t.sessionTimeoutMs *= factor
        t.quorumFetchTimeoutMs *= factor
        t.quorumElectionTimeoutMs *= factor
        t.replicaLagTimeMaxMs *= factor
        t.requestTimeoutMs *= factor
        return t
    }
}
