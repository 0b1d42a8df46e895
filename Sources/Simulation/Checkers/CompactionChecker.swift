// Compaction takes nothing but what a newer record of the same key has replaced (C1): after every cleaning, every start
// and every cut, and at the end, each copy is read whole.

import Broker
import Model
import Records
import Storage

final class CompactionChecker {
    /// Of a replica when it was last read whole.
    private struct Seen: Equatable {
        var life: Int
        var cleanedEnd: Offset
        var generation: UInt32
        var isLeader: Bool
    }

    /// For look-ups only.
    private var seen: [PartitionChecker.ReplicaKey: Seen] = [:]

    func stepped(_ node: SimulatedNode, _ shard: Shard, _ world: World) {
        shard.inspectReplicas { replica in
            guard replica.isCompacted else { return }
            let key = PartitionChecker.ReplicaKey(node: node.id, key: replica.topicPartition)
            let now = Seen(
                life: node.life, cleanedEnd: replica.log.cleanedEnd, generation: replica.log.generation,
                isLeader: replica.isLeader)
            guard seen[key] != now else { return }
            if let before = seen[key], before.life == node.life, before.cleanedEnd < now.cleanedEnd {
                world.checkers.count(.c1cleanings)
            }
            seen[key] = now
            if node.id != world.rotten { check(replica, of: node, world) }
        }
    }

    func checkFinal(_ world: World) {
        for node in world.nodes {
            node.inspectReplicas { replica in
                if replica.isCompacted { check(replica, of: node, world) }
            }
        }
    }

    /// What a reader of this copy gets: of each key the last committed record, once this copy has that; or, where that
    /// is a tombstone, nothing of the key at all.
    private func check(_ replica: ReplicaInspection, of node: SimulatedNode, _ world: World) {
        guard replica.log.damages.isEmpty, !replica.log.isFenced,
            world.checkers.partitions.isBinding(replica.topicPartition, world),
            let committed = world.checkers.partitions.committedLog(replica.topicPartition)?.records
        else { return }
        let end = min(replica.highWatermark, Offset(committed.records.count))
        guard let found = read(replica.log, below: end) else { return }
        world.checkers.count(.c1)
        let name = "partition \(replica.topicPartition) of node \(node.id)"
        for (key, newest) in committed.newest where newest < end && newest >= replica.log.startOffset {
            let last = found[key]
            if last == newest { continue }
            guard committed[newest]?.isTombstone == true else {
                return world.violated(
                    "C1",
                    "\(name) ends the key \(key) with \(last.map { "\($0)" } ?? "nothing"), and \(newest) is committed")
            }
            if let last {
                return world.violated("C1", "\(name) has \(last) of the key \(key) again, which \(newest) deleted")
            }
            if world.swarm.keepsTombstones, world.isOfWorkload(replica.topicPartition) {
                return world.violated(
                    "C1", "\(name) has dropped the tombstone \(newest) of the key \(key) before its time")
            }
        }
    }

    /// The last offset of each key; nil where it cannot be read now.
    private func read(_ log: SegmentedLog, below end: Offset) -> [String: Offset]? {
        var found: [String: Offset] = [:]
        var position = log.startOffset
        while position < end {
            guard let slice = try? log.inspect(from: position, maxBytes: 64 * 1024, below: .max),
                let bytes = try? log.bytes(of: slice)
            else { return nil }
            for (header, batch) in BatchSequence(bytes) where header.baseOffset < end {
                guard let records = try? decodeRecords(batch) else { return nil }
                for record in records where record.offset < end {
                    if let key = CommittedRecord(record).key { found[key] = record.offset }
                }
            }
            position = slice.nextOffset
        }
        return found
    }
}

extension World {
    /// Not of the groups, whose log has settings of its own.
    func isOfWorkload(_ key: TopicPartition) -> Bool {
        checkers.metadata.newest.topic(id: key.topicID)?.name == KeyedRecords.topic
    }
}
