// A member of a consumer group: one process after the other, which join, commit, fetch offsets, leave, vanish, stall and
// come back. How it joins and hears of its part is in SimulatedMember+Classic and SimulatedMember+Consumer.

import Broker
import Model
import NIOCore
import Wire

final class SimulatedMember {
    enum Phase {
        case away
        case joining
        case member
        /// It lives, and says nothing.
        case stalled
    }

    unowned let group: SimulatedGroup
    let instanceID: String?
    let name: String
    private let place: Int
    private(set) var client: SimulatedClient
    var lots: SeededRandom

    var phase = Phase.away
    /// Fenced, or not to come back: nobody waits for it.
    private(set) var isGone = false
    var memberID = ""
    /// Or the member's epoch.
    var generation: Int32 = -1
    var owned: Set<GroupPlace> = []
    var coordinator: NodeID?
    /// What was planned or asked under an earlier one is void.
    private(set) var token = 0
    private var lives = 0

    /// Of the next-generation protocol: what it is to have, and whether the coordinator has yet to hear what it has.
    var target: Set<GroupPlace> = []
    var isReconciling = false
    var mustTell = false
    var tellsAll = true
    var isBeating = false
    /// The partitions that the leader of a classic group dealt out.
    var dealt: [GroupPlace]?

    static let backoffMs: Int64 = 60

    var world: World { group.world }
    var isClassic: Bool { group.kind != .consumer }

    init(_ group: SimulatedGroup, _ place: Int, instanceID: String?) {
        self.group = group
        self.place = place
        self.instanceID = instanceID
        name = "\(group.name)/\(place)"
        lots = group.world.lots.stream(.groups, Lots.mixed(7, UInt64(place)), UInt64(group.sessionTimeoutMs))
        client = group.newClient()
    }

    var isSettled: Bool {
        phase == .member && !isReconciling && !mustTell && (isClassic || owned == target)
    }

    var standing: String {
        "\(phase), generation \(generation), \(owned.sorted())" + (isClassic ? "" : " of \(target.sorted())")
            + (coordinator == nil ? ", without a coordinator" : "")
    }

    // MARK: A process

    func start(afterMs: Int64) {
        later(afterMs, "starts") { [unowned self] in
            lives += 1
            if lives > 1 { client = group.newClient() }
            memberID = isClassic ? "" : UUID128.random(using: &lots).description
            generation = isClassic ? -1 : 0
            coordinator = nil
            (target, isReconciling, mustTell, tellsAll, isBeating, dealt) = ([], false, false, true, false, nil)
            begin()
        }
    }

    private func begin() {
        if isClassic { join() } else { enter() }
    }

    /// Void from here on: timers, and answers on their way.
    func turn(_ next: Phase) {
        token += 1
        phase = next
        isBeating = false
    }

    /// The process ends. Its connections may stay, as when a host falls silent.
    func vanish(politely: Bool) {
        note(politely ? "ends" : "falls silent")
        turn(.away)
        owned = []
        if politely || lots.oneIn(2) { client.hangUp() }
    }

    /// Another process has its instance id: this one ends for good.
    func fenced() {
        note("is fenced")
        vanish(politely: true)
        isGone = true
    }

    private func comeBack() {
        if place > 0, lots.oneIn(8) {
            isGone = true
            return
        }
        let pauseMs = [30 + lots.below(300), 300 + lots.below(1_500), 1_000 + lots.below(4_000)][Int(lots.below(3))]
        start(afterMs: pauseMs)
    }

    /// It is a member: from here on it commits, looks at offsets, and misbehaves.
    func settle() {
        showOffsets(of: owned.sorted())
        planCommit()
        later(500 + lots.below(4_000), "has a whim") { [unowned self] in misbehave() }
    }

    private func misbehave() {
        guard world.isLoaded else { return }
        switch lots.below(6) {
        case 0:
            note("leaves")
            leave()
            vanish(politely: true)
            comeBack()
        case 1, 2:
            vanish(politely: false)
            comeBack()
        case 3, 4: stall()
        default:
            if isClassic { return join() }
            later(500 + lots.below(4_000), "has a whim") { [unowned self] in misbehave() }
        }
    }

    private func leave() {
        guard coordinator != nil else { return }
        if isClassic { leaveClassic() } else { leaveConsumers() }
    }

    /// Nothing is heard of it for a while, and then it goes on as if nothing had been.
    private func stall() {
        let ms = lots.below(Int64(group.sessionTimeoutMs) * 2)
        note("stalls for \(ms) ms")
        turn(.stalled)
        later(ms, "goes on") { [unowned self] in
            // What it had done meanwhile comes first.
            if coordinator != nil { commit() }
            goOn()
        }
    }

    /// The same process in the same generation, as far as it knows.
    func goOn() {
        turn(.member)
        if !isClassic { resumeReconciling() }
        if isClassic { beat() } else { heartbeat() }
        planCommit()
        later(500 + lots.below(4_000), "has a whim") { [unowned self] in misbehave() }
    }

    // MARK: Offsets

    private func planCommit() {
        later(20 + lots.below(6 * world.swarm.thinkMs), "commits") { [unowned self] in
            if world.isLoaded {
                if coordinator != nil { lots.oneIn(5) ? showOffsets(of: owned.sorted()) : commit() }
            } else if !group.isShownAtEnd, isSettled, coordinator != nil {
                showOffsets(of: group.places)
            }
            planCommit()
        }
    }

    /// Commits for some of what it has, in the generation that it believes in.
    func commit(_ places: Set<GroupPlace>? = nil, then: (() -> Void)? = nil) {
        let places = (places ?? owned).sorted().filter { _ in lots.oneIn(2) }
        guard let coordinator, !places.isEmpty, generation >= 0 else {
            then?()
            return
        }
        var request = OffsetCommitRequest()
        request.groupID = group.name
        request.generationIDOrMemberEpoch = generation
        request.memberID = memberID
        request.groupInstanceID = instanceID
        let values = places.map { place in
            world.checkers.groups.newValue(
                for: SentCommit(
                    group: group.name, place: place, memberID: memberID, generation: generation,
                    isConsumers: !isClassic))
        }
        let version: Int16 = places.allSatisfy { topicID($0.topic) != nil } ? 9 + Int16(lots.below(2)) : 9
        for (place, value) in zip(places, values) {
            var entry = OffsetCommitRequest.Topic()
            entry.name = place.topic
            entry.topicID = topicID(place.topic) ?? .zero
            var partition = OffsetCommitRequest.Partition()
            partition.partitionIndex = place.partition
            partition.committedOffset = value
            entry.partitions = [partition]
            request.topics.append(entry)
        }
        let asked = asked()
        ask(
            request, version: version, of: coordinator,
            peek: { [unowned world] answer, node in
                for (topic, value) in zip(answer.topics, values) where topic.partitions.first?.errorCode == ErrorCode.none {
                    world.checkers.groups.commitAcknowledged(value, asked, by: node, world)
                }
            },
            then: { [unowned self] answer in
                let errors = answer.map { $0.topics.compactMap { $0.partitions.first?.errorCode } }
                note("hears of \(values): \(errors.map { "\($0)" } ?? "nothing")")
                if let error = errors?.first(where: { $0 != ErrorCode.none }) {
                    if error == .fencedInstanceId { return fenced() }
                    if error == .notCoordinator || error == .coordinatorNotAvailable { return lost() }
                }
                if answer == nil { return lost() }
                then?()
            })
    }

    func showOffsets(of places: [GroupPlace]) {
        guard let coordinator, !places.isEmpty else { return }
        let isEnd = !world.isLoaded && places == group.places
        var wanted = OffsetFetchRequest.Group()
        wanted.groupID = group.name
        let version: Int16 = places.allSatisfy { topicID($0.topic) != nil } ? 8 + Int16(lots.below(3)) : 9
        if !isClassic, version >= 9 { (wanted.memberID, wanted.memberEpoch) = (memberID, generation) }
        wanted.topics = places.map { place in
            var topic = OffsetFetchRequest.Topic()
            topic.name = place.topic
            topic.topicID = topicID(place.topic) ?? .zero
            topic.partitionIndexes = [place.partition]
            return topic
        }
        var request = OffsetFetchRequest()
        request.groups = [wanted]
        let asked = asked()
        ask(
            request, version: version, of: coordinator,
            peek: { [unowned world, unowned group] answer, node in
                guard let found = answer.groups.first, found.errorCode == .none else { return }
                for (place, topic) in zip(places, found.topics) {
                    guard let shown = topic.partitions.first, shown.errorCode == .none else { continue }
                    world.checkers.groups.offsetShown(
                        shown.committedOffset, of: place, group.name, asked, by: node, world)
                }
            },
            then: { [unowned self] answer in
                guard let found = answer?.groups.first else { return lost() }
                switch found.errorCode {
                case .none: if isEnd { group.isShownAtEnd = true }
                case .notCoordinator, .coordinatorNotAvailable: lost()
                default: note("is not shown its offsets: \(found.errorCode)")
                }
            })
    }

    // MARK: The coordinator

    /// Who it is no more is asked nothing; heartbeats look for another.
    func lost() { coordinator = nil }

    func find(_ then: @escaping () -> Void) {
        coordinator = nil
        var request = FindCoordinatorRequest()
        request.coordinatorKeys = [group.name]
        ask(request, version: 4, of: client.anyNode(), timeoutMs: 2_600) { [unowned self] answer in
            guard let found = answer?.coordinators.first, found.errorCode == .none else {
                return later(Self.backoffMs, "looks for the coordinator") { [unowned self] in find(then) }
            }
            coordinator = found.nodeID
            then()
        }
    }

    func asked() -> GroupAsked {
        coordinator.map { world.checkers.groups.asked(group.name, of: world.node($0), world) } ?? GroupAsked()
    }

    // MARK: Asking

    /// `then` gets nil when no answer will come, and nothing when it is somebody else by then.
    func ask<M: WireRequest>(
        _ message: M, version: Int16, of node: NodeID, timeoutMs: Int64 = 1_800,
        peek: ((M.Response, SimulatedNode) -> Void)? = nil, then: @escaping (M.Response?) -> Void
    ) {
        let token = token
        client.ask(message, version: version, of: node, timeoutMs: timeoutMs, peek: peek) { [unowned self] answer in
            if token == self.token { then(answer) }
        }
    }

    func later(_ ms: Int64, _ words: String, _ action: @escaping () -> Void) {
        let token = token
        client.later("of \(name) \(words)", ms: ms) { [unowned self] in
            if token == self.token { action() }
        }
    }

    func note(_ words: @autoclosure () -> String) {
        world.trace.note(world.now, "\(name), client \(client.number), \(words())")
    }

    func topicID(_ name: String) -> UUID128? { world.checkers.metadata.newest.topicID(named: name) }
}
