// What a node's image, its metadata log, its snapshots and its voters say of each other: R7, R9, R10, R11; and that
// topic ids belong to one topic for ever: M2.

import Broker
import Metadata
import Model
import Raft

final class QuorumStateChecker {
    private struct Seen {
        var life = -1
        var highWatermark: Offset = 0
        var applied: Offset = -1
        var logStart: Offset = -1
    }

    private var seen = SortedMap<NodeID, Seen>()
    /// All that ever were voters.
    private var voters: [ReplicaKey] = []
    private var names = SortedMap<UUID128, String>()
    private var deleted = SortedMap<UUID128, Bool>()
    private var newest: Offset = -1

    func stepped(_ node: SimulatedNode, _ control: Control, _ world: World) {
        guard let raft = control.inspectedQuorum else { return }
        let log = control.inspectedLog
        let applied = control.inspectedImage.lastOffset
        var last = seen[node.id] ?? Seen()
        if last.life != node.life { last = Seen(life: node.life) }
        if raft.highWatermark != last.highWatermark {
            world.checkers.count(.r11)
            if raft.highWatermark < last.highWatermark || raft.highWatermark > log.endOffset {
                world.violated(
                    "R11",
                    "the high watermark of node \(node.id) goes from \(last.highWatermark) to "
                        + "\(raft.highWatermark), and its log ends at \(log.endOffset)")
            }
            last.highWatermark = raft.highWatermark
        }
        if applied != last.applied {
            world.checkers.count(.r7)
            // A snapshot is committed, whatever the node knows of the high watermark yet.
            if applied < last.applied || applied >= max(raft.highWatermark, log.startOffset) {
                world.violated(
                    "R7",
                    "node \(node.id) goes from \(last.applied) to \(applied), and \(raft.highWatermark) is committed")
            }
            last.applied = applied
            checkTopics(control.inspectedImage, world)
        }
        if log.startOffset != last.logStart {
            if log.startOffset > 0 { checkSnapshots(node, log.directory, log.startOffset, world) }
            last.logStart = log.startOffset
        }
        seen[node.id] = last
        checkVoters(node, raft, world)
    }

    /// What the log does not hold any more is in a snapshot, and that has its name on the medium.
    private func checkSnapshots(_ node: SimulatedNode, _ directory: String, _ start: Offset, _ world: World) {
        world.checkers.count(.r10)
        let snapshots = node.disk.filePaths.filter { $0.hasPrefix(directory + "/") && $0.hasSuffix(".checkpoint") }
        let isThere = snapshots.contains { path in
            let end = Offset(path.dropFirst(directory.count + 1).prefix(20)) ?? -1
            return end >= start && node.disk.isNameDurable(path)
        }
        if !isThere {
            world.violated(
                "R10", "the metadata log of node \(node.id) begins at \(start), its snapshots are \(snapshots)")
        }
    }

    /// A replica that was taken out of the voters counts for nothing (R9).
    private func checkVoters(_ node: SimulatedNode, _ raft: RaftNode, _ world: World) {
        let current = raft.voters.voters.map(\.key)
        for key in current where !voters.contains(key) { voters.append(key) }
        guard raft.isLeader, let gone = voters.first(where: { !current.contains($0) }) else { return }
        world.checkers.count(.r9)
        // Votes that elected it were given when they counted.
        if gone == raft.key {
            world.violated("R9", "node \(node.id) leads epoch \(raft.epoch) as \(gone), which is no voter")
        }
    }

    private func checkTopics(_ image: MetadataImage, _ world: World) {
        guard image.lastOffset > newest else { return }
        newest = image.lastOffset
        for id in names.keys where image.topic(id: id) == nil { deleted[id] = true }
        for topic in image.topics.values {
            world.checkers.count(.m2)
            if deleted[topic.id] != nil || names[topic.id] ?? topic.name != topic.name {
                world.violated("M2", "topic \(topic.name) has an id that belonged to \(names[topic.id] ?? "another")")
            }
            names[topic.id] = topic.name
        }
    }
}
