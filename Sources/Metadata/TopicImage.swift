// One topic as the metadata log has it.

import Model

package struct TopicImage: Hashable, Sendable {
    package var name: String
    package var id: UUID128
    /// By partition index, without gaps.
    package var partitions: [PartitionRegistration]

    package init(name: String, id: UUID128, partitions: [PartitionRegistration] = []) {
        self.name = name
        self.id = id
        self.partitions = partitions
    }

    /// The number of replicas that each partition has; 0 for a topic without partitions.
    package var replicationFactor: Int { partitions.first?.replicas.count ?? 0 }
}
