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
        let targets = self == .range ? Self.range(subscribers) : Self.uniform(subscribers)
        return targets.mapValues { $0.sorted() }
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

    /// Everyone keeps what it has and may keep, up to its fair share; what is left goes to whoever has least. Where
    /// members read different topics, single partitions then move from those who have much to those who have two less.
    private static func uniform(_ subscribers: [Subscriber]) -> [String: [TopicPartition]] {
        let order = subscribers.sorted { $0.id < $1.id }
        let reads = order.map { Set($0.topics.map(\.id)) }
        var topics: [UUID128: Int32] = [:]
        for one in order { for topic in one.topics { topics[topic.id] = topic.partitions } }
        let all = topics.keys.sorted().flatMap { id in
            (0..<max(0, topics[id] ?? 0)).map { TopicPartition(id, $0) }
        }
        guard !order.isEmpty else { return [:] }
        let isUniform = reads.allSatisfy { $0 == reads[0] }
        let share = all.count / order.count
        var extra = all.count % order.count
        var held = order.map { _ in [TopicPartition]() }
        var taken: Set<TopicPartition> = []
        for (place, one) in order.enumerated() {
            for partition in one.previous.sorted() {
                guard reads[place].contains(partition.topicID),
                    partition.partition < topics[partition.topicID] ?? 0, !taken.contains(partition)
                else { continue }
                if isUniform, held[place].count >= share {
                    // The shares differ by one where it does not come out even.
                    guard held[place].count == share, extra > 0 else { continue }
                    extra -= 1
                }
                held[place].append(partition)
                taken.insert(partition)
            }
        }
        for partition in all where !taken.contains(partition) {
            let readers = order.indices.filter { reads[$0].contains(partition.topicID) }
            guard let least = readers.min(by: { held[$0].count < held[$1].count }) else { continue }
            held[least].append(partition)
        }
        balance(&held, reads)
        return Dictionary(uniqueKeysWithValues: order.indices.map { (order[$0].id, held[$0]) })
    }

    /// Each move brings two members closer, so this ends.
    private static func balance(_ held: inout [[TopicPartition]], _ reads: [Set<UUID128>]) {
        var moved = true
        while moved {
            moved = false
            for rich in held.indices {
                var place = held[rich].count - 1
                while place >= 0 {
                    let partition = held[rich][place]
                    let poorest = held.indices.filter { reads[$0].contains(partition.topicID) }
                        .min { held[$0].count < held[$1].count }
                    if let poorest, held[poorest].count + 1 < held[rich].count {
                        held[rich].remove(at: place)
                        held[poorest].append(partition)
                        moved = true
                    }
                    place -= 1
                }
            }
        }
    }
}
