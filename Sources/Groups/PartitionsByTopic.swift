// Partitions as most messages and records hold them: each topic once, with its partitions.

import Model

/// The partitions of sorted ones, topic by topic, in their order.
func byTopic(_ partitions: [TopicPartition]) -> [(topicID: UUID128, partitions: [PartitionIndex])] {
    var topics: [(topicID: UUID128, partitions: [PartitionIndex])] = []
    for partition in partitions {
        if topics.last?.topicID != partition.topicID { topics.append((partition.topicID, [])) }
        topics[topics.count - 1].partitions.append(partition.partition)
    }
    return topics
}
