// The uniform assignor at work. What it costs grows with partitions plus subscriptions, not with their product.

import Model

/// Everyone keeps what it has and may keep, up to its fair share; what is left goes to whoever has least. Where members
/// read different topics, single partitions then move from those who have much to those who have two less.
struct UniformAssignment {
    private struct Topic {
        var id: UUID128
        var partitions: Int32
        /// The places of its readers, in order.
        var readers: [Int] = []
    }

    private let order: [Subscriber]
    private var topics: [Topic] = []
    private var placeOf: [UUID128: Int] = [:]
    private let isUniform: Bool
    private var held: [[TopicPartition]]
    private(set) var looks = 0

    init(_ subscribers: [Subscriber]) {
        order = subscribers.sorted { $0.id < $1.id }
        held = order.map { _ in [] }
        let reads = order.map { Set($0.topics.map(\.id)) }
        isUniform = reads.allSatisfy { $0 == reads[0] }
        var partitions: [UUID128: Int32] = [:]
        for one in order { for topic in one.topics { partitions[topic.id] = topic.partitions } }
        for id in partitions.keys.sorted() {
            placeOf[id] = topics.count
            topics.append(Topic(id: id, partitions: max(0, partitions[id] ?? 0)))
        }
        for (place, ids) in reads.enumerated() {
            // The order of a member's topics is of no account: each topic gets its readers in theirs.
            for id in ids { if let topic = placeOf[id] { topics[topic].readers.append(place) } }
        }
    }

    mutating func targets() -> [String: [TopicPartition]] {
        let taken = keep()
        handOut(besides: taken)
        // With the same topics for all the shares are even already.
        if !isUniform { balance() }
        return Dictionary(uniqueKeysWithValues: order.indices.map { (order[$0].id, held[$0].sorted()) })
    }

    /// Answers what is kept.
    private mutating func keep() -> Set<TopicPartition> {
        let count = topics.reduce(0) { $0 + Int($1.partitions) }
        let share = count / order.count
        var extra = count % order.count
        var taken: Set<TopicPartition> = []
        for (place, one) in order.enumerated() {
            let ids = Set(one.topics.map(\.id))
            for partition in one.previous.sorted() {
                guard ids.contains(partition.topicID), let topic = placeOf[partition.topicID],
                    partition.partition < topics[topic].partitions, !taken.contains(partition)
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
        return taken
    }

    private mutating func handOut(besides taken: Set<TopicPartition>) {
        var poorest = Poorest()
        for (place, topic) in topics.enumerated() {
            let free = (0..<topic.partitions).map { TopicPartition(topic.id, $0) }.filter { !taken.contains($0) }
            if free.isEmpty { continue }
            // Everyone reads every topic: the queue of the last one goes on.
            if place == 0 || !isUniform || poorest.isEmpty {
                poorest = Poorest(topic.readers.map { (count: held[$0].count, place: $0) })
                looks += topic.readers.count
            }
            for partition in free {
                held[poorest.takeOne(&looks)].append(partition)
            }
        }
    }

    /// Each move brings two members closer, so this ends.
    private mutating func balance() {
        // Who has least among a topic's readers, as of so many moves.
        var least = topics.map { _ in (moves: -1, place: 0) }
        var moves = 0
        var moved = true
        while moved {
            moved = false
            for rich in held.indices {
                var place = held[rich].count - 1
                while place >= 0 {
                    defer { place -= 1 }
                    let partition = held[rich][place]
                    guard let topic = placeOf[partition.topicID] else { continue }
                    if least[topic].moves != moves {
                        looks += topics[topic].readers.count
                        let found = topics[topic].readers.min { held[$0].count < held[$1].count }
                        least[topic] = (moves, found ?? rich)
                    }
                    let poorest = least[topic].place
                    guard held[poorest].count + 1 < held[rich].count else { continue }
                    held[rich].remove(at: place)
                    held[poorest].append(partition)
                    moves += 1
                    moved = true
                }
            }
        }
    }
}

/// Members by how much they have: a heap, the one with least on top, and of those the first.
private struct Poorest {
    private var heap: [(count: Int, place: Int)] = []

    init() {}

    init(_ members: [(count: Int, place: Int)]) { heap = members.sorted { $0 < $1 } }

    var isEmpty: Bool { heap.isEmpty }

    /// The one on top gets one more.
    mutating func takeOne(_ looks: inout Int) -> Int {
        let place = heap[0].place
        heap[0].count += 1
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                looks += 1
                if heap[child] < heap[least] { least = child }
            }
            if least == parent { return place }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
