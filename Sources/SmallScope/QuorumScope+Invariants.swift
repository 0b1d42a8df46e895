// R1, R2, R3, R4, R6 and R11 of reliability.md §5, over the whole world.

import Model
import Raft

extension QuorumScope {
    mutating func judge(_ fact: MemberFact, of index: Int, _ change: inout QuorumChange) {
        let member = members[change.row[index]]
        switch fact {
        case .violated(let words): change.violation = words
        case .voteTold: held.r2 += 1
        case .elected(let epoch): elected(index, member, epoch, &change)
        case .committed(let end): committed(index, member, Int(end), &change)
        case .followed(let leader, let epoch):
            held.r1 += 1
            let known = memories[change.row[memoryPart]].leaders[Int(epoch)]
            if known != leader {
                change.violation =
                    "R1: member \(index + 1) takes \(leader) for the leader of \(epoch), and that is \(known)"
            }
        case .learned(let end):
            held.r11 += 1
            let memory = memories[change.row[memoryPart]]
            let prefix = member.log.prefix(Int(end))
            if !memory.committed.starts(with: prefix) {
                change.violation =
                    "R3: member \(index + 1) takes \(prefix) for committed, and that is "
                    + "\(memory.committed)"
            }
        }
    }

    private mutating func elected(
        _ index: Int, _ member: QuorumMember, _ epoch: LeaderEpoch, _ change: inout QuorumChange
    ) {
        var memory = memories[change.row[memoryPart]]
        held.r1 += 1
        let id = NodeID(index + 1)
        let known = memory.leaders[Int(epoch)]
        if known != 0 {
            change.violation = "R1: epoch \(epoch) has leader \(known), and member \(id) is elected in it"
            return
        }
        memory.leaders[Int(epoch)] = id
        change.row[memoryPart] = memories.number(memory)
        let owed = memory.committedIn.firstIndex { $0 >= epoch } ?? memory.committed.count
        if owed > 0 { held.r4 += 1 }
        if !member.log.starts(with: memory.committed[..<owed]) {
            change.violation =
                "R4: member \(id) leads epoch \(epoch) with \(member.log), and "
                + "\(memory.committed) is committed"
        }
    }

    private mutating func committed(
        _ index: Int, _ member: QuorumMember, _ end: Int, _ change: inout QuorumChange
    ) {
        var memory = memories[change.row[memoryPart]]
        let epoch = member.raft.epoch
        held.r11 += 1
        let prefix = QuorumLog(member.log.prefix(end))
        guard prefix.count == end else {
            change.violation = "R11: member \(index + 1) commits up to \(end) and holds \(member.log)"
            return
        }
        if prefix.last.map({ LeaderEpoch($0.epoch) }) != epoch {
            change.violation = "R4: leader \(index + 1) of epoch \(epoch) commits \(prefix) by counting copies"
            return
        }
        let shared = min(end, memory.committed.count)
        if prefix[..<shared] != memory.committed[..<shared] {
            change.violation =
                "R4: leader \(index + 1) of epoch \(epoch) commits \(prefix), and "
                + "\(memory.committed) is committed"
            return
        }
        held.r6 += 1
        let holders = (0..<count).filter { members[change.row[$0]].holdsDurably(prefix) }
        if holders.count * 2 <= count {
            change.violation =
                "R6: \(prefix) is committed in epoch \(epoch), and durable on members "
                + "\(holders.map { $0 + 1 })"
            return
        }
        for other in 0..<count where other != index {
            let raft = members[change.row[other]].raft
            if raft.isLeader, raft.epoch > epoch, !members[change.row[other]].log.starts(with: prefix) {
                change.violation =
                    "R4: \(prefix) is committed in epoch \(epoch), and the leader \(other + 1) of "
                    + "\(raft.epoch) holds \(members[change.row[other]].log)"
                return
            }
        }
        while memory.committed.count < end {
            memory.committed.append(prefix[memory.committed.count])
            memory.committedIn.append(epoch)
        }
        change.row[memoryPart] = memories.number(memory)
    }

    /// R3: the same offset and epoch in two logs means the same entries up to there.
    mutating func compareLogs(of index: Int, _ change: inout QuorumChange) {
        for other in 0..<count where other != index && change.violation == nil {
            let (a, b) = (change.row[index], change.row[other])
            let key = UInt64(min(a, b)) << 32 | UInt64(max(a, b))
            held.r3 += 1
            let holds: Bool
            if let known = compared[key] {
                holds = known
            } else {
                holds = Self.match(members[a].log, members[b].log)
                compared[key] = holds
            }
            if !holds {
                change.violation =
                    "R3: members \(index + 1) and \(other + 1) hold \(members[a].log) and "
                    + "\(members[b].log)"
            }
        }
    }

    private static func match(_ a: QuorumLog, _ b: QuorumLog) -> Bool {
        guard let last = (0..<min(a.count, b.count)).last(where: { a[$0].epoch == b[$0].epoch }) else { return true }
        return a[...last] == b[...last]
    }

    // MARK: Words

    package mutating func words(_ move: QuorumMove, from row: StateRow) -> [String] {
        var lines: [String]
        func at(_ index: Int) -> String { "member \(index + 1)" }
        switch move {
        case .timer(let member, .patience): lines = ["\(at(member)): its patience ends"]
        case .timer(let member, .quorumCheck): lines = ["\(at(member)): no majority fetched for too long"]
        case .timer(let member, .beginQuorumEpoch(let to)):
            lines = ["\(at(member)): tells member \(to) of its reign once more"]
        case .saved(let member): lines = ["\(at(member)): its epoch and vote are durable"]
        case .flushed(let member): lines = ["\(at(member)): its log is durable as of the barrier"]
        case .append(let member): lines = ["\(at(member)): a client's entry is appended"]
        case .crash(let member, let left):
            let known = members[row[member]]
            lines = [
                "\(at(member)) loses power and restarts with \(known.images[left.image])"
                    + (known.saveUnderWay == nil ? "" : left.saved ? ", the save under way done" : ", the save lost")
                    + (left.forgetsLeader ? ", its leader's name lost" : "")
                    + (left.strays ? ", its requests still on their way" : "")
            ]
        case .deliver(let from, let to):
            let call = links[row[linkPart(from, to)]].calls.first { $0.stage == .sent }
            lines = ["\(at(to)) gets from \(from + 1): \(call.map { Self.words(asks[$0.ask]) } ?? "")"]
        case .answer(let from, let to):
            lines = ["\(at(from)) gets the answer of \(to + 1)"]
            let calls = links[row[linkPart(from, to)]].calls
            if let call = calls.first(where: { $0.stage != .abandoned && $0.stage != .lost }),
                case .answered(let reply) = call.stage
            {
                lines[0] += ": \(Self.words(replies[reply]))"
            }
        case .stray(let from, let to, let index):
            lines = [
                "\(at(to)) gets late from \(from + 1): "
                    + Self.words(asks[links[row[linkPart(from, to)]].strays[index]])
            ]
        case .cut(let from, let to, let strays):
            lines = [
                "the connection \(from + 1) to \(to + 1) breaks" + (strays ? ", a request still on its way" : "")
            ]
        }
        guard let next = take(move, in: row) else { return lines }
        for index in 0..<count where next.row[index] != row[index] {
            let member = members[next.row[index]]
            let raft = member.raft
            lines.append(
                "    \(at(index)): \(raft.role) in \(raft.epoch), log \(member.log), durable "
                    + "\(member.images[0].count), committed \(raft.highWatermark)")
        }
        return lines
    }

    private static func words(_ ask: QuorumAsk) -> String {
        switch ask {
        case .vote(let vote):
            "\(vote.preVote ? "pre-vote" : "vote") for \(vote.candidate.id) in \(vote.epoch), log \(vote.logEnd)"
        case .begin(let leader, let epoch, _): "\(leader) leads \(epoch)"
        case .end(let leader, let epoch, _): "\(leader) leads \(epoch) no more"
        case .fetch(let fetch):
            "fetch from \(fetch.fetchOffset)/\(fetch.lastFetchedEpoch) in \(fetch.currentLeaderEpoch)"
        }
    }

    private static func words(_ reply: QuorumReply) -> String {
        switch reply {
        case .vote(let vote):
            "\(vote.preVote ? "pre-vote" : "vote") \(vote.granted ? "granted" : "refused") in \(vote.epoch)"
        case .begin(let error, let epoch, _): "begin: \(error), epoch \(epoch)"
        case .fetch(let verdict, let records, let highWatermark, let epoch, _):
            "\(verdict), \(records), high watermark \(highWatermark), epoch \(epoch)"
        }
    }
}
