// Replicas that the image speaks of and that are to be opened, in the order in which they came up.

import Model
import NIOCore

/// A queue in which each replica is at most once: every change of a partition asks for its opening while it waits.
package struct UnopenedReplicas {
    private var queue = CircularBuffer<(key: TopicPartition, name: String)>()
    private var waiting: Set<TopicPartition> = []

    package init() {}

    package var isEmpty: Bool { queue.isEmpty }

    package mutating func append(_ key: TopicPartition, named name: String) {
        guard waiting.insert(key).inserted else { return }
        queue.append((key, name))
    }

    package mutating func popFirst() -> TopicPartition? {
        guard let first = queue.popFirst() else { return nil }
        waiting.remove(first.key)
        return first.key
    }

    /// Takes those of a topic out. Returns their names.
    package mutating func remove(of topicID: UUID128) -> [String] {
        let removed = queue.filter { $0.key.topicID == topicID }
        guard !removed.isEmpty else { return [] }
        queue.removeAll { $0.key.topicID == topicID }
        for replica in removed { waiting.remove(replica.key) }
        return removed.map(\.name)
    }

    package mutating func removeAll() {
        queue.removeAll()
        waiting.removeAll()
    }
}
