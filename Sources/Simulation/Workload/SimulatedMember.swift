// A member of a consumer group: one process after the other, which join, commit, fetch offsets, leave, vanish, stall
// and come back.

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
    /// Its process speaks JoinGroup and SyncGroup.
    private(set) var isClassic = true
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
    var leads = false

    static let backoffMs: Int64 = 60

    var world: World { group.world }

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
            isClassic = group.kind == .rolling ? lots.oneIn(2) : group.kind != .consumer
            memberID = isClassic ? "" : UUID128.random(using: &lots).description
            generation = isClassic ? -1 : 0
            coordinator = nil
            (target, isReconciling, mustTell, tellsAll, isBeating) = ([], false, false, true, false)
            (dealt, leads) = (nil, false)
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
