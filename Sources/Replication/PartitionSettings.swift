// The topic settings that decide when a record counts as committed and who counts as in sync.

import Model

package struct PartitionSettings: Hashable, Sendable {
    /// `min.insync.replicas`. What counts is never more than the number of replicas.
    package var minInSyncReplicas: Int
    /// `flush.mode=sync`: only what is on disk counts.
    package var synchronous: Bool
    /// `replica.lag.time.max.ms`: how long an in-sync follower may stay behind the leader's end.
    package var replicaLagTimeMaxMs: Int64
    /// For the simulator alone.
    package var plantedBug: PlantedBug

    package init(
        minInSyncReplicas: Int = 1, synchronous: Bool = true, replicaLagTimeMaxMs: Int64 = 10_000,
        plantedBug: PlantedBug = .none
    ) {
        self.minInSyncReplicas = minInSyncReplicas
        self.synchronous = synchronous
        self.replicaLagTimeMaxMs = replicaLagTimeMaxMs
        self.plantedBug = plantedBug
    }
}
