// What holds of one replica and its log by itself, and of those who may be elected: P4, P5, P9, I3, S1, S2, S7.

import Broker
import Model
import NIOCore
import Records
import Replication
import Storage

extension PartitionChecker {
    // MARK: A log by itself

    func checkLog(
        _ replica: ReplicaInspection, of node: SimulatedNode, _ shard: Shard, _ last: Seen, _ world: World
    ) {
        let name = "partition \(replica.topicPartition.partition) of node \(node.id)"
        let log = replica.log
        if replica.flushedEnd > last.flushedEnd, node.id != world.rotten {
            world.checkers.count(.s1)
            let (from, to) = (last.flushedEnd, replica.flushedEnd)
            if let missing = MediumCheck.whatIsMissing(of: log, from: from, to: to, on: node) {
                world.violated("S1", "\(name): \(missing)")
            }
        }
        if let newest = log.epochs.entries.last, newest.startOffset > log.endOffset {
            world.violated("P10", "\(name): the epoch history \(log.epochs) goes on behind the end \(log.endOffset)")
        }
        if !replica.isLeader, log.generation != last.generation, log.startOffset < log.endOffset,
            let newest = log.epochs.entries.last, newest.startOffset >= log.endOffset
        {
            world.violated("P10", "\(name) was cut to \(log.endOffset), and its epoch history is \(log.epochs)")
        }
        let isNewLeader = replica.isLeader && (!last.isLeader || last.leaderEpoch != replica.leaderEpoch)
        if node.id != world.rotten, log.startOffset == 0, !Self.isDoubted(replica, of: node),
            last.partitionEpoch < 0 || isNewLeader || log.generation != last.generation
        {
            checkProducers(replica, shard, name, world)
        }
        checkFollowers(replica, shard, name, world)
        if replica.isLeader, world.checkers.binds(replica.isSynchronous, world),
            case .offset(let end) = shard.inspectedPartition(replica.topicPartition)?
                .latestVisibleOffset(currentLeaderEpoch: nil)
        {
            // As if a client asked for the end after every step.
            checkShown(replica.topicPartition, end, in: replica.leaderEpoch, by: node, world)
        }
        if let proposal = replica.pendingISR, proposal != last.pendingISR {
            checkProposal(proposal, replica, shard, name, world)
        }
    }

    private func checkProducers(_ replica: ReplicaInspection, _ shard: Shard, _ name: String, _ world: World) {
        do throws(LogError) {
            guard let (held, replayed) = try shard.inspectedProducers(of: replica.topicPartition) else { return }
            world.checkers.count(.i3table)
            if held != replayed {
                world.violated("I3", "\(name) remembers other sequences of producers than its log holds")
            }
        } catch {
            world.violated("S3", "\(name) cannot be walked: \(error)")
        }
    }

    /// Whose Fetch was taken is, or was, in the leader's epoch (P10).
    private func checkFollowers(_ replica: ReplicaInspection, _ shard: Shard, _ name: String, _ world: World) {
        guard replica.isLeader, let partition = shard.inspectedPartition(replica.topicPartition) else { return }
        for id in partition.registration?.replicas ?? [] where partition.shownEnd(of: id) != nil {
            world.checkers.count(.p10fetch)
            let newest = epochMax(of: id, replica.topicPartition)
            if newest < replica.leaderEpoch, id != world.wiped {
                world.violated(
                    "P10",
                    "\(name) leads epoch \(replica.leaderEpoch) and took a Fetch of node \(id), which has not been "
                        + "in an epoch above \(newest)")
            }
        }
    }

    /// A replica is asked in only when it has shown all that is committed: the high watermark, and what the leader
    /// began its epoch with.
    private func checkProposal(
        _ proposal: ISRProposal, _ replica: ReplicaInspection, _ shard: Shard, _ name: String, _ world: World
    ) {
        guard let partition = shard.inspectedPartition(replica.topicPartition) else { return }
        world.checkers.metadata.proposed(proposal, for: replica.topicPartition)
        for member in proposal.isr where !partition.isr.contains(member.id) {
            guard let end = partition.shownEnd(of: member.id), let start = partition.epochStartOffset else { continue }
            world.checkers.count(.p9join)
            if end < start {
                world.violated(
                    "P9", "\(name) asks node \(member.id) into the ISR at \(end), and its epoch began at \(start)")
            }
        }
    }

    /// Known damage: the copy does not lead.
    func checkDamage(_ replica: ReplicaInspection, of node: SimulatedNode, _ world: World) {
        guard let damage = replica.log.damages.first else { return }
        world.checkers.count(.p11)
        if replica.isLeader {
            world.violated(
                "P11",
                "partition \(replica.topicPartition.partition) of node \(node.id) leads, and \(damage.offsets) "
                    + "of it is damaged")
        }
    }

    // MARK: Recovery

    /// The first look at a log after a start. `last` is what was known of it when the process before ended.
    func checkRecovery(_ replica: ReplicaInspection, of node: SimulatedNode, _ last: Seen, _ world: World) {
        let name = "partition \(replica.topicPartition.partition) of node \(node.id)"
        let log = replica.log
        world.checkers.count(.s2)
        if !Self.isDoubted(replica, of: node), let wrong = Self.whatIsUnsound(in: log) {
            world.violated("S2", "\(name) was recovered: \(wrong)")
        }
        // Of a deleted topic nothing is left, and a start that goes through the metadata again makes it once more,
        // empty.
        let isDeleted = world.checkers.metadata.newest.topic(id: replica.topicPartition.topicID) == nil
        guard !last.diedInStep, !last.wentInCut, replica.isSynchronous, !isDeleted else { return }
        world.checkers.count(.s1kept)
        if log.endOffset < last.flushedEnd {
            world.violated("S1", "\(name) ends at \(log.endOffset), and \(last.flushedEnd) was flushed before the end")
        }
        world.checkers.count(.s7)
        if log.endOffset > last.endMax {
            world.violated("S7", "\(name) ends at \(log.endOffset), and was cut to \(last.endMax) for good before")
        }
    }

    /// Nothing is read from a copy that counts as lost before it is repaired, whatever its files hold (decision 0006).
    static func isDoubted(_ replica: ReplicaInspection, of node: SimulatedNode) -> Bool {
        let image = node.process?.control.inspectedImage
        return !replica.log.damages.isEmpty && image?.partition(replica.topicPartition)?.isLost(node.id) ?? false
    }

    static func whatIsUnsound(in log: SegmentedLog) -> String? {
        var position = log.startOffset
        while position < log.endOffset {
            do throws(LogError) {
                guard let slice = try log.inspect(from: position, maxBytes: 1 << 20, below: .max) else {
                    return "nothing can be read at \(position), and it ends at \(log.endOffset)"
                }
                for (header, batch) in BatchSequence(try log.bytes(of: slice)) {
                    guard header.baseOffset <= position, verifyCRC(of: batch) else {
                        return "the batch at \(header.baseOffset) is not sound"
                    }
                    position = header.nextOffset
                }
                guard position >= slice.nextOffset else { return "no batch at \(position)" }
            } catch {
                return "offset \(position) cannot be read: \(error)"
            }
        }
        return nil
    }

    // MARK: Who may be elected

    /// Looks at all running replicas: the committed image has changed.
    func checkCandidates(_ world: World) {
        for node in world.nodes {
            node.inspectReplicas { checkCandidate($0, of: node, world) }
        }
    }

    /// A running member of ISR or ELR has all on disk that is committed (P4). A disk that was replaced is a member only
    /// until its registration is committed.
    func checkCandidate(_ replica: ReplicaInspection, of node: SimulatedNode, _ world: World) {
        let key = replica.topicPartition
        let image = world.checkers.metadata.newest
        guard replica.isSynchronous, let partition = image.partition(key),
            partition.isr.contains(node.id) || partition.eligibleLeaderReplicas.contains(node.id),
            let directoryID = node.process?.control.inspectedDirectoryID,
            image.brokers[node.id]?.directoryID == directoryID, let committed = committedLog(key)
        else { return }
        // A copy that is lost is not elected; P11 looks at that.
        guard replica.log.damages.isEmpty, !partition.isLost(node.id) else { return }
        world.checkers.count(.p4)
        if replica.flushedEnd < committed.endOffset {
            world.violated(
                "P4",
                "partition \(key.partition): node \(node.id) may be elected (ISR \(partition.isr), ELR "
                    + "\(partition.eligibleLeaderReplicas)), and is durable up to \(replica.flushedEnd) of "
                    + "\(committed.endOffset) committed")
        }
    }

    /// A leader of the newest epoch waits for everyone whom the controller may elect (P5), and for nobody's word of
    /// another epoch (P6).
    func checkQuorum(
        _ maximalISR: [NodeID], _ replica: ReplicaInspection, of node: SimulatedNode, _ name: String, _ world: World
    ) {
        if let partition = world.checkers.metadata.newest.partition(replica.topicPartition),
            partition.leaderEpoch == replica.leaderEpoch
        {
            world.checkers.count(.p5)
            for id in partition.isr + partition.eligibleLeaderReplicas where !maximalISR.contains(id) {
                world.violated("P5", "\(name) and counts \(maximalISR), but node \(id) may be elected")
            }
        }
        for id in maximalISR where id != node.id && id != world.wiped {
            world.checkers.count(.p6epoch)
            let newest = epochMax(of: id, replica.topicPartition)
            if newest < replica.leaderEpoch {
                world.violated(
                    "P6",
                    "\(name) in epoch \(replica.leaderEpoch), and node \(id) of the ISR has not been in an epoch "
                        + "above \(newest)")
            }
        }
    }
}

extension PartitionChecker.Seen {
    /// What must be remembered of a log for the look at it after a crash.
    /// A write that failed may have left whole batches behind the end: they are gone for good when the cut that took
    /// them away is.
    mutating func note(_ replica: ReplicaInspection, mayFail: Bool) {
        let log = replica.log
        let isAtRest = !log.needsFlush && !log.isFlushUnderWay
        endMax = mayFail ? .max : isAtRest ? log.endOffset : max(endMax, log.endOffset)
        endOffset = log.endOffset
        generation = log.generation
        pendingISR = replica.pendingISR
        epochMax = max(epochMax, replica.leaderEpoch)
        self.log = log
    }
}
