// A random history: clients that keep to the protocol, and a world that does not spare them. What they are told is held
// against the invariants of reliability.md §5.

import Groups
import Model
import NIOCore
import Testing
import Wire

struct History {
    enum Wish { case join, sync, settled }

    struct Actor {
        var wish = Wish.join
        var waiting: GroupTicket?
        var waitsForSync = false
        /// The members that a leader was told of.
        var toAssign: [JoinGroupResponse.Member]?
        var nextBeat = Instant.zero
        var isGone = false
    }

    private(set) var desk: Desk
    private var random: SeededRandom
    private var actors: [String: Actor] = [:]
    private let names: [String]
    private(set) var failures: [String] = []
    private(set) var seen: [String: Int] = [:]

    // What was told.
    private struct Share: Hashable {
        var generation: Int32
        var partition: String
    }
    private var owners: [Share: String] = [:]
    private var newestAssigned: Int32 = 0
    private var commits: [GroupTicket: (generation: Int32, value: Offset, newestAssigned: Int32)] = [:]
    private var fetches: [GroupTicket: Offset] = [:]
    private var lastAcknowledged: Offset = -1
    private var nextValue: Offset = 0
    private var abandoned: Set<GroupTicket> = []
    private var arrivalsSeen = 0
    /// The world may refuse appends, hold commits back, fail over.
    var isCruel = true
    /// Whether what the group holds in memory is also what the log says.
    private var isFaithful = true

    init(seed: UInt64) {
        desk = Desk(seed: seed)
        random = SeededRandom(seed: seed &* 31 &+ 7)
        names = ["a", "b", "c", "s", "t"]
        for name in names { born(name) }
    }

    private mutating func born(_ name: String) {
        desk.clients[name] = Client(
            instanceID: "st".contains(name) ? "place-\(name)" : nil, rebalanceTimeoutMs: 12_000,
            version: "a" == name ? 3 : 9)
        if name == "a" || name == "s" { desk.clients[name]?.protocols = [("sticky", ["rooks"]), ("range", ["rooks"])] }
        actors[name] = Actor()
    }

    // MARK: The world

    mutating func play(steps: Int) {
        for _ in 0..<steps {
            switch random.below(40) {
            case 0 where isCruel: crashOrStop()
            case 1 where isCruel: failOver()
            case 2 where isCruel: desk.commitsAtOnce.toggle()
            case 3 where isCruel:
                desk.refusal = desk.refusal == nil ? .notEnoughReplicas : nil
                if desk.refusal != nil { isFaithful = false }
            case 4 where isCruel: abandonSomeone()
            case 5: fetch()
            case 6 where isCruel: stale()
            case 7..<12: pass(random.below(4_000))
            case 12..<16: pass(random.below(200))
            default: act(names[Int(random.below(Int64(names.count)))])
            }
            settle()
        }
    }

    /// The world spares everyone: the group must be at work soon.
    mutating func recover() {
        isCruel = false
        desk.refusal = nil
        desk.commitsAtOnce = true
        desk.commit()
        for name in names where actors[name]?.isGone == true { born(name) }
        for _ in 0..<120 {
            pass(500)
            settle()
            for name in names { act(name) }
        }
        settle()
        let generations = Set(names.map { desk.client($0).generation })
        if desk.group?.state != .stable || generations != [desk.group?.generation ?? -1] {
            failures.append(
                "L4: no stable group: \(desk.group?.state.rawValue ?? "-") \(generations), members "
                    + "\(desk.group?.members.keys ?? [])")
        }
        let shares = owners.filter { $0.key.generation == desk.group?.generation }
        if shares.count != 4 { failures.append("L4: \(shares.count) partitions of 4 have an owner") }
    }

    mutating func end() {
        var effects: [GroupEffect] = []
        desk.coordinator.resigned(into: &effects)
        desk.perform(effects)
        for ticket in desk.asked where desk.replies[ticket] == nil && !abandoned.contains(ticket) {
            failures.append("\(ticket) was never answered")
        }
        for ticket in desk.answeredTwice { failures.append("\(ticket) was answered twice") }
    }

    private mutating func pass(_ milliseconds: Int64) {
        desk.advance(milliseconds)
        // Living clients send their heartbeats.
        for name in names where actors[name]?.wish == .settled && actors[name]?.isGone == false {
            guard desk.now >= actors[name]?.nextBeat ?? .zero else { continue }
            actors[name]?.nextBeat = desk.now.advanced(byMs: 3_000)
            heard(name, desk.beat(name) ?? .none)
        }
    }

    private mutating func crashOrStop() {
        let name = names[Int(random.below(Int64(names.count)))]
        note("crash")
        if random.oneIn(2), actors[name]?.wish == .settled {
            desk.leave(name)
        } else if let ticket = actors[name]?.waiting {
            abandon(ticket)
        }
        actors[name]?.isGone = true
        actors[name]?.waiting = nil
    }

    private mutating func abandon(_ ticket: GroupTicket) {
        guard desk.replies[ticket] == nil else { return }
        abandoned.insert(ticket)
        let reading = desk.reading
        desk.input { $0.abandoned(ticket, at: reading, into: &$1) }
    }

    /// A connection breaks; the client asks again.
    private mutating func abandonSomeone() {
        let name = names[Int(random.below(Int64(names.count)))]
        guard let ticket = actors[name]?.waiting else { return }
        note("connection lost")
        abandon(ticket)
        actors[name]?.waiting = nil
    }

    private mutating func failOver() {
        note("failover")
        let through = random.oneIn(2) ? desk.end : desk.committed + random.below(desk.end - desk.committed + 1)
        if through < desk.end { isFaithful = false }
        let before = desk.visible()
        desk.failOver(through: through)
        settle()
        if let before, isFaithful {
            note("compared")
            if desk.visible() != before { failures.append("after a load: \(desk.visible() ?? "?"), before: \(before)") }
        }
        isFaithful = desk.refusal == nil
        newestAssigned = owners.keys.map(\.generation).max() ?? 0
    }

    private mutating func fetch() {
        let ticket = desk.fetchAll()
        fetches[ticket] = lastAcknowledged
    }

    /// Someone of the past speaks.
    private mutating func stale() {
        guard let name = names.first(where: { desk.client($0).generation > 0 }) else { return }
        desk.clients["past"] = desk.client(name)
        desk.clients["past"]?.generation -= 1 + Int32(random.below(2))
        commit("past")
    }

    // MARK: The clients

    private mutating func act(_ name: String) {
        guard var actor = actors[name] else { return }
        if actor.isGone {
            if random.oneIn(3) {
                note("restart")
                born(name)
            }
            return
        }
        guard actor.waiting == nil else { return }
        switch actor.wish {
        case .join:
            actor.waitsForSync = false
            actor.waiting = desk.join(name)
        case .sync:
            var shares: [String: String] = [:]
            if let members = actor.toAssign, !members.isEmpty {
                for partition in 0..<4 {
                    shares[members[partition % members.count].memberID, default: ""] += "p\(partition) "
                }
            }
            actor.waitsForSync = true
            actor.waiting = desk.sync(name, shares)
        case .settled:
            actors[name] = actor
            if random.oneIn(2) { commit(name) }
            return
        }
        actors[name] = actor
        settle()
    }

    private mutating func commit(_ name: String) {
        let value = nextValue
        nextValue += 1
        let generation = desk.client(name).generation
        let ticket = desk.commit(name, value)
        commits[ticket] = (generation, value, newestAssigned)
    }

    private mutating func heard(_ name: String, _ error: ErrorCode) {
        switch error {
        case .none: break
        case .rebalanceInProgress, .illegalGeneration: actors[name]?.wish = .join
        case .unknownMemberId:
            desk.clients[name]?.memberID = ""
            actors[name]?.wish = .join
        case .fencedInstanceId: actors[name]?.isGone = true
        case .memberIdRequired, .notCoordinator, .coordinatorNotAvailable, .coordinatorLoadInProgress: break
        default: failures.append("\(name) was told \(error)")
        }
    }

    private mutating func note(_ what: String) { seen[what, default: 0] += 1 }

    // MARK: What was told

    /// Takes in all answers that have come.
    private mutating func settle() {
        while arrivalsSeen < desk.arrivals.count {
            let arrival = desk.arrivals[arrivalsSeen]
            arrivalsSeen += 1
            check(arrival)
            guard let name = actors.first(where: { $0.value.waiting == arrival.ticket })?.key else { continue }
            actors[name]?.waiting = nil
            switch arrival.response {
            case .joinGroup(let answer):
                heard(name, answer.errorCode)
                guard answer.errorCode == .none else { continue }
                actors[name]?.wish = .sync
                actors[name]?.toAssign =
                    answer.leader == answer.memberID && !answer.skipAssignment ? answer.members : nil
            case .syncGroup(let answer):
                heard(name, answer.errorCode)
                if answer.errorCode == .none { actors[name]?.wish = .settled }
                if [.coordinatorNotAvailable, .notCoordinator].contains(answer.errorCode) {
                    actors[name]?.wish = .join
                }
            default: break
            }
        }
    }

    private mutating func check(_ arrival: Desk.Arrival) {
        switch arrival.response {
        case .syncGroup(let answer) where answer.errorCode == .none:
            checkShare(arrival, String(buffer: answer.assignment))
        case .offsetCommit(let answer):
            guard answer.topics.first?.partitions.first?.errorCode == ErrorCode.none,
                let commit = commits[arrival.ticket]
            else { return }
            note("commit")
            if commit.generation >= 0, commit.generation < commit.newestAssigned {
                failures.append(
                    "G2: generation \(commit.generation) committed after \(commit.newestAssigned) was given")
            }
            if !isCommitted(commit.value, arrival) { failures.append("G2: \(commit.value) acknowledged too early") }
            lastAcknowledged = max(lastAcknowledged, commit.value)
        case .offsetFetch(let answer) where answer.groups.first?.errorCode == ErrorCode.none:
            guard let least = fetches[arrival.ticket] else { return }
            note("fetch")
            let told = answer.groups.first?.topics.first?.partitions.first?.committedOffset ?? -1
            if told < least { failures.append("G2: \(least) was acknowledged, \(told) is told") }
            if told >= 0, !isCommitted(told, arrival) { failures.append("\(told) is told and not committed") }
        default: break
        }
    }

    private func isCommitted(_ value: Offset, _ arrival: Desk.Arrival) -> Bool {
        desk.log.prefix(Int(arrival.committed)).contains { record in
            if case .offsetCommit(_, let written?) = record { written.offset == value } else { false }
        }
    }

    /// G1: in one generation a partition has one owner, and the assignment was committed before it was told.
    private mutating func checkShare(_ arrival: Desk.Arrival, _ share: String) {
        guard let name = desk.ownerOf[arrival.ticket] else { return }
        let generation = desk.syncGenerations[arrival.ticket] ?? -1
        let owner = desk.client(name).instanceID ?? name
        note("assignment")
        newestAssigned = max(newestAssigned, generation)
        for partition in share.split(separator: " ").map(String.init) {
            let key = Share(generation: generation, partition: partition)
            let before = owners.updateValue(owner, forKey: key)
            if let before, before != owner {
                failures.append("G1: \(partition) of generation \(generation) is \(before)'s and \(owner)'s")
            }
        }
        let isWritten = desk.log.prefix(Int(arrival.committed)).contains { record in
            guard case .groupMetadata(_, let value?) = record, value.generation == generation else { return false }
            return value.members.contains { String(buffer: $0.assignment) == share }
        }
        if !isWritten { failures.append("the assignment of generation \(generation) was told before it was committed") }
    }
}

extension Desk {
    /// What a client can see of a group that is settled; nil between two generations.
    func visible() -> String? {
        guard let group = coordinator.groups["g"], group.state == .stable || group.state == .empty,
            group.generation > 0 || !group.offsets.isEmpty
        else { return nil }
        let members = group.members.values.map {
            "\($0.id) \($0.instanceID ?? "-") \($0.clientID) \($0.sessionTimeoutMs) \($0.rebalanceTimeoutMs) "
                + "'\(String(buffer: $0.assignment))'"
        }
        let offsets = group.offsets.topicNames.map { topic in
            group.offsets.partitions(of: topic).map {
                "\(topic)-\($0): \(String(describing: group.offsets[topic, $0]))"
            }
        }
        return "\(group.state) \(group.generation) \(group.protocolType ?? "-") \(group.protocolName ?? "-") "
            + "\(group.leaderID ?? "-") \(members) \(offsets)"
    }
}
