// What the controller is told by the node's configuration.

import Model

package struct ControllerSettings: Equatable, Sendable {
    /// How long an unfenced broker may be silent. Kafka's `broker.session.timeout.ms`, ours shorter.
    package var sessionTimeoutMs: Int64 = 1_500
    /// How long a returned broker has been in sync before it leads what it is the first replica of.
    package var preferredLeaderDelayMs: Int64 = 3_000
    /// Leaderships given back in one tick.
    package var preferredLeadersPerTick = 500
    /// How long the next tick waits when one gave back all it might.
    package var preferredLeaderPauseMs: Int64 = 100
    /// `num.partitions`.
    package var defaultPartitions: Int32 = 1
    /// `default.replication.factor`; nil: three, or the number of registered brokers while that is smaller.
    package var defaultReplicationFactor: Int16?
    package var producerIDBlockSize: Int32 = 1_000
    /// Topic defaults from the configuration file, under Kafka's broker names (`log.segment.bytes`, …). The same on
    /// every node.
    package var brokerDefaults = SortedMap<String, String>()
    /// For the simulator alone.
    package var plantedBug = PlantedBug.none
    /// The feature levels that a new cluster begins with: Kafka 4.1's metadata records and KIP-966's ELR.
    package var bootstrapFeatures = SortedMap<String, Int16>([
        ("metadata.version", 27), ("eligible.leader.replicas.version", 1),
    ])

    package init() {}
}
