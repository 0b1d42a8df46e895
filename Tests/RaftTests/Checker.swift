// The invariants R1–R6, R8, R11 of reliability.md §5, checked from outside after every step of any node.

import Model
import Raft

struct Checker {
    var failures: [String] = []
    /// Ghost state: what was ever committed, by offset; who led which epoch.
    var committed: [Entry] = []
    var leaders = SortedMap<LeaderEpoch, ReplicaKey>()
    var votes = SortedMap<Int, SortedMap<LeaderEpoch, ReplicaKey>>()
    var highWatermarks = SortedMap<Int, Offset>()
    var stepCount = 0
    var electionCount = 0
    var truncationCount = 0
    var snapshotCount = 0

    mutating func expect(_ holds: Bool, _ what: @autoclosure () -> String) {
        if !holds { failures.append(what()) }
    }

    mutating func nodeStarted(_ node: Int, _ state: QuorumState) { highWatermarks[node] = nil }

    mutating func nodeWiped(_ node: Int) {
        votes[node] = nil
        highWatermarks[node] = nil
    }

    mutating func saved(_ node: Int, from old: QuorumState, to new: QuorumState) {
        expect(new.epoch >= old.epoch, "R2: epoch \(old.epoch) fell to \(new.epoch) on n\(node + 1)")
        if new.epoch == old.epoch, let voted = old.voted {
            expect(new.voted == voted, "R2: n\(node + 1) changed its vote in epoch \(new.epoch)")
        }
    }

    mutating func stepped(_ node: Int, _ raft: RaftNode, _ effects: [RaftEffect], _ cluster: Cluster) {
        stepCount += 1
        for violation in raft.violations() { failures.append(violation) }
        let name = "n\(node + 1)"
        for effect in effects {
            switch effect {
            case .answerVote(_, let response) where response.granted && !response.preVote:
                granted(node, cluster.nodes[node].disk.state, response)
            case .appendLeaderChange(let epoch, _, _): elected(node, raft, epoch, cluster)
            case .advanceHighWatermark(let offset): advanced(node, raft, offset, effects, cluster)
            case .truncate(let offset):
                truncationCount += 1
                expect(offset >= raft.highWatermark, "R4: \(name) cut \(offset) below its high watermark")
                expect(!raft.isLeader, "R3: leader \(name) cut its log")
            case .fetchSnapshot: snapshotCount += 1
            case .sendFetch(let fetch, _):
                expect(
                    cluster.nodes[node].disk.state.epoch >= fetch.currentLeaderEpoch, "R2: fetched in an unsaved epoch")
                expect(
                    durableEnd(cluster.nodes[node].disk) >= fetch.fetchOffset, "R6: \(name) acknowledged the undurable")
            default: break
            }
        }
        let before = highWatermarks[node] ?? 0
        expect(raft.highWatermark >= before, "R11: the high watermark of \(name) fell from \(before)")
        highWatermarks[node] = raft.highWatermark
        if let leader = raft.leaderID { leads(leader, raft.epoch, cluster) }
        if stepCount % 20 == 0 { logsMatch(cluster) }
    }

    func durableEnd(_ disk: TestDisk) -> Offset {
        disk.start + Offset(zip(disk.entries, disk.durableEntries).prefix { $0 == $1 }.count)
    }

    /// R1 as all nodes tell it.
    mutating func leads(_ id: NodeID, _ epoch: LeaderEpoch, _ cluster: Cluster) {
        let known = leaders[epoch]?.id
        expect(known == nil || known == id, "R1: epoch \(epoch) has leaders \(known ?? 0) and \(id)")
    }

    mutating func granted(_ node: Int, _ disk: QuorumState, _ response: VoteResponse) {
        expect(
            disk.epoch == response.requestEpoch && disk.voted != nil,
            "R2: a vote left n\(node + 1) before it was durable")
        guard let voted = disk.voted else { return }
        let earlier = votes[node]?[response.requestEpoch]
        expect(earlier == nil || earlier == voted, "R2: n\(node + 1) voted twice in \(response.requestEpoch)")
        votes[node, default: SortedMap()][response.requestEpoch] = voted
    }

    mutating func elected(_ node: Int, _ raft: RaftNode, _ epoch: LeaderEpoch, _ cluster: Cluster) {
        electionCount += 1
        expect(leaders[epoch] == nil, "R1: epoch \(epoch) elected twice")
        leaders[epoch] = raft.key
        expect(raft.voters.contains(raft.key), "R9: \(raft.key.id) leads without being a voter")
        let disk = cluster.nodes[node].disk
        expect(disk.end >= Offset(committed.count), "R4: leader n\(node + 1) of \(epoch) lacks committed records")
        for offset in disk.start..<min(disk.end, Offset(committed.count)) {
            expect(disk.entry(offset) == committed[Int(offset)], "R4: leader n\(node + 1) differs at \(offset)")
        }
    }

    mutating func advanced(_ node: Int, _ raft: RaftNode, _ offset: Offset, _ effects: [RaftEffect], _ cluster: Cluster)
    {
        let disk = cluster.nodes[node].disk
        expect(offset <= raft.log.endOffset, "R11: committed beyond the log")
        let known = Offset(committed.count)
        for at in max(disk.start, (highWatermarks[node] ?? 0))..<max(disk.start, min(offset, disk.end)) where at < known
        {
            expect(disk.entry(at) == committed[Int(at)], "R7: n\(node + 1) committed something else at \(at)")
        }
        guard offset > known else { return }
        // A leader outside the voters leads until that is committed, and not a step longer.
        let hasJustResigned = effects.contains { if case .sendEndQuorumEpoch = $0 { true } else { false } }
        expect(raft.isLeader || hasJustResigned, "R4: \(node + 1) follows and commits first")
        for at in known..<offset {
            guard let entry = disk.entry(at) else { return failures.append("R4: no record at \(at)") }
            committed.append(entry)
        }
        expect(disk.entry(offset - 1)?.epoch == raft.epoch, "R4: committed an old epoch by counting")
        var holders = 0
        for voter in raft.voters.voters {
            // A disk that was lost held what its last Fetch said; the loss itself is no fault of the leader's.
            guard let other = cluster.nodes.first(where: { $0.key == voter.key }) else {
                if (raft.progress(of: voter.key)?.fetchedOffset ?? 0) >= offset { holders += 1 }
                continue
            }
            if other.disk.durableEntry(offset - 1) == committed[Int(offset - 1)] || other.disk.start >= offset {
                holders += 1
            }
        }
        expect(holders >= raft.voters.majority, "R6: \(offset) committed, durable on \(holders) of \(raft.voters)")
    }

    /// R3, pairwise: where two logs have the same epoch at the same offset they hold the same record, and the same
    /// below.
    mutating func logsMatch(_ cluster: Cluster) {
        for a in cluster.nodes.indices {
            for b in cluster.nodes.indices where b > a {
                let (left, right) = (cluster.nodes[a].disk, cluster.nodes[b].disk)
                let low = max(left.start, right.start)
                let high = min(left.end, right.end)
                var mustMatch = false
                for offset in stride(from: high - 1, through: max(low, high - 80), by: -1) {
                    let (x, y) = (left.entries[Int(offset - left.start)], right.entries[Int(offset - right.start)])
                    if x.epoch == y.epoch { mustMatch = true }
                    if mustMatch, x != y {
                        return failures.append("R3: n\(a + 1) and n\(b + 1) differ at \(offset)")
                    }
                }
            }
        }
    }
}
