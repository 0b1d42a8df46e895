// Where new partitions go: leaders evenly, copies evenly, and the copies of one broker's leaders spread over all
// others.

import Model

/// Counts what every broker has, and hands out the next partition's replicas. Deterministic: equal images give equal
/// placements.
struct Placement {
    private struct Load {
        var id: NodeID
        var eligible: Bool
        var leaders = 0
        var replicas = 0
    }

    private var loads: [Load]

    init(image: MetadataImage) {
        loads = image.brokers.values.map { Load(id: $0.id, eligible: $0.eligible) }
        let positions = SortedMap(loads.enumerated().map { ($1.id, $0) })
        for topic in image.topics.values {
            for partition in topic.partitions {
                for (place, replica) in partition.replicas.enumerated() {
                    guard let position = positions[replica] else { continue }
                    loads[position].replicas += 1
                    if place == 0 { loads[position].leaders += 1 }
                }
            }
        }
    }

    var brokerCount: Int { loads.count }
    var eligibleCount: Int { loads.count { $0.eligible } }

    /// Distinct brokers, the preferred leader first. Brokers out of service are taken only when the others do not
    /// suffice, and never to lead.
    /// - Precondition: `replicationFactor` is in 1…brokerCount, and some broker is eligible.
    mutating func next(replicationFactor: Int) -> [NodeID] {
        precondition(replicationFactor >= 1 && replicationFactor <= loads.count && eligibleCount > 0)
        let count = loads.count
        let leader = loads.indices.filter { loads[$0].eligible }.min { a, b in
            (loads[a].leaders, loads[a].replicas, a) < (loads[b].leaders, loads[b].replicas, b)
        }
        guard let leader else { preconditionFailure("an eligible broker was counted above") }
        // The ring is turned by one for each partition that the leader has, so that its followers are not always the
        // same.
        let turn = loads[leader].leaders
        func distance(_ position: Int) -> Int {
            ((position - leader - 1 + count) % count + count - 1 - turn % max(1, count - 1)) % max(1, count - 1)
        }
        let followers = loads.indices.filter { $0 != leader }.sorted { a, b in
            let (first, second) = (loads[a], loads[b])
            if first.eligible != second.eligible { return first.eligible }
            return (first.replicas, distance(a), a) < (second.replicas, distance(b), b)
        }
        let chosen = [leader] + followers.prefix(replicationFactor - 1)
        loads[leader].leaders += 1
        for position in chosen { loads[position].replicas += 1 }
        return chosen.map { loads[$0].id }
    }
}
