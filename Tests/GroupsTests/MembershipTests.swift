// Members of a generation: assignments, heartbeats, leaving, dying, and static ones that come back.

import Groups
import Model
import NIOCore
import Testing
import Wire

struct MembershipTests {
    // MARK: SyncGroup

    @Test func everyoneGetsItsPartOnceTheLeaderHasAssigned() {
        var desk = Desk()
        desk.clients["b"] = Client()
        desk.enter("a")
        desk.enter("b")
        desk.advance(150)
        let follower = desk.leader == "a" ? "b" : "a"
        let waiting = desk.sync(follower)
        #expect(desk.synced(waiting) == nil)
        let leaders = desk.sync(desk.leader, ["a": "A", "b": "B"])
        #expect(desk.synced(waiting).map { String(buffer: $0.assignment) } == follower.uppercased())
        #expect(desk.synced(leaders)?.protocolName == "range")
        #expect(desk.synced(leaders)?.protocolType == "consumer")
        #expect(desk.group?.state == .stable)
        // Asked again, for the answer may have been lost.
        #expect(desk.synced(desk.sync(follower)).map { String(buffer: $0.assignment) } == follower.uppercased())
    }

    @Test func whoIsGivenNothingGetsNothing() {
        var desk = Desk()
        desk.enter("a")
        desk.enter("b")
        desk.advance(150)
        let follower = desk.leader == "a" ? "b" : "a"
        desk.sync(desk.leader, [desk.leader: "all"])
        #expect(desk.synced(desk.sync(follower))?.assignment.readableBytes == 0)
        // Nor does it keep what it had.
        desk.join(desk.leader)
        desk.join(follower)
        desk.sync(desk.leader, [follower: "all"])
        #expect(desk.synced(desk.sync(follower)).map { String(buffer: $0.assignment) } == "all")
        desk.join(desk.leader)
        desk.join(follower)
        desk.sync(desk.leader, [desk.leader: "all"])
        #expect(desk.synced(desk.sync(follower))?.assignment.readableBytes == 0)
    }

    @Test func strangersAndStaleGenerationsAreRefused() {
        var desk = Desk()
        desk.stable(["a"])
        desk.clients["ghost"] = Client(memberID: "ghost", generation: 1)
        #expect(desk.synced(desk.sync("ghost"))?.errorCode == .unknownMemberId)
        #expect(desk.beat("ghost") == .unknownMemberId)
        #expect(desk.leave("ghost") == .unknownMemberId)
        #expect(desk.beat("ghost", group: "nowhere") == .unknownMemberId)
        desk.clients["a"]?.generation = 0
        #expect(desk.synced(desk.sync("a"))?.errorCode == .illegalGeneration)
        #expect(desk.beat("a") == .illegalGeneration)
        #expect(desk.beat("a", group: "") == .invalidGroupId)
    }

    @Test func anotherProtocolIsInconsistent() {
        var desk = Desk()
        desk.stable(["a"])
        var request = SyncGroupRequest()
        request.groupID = "g"
        request.generationID = 1
        request.memberID = desk.client("a").memberID
        request.protocolName = "sticky"
        #expect(desk.synced(desk.ask(.syncGroup(request), version: 5))?.errorCode == .inconsistentGroupProtocol)
        request.protocolName = "range"
        request.protocolType = "connect"
        #expect(desk.synced(desk.ask(.syncGroup(request), version: 5))?.errorCode == .inconsistentGroupProtocol)
        request.protocolType = "consumer"
        #expect(desk.synced(desk.ask(.syncGroup(request), version: 5))?.errorCode == ErrorCode.none)
    }

    @Test func whoDoesNotAskForItsAssignmentIsRemoved() {
        var desk = Desk()
        desk.clients["a"] = Client(rebalanceTimeoutMs: 8_000)
        desk.clients["b"] = Client(rebalanceTimeoutMs: 8_000)
        desk.enter("a")
        desk.enter("b")
        desk.advance(150)
        let (leader, follower) = (desk.leader, desk.leader == "a" ? "b" : "a")
        desk.sync(leader, [leader: "x", follower: "y"])
        for _ in 0..<4 {
            desk.advance(2_000)
            #expect(desk.beat(follower) != nil)
            #expect(desk.beat(leader) != nil)
        }
        #expect(desk.group?.members.keys == [desk.client(leader).memberID])
        #expect(desk.group?.state == .preparingRebalance)
        guard case .syncMissing(let names)? = desk.group?.lastRebalance?.reason else {
            Issue.record("another reason: \(String(describing: desk.group?.lastRebalance))")
            return
        }
        #expect(names.map(\.id) == [desk.client(follower).memberID])
    }

    @Test func assignmentThatCannotBeStoredIsGivenToNobody() {
        var desk = Desk()
        desk.enter("a")
        desk.enter("b")
        desk.advance(150)
        let follower = desk.leader == "a" ? "b" : "a"
        let waiting = desk.sync(follower)
        desk.refusal = .notEnoughReplicas
        let leaders = desk.sync(desk.leader, ["a": "A", "b": "B"])
        #expect(desk.synced(waiting)?.errorCode == .coordinatorNotAvailable)
        #expect(desk.synced(leaders)?.errorCode == .coordinatorNotAvailable)
        #expect(desk.group?.state == .preparingRebalance)
        desk.refusal = nil
        desk.join("a")
        desk.join("b")
        #expect(desk.group?.generation == 2)
    }

    // MARK: Heartbeat

    @Test func onlyARebalanceAsksToJoinAgain() {
        var desk = Desk()
        desk.enter("a")
        desk.advance(150)
        #expect(desk.beat("a") == ErrorCode.none)
        desk.sync("a")
        #expect(desk.beat("a") == ErrorCode.none)
        desk.enter("b")
        #expect(desk.beat("a") == .rebalanceInProgress)
    }

    @Test func silentMemberIsRemovedAndNamed() {
        var desk = Desk()
        desk.stable(["a", "b"])
        for _ in 0..<4 {
            desk.advance(3_000)
            desk.beat("a")
        }
        #expect(desk.group?.members.keys == [desk.client("a").memberID])
        #expect(desk.group?.lastRebalance?.reason.description.contains(desk.client("b").memberID) == true)
        #expect(desk.joined(desk.join("a"))?.generationID == 2)
        #expect(desk.beat("b") == .unknownMemberId)
    }

    @Test func waitingMembersAreNotTakenForDead() {
        var desk = Desk()
        desk.stable(["a", "b"])
        let waiting = desk.enter("c")
        // `a` stays alive and does not join again for 50 s.
        for _ in 0..<10 {
            desk.advance(5_000)
            desk.beat("a")
            desk.beat("b")
        }
        #expect(desk.joined(waiting) == nil)
        #expect(desk.group?.members.count == 3)
        desk.advance(5_000)
        desk.beat("a")
        desk.join("b")
        desk.advance(5_000)
        #expect(desk.joined(waiting)?.generationID == 2)
        let laggards = desk.events.compactMap {
            if case .laggardsRemoved(let names, _) = $0.kind { names } else { nil }
        }
        #expect(laggards.joined().map(\.id) == [desk.client("a").memberID])
    }

    @Test func slowestToJoinIsNamed() {
        var desk = Desk()
        desk.stable(["a", "b"])
        desk.enter("c")
        desk.advance(1_000)
        desk.join("a")
        desk.advance(2_500)
        desk.join("b")
        guard case .generationBegan(2, 3, _, _, let tookMs, let last)? = desk.events.last?.kind else {
            Issue.record("\(String(describing: desk.events.last))")
            return
        }
        #expect(tookMs == 3_500)
        #expect(last?.id == desk.client("b").memberID)
    }

    @Test func standingStillIsNotBlamedOnMembers() {
        var desk = Desk()
        desk.stable(["a", "b"])
        desk.advance(5_000)
        desk.beat("a")
        desk.beat("b")
        // The loop hangs for a minute; what the members said lies in the sockets.
        desk.now = desk.now.advanced(byMs: 60_000)
        let reading = desk.reading
        desk.input { $0.ticked(at: reading, into: &$1) }
        #expect(desk.group?.members.count == 2)
        #expect(desk.beat("a") == ErrorCode.none)
        desk.advance(11_000)
        #expect(desk.group?.members.isEmpty == true)
    }

    @Test func aStallIsForgivenOnce() {
        var desk = Desk()
        desk.stable(["a", "b"])
        desk.now = desk.now.advanced(byMs: 60_000)
        // Requests come before the tick.
        for _ in 0..<10 { desk.fetchAll() }
        #expect(desk.beat("a") == ErrorCode.none)
        desk.advance(9_000)
        desk.beat("a")
        desk.advance(2_000)
        #expect(desk.group?.members.keys == [desk.client("a").memberID])
    }

    @Test func nobodyIsBlamedWhileAnswersWaitForACommit() {
        var settings = GroupSettings()
        settings.offsetsCommitTimeoutMs = 60_000
        var desk = Desk(settings: settings)
        desk.enter("a")
        desk.advance(150)
        desk.commitsAtOnce = false
        let ticket = desk.sync("a", ["a": "x"])
        desk.advance(30_000)
        #expect(desk.synced(ticket) == nil)
        #expect(desk.group?.members.count == 1)
        desk.commit()
        #expect(desk.synced(ticket)?.errorCode == ErrorCode.none)
        #expect(desk.beat("a") == ErrorCode.none)
    }

    @Test func abandonedJoinCountsNoMore() {
        var desk = Desk()
        desk.stable(["a"])
        let gone = desk.enter("b")
        let reading = desk.reading
        desk.input { $0.abandoned(gone, at: reading, into: &$1) }
        let waiting = desk.join("a")
        #expect(desk.joined(waiting) == nil)
        desk.advance(10_000)
        #expect(desk.joined(waiting)?.members.count == 1)
        #expect(desk.replies[gone] == nil)
    }

    @Test func whoDoesNotComeBackWithItsIDHoldsARebalanceUpBriefly() {
        var desk = Desk()
        desk.stable(["a"])
        desk.join("ghost")
        desk.enter("b")
        let waiting = desk.join("a")
        desk.advance(2_900)
        #expect(desk.joined(waiting) == nil)
        desk.advance(200)
        #expect(desk.joined(waiting)?.members.count == 2)
        // Its id is good for a session timeout all the same.
        #expect(desk.joined(desk.join("ghost")) == nil)
        #expect(desk.group?.state == .preparingRebalance)
    }

    @Test func unusedIDIsForgotten() {
        var desk = Desk()
        desk.join("ghost")
        desk.advance(10_000)
        #expect(desk.coordinator.groups.isEmpty)
        #expect(desk.joined(desk.join("ghost"))?.errorCode == .unknownMemberId)
    }

    // MARK: LeaveGroup

    @Test func leavingRebalancesTheRestAtOnce() {
        var desk = Desk()
        desk.stable(["a", "b"])
        #expect(desk.leave("b", reason: "closing") == ErrorCode.none)
        #expect(desk.beat("a") == .rebalanceInProgress)
        #expect(desk.joined(desk.join("a"))?.generationID == 2)
        #expect(desk.events.contains { $0.description.contains("left, saying: closing") })
        #expect(desk.leave("a") == ErrorCode.none)
        #expect(desk.group?.state == .empty)
        #expect(desk.group?.generation == 3)
    }

    @Test func batchLeaveAnswersEach() {
        var desk = Desk()
        desk.clients["s"] = Client(instanceID: "shelf")
        desk.stable(["a", "s"])
        var request = LeaveGroupRequest()
        request.groupID = "g"
        request.members = [("", "shelf"), ("nobody", nil), ("", "attic"), ("wrong", "shelf")].map { id, instance in
            var one = LeaveGroupRequest.Member()
            one.memberID = id
            one.groupInstanceID = instance
            return one
        }
        guard case .leaveGroup(let answer) = desk.replies[desk.ask(.leaveGroup(request), version: 5)] else {
            Issue.record("no answer")
            return
        }
        #expect(answer.errorCode == ErrorCode.none)
        #expect(answer.members.map(\.errorCode) == [.none, .unknownMemberId, .unknownMemberId, .unknownMemberId])
        #expect(desk.group?.members.count == 1)
    }

    @Test func olderLeaveHasOneMemberAndOneError() {
        var desk = Desk()
        desk.stable(["a"])
        var request = LeaveGroupRequest()
        request.groupID = "g"
        request.memberID = "ghost"
        guard case .leaveGroup(let refused) = desk.replies[desk.ask(.leaveGroup(request), version: 2)] else { return }
        #expect(refused.errorCode == .unknownMemberId)
        request.memberID = desk.client("a").memberID
        guard case .leaveGroup(let answer) = desk.replies[desk.ask(.leaveGroup(request), version: 2)] else { return }
        #expect(answer.errorCode == ErrorCode.none)
        #expect(answer.members.isEmpty)
        #expect(desk.group?.state == .empty)
    }

    @Test func aGroupThatNeverHadAnAssignmentLeavesNothingBehind() {
        var desk = Desk()
        desk.enter("a")
        desk.leave("a")
        #expect(desk.coordinator.groups.isEmpty)
        #expect(desk.log.isEmpty)
    }
}

struct StaticMemberTests {
    private func desk() -> Desk {
        var desk = Desk()
        desk.clients["a"] = Client(instanceID: "one")
        desk.clients["b"] = Client(instanceID: "two")
        desk.stable(["a", "b"])
        return desk
    }

    @Test(arguments: ["a", "b"]) func comesBackWithoutARebalance(name: String) {
        var desk = desk()
        let old = desk.client(name)
        desk.clients[name] = Client(instanceID: old.instanceID)
        let isLeader = desk.group?.leaderID == old.memberID
        let answer = desk.joined(desk.join(name))
        #expect(answer?.errorCode == ErrorCode.none)
        #expect(answer?.generationID == 1)
        #expect(answer?.memberID != old.memberID)
        #expect(answer?.memberID.hasPrefix("\(old.instanceID ?? "")-") == true)
        #expect(answer?.skipAssignment == isLeader)
        #expect(answer?.members.count == (isLeader ? 2 : 0))
        #expect(desk.group?.state == .stable)
        #expect(desk.synced(desk.sync(name)).map { String(buffer: $0.assignment) } == name)
        // The old process is told.
        desk.clients["old"] = old
        #expect(desk.beat("old") == .fencedInstanceId)
        #expect(desk.synced(desk.sync("old"))?.errorCode == .fencedInstanceId)
        #expect(desk.joined(desk.join("old"))?.errorCode == .fencedInstanceId)
        #expect(desk.commitError(desk.commit("old", 5)) == .fencedInstanceId)
        #expect(desk.leave("old") == .fencedInstanceId)
        // So does a new coordinator.
        desk.failOver()
        #expect(desk.beat(name) == ErrorCode.none)
        #expect(desk.beat("old") == .fencedInstanceId)
    }

    @Test func olderLeaderIsNotToldThatItLeads() {
        var desk = desk()
        let name = desk.leader
        let old = desk.client(name)
        desk.clients[name] = Client(instanceID: old.instanceID, version: 8)
        let answer = desk.joined(desk.join(name))
        #expect(answer?.leader == old.memberID)
        #expect(answer?.skipAssignment == false)
        #expect(answer?.members.isEmpty == true)
        #expect(desk.group?.leaderID == answer?.memberID)
    }

    @Test func anotherSubscriptionRebalances() {
        var desk = desk()
        desk.clients["b"] = Client(instanceID: "two", protocols: [("range", ["rooks", "swifts"])])
        #expect(desk.joined(desk.join("b")) == nil)
        #expect(desk.group?.state == .preparingRebalance)
    }

    @Test func returnDuringTheAssignmentRebalances() {
        var desk = Desk()
        desk.clients["a"] = Client(instanceID: "one")
        desk.clients["b"] = Client(instanceID: "two")
        desk.enter("a")
        desk.enter("b")
        desk.advance(150)
        let follower = desk.leader == "a" ? "b" : "a"
        let fenced = desk.sync(follower)
        desk.clients[follower]?.memberID = ""
        let waiting = desk.join(follower)
        #expect(desk.synced(fenced)?.errorCode == .fencedInstanceId)
        #expect(desk.group?.state == .preparingRebalance)
        desk.join(desk.leader)
        #expect(desk.joined(waiting)?.generationID == 2)
    }

    @Test func absentStaticMemberKeepsItsPlaceThroughARebalance() {
        var desk = desk()
        let (leader, other) = (desk.leader, desk.leader == "a" ? "b" : "a")
        desk.clients[other]?.sessionTimeoutMs = 1_000_000
        let before = desk.client(other)
        desk.clients[other] = Client(
            instanceID: before.instanceID, sessionTimeoutMs: 1_000_000, rebalanceTimeoutMs: 5_000)
        desk.join(other)
        desk.clients[leader]?.rebalanceTimeoutMs = 5_000
        let waiting = desk.join(leader)
        desk.advance(5_000)
        // The rebalance timeout has passed; the static member is away and is still counted.
        #expect(desk.joined(waiting)?.members.count == 2)
        desk.sync(leader, ["a": "A", "b": "B"])
        for _ in 0..<30 {
            desk.advance(1_000)
            desk.beat(leader)
        }
        #expect(desk.group?.state == .stable)
        #expect(desk.group?.members.count == 2)
        desk.clients[other]?.memberID = ""
        #expect(desk.joined(desk.join(other))?.generationID == 2)
        #expect(desk.synced(desk.sync(other)).map { String(buffer: $0.assignment) } == other.uppercased())
    }

    @Test func newIDThatCannotBeStoredChangesNothing() {
        var desk = desk()
        let old = desk.client("b")
        desk.refusal = .notLeaderOrFollower
        desk.clients["new"] = Client(instanceID: "two")
        #expect(desk.joined(desk.join("new"))?.errorCode == .notCoordinator)
        desk.refusal = nil
        #expect(desk.beat("b") == ErrorCode.none)
        #expect(desk.client("b") == old)
        #expect(desk.group?.members.count == 2)
    }

    @Test func leavesOnlyWhenItSaysSoOrItsSessionEnds() {
        var desk = desk()
        #expect(desk.leave("b") == ErrorCode.none)
        #expect(desk.group?.members.count == 1)
        #expect(desk.group?.state == .preparingRebalance)
    }
}
