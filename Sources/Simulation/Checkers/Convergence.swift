// What must be so again a while after the faults: L1, L2, L4, L6, and M1 and M3 at the very end.

import Broker
import Metadata
import Model
import Storage

enum Convergence {
    /// Nil when all is well.
    static func whatIsMissing(in world: World) -> (Invariant, String)? {
        for node in world.nodes where !node.isRunning { return (.l1, "node \(node.id) does not run") }
        let controls = world.nodes.compactMap(\.process?.control)
        let leaders = controls.filter { $0.inspectedQuorum?.isLeader ?? false }
        guard leaders.count == 1, let leader = leaders.first, let epoch = leader.inspectedQuorum?.epoch else {
            return (.l1, "\(leaders.count) nodes lead the quorum")
        }
        for control in controls where control.inspectedQuorum?.epoch != epoch {
            return (.l1, "the quorum is in different epochs")
        }
        for node in world.nodes {
            // Who is a replica of nothing is in no ISR, and may still be reading the metadata.
            let own = node.process?.control.inspectedImage.lastOffset ?? -1
            if own < leader.inspectedImage.lastOffset { return (.l6, "node \(node.id) has the metadata up to \(own)") }
        }
        if world.admin?.isDone != true { return (.l4, "the topics are not created") }
        for topic in leader.inspectedImage.topics.values {
            for (index, partition) in topic.partitions.enumerated() {
                if partition.leader == nil { return (.l2, "\(topic.name)-\(index) has no leader") }
                if partition.isr.count < partition.replicas.count {
                    return (
                        .l2,
                        "\(topic.name)-\(index) has \(partition.isr) of \(partition.replicas) in sync"
                            + positions(of: TopicPartition(topic.id, Int32(index)), in: world)
                    )
                }
            }
        }
        for producer in world.producers where !producer.isDone {
            return (.l4, "a producer of client \(producer.client.number) waits")
        }
        for consumer in world.consumers where !consumer.isDone {
            return (.l4, "a consumer of client \(consumer.client.number) has not reached the end")
        }
        for group in world.groups {
            if let wrong = group.whatIsMissing { return (.l4groups, "group \(group.name): \(wrong)") }
        }
        if let found = differences(in: world, leader.inspectedImage) { return found }
        return rot(in: world)
    }

    /// Where every replica stands, for whoever reads why they do not come together.
    private static func positions(of key: TopicPartition, in world: World) -> String {
        var words = ""
        for node in world.nodes {
            node.inspectReplicas { replica in
                guard replica.topicPartition == key else { return }
                words +=
                    "; node \(node.id)\(replica.isLeader ? ", the leader" : "") in epoch \(replica.leaderEpoch): "
                    + "\(replica.log.startOffset)..<\(replica.log.endOffset) \(replica.log.epochs), durable up to "
                    + "\(replica.flushedEnd), committed up to \(replica.highWatermark)"
                    + (replica.log.damages.isEmpty ? "" : ", damaged")
            }
        }
        return words
    }

    /// What rots is found by the scrub, if by nobody else (S5).
    private static func rot(in world: World) -> (Invariant, String)? {
        guard let rotten = world.rotten else { return nil }
        var found: (Invariant, String)?
        world.node(rotten).inspectReplicas { replica in
            if found == nil, let wrong = PartitionChecker.whatIsUnsound(in: replica.log) {
                found = (.s5, "partition \(replica.topicPartition.partition) of node \(rotten): \(wrong)")
            }
        }
        if found == nil { world.checkers.count(.s5) }
        return found
    }

    private static func differences(in world: World, _ image: MetadataImage) -> (Invariant, String)? {
        var first = SortedMap<TopicPartition, ReplicaInspection>()
        var found: (Invariant, String)?
        var replicas = 0
        for node in world.nodes {
            node.inspectReplicas { replica in
                replicas += 1
                let name = "partition \(replica.topicPartition.partition) of node \(node.id)"
                if replica.highWatermark != replica.log.endOffset {
                    found = (.l6, "\(name): \(replica.highWatermark) of \(replica.log.endOffset) committed")
                }
                guard let other = first[replica.topicPartition] else {
                    first[replica.topicPartition] = replica
                    return
                }
                if other.log.endOffset != replica.log.endOffset {
                    found = (.l6, "\(name) ends at \(replica.log.endOffset), another at \(other.log.endOffset)")
                }
            }
        }
        let wanted = image.topics.values.reduce(0) { $0 + $1.partitions.reduce(0) { $0 + $1.replicas.count } }
        if replicas != wanted { found = (.l6, "\(replicas) replicas are open, \(wanted) are assigned") }
        return found
    }

    /// The quorum's epoch, and each partition's.
    static func leaderships(in world: World) -> [LeaderEpoch] {
        let image = world.checkers.metadata.newest
        let quorum = world.nodes.compactMap { $0.process?.control.inspectedQuorum?.epoch }.max() ?? -1
        return [quorum] + image.topics.values.flatMap { $0.partitions.map(\.leaderEpoch) }
    }

    /// Where two replicas hold the same offsets they have the same digest (S11), and no file is open that belongs to
    /// nothing (S10).
    static func checkLogs(of world: World) {
        var first = SortedMap<TopicPartition, (from: Offset, digest: ChainDigest)>()
        for node in world.nodes {
            var segments = node.process?.control.inspectedLog.segmentSummaries.count ?? 0
            var removed = node.process?.control.inspectedLog.removedSegmentCount ?? 0
            node.inspectReplicas { replica in
                segments += replica.log.segmentSummaries.count
                removed += replica.log.removedSegmentCount
                if replica.log.isCleaning { removed += 3 }
                // Copies are cleaned at different times.
                guard !replica.isCompacted, let found = digest(of: replica.log) else { return }
                guard let other = first[replica.topicPartition], other.from == found.from else {
                    first[replica.topicPartition] = found
                    return
                }
                world.checkers.count(.s11)
                if other.digest != found.digest, world.checkers.partitions.isBinding(replica.topicPartition, world) {
                    world.violated("S11", "partition \(replica.topicPartition) of node \(node.id) has another digest")
                }
            }
            world.checkers.count(.s10)
            // A log and two indexes for each segment, the log of each that waits for its removal, and what is being
            // written.
            if node.disk.openHandleCount > 3 * segments + removed + 8 {
                world.violated(
                    "S10",
                    "node \(node.id): \(node.disk.openHandleCount) files open, \(segments) segments, \(removed) removed"
                )
            }
        }
    }

    private static func digest(of log: SegmentedLog) -> (from: Offset, digest: ChainDigest)? {
        var digest = ChainDigest()
        var from: Offset?
        let isWalked: Void? = try? log.forEachHeader(from: log.startOffset) { header in
            guard header.nextOffset > log.startOffset else { return }
            if from == nil { from = header.baseOffset }
            digest.add(header)
        }
        return isWalked == nil ? nil : from.map { ($0, digest) }
    }

    /// Reads every replica whole, and compares images of equal offsets.
    static func checkImages(of world: World) {
        for node in world.nodes {
            guard let control = node.process?.control, let other = world.nodes[0].process?.control else { continue }
            if control.inspectedImage.lastOffset == other.inspectedImage.lastOffset {
                world.checkers.count(.m1)
                if control.inspectedImage != other.inspectedImage {
                    world.violated(
                        "M1",
                        "the images of nodes \(node.id) and 1 differ at "
                            + "\(other.inspectedImage.lastOffset)")
                }
            }
            for name in world.checkers.topics where world.checkers.mustExist(name) == true {
                world.checkers.count(.m3)
                if control.inspectedImage.topic(named: name) == nil {
                    world.violated("M3", "node \(node.id) does not know the topic \(name), which was created")
                }
            }
            for name in world.checkers.deletedTopics where world.checkers.mustExist(name) == false {
                world.checkers.count(.m3)
                if control.inspectedImage.topic(named: name) != nil {
                    world.violated("M3", "node \(node.id) knows the topic \(name), which was deleted")
                }
            }
            node.inspectReplicas { replica in
                guard world.checkers.partitions.isBinding(replica.topicPartition, world),
                    let log = world.checkers.partitions.committedLog(replica.topicPartition)
                else { return }
                let (verified, wrong) = log.compare(replica.log, from: 0, to: replica.highWatermark, extending: nil)
                if let wrong {
                    world.violated(
                        "P2",
                        "at the end, partition \(replica.topicPartition.partition) of node "
                            + "\(node.id): \(wrong)")
                } else if verified < log.endOffset {
                    world.violated(
                        "P3",
                        "at the end, partition \(replica.topicPartition.partition) of node "
                            + "\(node.id) ends at \(verified), committed was \(log.endOffset)")
                }
            }
        }
    }
}
