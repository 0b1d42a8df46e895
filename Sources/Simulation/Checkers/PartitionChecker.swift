// The partitions' replicas: P2 to P8, P10, P13, and P1 for what consumers are shown. What holds of one log by itself is
// looked at in ReplicaChecks.

import Broker
import Model
import Replication
import Storage
import Wire

/// What a producer was told.
struct Acknowledgement {
    var key: TopicPartition
    var baseOffset: Offset
    var values: [UInt64]
    var acks: Int16

    var endOffset: Offset { baseOffset + Offset(values.count) }
}

/// How things stood when a client asked. On a node of several shards an answer is a little older than the step in which
/// it leaves: it must not be lower than what was shown before it was asked for. In one shard it is of that very step.
struct Asked {
    var shown: (epoch: LeaderEpoch, offset: Offset)?
    /// The asked node's; it only rises.
    var epoch: LeaderEpoch
}

final class PartitionChecker {
    struct ReplicaKey: Hashable {
        var node: NodeID
        var key: TopicPartition
    }

    struct Seen {
        var life = -1
        var isLeader = false
        var leaderEpoch: LeaderEpoch = -1
        var partitionEpoch: PartitionEpoch = -1
        var highWatermark: Offset = -1
        var verified: Offset = 0
        var endOffset: Offset = 0
        var generation: UInt32 = 0
        var pendingISR: ISRProposal?
        /// Stays when the process ends, because the disk keeps it.
        var flushedEnd: Offset = 0
        /// The furthest that a loss of power may leave the log.
        var endMax: Offset = 0
        /// The process died in the middle of a step: what it did there, nobody knows.
        var diedInStep = false
        /// The newest leader epoch that this node was ever in.
        var epochMax: LeaderEpoch = -1
        /// As it was looked at last; what its shard did to it before letting it go can still be read there.
        var log: SegmentedLog?

        /// Its shard began to cut it after that, the disk did not let the cut end, and the shard let go of it in the
        /// same step. What the disk has promised is not what was seen.
        var wentInCut: Bool { log.map { $0.isFenced && $0.generation != generation } ?? false }
    }

    private struct Leadership: Hashable, Comparable, Sendable {
        var key: TopicPartition
        var epoch: LeaderEpoch
        static func < (a: Self, b: Self) -> Bool { a.key == b.key ? a.epoch < b.epoch : a.key < b.key }
    }

    private var committed = SortedMap<TopicPartition, CommittedLog>()
    private var synchronous = SortedMap<TopicPartition, Bool>()
    /// For look-ups only.
    private var seen: [ReplicaKey: Seen] = [:]
    /// What the rotten node had on disk, and may have told its leader, before it rotted. For look-ups only.
    private var heldBeforeRot: [TopicPartition: Offset] = [:]
    /// Node and life.
    private var leaders = SortedMap<Leadership, [Int]>()
    private var shown = SortedMap<TopicPartition, (epoch: LeaderEpoch, offset: Offset)>()

    var keys: [TopicPartition] { committed.keys }

    func committedLog(_ key: TopicPartition) -> CommittedLog? { committed[key] }

    func isBinding(_ key: TopicPartition, _ world: World) -> Bool {
        world.checkers.binds(synchronous[key] ?? true, world)
    }

    func started(_ node: SimulatedNode) {}

    /// The newest leader epoch that this node was ever in.
    func epochMax(of node: NodeID, _ key: TopicPartition) -> LeaderEpoch {
        seen[ReplicaKey(node: node, key: key)]?.epochMax ?? -1
    }

    func wiped(_ node: SimulatedNode) {
        seen = seen.filter { $0.key.node != node.id }
    }

    func rots(_ node: SimulatedNode) {
        for (key, last) in seen where key.node == node.id {
            heldBeforeRot[key.key] = max(heldBeforeRot[key.key] ?? 0, last.flushedEnd)
        }
    }

    func mayFail(_ node: SimulatedNode) {
        for key in seen.keys where key.node == node.id { seen[key]?.endMax = .max }
    }

    func diedInStep(_ node: SimulatedNode) {
        for key in seen.keys where key.node == node.id { seen[key]?.diedInStep = true }
    }

    // MARK: After every step

    func stepped(_ node: SimulatedNode, _ shard: Shard, _ world: World) {
        shard.inspectReplicas { replica in
            let key = ReplicaKey(node: node.id, key: replica.topicPartition)
            var last = seen[key] ?? Seen()
            if last.life != node.life {
                // A start goes through the metadata again, from older states on.
                if !node.isDamaged, node.id != world.rotten, seen[key] != nil {
                    checkRecovery(replica, of: node, last, world)
                }
                last = Seen(life: node.life, epochMax: last.epochMax)
            }
            if last.highWatermark == replica.highWatermark, last.leaderEpoch == replica.leaderEpoch,
                last.partitionEpoch == replica.partitionEpoch, last.isLeader == replica.isLeader,
                last.flushedEnd == replica.flushedEnd, last.life == seen[key]?.life ?? -1,
                last.endOffset == replica.log.endOffset, last.generation == replica.log.generation,
                last.pendingISR == replica.pendingISR
            {
                return
            }
            synchronous[replica.topicPartition] = replica.isSynchronous
            if replica.isCompacted { committedLog(for: replica.topicPartition, world).noteCompacted() }
            checkDamage(replica, of: node, world)
            checkLog(replica, of: node, shard, last, world)
            check(replica, of: node, &last, world)
            last.note(replica, mayFail: world.now < node.troubledUntil)
            last.isLeader = replica.isLeader
            last.leaderEpoch = replica.leaderEpoch
            last.partitionEpoch = replica.partitionEpoch
            last.highWatermark = replica.highWatermark
            last.flushedEnd = replica.flushedEnd
            seen[key] = last
            checkCandidate(replica, of: node, world)
        }
    }

    private func check(_ replica: ReplicaInspection, of node: SimulatedNode, _ last: inout Seen, _ world: World) {
        let name = "\(replica.topicPartition.partition) of node \(node.id)"
        if replica.leaderEpoch < last.leaderEpoch, replica.leaderEpoch >= 0 {
            world.violated(
                "P10",
                "partition \(name) goes back from leader epoch \(last.leaderEpoch) to \(replica.leaderEpoch)")
        }
        if replica.partitionEpoch < last.partitionEpoch {
            world.violated(
                "P10",
                "partition \(name) goes back from partition epoch \(last.partitionEpoch) to "
                    + "\(replica.partitionEpoch)")
        }
        guard world.checkers.binds(replica.isSynchronous, world) else { return }
        world.checkers.count(.p8)
        if replica.highWatermark > replica.log.endOffset {
            world.violated(
                "P8",
                "partition \(name): high watermark \(replica.highWatermark) beyond the end "
                    + "\(replica.log.endOffset)")
        }
        // A lost copy of what was deleted meanwhile starts over where its leader's log begins, and tells nobody.
        let isLost = world.checkers.metadata.newest.partition(replica.topicPartition)?.isLost(node.id) ?? false
        if replica.highWatermark < last.highWatermark, replica.leaderEpoch == last.leaderEpoch, !isLost {
            world.violated(
                "P8",
                "partition \(name): high watermark falls from \(last.highWatermark) to "
                    + "\(replica.highWatermark)")
        }
        if replica.isLeader, !last.isLeader || replica.leaderEpoch != last.leaderEpoch {
            checkElection(replica, of: node, world)
        }
        let log = committedLog(for: replica.topicPartition, world)
        if isLost { last.verified = min(last.verified, replica.log.endOffset) }
        if replica.log.endOffset < last.verified {
            world.violated(
                "P2",
                "partition \(name) cut to \(replica.log.endOffset) what was committed up to "
                    + "\(last.verified)")
        }
        guard replica.highWatermark > last.verified else { return }
        if replica.isLeader, last.isLeader, replica.highWatermark > last.highWatermark {
            checkCommit(replica, of: node, world)
        }
        world.checkers.count(.p2)
        let (verified, wrong) = log.compare(
            replica.log,
            from: node.id == world.rotten
                ? max(last.verified, min(log.endOffset, replica.highWatermark)) : last.verified,
            to: replica.highWatermark, extending: replica.leaderEpoch,
            mayCutBatch: mayCutBatch(replica, world))
        last.verified = max(verified, last.verified)
        // What rots there is for the scrub and the readers to find; at the end all must be well again.
        if let wrong, node.id != world.rotten, !Self.isDoubted(replica, of: node) {
            world.violated("P2", "partition \(name) in epoch \(replica.leaderEpoch): \(wrong)")
        }
        if node.id != world.rotten, let newest = log.batch(before: last.verified),
            newest.baseOffset >= replica.log.startOffset
        {
            world.checkers.count(.p10history)
            let known = replica.log.epochs.epoch(at: newest.baseOffset)
            if known != newest.epoch {
                world.violated(
                    "P10",
                    "partition \(name), \(replica.log.startOffset)..<\(replica.log.endOffset): the epoch history "
                        + "\(replica.log.epochs) says \(known ?? -1) of the batch at \(newest.baseOffset), which is of "
                        + "epoch \(newest.epoch)")
            }
        }
    }

    /// A log start may lie inside a batch, and so may what a copy knows to be committed of an empty one.
    private func mayCutBatch(_ replica: ReplicaInspection, _ world: World) -> Bool {
        replica.isCompacted || world.checkers.starts.wasAsked(replica.topicPartition, replica.highWatermark)
    }

    private func checkElection(_ replica: ReplicaInspection, of node: SimulatedNode, _ world: World) {
        let leadership = Leadership(key: replica.topicPartition, epoch: replica.leaderEpoch)
        let name = "\(replica.topicPartition.partition) of node \(node.id)"
        world.trace.note(
            world.now,
            "node \(node.id) leads partition \(replica.topicPartition.partition) in "
                + "epoch \(replica.leaderEpoch)")
        world.checkers.count(.p10)
        let incarnation = [Int(node.id), node.life]
        if let other = leaders[leadership], other != incarnation {
            world.violated(
                "P10",
                "partition \(name), life \(node.life): epoch \(replica.leaderEpoch) was led "
                    + "by node \(other[0]), life \(other[1])")
        }
        leaders[leadership] = incarnation
        let log = committedLog(for: replica.topicPartition, world)
        let end = log.end(before: replica.leaderEpoch)
        guard end > 0 else { return }
        world.checkers.count(.p3)
        if replica.log.endOffset < end {
            world.violated(
                "P3",
                "partition \(name) leads epoch \(replica.leaderEpoch) up to "
                    + "\(replica.log.endOffset), committed was \(end)")
        } else if node.id != world.rotten,
            let wrong = log.compare(
                replica.log, from: 0, to: end, extending: nil, mayCutBatch: replica.isCompacted
            ).wrong
        {
            world.violated("P3", "partition \(name) leads epoch \(replica.leaderEpoch): \(wrong)")
        }
    }

    private func committedLog(for key: TopicPartition, _ world: World) -> CommittedLog {
        if let log = committed[key] { return log }
        let isGroups = world.checkers.metadata.newest.topic(id: key.topicID)?.name == GroupTopic.name
        let log = CommittedLog(
            keepsValues: true,
            learn: isGroups ? { [unowned world] records in world.checkers.groups.committed(records, world) } : nil)
        committed[key] = log
        return log
    }

    // MARK: What clients are told

    func acknowledged(_ told: Acknowledgement, by node: SimulatedNode, _ world: World) {
        guard told.acks == -1, isBinding(told.key, world),
            let isr = node.shard(of: told.key)?.inspectedISR(of: told.key)
        else { return }
        world.checkers.count(.p6)
        let name =
            "partition \(told.key.partition): \(told.baseOffset)..<\(told.endOffset) acknowledged by "
            + "node \(node.id)"
        let log = committedLog(for: told.key, world)
        if log.endOffset < told.endOffset {
            return world.violated("P6", "\(name), committed is \(log.endOffset)")
        }
        world.checkers.count(.p12)
        for (index, value) in told.values.enumerated() where log.values[Int(told.baseOffset) + index] != value {
            return world.violated(
                "P12",
                "\(name), but \(told.baseOffset + Offset(index)) holds another value "
                    + "than \(value)")
        }
        guard synchronous[told.key] ?? true else { return }
        let holders = world.nodes.filter { member in
            (seen[ReplicaKey(node: member.id, key: told.key)]?.flushedEnd ?? 0) >= told.endOffset
                && isOnMedium(told, on: member, world)
        }
        if holders.count < isr.minISR - (world.hasWiped || world.rotten != nil ? 1 : 0) {
            world.violated("P6", "\(name), and only the media of \(holders.map(\.id)) hold it")
        }
    }

    /// A leader's high watermark moved: what it passed is acknowledged from now on, perhaps in a later step, because
    /// answers on a connection come in order. Everyone in sync must have it on disk at this moment.
    private func checkCommit(_ replica: ReplicaInspection, of node: SimulatedNode, _ world: World) {
        guard let isr = node.shard(of: replica.topicPartition)?.inspectedISR(of: replica.topicPartition) else { return }
        let name =
            "partition \(replica.topicPartition.partition) commits up to \(replica.highWatermark) on "
            + "node \(node.id)"
        if isr.maximalISR.count < isr.minISR {
            world.violated("P6", "\(name) with \(isr.maximalISR) in sync, \(isr.minISR) are needed")
        }
        world.checkers.count(.p13)
        if isr.isr.count < isr.minISR {
            world.violated("P13", "\(name) with \(isr.isr) in sync, \(isr.minISR) are needed")
        }
        checkQuorum(isr.maximalISR, replica, of: node, name, world)
        guard replica.isSynchronous else { return }
        // A disk that was replaced or has rotted held what it had told, and holds it no more: the one loss a minority
        // may have. Its leader commits by what it was told before.
        for member in isr.maximalISR where member != world.wiped {
            var flushedEnd =
                member == node.id
                ? replica.flushedEnd : seen[ReplicaKey(node: member, key: replica.topicPartition)]?.flushedEnd ?? 0
            if member == world.rotten, member != node.id {
                flushedEnd = max(flushedEnd, heldBeforeRot[replica.topicPartition] ?? 0)
            }
            if flushedEnd < replica.highWatermark {
                world.violated("P6", "\(name), and node \(member) of the ISR is durable up to \(flushedEnd)")
            }
        }
    }

    /// Whether the last thing that became of a node's replica was a cut that its disk did not let end.
    func wentInCut(_ key: TopicPartition, on node: SimulatedNode) -> Bool {
        seen[ReplicaKey(node: node.id, key: key)]?.wentInCut ?? false
    }

    /// How far a node's replica was durable when it was last seen.
    func flushedEnd(of key: TopicPartition, on node: SimulatedNode) -> Offset {
        seen[ReplicaKey(node: node.id, key: key)]?.flushedEnd ?? 0
    }

    /// The leader epoch that a node's replica was last seen in.
    func leaderEpoch(of key: TopicPartition, on node: SimulatedNode) -> LeaderEpoch? {
        seen[ReplicaKey(node: node.id, key: key)]?.leaderEpoch
    }

    /// Looks at the disk itself, past everything that the node believes. A node that is down is believed: its log is
    /// read when it starts.
    private func isOnMedium(_ told: Acknowledgement, on node: SimulatedNode, _ world: World) -> Bool {
        var isThere = true
        node.inspectReplicas { replica in
            guard replica.topicPartition == told.key else { return }
            let log = replica.log
            if told.endOffset <= log.startOffset { return }
            guard let base = log.segmentSummaries.last(where: { $0.baseOffset <= told.baseOffset })?.baseOffset
            else { return }
            let slice = try? log.inspect(from: max(told.baseOffset, log.startOffset), maxBytes: 1, below: .max)
            isThere =
                slice.flatMap {
                    MediumCheck.isOnMedium($0, of: MediumCheck.path(log, base, on: node), on: node)
                } ?? false
        }
        return isThere
    }

    func consumed(_ key: TopicPartition, _ offset: Offset, _ value: UInt64?, _ world: World) {
        guard isBinding(key, world) else { return }
        let log = committedLog(for: key, world)
        world.checkers.count(.p7)
        guard offset < log.endOffset else {
            return world.violated(
                "P7",
                "a consumer saw offset \(offset) of partition \(key.partition), "
                    + "committed is \(log.endOffset)")
        }
        world.checkers.count(.p1)
        if log.values[Int(offset)] != value {
            world.violated(
                "P1",
                "a consumer saw another value at \(offset) of partition \(key.partition) than "
                    + "is committed")
        }
    }

    /// What a client may hold an answer against that goes from shard to shard of a node before it leaves.
    func asked(_ key: TopicPartition, of node: SimulatedNode) -> Asked {
        Asked(shown: shown[key], epoch: leaderEpoch(of: key, on: node) ?? -1)
    }

    /// ListOffsets of the latest: withheld rather than shown lower than before (P8).
    func endShown(
        _ key: TopicPartition, _ offset: Offset, by node: SimulatedNode, _ asked: Asked, _ world: World
    ) {
        guard isBinding(key, world), let last = seen[ReplicaKey(node: node.id, key: key)] else { return }
        guard node.shards.count > 1 else { return checkShown(key, offset, in: last.leaderEpoch, by: node, world) }
        checkShown(key, offset, in: asked.epoch, since: asked.shown, by: node, world)
    }

    func checkShown(
        _ key: TopicPartition, _ offset: Offset, in epoch: LeaderEpoch, by node: SimulatedNode, _ world: World
    ) {
        checkShown(key, offset, in: epoch, since: shown[key], by: node, world)
        if shown[key].map({ epoch >= $0.epoch }) ?? true { shown[key] = (epoch, offset) }
    }

    private func checkShown(
        _ key: TopicPartition, _ offset: Offset, in epoch: LeaderEpoch,
        since before: (epoch: LeaderEpoch, offset: Offset)?, by node: SimulatedNode, _ world: World
    ) {
        world.checkers.count(.p8shown)
        if let before, epoch >= before.epoch, offset < before.offset {
            world.violated(
                "P8",
                "partition \(key.partition): node \(node.id) shows the end \(offset) in epoch \(epoch), "
                    + "\(before.offset) was shown in epoch \(before.epoch)")
        }
    }
}
