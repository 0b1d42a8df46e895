// The metadata quorum: R1, R2, R3, R4, R6, R8, and S1 for its log.

import Broker
import Model
import Raft
import Storage

final class QuorumChecker {
    private struct Member {
        var life = -1
        var verified: Offset = 0
        var epoch: LeaderEpoch = -1
        /// As of the last step; stays when the process ends, because the disk keeps it.
        var flushedEnd: Offset = 0
        /// From the quorum-state file on the medium.
        var savedEpoch: LeaderEpoch = -1
        var savedVote: NodeID = -1
        /// The epoch that it led, and how far it had committed, as of the last step.
        var ledEpoch: LeaderEpoch = -1
        var highWatermark: Offset = 0
    }

    private struct SavedVote {
        var epoch: LeaderEpoch
        var vote: NodeID
    }

    private let committed = CommittedLog(keepsValues: false)
    private var leaders = SortedMap<LeaderEpoch, NodeID>()
    private var members = SortedMap<NodeID, Member>()
    /// What each disk holds; one that was replaced keeps what it said last.
    private var votes = SortedMap<ReplicaKey, SavedVote>()

    func wiped(_ node: SimulatedNode) { members[node.id] = Member() }

    func stepped(_ node: SimulatedNode, _ control: Control, _ world: World) {
        guard let raft = control.inspectedQuorum else { return }
        let log = control.inspectedLog
        var member = members[node.id] ?? Member()
        if member.life != node.life {
            member.life = node.life
            member.verified = 0
            member.epoch = -1
            world.checkers.count(.s2)
            if !node.isDamaged, let wrong = PartitionChecker.whatIsUnsound(in: log) {
                world.violated("S2", "metadata log of node \(node.id) was recovered: \(wrong)")
            }
            if raft.epoch < member.savedEpoch {
                world.violated("R2", "node \(node.id) starts in epoch \(raft.epoch), \(member.savedEpoch) was durable")
            }
        }
        let flushedBefore = member.flushedEnd
        member.flushedEnd = log.flushedEnd
        if raft.epoch < member.epoch {
            world.violated("R2", "node \(node.id) goes back from epoch \(member.epoch) to \(raft.epoch)")
        }
        let isNewEpoch = raft.epoch > member.epoch
        member.epoch = raft.epoch
        let (led, committedBefore) = (member.ledEpoch, member.highWatermark)
        member.ledEpoch = raft.isLeader ? raft.epoch : -1
        member.highWatermark = raft.highWatermark
        members[node.id] = member
        checkDurable(node, raft, log, flushedBefore, world)
        if led == raft.epoch, raft.isLeader, raft.highWatermark > committedBefore {
            world.checkers.count(.r4own)
            if log.epochs.epoch(at: raft.highWatermark - 1) != raft.epoch {
                world.violated(
                    "R4",
                    "node \(node.id) leads epoch \(raft.epoch) and commits up to \(raft.highWatermark), which is of "
                        + "epoch \(log.epochs.epoch(at: raft.highWatermark - 1) ?? -1)")
            }
        }
        if !raft.isLeader || leaders[raft.epoch] == nil { checkVotes(node, raft, world) }
        if raft.isLeader { checkLeader(node, raft, log, isNewEpoch || leaders[raft.epoch] == nil, world) }
        checkCommitted(node, raft, log, world)
        world.checkers.count(.r8)
        if let wrong = raft.violations().first { world.violated("R8", wrong) }
    }

    private func checkLeader(
        _ node: SimulatedNode, _ raft: RaftNode, _ log: SegmentedLog, _ isNew: Bool, _ world: World
    ) {
        if let other = leaders[raft.epoch] {
            if other != node.id { world.violated("R1", "nodes \(other) and \(node.id) both lead epoch \(raft.epoch)") }
            return
        }
        leaders[raft.epoch] = node.id
        world.checkers.count(.r1)
        world.elections += 1
        world.trace.note(world.now, "node \(node.id) leads the quorum in epoch \(raft.epoch)")
        let end = committed.end(before: raft.epoch)
        guard end > 0 else { return }
        world.checkers.count(.r4)
        if log.endOffset < end {
            world.violated(
                "R4",
                "node \(node.id) leads epoch \(raft.epoch) with a log up to \(log.endOffset), committed "
                    + "was \(end)")
        } else if let wrong = committed.compare(log, from: 0, to: end, extending: nil).wrong {
            world.violated("R4", "node \(node.id) leads epoch \(raft.epoch): \(wrong)")
        }
    }

    private func checkCommitted(_ node: SimulatedNode, _ raft: RaftNode, _ log: SegmentedLog, _ world: World) {
        guard var member = members[node.id], raft.highWatermark > member.verified else { return }
        let before = committed.endOffset
        let (verified, wrong) = committed.compare(
            log, from: member.verified, to: raft.highWatermark, extending: raft.epoch)
        world.checkers.count(.r3)
        if let wrong { world.violated("R3", "metadata log of node \(node.id): \(wrong)") }
        member.verified = max(verified, member.verified)
        members[node.id] = member
        guard committed.endOffset > before, !world.hasWiped else { return }
        world.checkers.count(.r6)
        let durable = raft.voters.voters.count { (members[$0.key.id]?.flushedEnd ?? 0) >= committed.endOffset }
        if durable < raft.voters.majority {
            world.violated(
                "R6",
                "\(committed.endOffset) is committed in epoch \(raft.epoch) and durable on \(durable) of "
                    + "\(raft.voters.count)")
        }
    }

    /// What is flushed is on the medium, and a cut takes nothing away that a majority is needed for.
    private func checkDurable(
        _ node: SimulatedNode, _ raft: RaftNode, _ log: SegmentedLog, _ before: Offset, _ world: World
    ) {
        if log.flushedEnd > before {
            world.checkers.count(.s1)
            if let missing = MediumCheck.whatIsMissing(of: log, from: before, to: log.flushedEnd, on: node) {
                world.violated("S1", "metadata log of node \(node.id): \(missing)")
            }
        }
        guard log.flushedEnd < before, !world.hasWiped else { return }
        world.checkers.count(.r6kept)
        let durable = raft.voters.voters.count { (members[$0.key.id]?.flushedEnd ?? 0) >= committed.endOffset }
        if durable < raft.voters.majority {
            world.violated(
                "R6",
                "node \(node.id) cut its log from \(before) to \(log.flushedEnd), and what is committed up to "
                    + "\(committed.endOffset) is durable on \(durable) of \(raft.voters.count)")
        }
    }

    // MARK: Votes

    /// A candidate counts only what is on the medium of the disk that it names (R2, R5).
    private func checkVotes(_ node: SimulatedNode, _ raft: RaftNode, _ world: World) {
        for key in raft.countedVotes where key != raft.key {
            world.checkers.count(.r2counted)
            let saved = votes[key]
            if saved.map({ $0.epoch > raft.epoch || ($0.epoch == raft.epoch && $0.vote == node.id) }) ?? false {
                continue
            }
            world.violated(
                "R2",
                "node \(node.id) counts a vote of \(key) in epoch \(raft.epoch), and that disk holds "
                    + (saved.map { "a vote for \($0.vote) in epoch \($0.epoch)" } ?? "none"))
        }
    }

    /// The quorum-state file reached the medium.
    func voteSaved(_ node: SimulatedNode, _ control: Control, _ world: World) {
        guard let bytes = node.disk.durableContents(of: control.inspectedQuorumStatePath) else { return }
        let text = String(decoding: bytes, as: UTF8.self)
        guard let epoch = Self.number("leaderEpoch", in: text), let vote = Self.number("votedId", in: text) else {
            return world.violated("R2", "node \(node.id) saved a quorum state that cannot be read: \(text)")
        }
        var member = members[node.id] ?? Member()
        world.checkers.count(.r2)
        if epoch < member.savedEpoch {
            world.violated("R2", "node \(node.id) saves epoch \(epoch) after \(member.savedEpoch)")
        }
        if epoch == member.savedEpoch, member.savedVote >= 0, vote != member.savedVote {
            world.violated("R2", "node \(node.id) votes for \(vote) after \(member.savedVote) in epoch \(epoch)")
        }
        member.savedEpoch = epoch
        member.savedVote = vote
        votes[ReplicaKey(id: node.id, directoryID: control.inspectedDirectoryID)] = SavedVote(epoch: epoch, vote: vote)
        members[node.id] = member
    }

    private static func number(_ field: String, in text: String) -> Int32? {
        guard let part = text.split(separator: ",").first(where: { $0.contains("\"\(field)\"") }),
            let digits = part.split(separator: ":").last
        else { return nil }
        return Int32(digits.filter { $0.isNumber || $0 == "-" })
    }
}
