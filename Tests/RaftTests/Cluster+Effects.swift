// What a shell does with a quorum member's effects, on simulated disks and links.

import Model
import Raft

extension Cluster {
    mutating func run(_ effect: RaftEffect, _ index: Int) {
        let life = nodes[index].life
        switch effect {
        case .save(let state):
            nodes[index].saveGeneration += 1
            let generation = nodes[index].saveGeneration
            schedule(.saved(index, life: life, generation: generation, state), at: diskDone())
        case .flush:
            let disk = nodes[index].disk
            schedule(
                .flushed(
                    index, life: life, generation: nodes[index].flushGeneration, disk.entries, start: disk.start),
                at: diskDone())
        case .appendLeaderChange(let epoch, let voters, _):
            let first = nodes[index].disk.end == 0 ? voters : nil
            append([Entry(epoch: epoch, record: newRecord(), voters: first)], index)
        case .appendVoters(let voters, let epoch):
            append([Entry(epoch: epoch, record: newRecord(), voters: voters)], index)
        case .appendFetched:
            append(nodes[index].fetched, index)
            nodes[index].fetched = []
        case .truncate(let offset):
            let kept = Int(offset - nodes[index].disk.start)
            nodes[index].disk.entries.removeSubrange(kept...)
            nodes[index].flushGeneration += 1
        case .fetchSnapshot(let end, let from):
            schedule(.snapshotFetched(index, life: life, end, from: self.index(from)), at: now.advanced(byMs: 20))
        case .sendVote(let vote, let to):
            request(effect, .vote(epoch: vote.epoch, preVote: vote.preVote), from: index, to: to)
        case .sendBeginQuorumEpoch(let epoch, let to):
            request(effect, .beginQuorumEpoch(epoch: epoch), from: index, to: to.id)
        case .sendEndQuorumEpoch(_, _, let to): request(effect, nil, from: index, to: to)
        case .sendFetch(_, let to): request(effect, .fetch, from: index, to: to)
        case .answerVote(let id, let response): respond(.voteResponse(response), id, from: index)
        case .answerBeginQuorumEpoch(let id, let error, let epoch, let leader):
            respond(.beginResponse(error, epoch, leader), id, from: index)
        case .answerEndQuorumEpoch(let id, _, _, _): respond(.endResponse, id, from: index)
        case .answerFetch(let id, let verdict, let highWatermark, let epoch, let leader):
            var entries: [Entry] = []
            if case .read(let offset) = verdict {
                let disk = nodes[index].disk
                entries = Array(
                    disk.entries.dropFirst(Int(offset - disk.start)).prefix(Int(1 + random.below(batchesMax))))
            }
            let answer = QuorumFetchAnswer(
                from: nodes[index].key.id, verdict: verdict, leaderID: leader, epoch: epoch,
                highWatermark: highWatermark, hasRecords: !entries.isEmpty)
            respond(.fetchResponse(answer, entries), id, from: index)
        case .answerVoterChange(_, let error): voterAnswers.append(error)
        case .advanceHighWatermark, .changeRole: break
        }
    }

    private mutating func diskDone() -> Instant { now.advanced(byMicroseconds: 500 + random.below(delayMaxMs * 1_000)) }

    mutating func newRecord() -> Int {
        nextRecord += 1
        return nextRecord
    }

    mutating func append(_ entries: [Entry], _ index: Int) {
        let start = nodes[index].disk.end
        var epochs: [EpochHistory.Entry] = []
        var voters: [VotersAt] = []
        for (place, entry) in entries.enumerated() {
            let offset = start + Offset(place)
            let last = nodes[index].disk.entries.last?.epoch ?? nodes[index].disk.snapshot?.epoch ?? -1
            if entry.epoch > last { epochs.append(EpochHistory.Entry(epoch: entry.epoch, startOffset: offset)) }
            if let set = entry.voters { voters.append(VotersAt(offset: offset, voters: set)) }
            nodes[index].disk.entries.append(entry)
        }
        step(index, .appended(endOffset: nodes[index].disk.end, epochs: epochs, voters: voters))
    }

    mutating func deliver(_ message: Message, _ from: Int, _ to: Int, _ connection: Int) {
        if case .request(let effect, let id) = message {
            guard connections[from][to] == connection else { return }
            guard nodes[to].raft != nil else { return breakConnection(from, to) }
            return step(to, requestInput(effect, id))
        }
        guard connections[to][from] == connection, nodes[to].raft != nil else { return }
        // The oldest request of that kind on the connection is the one answered.
        let kind = pending.keys.first { id in
            guard let waiting = pending[id], waiting.from == to, waiting.to == from else { return false }
            return matches(message, waiting.request)
        }
        if let kind { pending[kind] = nil }
        switch message {
        case .voteResponse(let response): step(to, .voteAnswered(response, from: nodes[from].key.id))
        case .beginResponse(let error, let epoch, let leader):
            step(to, .beginQuorumEpochAnswered(from: nodes[from].key.id, error: error, epoch: epoch, leaderID: leader))
        case .fetchResponse(let answer, let entries):
            nodes[to].fetched = entries
            step(to, .fetchAnswered(answer))
        case .endResponse, .request: break
        }
    }

    private func matches(_ message: Message, _ request: RaftRequest?) -> Bool {
        switch (message, request) {
        case (.voteResponse(let response), .vote(let epoch, let preVote)):
            response.requestEpoch == epoch && response.preVote == preVote
        case (.beginResponse, .beginQuorumEpoch), (.fetchResponse, .fetch), (.endResponse, nil): true
        default: false
        }
    }

    private func requestInput(_ effect: RaftEffect, _ id: RequestID) -> RaftInput {
        let sender = pending[id].map { nodes[$0.from].key.id } ?? 0
        switch effect {
        case .sendVote(let request, _): return .voteRequested(request, id)
        case .sendBeginQuorumEpoch(let epoch, let voter):
            return .beginQuorumEpochReceived(leader: sender, epoch: epoch, voter: voter, id)
        case .sendEndQuorumEpoch(let epoch, let preferred, _):
            return .endQuorumEpochReceived(leader: sender, epoch: epoch, preferredCandidates: preferred, id)
        case .sendFetch(let fetch, _): return .fetchReceived(fetch, id)
        default: fatalError("not a request: \(effect)")
        }
    }

    mutating func installSnapshot(_ node: Int, _ end: LogEnd, _ from: Int) {
        let source = nodes[from].disk
        guard nodes[from].raft != nil, !isCut[node][from], source.snapshot == end else {
            return step(node, .requestFailed(.fetchSnapshot, to: nodes[from].key.id))
        }
        nodes[node].disk.start = end.offset
        nodes[node].disk.entries = []
        nodes[node].disk.durableEntries = []
        nodes[node].disk.snapshot = end
        nodes[node].disk.baseVoters = source.baseVoters
        nodes[node].flushGeneration += 1
        step(node, .snapshotInstalled(end: end, voters: source.baseVoters))
    }

    /// Drops the committed and durable part of the log behind a snapshot.
    mutating func takeSnapshot(_ node: Int) {
        guard let raft = nodes[node].raft else { return }
        let offset = min(raft.highWatermark, raft.log.flushedEnd)
        var disk = nodes[node].disk
        let count = Int(offset - disk.start)
        guard count > 0, count <= disk.durableEntries.count else { return }
        let dropped = disk.entries.prefix(count)
        if let voters = dropped.last(where: { $0.voters != nil })?.voters { disk.baseVoters = voters }
        disk.snapshot = LogEnd(offset: offset, epoch: dropped.last?.epoch ?? 0)
        disk.entries.removeFirst(count)
        disk.durableEntries.removeFirst(count)
        disk.start = offset
        nodes[node].disk = disk
        step(node, .logStartAdvanced(to: offset))
    }

    // MARK: What goes wrong, and what goes on

    mutating func injectFault() {
        let node = Int(random.below(Int64(nodes.count)))
        let other = Int(random.below(Int64(nodes.count)))
        switch random.below(12) {
        case 0, 1, 2: crash(node, power: random.oneIn(2))
        case 3, 4, 5: for index in nodes.indices where nodes[index].raft == nil { start(index) }
        case 6: isCut[node][other] = true
        case 7: for peer in nodes.indices { (isCut[node][peer], isCut[peer][node]) = (true, true) }
        case 8, 9: heal()
        case 10: if nodes[node].raft != nil { step(node, .resignationRequested) }
        default:
            // Proof that is no proof: a wrong one may cost time, never data.
            if nodes[node].raft != nil { step(node, .peerDied(nodes[other].key.id)) }
        }
        schedule(.fault, at: now.advanced(byMs: 20 + random.below(700)))
    }

    mutating func heal() {
        for from in nodes.indices { for to in nodes.indices { isCut[from][to] = false } }
    }

    mutating func applyLoad() {
        for index in nodes.indices {
            guard let raft = nodes[index].raft else { continue }
            if raft.isLeader, raft.epochStartOffset != nil {
                let count = Int(1 + random.below(3))
                append((0..<count).map { _ in Entry(epoch: raft.epoch, record: newRecord(), voters: nil) }, index)
                operateVoters(index)
            }
            if takesSnapshots, random.oneIn(20) { takeSnapshot(index) }
        }
        if hasLoad { schedule(.load, at: now.advanced(byMs: 10 + random.below(60))) }
    }

    /// What the controller does: removes the voter whose disk is gone, then adds the new one.
    mutating func operateVoters(_ index: Int) {
        guard let raft = nodes[index].raft, raft.isLeader else { return }
        nextRequest += 1
        if let gone = raft.voters.voters.first(where: { nodes[self.index($0.key.id)].key != $0.key }) {
            step(index, .voterRemovalRequested(gone.key, nextRequest))
        } else if changesVoters, random.oneIn(10) {
            let node = Int(random.below(Int64(nodes.count)))
            let key = nodes[node].key
            if raft.voters.contains(key), raft.voters.count > 3 {
                step(index, .voterRemovalRequested(key, nextRequest))
            } else if !raft.voters.contains(key) {
                step(index, .voterAdditionRequested(Voter(key: key, endpoint: Self.endpoint(key.id)), nextRequest))
            }
        }
    }
}
