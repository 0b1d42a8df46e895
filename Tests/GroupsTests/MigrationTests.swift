// A group that is rolled from the classic protocol to the next generation's, and back, while it works.

import Groups
import Model
import NIOCore
import Testing
import Wire

/// A classic client that keeps to the cooperative protocol: it says what it owns when it joins, gives up what it no
/// longer has, and joins again.
private struct Roller {
    var desk = Desk()
    var label = ""
    var owned: [String: Set<Int32>] = [:]
    /// Whom the coordinator has sent away for good.
    var errors: [ErrorCode] = []

    mutating func classic(_ name: String) {
        let client = desk.client(name)
        var request = JoinGroupRequest()
        request.groupID = "g"
        request.sessionTimeoutMs = client.sessionTimeoutMs
        request.rebalanceTimeoutMs = client.rebalanceTimeoutMs
        request.memberID = client.memberID
        request.groupInstanceID = client.instanceID
        request.protocolType = "consumer"
        var subscription = ConsumerProtocolSubscription()
        subscription.topics = ["rooks"]
        var own = ConsumerProtocolSubscription.TopicPartitions()
        own.topic = "rooks"
        own.partitions = (owned[name] ?? []).sorted()
        subscription.ownedPartitions = own.partitions.isEmpty ? [] : [own]
        var offered = JoinGroupRequest.GroupProtocol()
        offered.name = "cooperative-sticky"
        offered.metadata = subscription.encode()
        request.protocols = [offered]
        for _ in 0..<2 {
            request.memberID = desk.client(name).memberID
            let ticket = desk.ask(.joinGroup(request), version: 9, name: name)
            waiting[name] = ticket
            if desk.joined(ticket)?.errorCode != .memberIdRequired { break }
        }
    }

    var waiting: [String: GroupTicket] = [:]

    /// One round of everything that classic clients do.
    mutating func round(_ names: [String]) {
        for name in names {
            guard let ticket = waiting[name] else {
                beat(name)
                continue
            }
            guard let answer = desk.joined(ticket) else { continue }
            waiting[name] = nil
            guard answer.errorCode == .none else {
                if answer.errorCode == .unknownMemberId { forget(name) }
                classic(name)
                continue
            }
            sync(name, answer)
        }
        // Those whose leader has assigned by now.
        for (name, ticket) in syncs.sorted(by: { $0.key < $1.key }) { synced(name, ticket) }
    }

    var syncs: [String: GroupTicket] = [:]

    private mutating func sync(_ name: String, _ answer: JoinGroupResponse) {
        var request = SyncGroupRequest()
        request.groupID = "g"
        request.generationID = answer.generationID
        request.memberID = answer.memberID
        request.groupInstanceID = desk.client(name).instanceID
        request.protocolType = "consumer"
        request.protocolName = answer.protocolName
        if answer.leader == answer.memberID, !answer.skipAssignment { request.assignments = assign(answer.members) }
        syncs[name] = desk.ask(.syncGroup(request), version: 5, name: name)
    }

    /// A cooperative leader: nobody is given what another one has.
    private func assign(_ members: [JoinGroupResponse.Member]) -> [SyncGroupRequest.Assignment] {
        var has: [String: Set<Int32>] = [:]
        for member in members {
            let subscription = try? ConsumerProtocolSubscription.decode(member.metadata)
            has[member.memberID] = Set(subscription?.ownedPartitions.flatMap(\.partitions) ?? [])
        }
        let ids = members.map(\.memberID)
        return ids.enumerated().map { place, id in
            let fair = Set((0..<4 as Range<Int32>).filter { Int($0) % ids.count == place })
            let others = Set(has.filter { $0.key != id }.values.joined())
            var assignment = ConsumerProtocolAssignment()
            var given = ConsumerProtocolAssignment.TopicPartitions()
            given.topic = "rooks"
            given.partitions = fair.subtracting(others).sorted()
            assignment.assignedPartitions = [given]
            var one = SyncGroupRequest.Assignment()
            one.memberID = id
            one.assignment = assignment.encode()
            return one
        }
    }

    private mutating func synced(_ name: String, _ ticket: GroupTicket) {
        guard let answer = desk.synced(ticket) else { return }
        syncs[name] = nil
        guard answer.errorCode == .none else {
            if answer.errorCode == .unknownMemberId { forget(name) }
            return classic(name)
        }
        let given = (try? ConsumerProtocolAssignment.decode(answer.assignment))?.assignedPartitions ?? []
        let next = Set(given.flatMap(\.partitions))
        let lost = (owned[name] ?? []).subtracting(next)
        owned[name] = next
        // It gave something up: others wait for it.
        if !lost.isEmpty { classic(name) }
    }

    private mutating func beat(_ name: String) {
        guard syncs[name] == nil else { return }
        guard !desk.client(name).memberID.isEmpty else { return classic(name) }
        switch desk.beat(name) {
        case .rebalanceInProgress: classic(name)
        case .illegalGeneration:
            // Its generation is lost, and with it what it had.
            owned[name] = []
            classic(name)
        case .unknownMemberId:
            forget(name)
            classic(name)
        case .fencedInstanceId: owned[name] = []
        default: break
        }
    }

    private mutating func forget(_ name: String) {
        desk.clients[name]?.memberID = ""
        owned[name] = []
    }

    mutating func end(_ name: String) {
        owned[name] = nil
        waiting[name] = nil
        syncs[name] = nil
        desk.clients[name] = nil
    }

    /// Time in which everyone does what it does.
    mutating func work(classics: [String], consumers: [String], seconds: Int = 30) {
        for _ in 0..<seconds {
            desk.advance(1_000)
            round(classics)
            for name in consumers { desk.consume(name) }
            check(classics, consumers)
        }
    }

    /// What everyone reads, by partition. Nobody reads what another one does.
    func check(_ classics: [String], _ consumers: [String]) {
        let read = shares(classics, consumers).flatMap(\.self)
        #expect(Set(read).count == read.count, "two read one partition, \(label): \(shares(classics, consumers))")
    }

    func shares(_ classics: [String], _ consumers: [String]) -> [[Int32]] {
        classics.map { (owned[$0] ?? []).sorted() } + consumers.map { desk.owned($0) }
    }
}

struct MigrationTests {
    @Test func rolledToTheNextGenerationAndBackWithoutAStop() {
        var roller = Roller()
        roller.work(classics: ["a", "b"], consumers: [])
        #expect(roller.desk.group?.state == .stable)
        #expect(roller.shares(["a", "b"], []).joined().sorted() == [0, 1, 2, 3])
        roller.desk.commit("a", 7, partition: roller.owned["a"]?.first ?? 0)
        let committed = roller.desk.offsets(roller.desk.fetchAll())

        // A consumer of the next generation comes: the group is of its kind, and nobody stops.
        roller.desk.consume("x")
        #expect(roller.desk.consumerGroup?.members.count == 3)
        #expect(roller.desk.log.contains { if case .groupMetadata(_, nil) = $0 { true } else { false } })
        roller.work(classics: ["a", "b"], consumers: ["x"])
        #expect(roller.desk.consumerGroup?.state == .stable)
        #expect(roller.shares(["a", "b"], ["x"]).map(\.count).sorted() == [1, 1, 2])
        #expect(roller.desk.offsets(roller.desk.fetchAll()) == committed)
        #expect(roller.desk.commitError(roller.desk.commit("a", 8)) == ErrorCode.none)

        // One after the other changes over; a failover in between changes nothing.
        #expect(roller.desk.leave("a") == ErrorCode.none)
        roller.owned["a"] = nil
        roller.desk.consume("y")
        roller.desk.failOver()
        roller.work(classics: ["b"], consumers: ["x", "y"])
        #expect(roller.desk.leave("b") == ErrorCode.none)
        roller.owned["b"] = nil
        roller.work(classics: [], consumers: ["x", "y"])
        #expect(roller.shares([], ["x", "y"]).joined().sorted() == [0, 1, 2, 3])

        // And back.
        roller.desk.clients = [:]
        roller.work(classics: ["c"], consumers: ["x", "y"])
        #expect(roller.desk.consumerGroup?.members.count == 3)
        #expect(roller.shares(["c"], ["x", "y"]).joined().sorted() == [0, 1, 2, 3])
        roller.desk.quit("x")
        roller.desk.consumers["x"] = nil
        roller.work(classics: ["c", "d"], consumers: ["y"])
        #expect(roller.shares(["c", "d"], ["y"]).joined().sorted() == [0, 1, 2, 3])
        #expect(roller.desk.quit("y") == ErrorCode.none)
        roller.desk.consumers["y"] = nil
        #expect(roller.desk.consumerGroup == nil)
        roller.desk.failOver()
        roller.work(classics: ["c", "d"], consumers: [], seconds: 60)
        #expect(roller.desk.group?.state == .stable)
        #expect(roller.shares(["c", "d"], []).joined().sorted() == [0, 1, 2, 3])
        #expect(roller.desk.answeredTwice.isEmpty)
    }

    /// Members of both protocols come and go at random, and so does the coordinator.
    @Test func nobodyReadsWhatAnotherReads() {
        var kinds: Set<String> = []
        for seed in HistoryTests.seeds {
            var random = SeededRandom(seed: seed)
            var roller = Roller()
            var classics: [String] = []
            var consumers: [String] = []
            for step in 0..<120 {
                roller.label = "seed \(seed), step \(step)"
                switch random.below(16) {
                case 0 where classics.count < 3:
                    classics.append("c\(step)")
                case 1 where consumers.count < 3:
                    consumers.append("n\(step)")
                case 2 where !classics.isEmpty:
                    let name = classics.removeLast()
                    if roller.desk.leave(name) == .coordinatorNotAvailable {
                        classics.append(name)
                    } else {
                        roller.end(name)
                    }
                case 3 where !consumers.isEmpty:
                    let name = consumers.removeLast()
                    let epoch = roller.desk.consumers[name]?.epoch
                    if roller.desk.quit(name) == .coordinatorNotAvailable {
                        roller.desk.consumers[name]?.epoch = epoch ?? 0
                        consumers.append(name)
                    } else {
                        roller.desk.consumers[name] = nil
                    }
                case 4: roller.desk.failOver()
                case 5: roller.desk.refusal = roller.desk.refusal == nil ? .notEnoughReplicas : nil
                default: roller.work(classics: classics, consumers: consumers, seconds: 1)
                }
                roller.check(classics, consumers)
                if let group = roller.desk.group {
                    kinds.insert(group.consumer == nil ? "classic" : "\(!classics.isEmpty) \(!consumers.isEmpty)")
                }
            }
            roller.desk.refusal = nil
            roller.work(classics: classics, consumers: consumers, seconds: 120)
            let read = roller.shares(classics, consumers).joined().sorted()
            #expect(read == (classics.isEmpty && consumers.isEmpty ? [] : [0, 1, 2, 3]), "seed \(seed): \(read)")
            #expect(roller.desk.answeredTwice.isEmpty)
        }
        #expect(kinds.isSuperset(of: ["classic", "true true", "false true"]))
    }

    @Test func whoWaitsInAClassicGroupIsAskedToComeAgain() {
        var desk = Desk()
        desk.stable(["a", "b"])
        let waiting = desk.enter("c")
        #expect(desk.consume("x")?.errorCode == ErrorCode.none)
        #expect(desk.joined(waiting)?.errorCode == .rebalanceInProgress)
        #expect(desk.consumerGroup?.members.count == 4)
        #expect(desk.joined(desk.join("c"))?.errorCode == ErrorCode.none)
    }

    @Test func otherTypesDoNotChange() {
        var desk = Desk()
        desk.clients["a"] = Client(protocolType: "connect")
        desk.stable(["a"])
        #expect(desk.consume("x")?.errorCode == .groupIdNotFound)
        #expect(desk.group?.state == .stable)
        var other = Desk()
        other.consume("x")
        other.clients["a"] = Client(protocolType: "connect")
        #expect(other.joined(other.enter("a"))?.errorCode == .inconsistentGroupProtocol)
    }

    @Test func classicMemberThatDoesNotFollowGoes() {
        var desk = Desk()
        desk.clients["a"] = Client(rebalanceTimeoutMs: 8_000)
        desk.stable(["a"])
        desk.consume("x")
        for _ in 0..<20 {
            desk.advance(1_000)
            desk.beat("a")
            desk.consume("x")
        }
        #expect(desk.consumerGroup?.members.keys == ["x"])
        #expect(desk.beat("a") == .unknownMemberId)
        #expect(desk.owned("x") == [0, 1, 2, 3])
    }

    @Test func staticMemberKeepsItsPlaceAcross() {
        var desk = Desk()
        desk.clients["a"] = Client(instanceID: "one")
        desk.stable(["a"])
        desk.consumers["x"] = Consumer(memberID: "x", instanceID: "one")
        #expect(desk.consume("x")?.errorCode == ErrorCode.none)
        #expect(desk.consumerGroup?.members.keys == ["x"])
        #expect(desk.beat("a") == .fencedInstanceId)
        desk.clients["a"] = Client(instanceID: "one")
        #expect(desk.joined(desk.join("a"))?.errorCode == ErrorCode.none)
        // Nobody else is left: it is a classic group again.
        #expect(desk.consumerGroup == nil)
        #expect(desk.group?.members.count == 1)
        #expect(desk.consume("x")?.errorCode == .unknownMemberId || desk.consume("x")?.errorCode == .groupIdNotFound)
    }

    /// The leader had not heard of the new partitions yet, and nobody leads after it: seed 1525 of the simulator.
    @Test(arguments: [4, 6] as [Int32]) func whoTakesALeadersPlaceReadsWhatWasAddedMeanwhile(partitions: Int32) {
        var roller = Roller()
        roller.desk.clients["a"] = Client(instanceID: "one")
        roller.work(classics: ["a"], consumers: [])
        let generation = roller.desk.group?.generation
        roller.desk.topics.all[0].partitions = partitions
        roller.desk.coordinator.topicsChanged()
        roller.desk.consumers["x"] = Consumer(memberID: "x", instanceID: "one")
        roller.desk.converge(["x"])
        #expect(roller.desk.owned("x") == Array(0..<partitions))
        // Where everything is somebody's already, there is no reason for another epoch.
        #expect((roller.desk.consumerGroup?.epoch == generation) == (partitions == 4))
        roller.desk.coordinator.topicsChanged()
        let epoch = roller.desk.consumerGroup?.epoch
        roller.desk.converge(["x"])
        #expect(roller.desk.consumerGroup?.epoch == epoch)
    }

    /// The way back is written down without assignments, because everyone is about to join again. Who loads that must
    /// see to it that they do.
    @Test func loadInTheMiddleOfTheWayBackRebalances() {
        var desk = Desk()
        desk.clients["a"] = Client(instanceID: "one")
        desk.stable(["a"])
        desk.consumers["x"] = Consumer(memberID: "x", instanceID: "one")
        desk.consume("x")
        desk.clients["a"] = Client(instanceID: "one")
        desk.join("a")
        #expect(desk.consumerGroup == nil)
        desk.failOver()
        #expect(desk.group?.state == .preparingRebalance)
        #expect(desk.group?.lastRebalance?.reason == .assignmentMissing)
        // What "a" still reads nobody knows, so nothing is dealt out anew: seed 601 of the simulator.
        #expect(desk.consume("y")?.errorCode == .coordinatorLoadInProgress)
        #expect(desk.beat("a") == .rebalanceInProgress)
        let joins = desk.join("a")
        #expect(desk.joined(joins)?.errorCode == ErrorCode.none)
        desk.sync("a", ["a": "x"])
        // With an assignment in the log there is no reason to.
        desk.failOver()
        #expect(desk.group?.state == .stable)
        #expect(desk.consume("y")?.errorCode == ErrorCode.none)
    }

    @Test func changeThatCannotBeWrittenIsNone() {
        var desk = Desk()
        desk.stable(["a", "b"])
        desk.refusal = .notEnoughReplicas
        #expect(desk.consume("x")?.errorCode == .coordinatorNotAvailable)
        #expect(desk.consumerGroup == nil)
        #expect(desk.beat("a") == ErrorCode.none)
        desk.refusal = nil
        desk.consume("x")
        desk.refusal = .notEnoughReplicas
        #expect(desk.quit("x") == .coordinatorNotAvailable)
        #expect(desk.consumerGroup?.members.count == 3)
    }
}
