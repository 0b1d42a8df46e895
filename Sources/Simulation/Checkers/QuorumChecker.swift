// The metadata quorum: R1, R2, R3, R4, R6, R8.

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
    }

    private let committed = CommittedLog(keepsValues: false)
    private var leaders = SortedMap<LeaderEpoch, NodeID>()
    private var members = SortedMap<NodeID, Member>()

    func wiped(_ node: SimulatedNode) { members[node.id] = Member() }

    func stepped(_ node: SimulatedNode, _ control: Control, _ world: World) {
        guard let raft = control.inspectedQuorum else { return }
        let log = control.inspectedLog
        var member = members[node.id] ?? Member()
        if member.life != node.life {
            member.life = node.life
            member.verified = 0
            member.epoch = -1
            if raft.epoch < member.savedEpoch {
                world.violated("R2", "node \(node.id) starts in epoch \(raft.epoch), \(member.savedEpoch) was durable")
            }
        }
        member.flushedEnd = log.flushedEnd
        if raft.epoch < member.epoch {
            world.violated("R2", "node \(node.id) goes back from epoch \(member.epoch) to \(raft.epoch)")
        }
        let isNewEpoch = raft.epoch > member.epoch
        member.epoch = raft.epoch
        members[node.id] = member
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

    // MARK: Votes

    /// The quorum-state file reached the medium.
    func voteSaved(_ node: SimulatedNode, _ path: String, _ world: World) {
        guard let bytes = node.disk.durableContents(of: path) else { return }
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
        members[node.id] = member
    }

    private static func number(_ field: String, in text: String) -> Int32? {
        guard let part = text.split(separator: ",").first(where: { $0.contains("\"\(field)\"") }),
            let digits = part.split(separator: ":").last
        else { return nil }
        return Int32(digits.filter { $0.isNumber || $0 == "-" })
    }
}
