// Three members of the metadata quorum, what is on its way between them, and what must be remembered to judge them.

import Model
import Raft

package struct QuorumBounds: Sendable {
    package var members = 3
    package var epochsMax: LeaderEpoch = 3
    /// Requests and answers under way from one member to another that are not yet known to be lost.
    package var callsPerLinkMax = 2
    /// Losses of power, each with its restart.
    package var crashesMax = 2
    package var entriesMax = 2
    /// How often the patience of any member may end.
    package var timeoutsMax = 3
    /// How often a leader gives up because no majority fetches.
    package var resignationsMax = 0
    /// How often a leader tells a voter of its reign once more.
    package var remindersMax = 0
    /// How often a connection may break while both ends live.
    package var breaksMax = 2
    /// Requests that are handled after their sender is gone or has given them up, for each link.
    package var straysPerLinkMax = 1
    /// Pre-votes are not sent but granted by an oracle: everything that they would prevent happens, and only what their
    /// requests tell of epochs is missing.
    package var preVotesGranted = true
    /// Begins where member 3 leads epoch 1, all is committed and both others wait with a Fetch; else with empty disks.
    package var isSettled = false
    /// Moves from the beginning; nil: the search ends when there is nothing new.
    package var depthMax: Int?
    package var bug = SmallScopeBug.none

    package init() {}
}

/// A request and, on its way back, its answer.
struct QuorumCall: Hashable {
    enum Stage: Hashable {
        /// On its way there.
        case sent
        /// With the receiver: parked, or its answer waits for the disk.
        case processing
        case answered(UInt32)
        /// No answer will come, and the sender does not know yet.
        case lost
        /// The sender gave it up; the receiver's answer goes nowhere.
        case abandoned
    }

    /// Which ask, by number.
    var ask: UInt32
    var slot: UInt8
    var stage: Stage
}

struct QuorumLink: Hashable {
    var calls: [QuorumCall] = []
    var strays: [UInt32] = []
}

/// What the world has seen and no member may remember.
struct QuorumMemory: Hashable {
    var crashes = 0
    var entries = 0
    var timeouts = 0
    var resignations = 0
    var reminders = 0
    var breaks = 0
    /// Who led an epoch; 0: nobody yet.
    var leaders: [NodeID]
    /// What any leader has committed, each with the epoch it was committed in.
    var committed: QuorumLog = []
    var committedIn: [LeaderEpoch] = []
}

/// What a loss of power leaves.
package struct QuorumRestart: Hashable, Sendable {
    var image: Int
    var saved: Bool
    var forgetsLeader: Bool
    /// Requests that were sent may still arrive.
    var strays: Bool
}

package enum QuorumMove: Hashable, Sendable {
    case timer(member: Int, RaftTimer)
    case saved(member: Int)
    case flushed(member: Int)
    case append(member: Int)
    case crash(member: Int, QuorumRestart)
    case deliver(from: Int, to: Int)
    case answer(from: Int, to: Int)
    case stray(from: Int, to: Int, index: Int)
    case cut(from: Int, to: Int, strays: Bool)
}

extension QuorumMove {
    /// Neither a fault nor time nor a client.
    var isUndisturbed: Bool {
        switch self {
        case .saved, .flushed, .deliver, .answer: true
        default: false
        }
    }
}

/// What the search asks of a member before any move.
struct QuorumOutline {
    var hasSave: Bool
    var hasBarrier: Bool
    var leads: Bool
    var timers: [RaftTimer]
    var restarts: [QuorumRestart]

    init(_ member: QuorumMember) {
        hasSave = member.saveUnderWay != nil
        hasBarrier = member.barrier != nil
        leads = member.raft.epochStartOffset != nil
        timers = member.raft.timers
        restarts = []
        for image in member.images.indices {
            for saved in hasSave ? [false, true] : [false] {
                let state = saved ? member.saveUnderWay : member.stateOnDisk
                for forgets in state?.leaderID == nil ? [false] : [false, true] {
                    restarts.append(QuorumRestart(image: image, saved: saved, forgetsLeader: forgets, strays: false))
                }
            }
        }
    }
}

package struct QuorumScope: SmallWorld {
    let limits: QuorumBounds
    var members = Numbering<QuorumMember>()
    var inputs = Numbering<MemberInput>()
    var asks = Numbering<QuorumAsk>()
    var replies = Numbering<QuorumReply>()
    var links = Numbering<QuorumLink>()
    var memories = Numbering<QuorumMemory>()
    /// By the member's number.
    var outlines: [QuorumOutline] = []
    /// The steps are pure, so each is taken once: member and input to its place in `steps`.
    var known: [UInt64: Int] = [:]
    var steps: [NumberedStep] = []
    /// Pairs of members whose logs were compared, with the verdict.
    var compared: [UInt64: Bool] = [:]
    var held = QuorumChecks()

    struct NumberedStep {
        var member: UInt32
        var outputs: [MemberOutput]
        var facts: [MemberFact]
        var isBeyondBounds: Bool
    }

    struct QuorumChecks {
        var r1 = 0
        var r2 = 0
        var r3 = 0
        var r4 = 0
        var r6 = 0
        var r11 = 0
    }

    package init(_ bounds: QuorumBounds) { limits = bounds }

    var count: Int { limits.members }
    package var width: Int { count + count * count + 1 }
    var memoryPart: Int { width - 1 }
    func linkPart(_ from: Int, _ to: Int) -> Int { count + from * count + to }

    package var name: String { "quorum" }
    package var depthMax: Int? { limits.depthMax }

    package var bounds: [String] {
        let b = limits
        return [
            (b.isSettled ? "from a settled leader of epoch 1: " : "from empty disks: ")
                + "\(b.members) members, epochs up to \(b.epochsMax), \(b.callsPerLinkMax) calls under way on a link, "
                + "\(b.crashesMax) crashes, \(b.entriesMax) client entries",
            "\(b.timeoutsMax) timeouts, \(b.resignationsMax) resignations, \(b.remindersMax) reminders, "
                + "\(b.breaksMax) broken connections, "
                + "\(b.straysPerLinkMax) requests on a link that outlive their sender"
                + (b.preVotesGranted ? ", pre-votes granted by an oracle" : ", pre-votes asked for")
                + (b.bug == .none ? "" : ", planted: \(b.bug.rawValue)")
                + (b.depthMax.map { ", the first \($0) moves" } ?? ""),
        ]
    }

    package var checks: [(name: String, count: Int)] {
        [
            ("R1", held.r1), ("R2", held.r2), ("R3", held.r3), ("R4", held.r4), ("R6", held.r6), ("R11", held.r11),
        ]
    }

    package var sizes: String {
        "\(members.count) members' states, \(steps.count) steps of the machine, \(links.count) links, "
            + "\(memories.count) memories"
    }

    package mutating func first() -> StateRow {
        var row = StateRow()
        for index in 0..<count {
            var step = MemberStep(
                member: QuorumMember(id: NodeID(index + 1), of: count, saved: QuorumState(), log: []))
            step.member.raft.step(.ticked, at: RaftNode.searchMoment, into: &scratch)
            step.member.raft.forgetTimes()
            row[index] = number(step.member)
        }
        for part in count..<memoryPart { row[part] = links.number(QuorumLink()) }
        row[memoryPart] = memories.number(
            QuorumMemory(leaders: [NodeID](repeating: 0, count: Int(limits.epochsMax) + 1)))
        return limits.isSettled ? settled(row) : row
    }

    /// Member 3 stands, and everything that follows happens, the first possible move first.
    private mutating func settled(_ first: StateRow) -> StateRow {
        var row = first
        var next = take(.timer(member: 2, .patience), in: row)
        while let moved = next {
            row = moved.row
            next = nil
            for move in moves(of: row) where next == nil && move.isUndisturbed { next = take(move, in: row) }
        }
        var memory = memories[row[memoryPart]]
        memory.timeouts = 0
        row[memoryPart] = memories.number(memory)
        return row
    }

    private var scratch: [RaftEffect] = []

    mutating func number(_ member: QuorumMember) -> UInt32 {
        let number = members.number(member)
        if Int(number) == outlines.count { outlines.append(QuorumOutline(member)) }
        return number
    }

    // MARK: What can happen

    package mutating func successors(of row: StateRow, into found: inout [Successor<QuorumMove>]) {
        for move in moves(of: row) {
            if let next = take(move, in: row) { found.append(next) }
        }
    }

    private func moves(of row: StateRow) -> [QuorumMove] {
        var moves: [QuorumMove] = []
        let memory = memories[row[memoryPart]]
        moves.reserveCapacity(24)
        for index in 0..<count {
            let outline = outlines[Int(row[index])]
            if outline.hasSave { moves.append(.saved(member: index)) }
            if outline.hasBarrier { moves.append(.flushed(member: index)) }
            if memory.entries < limits.entriesMax, outline.leads { moves.append(.append(member: index)) }
            for timer in outline.timers where mayRunOut(timer, of: index, row, memory) {
                moves.append(.timer(member: index, timer))
            }
            if memory.crashes < limits.crashesMax { addCrashes(of: index, outline, row, &moves) }
            addLinkMoves(of: index, row, memory, &moves)
        }
        return moves
    }

    private func mayRunOut(
        _ timer: RaftTimer, of index: Int, _ row: StateRow, _ memory: QuorumMemory
    ) -> Bool {
        switch timer {
        case .patience: memory.timeouts < limits.timeoutsMax
        case .quorumCheck: memory.resignations < limits.resignationsMax
        case .beginQuorumEpoch(let id):
            // Told again while the last word is under way says nothing more.
            memory.reminders < limits.remindersMax && row[linkPart(index, Int(id) - 1)] == 0
        }
    }

    private func addCrashes(
        of index: Int, _ outline: QuorumOutline, _ row: StateRow, _ moves: inout [QuorumMove]
    ) {
        let hasCalls = (0..<count).contains { row[linkPart(index, $0)] != 0 }
        for restart in outline.restarts {
            moves.append(.crash(member: index, restart))
            guard hasCalls, limits.straysPerLinkMax > 0 else { continue }
            var late = restart
            late.strays = true
            moves.append(.crash(member: index, late))
        }
    }

    private func addLinkMoves(of index: Int, _ row: StateRow, _ memory: QuorumMemory, _ moves: inout [QuorumMove]) {
        for other in 0..<count where other != index && row[linkPart(index, other)] != 0 {
            let link = links[row[linkPart(index, other)]]
            if link.calls.contains(where: { $0.stage == .sent }) { moves.append(.deliver(from: index, to: other)) }
            if let first = link.calls.first(where: { $0.stage != .abandoned && $0.stage != .lost }),
                case .answered = first.stage
            {
                moves.append(.answer(from: index, to: other))
            }
            for stray in link.strays.indices { moves.append(.stray(from: index, to: other, index: stray)) }
            // A call that is known to be lost ends by itself; any other end is a fault.
            let isLost = link.calls.contains { $0.stage == .lost }
            if isLost || (memory.breaks < limits.breaksMax && link.calls.contains { $0.stage != .abandoned }) {
                moves.append(.cut(from: index, to: other, strays: false))
                if !isLost, limits.straysPerLinkMax > 0, link.calls.contains(where: { $0.stage == .sent }) {
                    moves.append(.cut(from: index, to: other, strays: true))
                }
            }
        }
    }
}
