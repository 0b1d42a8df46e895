// Who reads what, computed by the leader of a classic group.

import Model
import NIOCore
import Wire

/// An assignor of the classic protocol, by Kafka's name.
public enum ClientAssignor: String, Sendable, CaseIterable {
    /// As even as possible with as few moves as possible. What moves is given up in one round and taken over in the
    /// next, so that all else is read on meanwhile (KIP-429).
    case cooperativeSticky = "cooperative-sticky"
    /// Neighbouring partitions of each topic to the same member, and the same ones of all topics.
    case range
}

extension ClientAssignor {
    package struct Subscriber: Sendable {
        package var id: String
        package var instanceID: String?
        package var topics: Set<String>
        /// What it says it reads now, and since which generation.
        package var owned: [TopicPartition]
        package var generation: Int32

        package init(
            id: String, instanceID: String? = nil, topics: Set<String>, owned: [TopicPartition] = [],
            generation: Int32 = -1
        ) {
            self.id = id
            self.instanceID = instanceID
            self.topics = topics
            self.owned = owned
            self.generation = generation
        }
    }

    /// Partitions in order for each subscriber. `counts`: how many partitions each topic has; others are not there.
    package func assign(_ subscribers: [Subscriber], counts: SortedMap<String, Int32>) -> [String: [TopicPartition]] {
        switch self {
        case .range: Self.range(subscribers, counts)
        case .cooperativeSticky: Self.cooperative(subscribers, counts)
        }
    }

    private static func range(
        _ subscribers: [Subscriber], _ counts: SortedMap<String, Int32>
    ) -> [String: [TopicPartition]] {
        var assigned = Dictionary(subscribers.map { ($0.id, [TopicPartition]()) }, uniquingKeysWith: { a, _ in a })
        // Static members keep their place through restarts.
        let order = subscribers.sorted { ($0.instanceID ?? $0.id, $0.id) < ($1.instanceID ?? $1.id, $1.id) }
        for (topic, count) in counts {
            let readers = order.filter { $0.topics.contains(topic) }
            guard !readers.isEmpty, count > 0 else { continue }
            let (share, extra) = (Int(count) / readers.count, Int(count) % readers.count)
            var next: Int32 = 0
            for (place, reader) in readers.enumerated() {
                for _ in 0..<(share + (place < extra ? 1 : 0)) {
                    assigned[reader.id, default: []].append(TopicPartition(topic, next))
                    next += 1
                }
            }
        }
        return assigned
    }

    private static func cooperative(
        _ subscribers: [Subscriber], _ counts: SortedMap<String, Int32>
    ) -> [String: [TopicPartition]] {
        let order = subscribers.sorted { $0.id < $1.id }
        let owners = owners(of: order)
        var held = order.indices.map { place in
            order[place].owned.filter { partition in
                owners[partition] == place && order[place].topics.contains(partition.topic)
                    && partition.partition < counts[partition.topic] ?? 0
            }.sorted()
        }
        let kept = Set(held.joined())
        for (topic, count) in counts {
            let readers = order.indices.filter { order[$0].topics.contains(topic) }
            for index in 0..<max(0, count) where !kept.contains(TopicPartition(topic, index)) {
                guard let least = readers.min(by: { held[$0].count < held[$1].count }) else { continue }
                held[least].append(TopicPartition(topic, index))
            }
        }
        balance(&held, order.map(\.topics))
        var assigned: [String: [TopicPartition]] = [:]
        for place in order.indices {
            // What somebody else still reads comes in the next round, when it was given up.
            assigned[order[place].id] = held[place].filter { owners[$0] == nil || owners[$0] == place }.sorted()
        }
        return assigned
    }

    /// Who reads what now. Of two who claim a partition the one of the later generation is right; of the same, neither
    /// may keep it, and both must give it up first: it goes to nobody in this round, as to an owner who is not there.
    private static func owners(of order: [Subscriber]) -> [TopicPartition: Int] {
        var owners: [TopicPartition: Int] = [:]
        for (place, one) in order.enumerated() {
            for partition in one.owned {
                guard let other = owners[partition], other != place else {
                    owners[partition] = place
                    continue
                }
                let theirs = other < 0 ? order[-other - 1].generation : order[other].generation
                if one.generation > theirs {
                    owners[partition] = place
                } else if one.generation == theirs {
                    owners[partition] = -place - 1
                }
            }
        }
        return owners
    }

    /// Moves single partitions from who has more to who has at least two less. Each move brings two members closer, so
    /// this ends.
    private static func balance(_ held: inout [[TopicPartition]], _ topics: [Set<String>]) {
        while true {
            let rich = held.indices.sorted { (held[$1].count, $0) < (held[$0].count, $1) }
            var best: (from: Int, place: Int, to: Int)?
            for place in rich where best == nil { best = move(from: place, held, topics) }
            guard let best else { return }
            held[best.to].append(held[best.from].remove(at: best.place))
        }
    }

    private static func move(
        from: Int, _ held: [[TopicPartition]], _ topics: [Set<String>]
    ) -> (from: Int, place: Int, to: Int)? {
        var poorest: [String: Int] = [:]
        for place in held[from].indices.reversed() {
            let topic = held[from][place].topic
            let to =
                poorest[topic]
                ?? held.indices.filter { topics[$0].contains(topic) }.min { held[$0].count < held[$1].count } ?? from
            poorest[topic] = to
            guard held[to].count + 1 < held[from].count else { continue }
            return (from, place, to)
        }
        return nil
    }
}

extension ClientAssignor.Subscriber {
    /// A member of the classic group as its leader is told of it. Who cannot be understood reads nothing.
    init(_ member: JoinGroupResponse.Member) {
        self.init(id: member.memberID, instanceID: member.groupInstanceID, topics: [])
        guard let said = try? ConsumerProtocolSubscription.decode(member.metadata) else { return }
        topics = Set(said.topics)
        owned = said.ownedPartitions.flatMap { topic in topic.partitions.map { TopicPartition(topic.topic, $0) } }
        generation = said.generationID
    }
}

/// Partitions by topic, both in order.
func byTopic(_ partitions: some Sequence<TopicPartition>) -> [(topic: String, partitions: [Int32])] {
    var groups = SortedMap<String, [Int32]>()
    for partition in partitions { groups[partition.topic, default: []].append(partition.partition) }
    return groups.map { ($0.key, $0.value.sorted()) }
}
