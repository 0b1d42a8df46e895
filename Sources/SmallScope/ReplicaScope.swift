// Three replicas of a partition, their brokers' ways to each other and to the controller, and the controller's own
// decisions.

import Metadata
import Model
import Replication
import Wire

package struct ReplicaBounds: Sendable {
    /// Produced batches of one record.
    package var recordsMax = 2
    package var crashesMax = 2
    /// ISR changes by AlterPartition that the controller takes.
    package var isrChangesMax = 1
    /// Live brokers that the controller fences because it does not hear of them.
    package var fencesMax = 1
    /// Leader epochs of the partition.
    package var epochsMax: LeaderEpoch = 3
    /// Fetches and AlterPartitions given up although both ends live.
    package var breaksMax = 1
    /// Followers found lagging, and proposals sent again.
    package var timeoutsMax = 2
    /// Fetches on a link that are handled after their sender is gone or has given them up.
    package var straysPerLinkMax = 1
    /// Whether a restart may also find the last high watermark in the checkpoint, not only none.
    package var checkpoints = false
    /// Whether a leader may look twice at a fetch that finds nothing new; else the follower asks again.
    package var parks = false
    /// Begins where the first record is committed and known to be so everywhere; else with empty logs.
    package var isSettled = false
    /// Moves from the beginning; nil: the search ends when there is nothing new.
    package var depthMax: Int?
    package var bug = SmallScopeBug.none

    package init() {}
}

/// A follower's way to one leader: one fetch at a time, and late ones.
struct FetchLink: Hashable {
    enum Live: Hashable {
        case sent(ReplicaFetch, FollowerFetch)
        /// The leader looked and has nothing yet; it looks again.
        case parked(ReplicaFetch, FollowerFetch)
        case answered(FetchAnswer)
    }

    var live: Live?
    var strays: [ReplicaFetch] = []
}

/// AlterPartition of one broker: under way there, or on its way back.
enum AlterLink: Hashable {
    case none
    case sent(ISRProposal, BrokerEpoch)
    case answered(ErrorCode, ISRAnswer?, ISRProposal, BrokerEpoch)
}

struct ReplicaMemory: Hashable {
    var crashes = 0
    var records = 0
    var fences = 0
    var breaks = 0
    var timeouts = 0
    var isrChanges = 0
    /// The controllers' numbers, one for each state of the metadata.
    var history: [UInt32]
    var committed: ReplicaLog = []
    var committedIn: [LeaderEpoch] = []
    /// Which incarnation led an epoch, as node id and broker epoch in one number; 0: none yet.
    var leaders: [Int64]
    /// The latest offset that a client was shown, and in which epoch.
    var shown: Offset = 0
    var shownIn: LeaderEpoch = -1
}

/// A controller as a part of a state: equal images are equal controllers here, for its times are not used.
struct NumberedController: Hashable {
    var controller: Controller

    func hash(into hasher: inout Hasher) {
        hasher.combine(controller.image.lastOffset)
        hasher.combine(controller.image.partition(ReplicaMember.topic))
    }
}

/// What the search asks of a state of the metadata, so that the image itself is not touched.
struct MetadataOutline {
    struct Broker {
        var epoch: BrokerEpoch
        var isFenced: Bool
        var isEligible: Bool
    }

    var registration: PartitionRegistration
    var brokers: [Broker]
    var lastOffset: Offset

    init?(_ image: MetadataImage) {
        guard let registration = image.partition(ReplicaMember.topic) else { return nil }
        self.registration = registration
        brokers = image.brokers.values.map { Broker(epoch: $0.epoch, isFenced: $0.fenced, isEligible: $0.eligible) }
        lastOffset = image.lastOffset
    }
}

/// What the search asks of a replica before any move.
struct ReplicaOutline {
    var hasBarrier: Bool
    var applied: Int
    var brokerEpoch: BrokerEpoch
    var mayProduce: Bool
    var timers: [PartitionTimer]
    var images: Int
    var isCheckpointed: Bool
    /// Whom it follows, as an index; nil: nobody.
    var leader: Int?
    var mayFetch: Bool
    /// What P5 and P8 ask of a leader; nil for others.
    var leads: Leading?

    struct Leading {
        var epoch: LeaderEpoch
        var isr: Int
        var maximalISR: [NodeID]
        /// Nil: withheld.
        var visibleEnd: Offset?
    }

    init(_ member: ReplicaMember) {
        let partition = member.partition
        hasBarrier = member.barrier != nil
        applied = member.applied
        brokerEpoch = member.brokerEpoch
        mayProduce = partition.isLeader && partition.admission(acks: -1) == nil
        timers = partition.timers(log: member.view)
        images = member.images.count
        isCheckpointed = partition.highWatermark > 0
        if case .follower(let id?) = partition.role { leader = Int(id) - 1 }
        mayFetch = member.brokerEpoch >= 0 && partition.nextFetch(log: member.view) != nil
        guard partition.isLeader else { return }
        var end: Offset?
        if case .offset(let offset) = partition.latestVisibleOffset(currentLeaderEpoch: nil) { end = offset }
        leads = Leading(
            epoch: partition.leaderEpoch, isr: partition.isr.count, maximalISR: partition.maximalISR, visibleEnd: end)
    }
}

package enum ReplicaMove: Hashable, Sendable {
    case assign(member: Int, state: Int)
    case produce(member: Int)
    case flushed(member: Int)
    case timer(member: Int, PartitionTimer)
    case fetch(from: Int, to: Int)
    case serve(from: Int, to: Int, parks: Bool)
    case answer(from: Int, to: Int)
    case stray(from: Int, to: Int, index: Int)
    case giveUp(from: Int, to: Int, stray: Bool)
    case alter(member: Int)
    case alterAnswered(member: Int)
    case alterLost(member: Int)
    case crash(member: Int, image: Int, checkpointed: Bool, strays: Bool)
    case register(member: Int)
    case unfence(member: Int)
    case fence(member: Int)
}

package struct ReplicaScope: SmallWorld {
    static let count = 3
    let limits: ReplicaBounds
    var members = Numbering<ReplicaMember>()
    var inputs = Numbering<ReplicaInput>()
    var links = Numbering<FetchLink>()
    var alters = Numbering<AlterLink>()
    var memories = Numbering<ReplicaMemory>()
    var controllers = Numbering<NumberedController>()
    /// By the controller's number, and by the member's.
    var metadata: [MetadataOutline] = []
    var outlines: [ReplicaOutline] = []
    var known: [UInt64: Int] = [:]
    var steps: [NumberedReplicaStep] = []
    var compared: [UInt64: Bool] = [:]
    var held = Checks()

    struct NumberedReplicaStep {
        var member: UInt32
        var step: ReplicaStep
    }

    struct Checks {
        var p1 = 0
        var p2 = 0
        var p3 = 0
        var p4 = 0
        var p5 = 0
        var p6 = 0
        var p8 = 0
        var p9 = 0
        var p10 = 0
        var p13 = 0
    }

    package init(_ bounds: ReplicaBounds) { limits = bounds }

    // Members, fetch links of each pair, AlterPartition of each, the memory: 3 + 6 + 3 + 1.
    package var width: Int { 13 }
    var memoryPart: Int { 12 }
    func linkPart(_ from: Int, _ to: Int) -> Int { 3 + from * 2 + (to > from ? to - 1 : to) }
    func alterPart(_ member: Int) -> Int { 9 + member }

    package var name: String { "replicas" }
    package var depthMax: Int? { limits.depthMax }

    package var bounds: [String] {
        [
            (limits.isSettled ? "from one committed record" : "from empty logs")
                + ": 3 replicas, min.insync.replicas 2, \(limits.recordsMax) records, \(limits.crashesMax) crashes, "
                + "\(limits.isrChangesMax) ISR changes, leader epochs up to \(limits.epochsMax)",
            "\(limits.fencesMax) fences of a live broker, \(limits.timeoutsMax) timeouts, \(limits.breaksMax) requests "
                + "given up, \(limits.straysPerLinkMax) fetches on a link that outlive their sender"
                + (limits.checkpoints ? ", high watermarks checkpointed or not" : ", no high watermark checkpointed")
                + (limits.parks ? ", fetches wait" : "")
                + (limits.bug == .none ? "" : ", planted: \(limits.bug.rawValue)")
                + (limits.depthMax.map { ", the first \($0) moves" } ?? ""),
        ]
    }

    package var checks: [(name: String, count: Int)] {
        [
            ("P1", held.p1), ("P2", held.p2), ("P3", held.p3), ("P4", held.p4), ("P5", held.p5), ("P6", held.p6),
            ("P8", held.p8), ("P9", held.p9), ("P10", held.p10), ("P13", held.p13),
        ]
    }

    package var sizes: String {
        "\(members.count) replicas' states, \(steps.count) steps of the machine, \(links.count) links, "
            + "\(controllers.count) states of the controller, \(memories.count) memories"
    }

    // MARK: What can happen

    package mutating func successors(of row: StateRow, into found: inout [Successor<ReplicaMove>]) {
        for move in moves(of: row) {
            if let next = take(move, in: row) { found.append(next) }
        }
    }

    private func moves(of row: StateRow) -> [ReplicaMove] {
        var moves: [ReplicaMove] = []
        moves.reserveCapacity(24)
        let memory = memories[row[memoryPart]]
        let newest = memory.history.count - 1
        for index in 0..<Self.count {
            let outline = outlines[Int(row[index])]
            if outline.hasBarrier { moves.append(.flushed(member: index)) }
            // Metadata that comes before the registration is answered can only be applied again after it.
            if outline.applied < newest, outline.brokerEpoch >= 0 {
                moves.append(.assign(member: index, state: outline.applied + 1))
                if outline.applied + 1 < newest { moves.append(.assign(member: index, state: newest)) }
            }
            if memory.records < limits.recordsMax, outline.mayProduce { moves.append(.produce(member: index)) }
            if memory.timeouts < limits.timeoutsMax {
                for timer in outline.timers { moves.append(.timer(member: index, timer)) }
            }
            addLinkMoves(of: index, outline, row, memory, &moves)
            switch alters[row[alterPart(index)]] {
            case .none: break
            case .sent: moves.append(.alter(member: index))
            case .answered: moves.append(.alterAnswered(member: index))
            }
            if row[alterPart(index)] != 0, memory.breaks < limits.breaksMax {
                moves.append(.alterLost(member: index))
            }
            if memory.crashes < limits.crashesMax { addCrashes(of: index, outline, row, &moves) }
            addControllerMoves(of: index, outline, memory, &moves)
        }
        return moves
    }

    private func addControllerMoves(
        of index: Int, _ outline: ReplicaOutline, _ memory: ReplicaMemory, _ moves: inout [ReplicaMove]
    ) {
        let broker = metadata[Int(memory.history[memory.history.count - 1])].brokers[index]
        if outline.brokerEpoch < 0 {
            moves.append(.register(member: index))
        } else if broker.isFenced, broker.epoch == outline.brokerEpoch, outline.applied >= 0,
            metadata[Int(memory.history[outline.applied])].lastOffset >= broker.epoch
        {
            moves.append(.unfence(member: index))
        }
        // Of a broker that is down the controller may learn at no cost.
        if !broker.isFenced, memory.fences < limits.fencesMax || broker.epoch != outline.brokerEpoch {
            moves.append(.fence(member: index))
        }
    }

    private func addCrashes(
        of index: Int, _ outline: ReplicaOutline, _ row: StateRow, _ moves: inout [ReplicaMove]
    ) {
        var hasFetch = false
        if limits.straysPerLinkMax > 0 {
            for to in 0..<Self.count where to != index {
                if case .sent = links[row[linkPart(index, to)]].live { hasFetch = true }
            }
        }
        for image in 0..<outline.images {
            for checkpointed in limits.checkpoints && outline.isCheckpointed ? [false, true] : [false] {
                moves.append(.crash(member: index, image: image, checkpointed: checkpointed, strays: false))
                guard hasFetch else { continue }
                moves.append(.crash(member: index, image: image, checkpointed: checkpointed, strays: true))
            }
        }
    }

    private func addLinkMoves(
        of index: Int, _ outline: ReplicaOutline, _ row: StateRow, _ memory: ReplicaMemory,
        _ moves: inout [ReplicaMove]
    ) {
        for to in 0..<Self.count where to != index {
            let link = links[row[linkPart(index, to)]]
            for stray in link.strays.indices { moves.append(.stray(from: index, to: to, index: stray)) }
            guard let live = link.live else {
                if outline.leader == to, outline.mayFetch { moves.append(.fetch(from: index, to: to)) }
                continue
            }
            switch live {
            case .sent:
                moves.append(.serve(from: index, to: to, parks: false))
                if limits.parks { moves.append(.serve(from: index, to: to, parks: true)) }
            case .parked: moves.append(.serve(from: index, to: to, parks: false))
            case .answered: moves.append(.answer(from: index, to: to))
            }
            if outline.leader != to || memory.breaks < limits.breaksMax {
                moves.append(.giveUp(from: index, to: to, stray: false))
                if case .answered = live { continue }
                if limits.straysPerLinkMax > 0 { moves.append(.giveUp(from: index, to: to, stray: true)) }
            }
        }
    }

    func newest(_ memory: ReplicaMemory) -> Controller {
        controllers[memory.history[memory.history.count - 1]].controller
    }

    mutating func number(_ controller: Controller) -> UInt32? {
        let number = controllers.number(NumberedController(controller: controller))
        if Int(number) == metadata.count {
            guard let outline = MetadataOutline(controller.image) else { return nil }
            metadata.append(outline)
        }
        return number
    }

    mutating func number(_ member: ReplicaMember) -> UInt32 {
        let number = members.number(member)
        if Int(number) == outlines.count { outlines.append(ReplicaOutline(member)) }
        return number
    }
}
