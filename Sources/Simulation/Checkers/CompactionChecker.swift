// Compaction takes nothing but what a newer record of the same key has replaced (C1): after every cleaning, every start
// and every cut, from time to time, and at the end, each copy is read whole. And what it puts in the place of segments
// that were durable is durable before (S1).

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

    /// What a copy that was away is given later comes with no cleaning, start or cut.
    private static let pauseNanoseconds: Int64 = 300_000_000

    /// A tombstone, and who was last seen to lead with a record that it covers.
    private struct Covered {
        var tombstone: Offset
        var by: NodeID
        var at: Int64
    }

    /// By key. For look-ups only.
    private var covered: [TopicPartition: [String: Covered]] = [:]
    /// For look-ups only.
    private var seen: [PartitionChecker.ReplicaKey: Seen] = [:]
    /// Up to where each replica was read whole, and when. For look-ups only.
    private var readAt: [PartitionChecker.ReplicaKey: (end: Offset, time: Int64)] = [:]
    /// How many segments its cleanings have brought in. For look-ups only.
    private var swaps: [PartitionChecker.ReplicaKey: UInt32] = [:]

    func stepped(_ node: SimulatedNode, _ shard: Shard, _ world: World) {
        shard.inspectReplicas { replica in
            guard replica.isCompacted else { return }
            let key = PartitionChecker.ReplicaKey(node: node.id, key: replica.topicPartition)
            let now = Seen(
                life: node.life, cleanedEnd: replica.log.cleanedEnd, generation: replica.log.generation,
                isLeader: replica.isLeader)
            checkSwaps(replica, key, of: node, world)
            let last = readAt[key] ?? (end: 0, time: 0)
            let isTimed = replica.isLeader && world.swarm.hasRightClocks
            let isDue =
                (isTimed || replica.highWatermark > last.end) && world.now >= last.time + Self.pauseNanoseconds
            guard isDue || seen[key] != now else { return }
            readAt[key] = (end: replica.highWatermark, time: world.now)
            if let before = seen[key], before.life == node.life, before.cleanedEnd < now.cleanedEnd {
                world.checkers.count(.c1cleanings)
            }
            seen[key] = now
            if node.id != world.rotten { check(replica, of: node, world) }
        }
    }

    /// The old segments go from here on, and their medium's promise with them.
    private func checkSwaps(
        _ replica: ReplicaInspection, _ key: PartitionChecker.ReplicaKey, of node: SimulatedNode, _ world: World
    ) {
        let log = replica.log
        guard swaps[key] ?? 0 != log.swaps else { return }
        swaps[key] = log.swaps
        guard node.id != world.rotten, replica.isSynchronous else { return }
        for segment in log.segmentSummaries where log.isSettling(segmentAt: segment.baseOffset) {
            world.checkers.count(.s1swapped)
            let end = min(segment.nextOffset, replica.flushedEnd)
            if let missing = MediumCheck.whatIsMissing(of: log, from: segment.baseOffset, to: end, on: node) {
                world.violated(
                    "S1",
                    "partition \(replica.topicPartition.partition) of node \(node.id), compacted: \(missing)")
            }
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
        if replica.isLeader, world.swarm.hasRightClocks, world.isOfWorkload(replica.topicPartition) {
            checkHeard(replica, of: node, found, committed, end, world)
        }
        for (key, newest) in committed.newest where newest < end && newest >= replica.log.startOffset {
            let last = found[key]?.upperBound
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

    /// Whoever read a record from some leader, and reads on within `delete.retention.ms`, hears that it was deleted,
    /// whoever leads by then.
    private func checkHeard(
        _ replica: ReplicaInspection, of node: SimulatedNode, _ found: [String: ClosedRange<Offset>],
        _ committed: CommittedRecords, _ end: Offset, _ world: World
    ) {
        let partition = replica.topicPartition
        for (key, newest) in committed.newest where committed[newest]?.isTombstone == true {
            if let first = found[key]?.lowerBound, first < newest {
                covered[partition, default: [:]][key] = Covered(tombstone: newest, by: node.id, at: world.now)
                continue
            }
            guard newest < end, newest >= replica.log.startOffset, let last = covered[partition]?[key],
                last.tombstone == newest, world.now - last.at < world.swarm.tombstonesStayMs * 1_000_000
            else { continue }
            world.checkers.count(.c1heard)
            if found[key] == nil {
                let ageMs = (world.now - last.at) / 1_000_000
                world.violated(
                    "C1",
                    "partition \(partition) of node \(node.id) leads without the tombstone \(newest) of the "
                        + "key \(key), and \(ageMs) ms ago node \(last.by) led with what it deleted")
            }
        }
    }

    /// The first and the last offset of each key; nil where it cannot be read now.
    private func read(_ log: SegmentedLog, below end: Offset) -> [String: ClosedRange<Offset>]? {
        var found: [String: ClosedRange<Offset>] = [:]
        var position = log.startOffset
        while position < end {
            guard let slice = try? log.inspect(from: position, maxBytes: 64 * 1024, below: .max),
                let bytes = try? log.bytes(of: slice)
            else { return nil }
            for (header, batch) in BatchSequence(bytes) where header.baseOffset < end {
                guard let records = try? decodeRecords(batch) else { return nil }
                for record in records where record.offset < end {
                    guard let key = CommittedRecord(record).key else { continue }
                    found[key] = (found[key]?.lowerBound ?? record.offset)...record.offset
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
