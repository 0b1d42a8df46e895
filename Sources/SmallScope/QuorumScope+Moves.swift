// One move of the quorum's world: the member's step, what it sends, and what that says about the whole.

import Model
import Raft

/// A world row in the making.
struct QuorumChange {
    var row: StateRow
    var violation: String?
    /// The move leads out of the bounds and is not taken.
    var isBeyondBounds = false
}

extension QuorumScope {
    mutating func take(_ move: QuorumMove, in row: StateRow) -> Successor<QuorumMove>? {
        var change = QuorumChange(row: row)
        switch move {
        case .timer(let member, let timer):
            spend(&change) { memory in
                switch timer {
                case .patience: memory.timeouts += 1
                case .quorumCheck: memory.resignations += 1
                case .beginQuorumEpoch: memory.reminders += 1
                }
            }
            step(member, .timer(timer), &change)
        case .saved(let member): step(member, .saved, &change)
        case .flushed(let member): step(member, .flushed, &change)
        case .append(let member):
            let entries = memories[row[memoryPart]].entries
            spend(&change) { $0.entries += 1 }
            step(member, .appended(UInt8(2 + entries)), &change)
        case .crash(let member, let left):
            spend(&change) { $0.crashes += 1 }
            crash(member, left.strays, &change)
            step(
                member, .restarted(image: left.image, saved: left.saved, forgetsLeader: left.forgetsLeader), &change)
        case .deliver(let from, let to): deliver(from, to, &change)
        case .answer(let from, let to): answer(from, to, &change)
        case .stray(let from, let to, let index):
            var link = links[row[linkPart(from, to)]]
            let ask = link.strays.remove(at: index)
            put(link, from, to, &change)
            step(to, .asked(asks[ask], Self.nobody), &change)
        case .cut(let from, let to, let strays): cut(from, to, strays, &change)
        }
        if change.isBeyondBounds || (change.row == row && change.violation == nil) { return nil }
        return Successor(move: move, row: change.row, violation: change.violation)
    }

    /// The request id whose answer goes nowhere.
    static let nobody: RequestID = 1_000

    private mutating func spend(_ change: inout QuorumChange, _ count: (inout QuorumMemory) -> Void) {
        var memory = memories[change.row[memoryPart]]
        count(&memory)
        change.row[memoryPart] = memories.number(memory)
    }

    private mutating func put(_ link: QuorumLink, _ from: Int, _ to: Int, _ change: inout QuorumChange) {
        change.row[linkPart(from, to)] = links.number(link)
    }

    // MARK: Links

    private mutating func deliver(_ from: Int, _ to: Int, _ change: inout QuorumChange) {
        var link = links[change.row[linkPart(from, to)]]
        guard let index = link.calls.firstIndex(where: { $0.stage == .sent }) else { return }
        link.calls[index].stage = .processing
        let call = link.calls[index]
        put(link, from, to, &change)
        step(to, .asked(asks[call.ask], RequestID(from * 8 + Int(call.slot))), &change)
    }

    private mutating func answer(_ from: Int, _ to: Int, _ change: inout QuorumChange) {
        var link = links[change.row[linkPart(from, to)]]
        guard let index = link.calls.firstIndex(where: { $0.stage != .abandoned && $0.stage != .lost }),
            case .answered(let reply) = link.calls[index].stage
        else { return }
        link.calls.remove(at: index)
        put(link, from, to, &change)
        step(from, .answered(replies[reply], from: NodeID(to + 1)), &change)
    }

    /// The connection breaks: the sender is told of every call that has no answer by now; what is not read yet may
    /// still be.
    private mutating func cut(_ from: Int, _ to: Int, _ keepsStrays: Bool, _ change: inout QuorumChange) {
        let link = links[change.row[linkPart(from, to)]]
        if !link.calls.contains(where: { $0.stage == .lost }) { spend(&change) { $0.breaks += 1 } }
        release(from, to, keepsStrays, &change)
        let failed = link.calls.filter { $0.stage != .abandoned }.compactMap { asks[$0.ask].request }
        step(from, .failed(failed, to: NodeID(to + 1)), &change)
    }

    /// Ends all calls of a link on the receiver's side.
    private mutating func release(_ from: Int, _ to: Int, _ keepsStrays: Bool, _ change: inout QuorumChange) {
        let calls = links[change.row[linkPart(from, to)]].calls
        for call in calls where call.stage == .processing {
            step(to, .cancelled(RequestID(from * 8 + Int(call.slot))), &change)
        }
        var link = links[change.row[linkPart(from, to)]]
        if keepsStrays {
            for call in calls where call.stage == .sent && link.strays.count < limits.straysPerLinkMax {
                link.strays.append(call.ask)
            }
            link.strays.sort()
        }
        link.calls = link.calls.compactMap { call in
            var call = call
            guard call.stage == .processing || call.stage == .abandoned,
                members[change.row[to]].raft.owesAnswer(to: RequestID(from * 8 + Int(call.slot)))
            else { return nil }
            call.stage = .abandoned
            return call
        }
        put(link, from, to, &change)
    }

    /// The process ends: nobody waits for answers to its requests, and what it was asked is never answered.
    private mutating func crash(_ member: Int, _ keepsStrays: Bool, _ change: inout QuorumChange) {
        for other in 0..<count where other != member {
            release(member, other, keepsStrays, &change)
            var link = links[change.row[linkPart(other, member)]]
            link.strays = []
            link.calls = link.calls.compactMap { call in
                var call = call
                switch call.stage {
                case .sent, .processing: call.stage = .lost
                case .abandoned: return nil
                case .answered, .lost: break
                }
                return call
            }
            put(lostLast(link), other, member, &change)
        }
    }

    /// Lost calls only wait to be told; which of them is told first makes no difference.
    private func lostLast(_ link: QuorumLink) -> QuorumLink {
        var sorted = link
        var lost: [QuorumCall] = []
        sorted.calls.removeAll { call in
            guard call.stage == .lost else { return false }
            if !lost.contains(where: { $0.ask == call.ask }), asks[call.ask].request != nil {
                lost.append(QuorumCall(ask: call.ask, slot: .max, stage: .lost))
            }
            return true
        }
        lost.sort { $0.ask < $1.ask }
        sorted.calls += lost
        return sorted
    }

    private mutating func send(_ ask: QuorumAsk, _ from: Int, _ to: Int, _ change: inout QuorumChange) {
        var link = links[change.row[linkPart(from, to)]]
        let number = asks.number(ask)
        let underWay = link.calls.count { $0.stage != .lost && $0.stage != .abandoned }
        if underWay < limits.callsPerLinkMax {
            let used = link.calls.map(\.slot)
            let slot = (UInt8(0)..<8).first { !used.contains($0) } ?? 7
            link.calls.append(QuorumCall(ask: number, slot: slot, stage: .sent))
        } else {
            link.calls.append(QuorumCall(ask: number, slot: .max, stage: .lost))
        }
        put(lostLast(link), from, to, &change)
    }

    private mutating func reply(
        _ id: RequestID, _ reply: QuorumReply?, _ by: Int, _ change: inout QuorumChange
    ) {
        guard id != Self.nobody else { return }
        let from = Int(id) / 8
        var link = links[change.row[linkPart(from, by)]]
        guard let index = link.calls.firstIndex(where: { $0.slot == UInt8(id % 8) }) else { return }
        switch link.calls[index].stage {
        case .processing:
            if let reply {
                link.calls[index].stage = .answered(replies.number(reply))
            } else {
                link.calls.remove(at: index)
            }
        case .abandoned: link.calls.remove(at: index)
        default: return
        }
        put(link, from, by, &change)
    }

    // MARK: Steps

    mutating func step(_ index: Int, _ input: MemberInput, _ change: inout QuorumChange) {
        let key = UInt64(change.row[index]) << 32 | UInt64(inputs.number(input))
        let place: Int
        if let found = known[key] {
            place = found
        } else {
            let step = members[change.row[index]].stepped(input, of: count, limits)
            place = steps.count
            steps.append(
                NumberedStep(
                    member: number(step.member), outputs: step.outputs, facts: step.facts,
                    isBeyondBounds: step.member.raft.epoch > limits.epochsMax))
            known[key] = place
        }
        if steps[place].isBeyondBounds {
            change.isBeyondBounds = true
            return
        }
        let isNewLog = change.row[index] != steps[place].member
        change.row[index] = steps[place].member
        for output in steps[place].outputs {
            switch output {
            case .ask(let ask, let to): send(ask, index, Int(to) - 1, &change)
            case .reply(let id, let answer): reply(id, answer, index, &change)
            }
        }
        for fact in steps[place].facts where change.violation == nil { judge(fact, of: index, &change) }
        if isNewLog { compareLogs(of: index, &change) }
    }
}
