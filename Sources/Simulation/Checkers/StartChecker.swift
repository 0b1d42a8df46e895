// The log start: what clients were shown as deleted stays so (P12, S7), and nothing else is deleted (P3).

import Broker
import Model
import Storage

final class StartChecker {
    /// The farthest that anybody asked a partition's records to be deleted to.
    private var asked = SortedMap<TopicPartition, Offset>()
    /// All of them. For look-ups only.
    private var allAsked: [TopicPartition: Set<Offset>] = [:]
    /// The farthest that any copy of a partition ever began.
    private var begun = SortedMap<TopicPartition, Offset>()
    /// The farthest start that a client was told, and the leader epoch it was told in.
    private var shown = SortedMap<TopicPartition, (epoch: LeaderEpoch, offset: Offset)>()

    func deletionAsked(_ key: TopicPartition, _ offset: Offset) {
        asked[key] = max(asked[key] ?? 0, offset < 0 ? .max : offset)
        allAsked[key, default: []].insert(offset)
    }

    /// Whether somebody wanted the records to begin at `offset`, which may lie inside a batch.
    func wasAsked(_ key: TopicPartition, _ offset: Offset) -> Bool { allAsked[key]?.contains(offset) ?? false }

    private func bound(_ key: TopicPartition, _ world: World) -> Offset {
        world.swarm.retentionBytes >= 0 ? .max : asked[key] ?? 0
    }

    /// Whether a consumer at `offset` may find it gone.
    func mayBeDeleted(_ key: TopicPartition, _ offset: Offset, _ world: World) -> Bool { offset < bound(key, world) }

    /// Where the log begins that has gone farthest.
    func newestStart(_ key: TopicPartition) -> Offset { begun[key] ?? 0 }

    func stepped(_ node: SimulatedNode, _ shard: Shard, _ world: World) {
        shard.inspectReplicas { replica in
            let start = replica.log.startOffset
            let key = replica.topicPartition
            guard start > 0, world.checkers.binds(replica.isSynchronous, world) else { return }
            begun[key] = max(begun[key] ?? 0, start)
            world.checkers.count(.p3start)
            let committed = world.checkers.partitions.committedLog(key)?.endOffset ?? 0
            if start > min(bound(key, world), committed) {
                world.violated(
                    "P3",
                    "partition \(key.partition) of node \(node.id) begins at \(start); \(committed) is committed and "
                        + "\(bound(key, world)) was to be deleted")
            }
        }
    }

    func asked(_ key: TopicPartition, of node: SimulatedNode, _ world: World) -> Asked {
        Asked(shown: shown[key], epoch: world.checkers.partitions.leaderEpoch(of: key, on: node) ?? -1)
    }

    /// A node told a client where the partition begins. One that was superseded may still say what it knows.
    func startShown(
        _ key: TopicPartition, _ offset: Offset, by node: SimulatedNode, _ asked: Asked, _ world: World
    ) {
        guard offset >= 0, world.checkers.partitions.isBinding(key, world),
            let epoch = world.checkers.partitions.leaderEpoch(of: key, on: node)
        else { return }
        let before = shown[key] ?? (epoch: -1, offset: 0)
        if before.offset > 0 { world.checkers.count(.p12start) }
        let isInOneStep = node.shards.count == 1
        let bound = isInOneStep ? before : asked.shown ?? (epoch: -1, offset: 0)
        if (isInOneStep ? epoch : asked.epoch) >= bound.epoch, offset < bound.offset {
            world.violated(
                "P12",
                "partition \(key.partition): node \(node.id) says in epoch \(epoch) that it begins at \(offset), "
                    + "\(bound.offset) was said in epoch \(bound.epoch)")
        }
        if offset > before.offset || (offset == before.offset && epoch < before.epoch) { shown[key] = (epoch, offset) }
    }
}
