// Damaged replicas: what the controller knows of them, and how they become whole again.

import Model

extension Shard {
    /// The controller's word on where a replica of this node lies. Nothing follows from it yet.
    func directoryAnswered(_ topicPartition: TopicPartition, directory: UUID128, _ error: ErrorCode) {}
}
