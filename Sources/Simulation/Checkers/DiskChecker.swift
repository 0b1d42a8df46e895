// What a start finds beside the logs, and what becomes of a log whose disk refused: S3, S4, S6, S8, S9.

import Broker
import DiskSimulation
import Metadata
import Model
import Records
import Replication
import Storage

final class DiskChecker {
    /// What a process remembered of producers when it ended, by log.
    private struct Remembered {
        var offsets: Range<Offset>
        var producers: ProducerTable
    }

    /// In which life of its node each log was looked at. For look-ups only.
    private var lives: [PartitionChecker.ReplicaKey: Int] = [:]
    private var remembered = SortedMap<NodeID, SortedMap<TopicPartition, Remembered>>()
    private var diedInStep = SortedMap<NodeID, Bool>()

    // MARK: A process ends

    func diedInStep(_ node: SimulatedNode) { diedInStep[node.id] = true }

    func ended(_ node: SimulatedNode) {
        remembered[node.id] = SortedMap()
        // What it did in its last step is on the disk, and nobody saw it.
        guard diedInStep.removeValue(forKey: node.id) == nil else { return }
        for shard in node.shards {
            shard.inspectReplicas { replica in
                let log = replica.log
                guard log.startOffset > 0, log.damages.isEmpty,
                    let producers = shard.inspectedProducerTable(of: replica.topicPartition)
                else { return }
                remembered[node.id, default: SortedMap()][replica.topicPartition] = Remembered(
                    offsets: log.startOffset..<log.endOffset, producers: producers)
            }
        }
    }

    func wiped(_ node: SimulatedNode) { remembered[node.id] = SortedMap() }

    // MARK: And starts again

    /// Before its first step.
    func started(_ node: SimulatedNode, _ world: World) {
        guard !node.isDamaged else { return }
        for path in node.disk.filePaths {
            guard let name = path.split(separator: "/").last, let bytes = node.disk.contents(of: path) else { continue }
            guard name.hasSuffix("-checkpoint") else { continue }
            world.checkers.count(.s4)
            let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
            if lines.count < 2 || lines[0] != "0" || Int(lines[1]) != lines.count - 2 {
                world.violated("S4", "node \(node.id) starts with a \(path) of \(bytes.count) bytes that is not whole")
            }
        }
        checkDirectories(node, world)
    }

    /// Where a replica had promised records, it still has files, whatever else the start could not read.
    private func checkDirectories(_ node: SimulatedNode, _ world: World) {
        guard node.id != world.rotten, node.id != world.wiped else { return }
        for topic in world.checkers.metadata.newest.topics.values {
            for (index, partition) in topic.partitions.enumerated() where partition.replicas.contains(node.id) {
                let key = TopicPartition(topic.id, Int32(index))
                // What was deleted may be gone whole: a copy that is behind its leader's start begins anew there, and a
                // full disk can keep it from making the new file.
                let flushedEnd = world.checkers.partitions.flushedEnd(of: key, on: node)
                // Nor is anything promised of a log that was being cut, for which the disk refused the new file.
                guard flushedEnd > world.checkers.starts.newestStart(key),
                    !world.checkers.partitions.wentInCut(key, on: node),
                    world.checkers.partitions.isBinding(key, world)
                else { continue }
                world.checkers.count(.s8)
                let directory = "\(World.dataDirectory)/\(topic.name)-\(index)/"
                if !node.disk.filePaths.contains(where: { $0.hasPrefix(directory) && $0.hasSuffix(".log") }) {
                    world.violated("S8", "node \(node.id) starts, and nothing is left in \(directory)")
                }
            }
        }
    }

    /// The first look at the logs of a start.
    func stepped(_ node: SimulatedNode, _ shard: Shard, _ world: World) {
        shard.inspectReplicas { replica in
            let key = PartitionChecker.ReplicaKey(node: node.id, key: replica.topicPartition)
            guard lives[key] != node.life else { return }
            lives[key] = node.life
            guard node.id != world.rotten, !node.isDamaged, !PartitionChecker.isDoubted(replica, of: node) else {
                return
            }
            checkLookUps(in: replica.log, "partition \(replica.topicPartition.partition) of node \(node.id)", world)
            guard let last = remembered[node.id]?[replica.topicPartition],
                last.offsets == replica.log.startOffset..<replica.log.endOffset,
                let producers = shard.inspectedProducerTable(of: replica.topicPartition)
            else { return }
            world.checkers.count(.i4)
            if producers != last.producers {
                world.violated(
                    "I4",
                    "partition \(replica.topicPartition.partition) of node \(node.id), \(last.offsets), remembers "
                        + "other sequences of producers than before its start")
            }
        }
    }

    /// Whatever the index files held, an offset is found in the batch that holds it.
    private func checkLookUps(in log: SegmentedLog, _ name: String, _ world: World) {
        let length = log.endOffset - log.startOffset
        for part in 0..<min(8, length) {
            let offset = log.startOffset + length * part / 8
            world.checkers.count(.s3)
            let slice = try? log.inspect(from: offset, maxBytes: 1, below: .max)
            if slice.map({ $0.firstOffset <= offset && offset < $0.nextOffset }) != true {
                world.violated("S3", "\(name): offset \(offset) of \(log.startOffset)..<\(log.endOffset) is not found")
            }
        }
    }

    // MARK: A disk that refuses

    /// A shard was told of a failed barrier.
    func barrierFailed(_ node: SimulatedNode, shard index: Int, _ ticket: FlushTicket, _ world: World) {
        // Caches, and files of a repair or a cleaning that are tried again, may fail.
        guard ticket.owner != 0, ticket.sequence >> 61 == 0 else { return }
        world.checkers.count(.s6)
        guard node.shards.indices.contains(index) else { return }
        node.shards[index].inspectReplicas { replica in
            guard replica.log.owner == ticket.owner, !replica.log.isFenced else { return }
            world.violated(
                "S6",
                "a barrier of partition \(replica.topicPartition.partition) of node \(node.id) failed, and its log "
                    + "goes on")
        }
    }

    /// A producer was refused by the disk: nothing of its batch may be left, nor of any other.
    func refused(_ key: TopicPartition, by node: SimulatedNode, _ world: World) {
        node.inspectReplicas { replica in
            let log = replica.log
            guard replica.topicPartition == key, log.damages.isEmpty, !log.isFenced, log.endOffset > log.startOffset,
                node.id != world.rotten
            else { return }
            world.checkers.count(.s9)
            let slice = try? log.inspect(from: log.endOffset - 1, maxBytes: 1, below: .max)
            let bytes = slice.flatMap { try? log.bytes(of: $0) }
            if slice?.nextOffset != log.endOffset || bytes.map({ verifyCRC(of: $0) }) != true {
                world.violated("S9", "after a refusal \(key) of node \(node.id) does not end with a sound batch")
            }
        }
    }
}
