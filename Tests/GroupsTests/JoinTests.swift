// Joining: the handshake, protocols, the wait for company, and the answers of every version.

import Groups
import Model
import Testing
import Wire

struct JoinTests {
    @Test func memberIDIsRequiredFromVersionFour() {
        var desk = Desk()
        let first = desk.join("a")
        let answer = desk.joined(first)
        #expect(answer?.errorCode == .memberIdRequired)
        #expect(answer?.memberID.hasPrefix("a-") == true)
        #expect(answer?.memberID.split(separator: "-").map(\.count) == [1, 8, 4, 4, 4, 12])
        #expect(desk.group?.state == .empty)
        let second = desk.join("a")
        desk.advance(150)
        #expect(desk.joined(second)?.errorCode == ErrorCode.none)
        #expect(desk.joined(second)?.memberID == answer?.memberID)
    }

    @Test(arguments: [0, 1, 2, 3] as [Int16])
    func olderVersionsJoinAtOnce(version: Int16) {
        var desk = Desk()
        desk.clients["a"] = Client(version: version)
        let ticket = desk.join("a")
        desk.advance(150)
        #expect(desk.joined(ticket)?.generationID == 1)
        #expect(desk.joined(ticket)?.members.map(\.memberID) == [desk.client("a").memberID])
        // Version 0 has no rebalance timeout: the session's stands for it.
        #expect(desk.group?.members.values.first?.rebalanceTimeoutMs == (version == 0 ? 10_000 : 60_000))
    }

    @Test func protocolNameOfARefusalIsNullFromVersionSeven() {
        var desk = Desk()
        for (version, name) in [(6, ""), (7, nil)] as [(Int16, String?)] {
            desk.clients["a"] = Client(memberID: "ghost", version: version)
            let answer = desk.joined(desk.join("a"))
            #expect(answer?.errorCode == .unknownMemberId)
            #expect(answer?.protocolName == name)
            #expect(answer?.memberID == "ghost")
            #expect(answer?.generationID == -1)
        }
        #expect(desk.coordinator.groups.isEmpty)
    }

    @Test func badRequestsLeaveNoTrace() {
        var desk = Desk()
        for (timeoutMs, error) in [
            (5_999, ErrorCode.invalidSessionTimeout), (1_800_001, .invalidSessionTimeout), (6_000, .memberIdRequired),
        ] {
            desk.clients["a"] = Client(sessionTimeoutMs: Int32(timeoutMs))
            #expect(desk.joined(desk.join("a"))?.errorCode == error)
        }
        desk.clients["b"] = Client()
        #expect(desk.joined(desk.join("b", group: ""))?.errorCode == .invalidGroupId)
        desk.clients["c"] = Client(protocols: [])
        #expect(desk.joined(desk.join("c", group: "h"))?.errorCode == .inconsistentGroupProtocol)
        desk.clients["d"] = Client(protocolType: "")
        #expect(desk.joined(desk.join("d", group: "h"))?.errorCode == .inconsistentGroupProtocol)
        #expect(desk.coordinator.groups.keys.sorted() == ["g"])
    }

    // MARK: Company

    @Test func loneMemberWaitsOnlyAsLongAsNobodyComes() {
        var desk = Desk()
        let ticket = desk.enter("a")
        desk.advance(149)
        #expect(desk.joined(ticket) == nil)
        desk.advance(1)
        #expect(desk.joined(ticket)?.generationID == 1)
    }

    @Test func arrivalsExtendTheWaitUpToTheDelay() {
        var desk = Desk()
        var tickets: [GroupTicket] = []
        for index in 0..<40 {
            tickets.append(desk.enter("m\(index)"))
            desk.advance(100)
        }
        // 30 came within 3,000 ms of the first; the others found a generation and began another rebalance.
        #expect(desk.joined(tickets[0])?.generationID == 1)
        #expect(desk.joined(tickets[0])?.members.count == 30)
        #expect(desk.events.filter { if case .rebalanceBegan = $0.kind { true } else { false } }.count == 2)
    }

    @Test func askingForAnIDCountsAsAnArrival() {
        var desk = Desk()
        let first = desk.enter("a")
        desk.advance(140)
        desk.join("b")
        desk.advance(140)
        #expect(desk.joined(first) == nil)
        let second = desk.join("b")
        desk.advance(150)
        #expect(desk.joined(first)?.members.count == 2)
        #expect(desk.joined(second)?.generationID == 1)
    }

    @Test func noDelayMeansNone() {
        var settings = GroupSettings()
        settings.initialRebalanceDelayMs = 0
        var desk = Desk(settings: settings)
        #expect(desk.joined(desk.enter("a"))?.generationID == 1)
    }

    @Test func wholeCompanyIsNotKeptWaiting() {
        var desk = Desk()
        desk.stable(["a", "b"])
        for name in ["a", "b"] {
            #expect(desk.leave(name) == ErrorCode.none)
            desk.clients[name] = nil
        }
        desk.beat("b")
        #expect(desk.group?.state == .empty)
        let first = desk.enter("a")
        desk.advance(10)
        #expect(desk.joined(first) == nil)
        let second = desk.enter("b")
        #expect(desk.joined(first)?.members.count == 2)
        #expect(desk.joined(second)?.generationID == 3)
    }

    // MARK: Protocols

    @Test func protocolIsChosenByVotesAmongWhatAllSpeak() {
        var desk = Desk()
        desk.clients["a"] = Client(protocols: [("sticky", []), ("range", []), ("rr", [])])
        desk.clients["b"] = Client(protocols: [("rr", []), ("range", [])])
        desk.clients["c"] = Client(protocols: [("rr", []), ("range", [])])
        let tickets = ["a", "b", "c"].map { desk.enter($0) }
        desk.advance(150)
        #expect(Set(tickets.map { desk.joined($0)?.protocolName ?? "" }) == ["rr"])
    }

    @Test func aDrawGoesToTheFirstMembersTaste() {
        var desk = Desk()
        desk.clients["a"] = Client(protocols: [("rr", []), ("range", [])])
        desk.clients["b"] = Client(protocols: [("range", []), ("rr", [])])
        let ticket = desk.enter("a")
        desk.enter("b")
        desk.advance(150)
        #expect(desk.joined(ticket)?.protocolName == "rr")
    }

    @Test func nothingInCommonIsRefused() {
        var desk = Desk()
        desk.clients["b"] = Client(protocols: [("sticky", ["rooks"])])
        desk.clients["c"] = Client(protocolType: "connect")
        desk.stable(["a"])
        #expect(desk.joined(desk.join("b"))?.errorCode == .inconsistentGroupProtocol)
        #expect(desk.joined(desk.join("c"))?.errorCode == .inconsistentGroupProtocol)
        #expect(desk.group?.state == .stable)
        // A lone member may change all that it speaks.
        desk.clients["a"]?.protocols = [("sticky", ["rooks"])]
        #expect(desk.joined(desk.join("a"))?.protocolName == "sticky")
    }

    @Test func anyProtocolTypeGoes() {
        var desk = Desk()
        desk.clients["a"] = Client(protocols: [("v1", [])], protocolType: "connect")
        desk.clients["b"] = Client(protocols: [("v0", [])], protocolType: "sr")
        let first = desk.enter("a")
        let second = desk.enter("b", group: "schemas")
        desk.advance(150)
        #expect(desk.joined(first)?.protocolType == "connect")
        #expect(desk.joined(second)?.protocolType == "sr")
    }

    // MARK: Joining again

    @Test func unchangedFollowerGetsTheSameAnswer() {
        var desk = Desk()
        desk.stable(["a", "b"])
        let follower = desk.group?.leaderID == desk.client("a").memberID ? "b" : "a"
        let answer = desk.joined(desk.join(follower))
        #expect(answer?.generationID == 1)
        #expect(answer?.members.isEmpty == true)
        #expect(desk.group?.state == .stable)
        desk.clients[follower]?.protocols = [("range", ["rooks", "swifts"])]
        #expect(desk.joined(desk.join(follower)) == nil)
        #expect(desk.group?.state == .preparingRebalance)
    }

    @Test func leaderThatJoinsAgainRebalances() {
        var desk = Desk()
        desk.stable(["a", "b"])
        let leader = desk.leader
        desk.join(leader, reason: "partitions were added")
        #expect(desk.group?.state == .preparingRebalance)
        #expect(desk.group?.lastRebalance?.reason.description.hasSuffix("saying: partitions were added") == true)
    }

    @Test func lostJoinAnswerIsGivenAgain() {
        var desk = Desk()
        desk.enter("a")
        desk.enter("b")
        desk.advance(150)
        #expect(desk.group?.state == .completingRebalance)
        let again = desk.joined(desk.join(desk.leader))
        #expect(again?.generationID == 1)
        #expect(again?.members.count == 2)
        #expect(desk.group?.state == .completingRebalance)
    }

    @Test func repeatedJoinAnswersTheEarlierOne() {
        var desk = Desk()
        let first = desk.enter("a")
        let second = desk.join("a")
        #expect(desk.joined(first)?.errorCode == .rebalanceInProgress)
        desk.advance(150)
        #expect(desk.joined(second)?.generationID == 1)
    }

    @Test func sizeLimitTurnsTheLastAway() {
        var settings = GroupSettings()
        settings.groupSizeMax = 2
        var desk = Desk(settings: settings)
        desk.stable(["a", "b"])
        #expect(desk.joined(desk.join("c"))?.errorCode == .groupMaxSizeReached)
        desk.join("a")
        desk.join("b")
        #expect(desk.group?.generation == 2)
        #expect(desk.group?.members.count == 2)
    }

    @Test func generationWrapsAround() {
        var desk = Desk(loaded: false)
        var key = GroupMetadataKey()
        key.groupID = "g"
        var value = GroupMetadataValue()
        value.protocolType = "consumer"
        value.generation = .max
        desk.coordinator.loaded(.groupMetadata(key, value))
        desk.loadEnded()
        let ticket = desk.enter("a")
        desk.advance(150)
        #expect(desk.joined(ticket)?.generationID == 1)
    }
}

extension Desk {
    /// Brings a group of these to Stable, each assigned its own name.
    mutating func stable(_ names: [String], group: String = "g") {
        for name in names { enter(name, group: group) }
        advance(3_000)
        let shares = Dictionary(uniqueKeysWithValues: names.map { ($0, $0) })
        for name in names { sync(name, shares, group: group) }
        precondition(coordinator.groups[group]?.state == .stable, "the group is not stable")
    }

    var leader: String {
        clients.first { $0.value.memberID == group?.leaderID }?.key ?? "nobody"
    }
}
