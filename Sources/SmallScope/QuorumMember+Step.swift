// Steps of a quorum member: one input, the effects run as Control runs them, and the rules that one member can break
// alone.

import Model
import Raft

extension QuorumMember {
    static func key(_ id: NodeID) -> ReplicaKey {
        ReplicaKey(id: id, directoryID: UUID128(high: 7, low: UInt64(id)))
    }

    static func founders(_ count: Int) -> VoterSet {
        VoterSet(
            (1...count).map { Voter(key: key(NodeID($0)), endpoint: Endpoint(host: "", port: UInt16($0))) })
    }

    /// A member whose process begins on what the disk holds. Opening a log flushes it.
    init(id: NodeID, of count: Int, saved: QuorumState, log: QuorumLog) {
        var later: [VotersAt] = []
        for (offset, entry) in log.enumerated() where entry.kind == 1 {
            later.append(VotersAt(offset: Offset(offset), voters: Self.founders(count)))
        }
        raft = RaftNode(
            key: Self.key(id), settings: RaftSettings(), saved: saved,
            log: LogPositions(
                startOffset: 0, endOffset: Offset(log.count), flushedEnd: Offset(log.count), epochs: log.epochs),
            voters: Self.founders(count), laterVoters: later, bootstrap: [], seed: 0, now: RaftNode.searchMoment)
        images = [log]
        stateOnDisk = saved
        raft.forgetTimes()
    }

    func stepped(_ input: MemberInput, of count: Int, _ bounds: QuorumBounds) -> MemberStep {
        let bug = bounds.bug
        var step = MemberStep(member: self)
        var member = self
        if case .restarted(let image, let isSaved, let forgetsLeader) = input {
            var state = stateOnDisk
            if isSaved, let saveUnderWay { state = saveUnderWay }
            if forgetsLeader { state.leaderID = nil }
            if bug == .voteForgotten { state.voted = nil }
            member = QuorumMember(id: raft.key.id, of: count, saved: state, log: images[image])
            member.run(.ticked, into: &step)
        } else {
            member.take(input, into: &step)
        }
        if bug == .savedEarly, let early = member.saveUnderWay { member.run(.saved(early), into: &step) }
        if bug == .flushedEarly, member.barrier != nil {
            member.run(.flushed(through: Offset(member.log.count)), into: &step)
        }
        member.settle(into: &step)
        if bounds.preVotesGranted { member.winPreVote(of: count, into: &step) }
        step.member = member
        step.judge(since: self, restarted: input.isRestart)
        return step
    }

    // MARK: Inputs

    private mutating func take(_ input: MemberInput, into step: inout MemberStep) {
        switch input {
        case .timer(let timer):
            raft.expire(timer)
            run(.ticked, into: &step)
        case .saved:
            guard let done = saveUnderWay else { return }
            if done.epoch < stateOnDisk.epoch
                || (done.epoch == stateOnDisk.epoch && stateOnDisk.voted != nil && done.voted != stateOnDisk.voted)
            {
                step.facts.append(.violated("R2: \(raft.key.id) replaces \(stateOnDisk) on its disk by \(done)"))
            }
            stateOnDisk = done
            (saveUnderWay, saveNext) = (saveNext, nil)
            run(.saved(done), into: &step)
        case .flushed:
            guard let mark = barrier else { return }
            images.removeFirst(mark)
            barrier = nil
            run(.flushed(through: Offset(images[0].count)), into: &step)
        case .appended(let kind):
            write(QuorumEntry(epoch: UInt8(raft.epoch), kind: kind))
            run(.appended(endOffset: Offset(log.count), epochs: [], voters: []), into: &step)
        case .restarted: break
        case .asked(.vote(let vote), let id): run(.voteRequested(vote, id), into: &step)
        case .asked(.begin(let leader, let epoch, let voter), let id):
            run(.beginQuorumEpochReceived(leader: leader, epoch: epoch, voter: voter, id), into: &step)
        case .asked(.end(let leader, let epoch, let preferred), let id):
            run(
                .endQuorumEpochReceived(leader: leader, epoch: epoch, preferredCandidates: preferred, id), into: &step)
        case .asked(.fetch(let fetch), let id): run(.fetchReceived(fetch, id), into: &step)
        case .answered(.vote(let response), let from): run(.voteAnswered(response, from: from), into: &step)
        case .answered(.begin(let error, let epoch, let leaderID), let from):
            run(.beginQuorumEpochAnswered(from: from, error: error, epoch: epoch, leaderID: leaderID), into: &step)
        case .answered(.fetch(let verdict, let records, let highWatermark, let epoch, let leaderID), let from):
            var verdict = verdict
            // The wire does not say where a read began; the shell takes it to be its own end.
            if case .read = verdict { verdict = .read(from: Offset(log.count)) }
            run(
                .fetchAnswered(
                    QuorumFetchAnswer(
                        from: from, verdict: verdict, leaderID: leaderID, epoch: epoch, highWatermark: highWatermark,
                        hasRecords: !records.isEmpty)), fetched: records, into: &step)
        case .failed(let requests, let node):
            for request in requests { run(.requestFailed(request, to: node), into: &step) }
        case .cancelled(let id): run(.fetchCancelled(id), into: &step)
        }
    }

    /// An oracle says yes in the name of every voter: whatever pre-votes would have prevented happens.
    private mutating func winPreVote(of count: Int, into step: inout MemberStep) {
        for other in 1...NodeID(count) where other != raft.key.id && raft.role == .prospective {
            let granted = VoteResponse(
                granted: true, epoch: raft.epoch, leaderID: nil, preVote: true, requestEpoch: raft.epoch)
            run(.voteAnswered(granted, from: other), into: &step)
        }
        settle(into: &step)
        step.outputs.removeAll { output in
            if case .ask(.vote(let vote), _) = output { vote.preVote } else { false }
        }
    }

    /// Everything that is due by now, then no time is left in the state.
    private mutating func settle(into step: inout MemberStep) {
        raft.forgetTimes()
        run(.ticked, into: &step)
        // Whether the leader's name is durable changes nothing but what a restart reads, and a restart may forget it.
        while let save = saveUnderWay, save.epoch == stateOnDisk.epoch, save.voted == stateOnDisk.voted {
            stateOnDisk = save
            (saveUnderWay, saveNext) = (saveNext, nil)
            run(.saved(save), into: &step)
        }
        raft.forgetTimes()
        var distinct: [QuorumLog] = []
        var mark: Int?
        for (index, image) in images.enumerated() {
            if distinct.last != image { distinct.append(image) }
            if index == barrier { mark = distinct.count - 1 }
        }
        (images, barrier) = (distinct, mark)
    }

    // MARK: Effects

    private mutating func run(_ input: RaftInput, fetched: QuorumLog = [], into step: inout MemberStep) {
        var inputs = [input]
        while !inputs.isEmpty {
            let wasLeader = raft.isLeader
            let before = raft.highWatermark
            var effects: [RaftEffect] = []
            raft.step(inputs.removeFirst(), at: RaftNode.searchMoment, into: &effects)
            for effect in effects { run(effect, fetched, &inputs, &step) }
            if raft.highWatermark > before {
                let end = raft.highWatermark
                step.facts.append(wasLeader || raft.isLeader ? .committed(end) : .learned(end))
            }
        }
    }

    private mutating func run(
        _ effect: RaftEffect, _ fetched: QuorumLog, _ inputs: inout [RaftInput], _ step: inout MemberStep
    ) {
        switch effect {
        case .save(let state):
            if saveUnderWay == nil { saveUnderWay = state } else { saveNext = state }
        case .appendLeaderChange(let epoch, let voters, _):
            let start = Offset(log.count)
            write(QuorumEntry(epoch: UInt8(epoch), kind: 0))
            var found: [VotersAt] = []
            if start == 0 {
                found.append(VotersAt(offset: 1, voters: voters))
                write(QuorumEntry(epoch: UInt8(epoch), kind: 1))
            }
            inputs.append(
                .appended(
                    endOffset: Offset(log.count), epochs: [.init(epoch: epoch, startOffset: start)], voters: found))
        case .appendFetched:
            var epochs: [EpochHistory.Entry] = []
            var found: [VotersAt] = []
            for entry in fetched {
                if entry.epoch > epochs.last.map({ UInt8($0.epoch) }) ?? log.last?.epoch ?? 0 {
                    epochs.append(.init(epoch: LeaderEpoch(entry.epoch), startOffset: Offset(log.count)))
                }
                if entry.kind == 1 { found.append(VotersAt(offset: Offset(log.count), voters: raft.voters)) }
                write(entry)
            }
            inputs.append(.appended(endOffset: Offset(log.count), epochs: epochs, voters: found))
        case .truncate(let end):
            images.append(QuorumLog(log.prefix(Int(end))))
            barrier = nil
        case .flush:
            if barrier == nil, images.count > 1 { barrier = images.count - 1 }
        case .sendVote(let vote, let node): step.outputs.append(.ask(.vote(vote), to: node))
        case .sendBeginQuorumEpoch(let epoch, let voter):
            step.outputs.append(
                .ask(.begin(leader: raft.key.id, epoch: epoch, voter: voter), to: voter.id))
        case .sendEndQuorumEpoch(let epoch, let preferred, let node):
            step.outputs.append(
                .ask(.end(leader: raft.key.id, epoch: epoch, preferred: preferred), to: node))
        case .sendFetch(let fetch, let node):
            if !holdsDurably(QuorumLog(log.prefix(Int(fetch.fetchOffset)))) {
                step.facts.append(.violated("R6: \(raft.key.id) fetches from \(fetch.fetchOffset) with \(images)"))
            }
            step.outputs.append(.ask(.fetch(fetch), to: node))
        case .answerVote(let id, let response):
            if response.granted, !response.preVote { judgeVote(response, id, &step) }
            // A refusal that tells of no higher epoch and no leader only ends the round, as patience may at any moment.
            let isNews = response.granted || response.epoch > response.requestEpoch || response.leaderID != nil
            step.outputs.append(.reply(id, isNews ? .vote(response) : nil))
        case .answerBeginQuorumEpoch(let id, let error, let epoch, let leaderID):
            // Without an error it tells the leader its own epoch and name.
            step.outputs.append(
                .reply(id, error == .none ? nil : .begin(error: error, epoch: epoch, leaderID: leaderID)))
        case .answerEndQuorumEpoch(let id, _, _, _): step.outputs.append(.reply(id, nil))
        case .answerFetch(let id, let verdict, let highWatermark, let epoch, let leaderID):
            var records: QuorumLog = []
            if case .read(let offset) = verdict, offset <= log.count { records = QuorumLog(log[Int(offset)...]) }
            step.outputs.append(
                .reply(
                    id, .fetch(verdict, records, highWatermark: highWatermark, epoch: epoch, leaderID: leaderID)))
        case .appendVoters, .fetchSnapshot, .answerVoterChange:
            step.facts.append(.violated("an effect that this scope has no input for: \(effect)"))
        case .advanceHighWatermark, .changeRole: break
        }
    }

    /// R2: a vote that is told is on the disk, for the one that is told of it.
    private func judgeVote(_ response: VoteResponse, _ id: RequestID, _ step: inout MemberStep) {
        step.facts.append(.voteTold)
        // Requests of one member have the ids from eight times its index on.
        let asker = id < QuorumScope.nobody ? NodeID(id / 8 + 1) : stateOnDisk.voted?.id
        if stateOnDisk.epoch != response.epoch || stateOnDisk.voted == nil || stateOnDisk.voted?.id != asker {
            step.facts.append(.violated("R2: \(raft.key.id) tells a vote that its disk does not hold"))
        }
    }

    private mutating func write(_ entry: QuorumEntry) { images.append(log + [entry]) }
}

extension QuorumLog {
    var epochs: EpochHistory {
        var history = EpochHistory()
        for (offset, entry) in enumerated() { history.assign(LeaderEpoch(entry.epoch), startOffset: Offset(offset)) }
        return history
    }
}

extension MemberInput {
    var isRestart: Bool { if case .restarted = self { true } else { false } }
}

extension MemberStep {
    /// What this member's own before and after can break: R2, R3, R11, and its own consistency.
    mutating func judge(since before: QuorumMember, restarted: Bool) {
        let raft = member.raft
        if let wrong = raft.violations().first { facts.append(.violated(wrong)) }
        if raft.isLeader, !before.raft.isLeader || before.raft.epoch != raft.epoch || restarted {
            facts.append(.elected(raft.epoch))
        }
        if let leader = raft.leaderID, leader != before.raft.leaderID || raft.epoch != before.raft.epoch {
            facts.append(.followed(leader: leader, raft.epoch))
        }
        if raft.log.endOffset != Offset(member.log.count) || raft.log.epochs != member.log.epochs {
            facts.append(.violated("\(raft.key.id): the machine's positions are not those of its log"))
        }
        if zip(member.log, member.log.dropFirst()).contains(where: { $0.epoch > $1.epoch }) {
            facts.append(.violated("R3: epochs fall in the log of \(raft.key.id)"))
        }
        guard !restarted else { return }
        if raft.epoch < before.raft.epoch { facts.append(.violated("R2: the epoch of \(raft.key.id) falls")) }
        if raft.highWatermark < before.raft.highWatermark {
            facts.append(.violated("R11: the high watermark of \(raft.key.id) falls"))
        }
        if raft.isLeader, before.raft.isLeader, raft.epoch == before.raft.epoch,
            !member.log.starts(with: before.log)
        {
            facts.append(.violated("R3: leader \(raft.key.id) changes its own log"))
        }
    }
}
