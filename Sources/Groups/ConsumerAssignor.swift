// Who is to read what: the assignors that run on the coordinator (KIP-848).

import Model

/// A member as an assignor sees it.
package struct Subscriber: Equatable {
    package var id: String
    /// Static members keep their rank through restarts.
    package var rank: String
    package var topics: [KnownTopic]
    package var previous: [TopicPartition]

    package init(id: String, rank: String, topics: [KnownTopic], previous: [TopicPartition]) {
        self.id = id
        self.rank = rank
        self.topics = topics
        self.previous = previous
    }
}

/// Kafka's names, `group.consumer.assignors`.
package enum ConsumerAssignor: String, Sendable, CaseIterable {
    /// As many partitions for each as for any other, and as few moves as that takes.
    case uniform
    /// Partition n of all topics to the same member, as far as that goes.
    case range

    /// The target of each subscriber, sorted. Every partition of every subscribed topic has exactly one.
    package func assign(_ subscribers: [Subscriber]) -> [String: [TopicPartition]] {
        var looks = 0
        return assign(subscribers, looks: &looks)
    }

    /// - Parameter looks: counts how often a member was looked at to find who has least, for those who must know what
    ///   an assignment costs.
    package func assign(_ subscribers: [Subscriber], looks: inout Int) -> [String: [TopicPartition]] {
        if self == .range { return Self.range(subscribers).mapValues { $0.sorted() } }
        guard !subscribers.isEmpty else { return [:] }
        var uniform = UniformAssignment(subscribers)
        let targets = uniform.targets()
        looks += uniform.looks
        return targets
    }

    private static func range(_ subscribers: [Subscriber]) -> [String: [TopicPartition]] {
        var targets = Dictionary(uniqueKeysWithValues: subscribers.map { ($0.id, [TopicPartition]()) })
        var readers: [UUID128: (topic: KnownTopic, ids: [String])] = [:]
        for one in subscribers.sorted(by: { ($0.rank, $0.id) < ($1.rank, $1.id) }) {
            for topic in one.topics { readers[topic.id, default: (topic, [])].ids.append(one.id) }
        }
        for (topic, ids) in readers.values {
            let share = Int(topic.partitions) / ids.count
            let extra = Int(topic.partitions) % ids.count
            var next: PartitionIndex = 0
            for (place, id) in ids.enumerated() {
                for _ in 0..<(share + (place < extra ? 1 : 0)) {
                    targets[id]?.append(TopicPartition(topic.id, next))
                    next += 1
                }
            }
        }
        return targets
    }
}
