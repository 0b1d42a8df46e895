// Consumer groups (KIP-848): joining, walking to the target, lost answers, leaving, and what commits are taken.

import Groups
import Model
import Testing
import Wire

struct ConsumerTests {
    @Test func oneMemberGetsAll() {
        var desk = Desk()
        let answer = desk.consume("a")
        #expect(answer?.errorCode == ErrorCode.none)
        #expect(answer?.memberID == "a")
        #expect(answer?.memberEpoch == 1)
        #expect(answer?.heartbeatIntervalMs == 5_000)
        #expect(desk.owned("a") == [0, 1, 2, 3])
        #expect(desk.consumerGroup?.state == .stable)
        // Nothing moves, nothing is written, and the assignment is not told again.
        let end = desk.end
        #expect(desk.consume("a")?.assignment == nil)
        #expect(desk.end == end)
        // Who asks for everything is told everything.
        desk.consumers["a"]?.saysAll = true
        #expect(desk.consume("a")?.assignment != nil)
    }

    @Test func memberOfVersionZeroIsGivenAnID() {
        var desk = Desk()
        desk.consumers["a"] = Consumer(memberID: "")
        #expect(desk.consume("a", version: 1)?.errorCode == .invalidRequest)
        let answer = desk.consume("a", version: 0)
        #expect(answer?.memberID?.isEmpty == false)
        #expect(desk.consume("a")?.errorCode == ErrorCode.none)
    }

    @Test func revokeThenAdvanceThenGive() {
        var desk = Desk()
        desk.consume("a")
        // The second is in the new epoch at once and waits for what the first has.
        #expect(desk.consume("b")?.memberEpoch == 2)
        #expect(desk.owned("b") == [])
        #expect(desk.consumerGroup?.state == .reconciling)
        // The first is told what it keeps, and stays in its epoch until it has given the rest up.
        let all = desk.consumers["a"]?.owned ?? []
        let told = desk.consume("a", answered: true)
        #expect(told?.memberEpoch == 1)
        #expect(desk.owned("a").count == 2)
        #expect(desk.consume("a", owned: all)?.memberEpoch == 1)
        #expect(desk.consume("b")?.assignment == nil)
        #expect(desk.consume("a")?.memberEpoch == 2)
        #expect(desk.consume("b")?.memberEpoch == 2)
        #expect(desk.owned("b").count == 2)
        #expect(Set(desk.owned("a") + desk.owned("b")) == [0, 1, 2, 3])
        #expect(desk.consumerGroup?.state == .stable)
    }

    @Test func everyPartitionIsReadByOneOfThree() {
        var desk = Desk()
        desk.topics.all[0].partitions = 7
        desk.converge(["a", "b", "c"])
        let shares = ["a", "b", "c"].map { desk.owned($0) }
        #expect(shares.map(\.count).sorted() == [2, 2, 3])
        #expect(shares.joined().sorted() == Array(0..<7))
        #expect(desk.quit("b") == ErrorCode.none)
        desk.converge(["a", "c"])
        #expect((desk.owned("a") + desk.owned("c")).sorted() == Array(0..<7))
        // Who stayed kept what it had.
        #expect(Set(desk.owned("a")).isSuperset(of: shares[0]))
        #expect(Set(desk.owned("c")).isSuperset(of: shares[2]))
    }

    @Test func answerThatWasLost() {
        var desk = Desk()
        desk.consume("a")
        desk.consume("b")
        desk.consume("a")
        // `a` gives up, moves to epoch 2, and never hears of it.
        #expect(desk.consume("a", answered: false)?.memberEpoch == 2)
        #expect(desk.consumers["a"]?.epoch == 1)
        let again = desk.consume("a")
        #expect(again?.errorCode == ErrorCode.none)
        #expect(again?.memberEpoch == 2)
        #expect(again?.assignment != nil)
        // Who has what it should not have was away too long.
        let stray: Set<TopicPartition> = [TopicPartition(UUID128(low: 102), 0)]
        #expect(desk.consume("a", epoch: 1, owned: stray)?.errorCode == .fencedMemberEpoch)
        #expect(desk.consume("b", epoch: 9)?.errorCode == .fencedMemberEpoch)
        #expect(desk.consume("c", epoch: 2)?.errorCode == .unknownMemberId)
        // It joins again under its id, and has its place.
        #expect(desk.consume("a")?.memberEpoch == 2)
        desk.converge(["a", "b"])
        #expect((desk.owned("a") + desk.owned("b")).sorted() == [0, 1, 2, 3])
    }

    @Test func silentMemberGoes() {
        var desk = Desk()
        desk.converge(["a", "b"])
        for _ in 0..<10 {
            desk.advance(5_000)
            desk.consume("a")
        }
        #expect(desk.owned("a") == [0, 1, 2, 3])
        #expect(desk.consumerGroup?.members.keys == ["a"])
        #expect(desk.consume("b")?.errorCode == .unknownMemberId)
        #expect(desk.group?.lastRebalance?.reason.description.contains("member b") == true)
        desk.advance(45_000)
        #expect(desk.consumerGroup?.state == .empty)
        #expect(desk.consumerGroup?.epoch ?? 0 > 3)
    }

    @Test func whoGivesNothingUpGoes() {
        var desk = Desk()
        desk.consume("a")
        let all = desk.consumers["a"]?.owned ?? []
        desk.consume("b")
        for _ in 0..<5 {
            desk.consume("a", owned: all)
            desk.advance(5_000)
            desk.consume("b")
        }
        #expect(desk.consumerGroup?.members.keys == ["b"])
        #expect(desk.owned("b") == [0, 1, 2, 3])
        guard case .revocationMissing(let names)? = desk.group?.lastRebalance?.reason else {
            Issue.record("another reason")
            return
        }
        #expect(names.map(\.id) == ["a"])
    }

    @Test func standingStillIsNotBlamedOnMembers() {
        var desk = Desk()
        desk.converge(["a", "b"])
        desk.now = desk.now.advanced(byMs: 100_000)
        let reading = desk.reading
        desk.input { $0.ticked(at: reading, into: &$1) }
        #expect(desk.consumerGroup?.members.count == 2)
    }

    // MARK: Static members

    @Test func staticMemberComesBackToItsPlace() {
        var desk = Desk()
        desk.consumers["a"] = Consumer(memberID: "a1", instanceID: "one")
        desk.converge(["a", "b"])
        let epoch = desk.consumerGroup?.epoch
        let had = desk.owned("a")
        desk.consumers["x"] = Consumer(memberID: "x", instanceID: "one")
        #expect(desk.consume("x")?.errorCode == .unreleasedInstanceId)
        #expect(desk.quit("a", for: -2) == ErrorCode.none)
        desk.consume("b")
        #expect(desk.owned("b").count == 2)
        desk.consumers["old"] = desk.consumers["a"]
        desk.consumers["old"]?.epoch = epoch ?? 0
        desk.consumers["a"] = Consumer(memberID: "a2", instanceID: "one")
        #expect(desk.consume("a")?.memberEpoch == epoch)
        #expect(desk.owned("a") == had)
        #expect(desk.consumerGroup?.epoch == epoch)
        #expect(desk.consume("old")?.errorCode == .fencedInstanceId)
        #expect(desk.quit("old") == .fencedInstanceId)
        desk.failOver()
        #expect(desk.consume("a")?.memberEpoch == epoch)
        #expect(desk.consumerGroup?.members.keys == ["a2", "b"])
    }

    @Test func staticMemberThatStaysAwayGoes() {
        var desk = Desk()
        desk.consumers["a"] = Consumer(memberID: "a1", instanceID: "one")
        desk.converge(["a", "b"])
        desk.quit("a", for: -2)
        for _ in 0..<10 {
            desk.advance(5_000)
            desk.consume("b")
        }
        #expect(desk.owned("b") == [0, 1, 2, 3])
    }

    // MARK: What is asked for

    @Test func subscriptionsDiffer() {
        var desk = Desk()
        desk.consumers["a"] = Consumer(memberID: "a", topics: ["rooks", "swifts"])
        desk.consumers["b"] = Consumer(memberID: "b", topics: ["swifts", "owls"])
        desk.converge(["a", "b"])
        #expect(desk.consumers["a"]?.owned.map(\.topicID.low).sorted() == [101, 101, 101, 101])
        #expect(desk.consumers["b"]?.owned.map(\.topicID.low).sorted() == [102, 102, 102, 102])
        desk.consumers["b"]?.topics = []
        desk.consumers["b"]?.saysAll = true
        desk.converge(["b", "a"])
        #expect(desk.consumers["b"]?.owned.isEmpty == true)
        #expect(desk.consumers["a"]?.owned.count == 8)
    }

    @Test func topicsThatComeAndGrow() {
        var desk = Desk()
        desk.consumers["a"] = Consumer(memberID: "a", topics: ["rooks", "owls"])
        desk.consumers["b"] = Consumer(memberID: "b", topics: nil, pattern: "^(rook|owl)s$")
        desk.converge(["a", "b"])
        let epoch = desk.consumerGroup?.epoch ?? 0
        desk.coordinator.topicsChanged()
        desk.converge(["a", "b"])
        #expect(desk.consumerGroup?.epoch == epoch)
        desk.topics.all[0].partitions = 5
        desk.topics.all.append(KnownTopic(name: "owls", id: UUID128(low: 103), partitions: 3))
        desk.coordinator.topicsChanged()
        desk.converge(["a", "b"])
        #expect(desk.consumerGroup?.epoch == epoch + 1)
        #expect(["a", "b"].map { desk.consumers[$0]?.owned.count } == [4, 4])
        desk.topics.all.removeLast()
        desk.coordinator.topicsChanged()
        desk.converge(["a", "b"])
        #expect((desk.owned("a") + desk.owned("b")).sorted() == [0, 1, 2, 3, 4])
        #expect(desk.events.last?.description.contains("subscribed topics changed") == true)
    }

    @Test func assignorThatMostAskFor() {
        var desk = Desk()
        desk.consumers["a"] = Consumer(memberID: "a", topics: ["rooks", "swifts"], assignor: "range")
        desk.consumers["b"] = Consumer(memberID: "b", topics: ["rooks", "swifts"])
        desk.converge(["a", "b"])
        #expect(desk.owned("a") == [0, 0, 1, 1])
        #expect(desk.owned("b") == [2, 2, 3, 3])
        desk.consumers["c"] = Consumer(memberID: "c", assignor: "sticky")
        #expect(desk.consume("c")?.errorCode == .unsupportedAssignor)
    }

    @Test func whatMakesNoSense() {
        var desk = Desk()
        #expect(desk.consume("a", group: "")?.errorCode == .invalidRequest)
        #expect(desk.consume("a", epoch: -3)?.errorCode == .invalidRequest)
        #expect(desk.consume("a", epoch: -2)?.errorCode == .invalidRequest)
        #expect(desk.consume("a", epoch: 3)?.errorCode == .groupIdNotFound)
        desk.consumers["b"] = Consumer(memberID: "b", topics: nil)
        #expect(desk.consume("b")?.errorCode == .invalidRequest)
        desk.consumers["b"] = Consumer(memberID: "b", rebalanceTimeoutMs: -1)
        #expect(desk.consume("b")?.errorCode == .invalidRequest)
        desk.consumers["b"] = Consumer(memberID: "b", instanceID: "")
        #expect(desk.consume("b")?.errorCode == .invalidRequest)
        desk.consumers["b"] = Consumer(memberID: "b", pattern: "(")
        #expect(desk.consume("b")?.errorCode == .invalidRegularExpression)
        #expect(desk.coordinator.groups.isEmpty)
        desk.settings.consumerSizeMax = 1
        desk = Desk(settings: desk.settings)
        desk.consume("a")
        #expect(desk.consume("b")?.errorCode == .groupMaxSizeReached)
    }

    @Test func changeThatCannotBeWrittenIsNone() {
        var desk = Desk()
        desk.converge(["a", "b"])
        let before = desk.consumerGroup
        desk.refusal = .notEnoughReplicas
        #expect(desk.consume("c")?.errorCode == .coordinatorNotAvailable)
        #expect(desk.quit("b") == .coordinatorNotAvailable)
        #expect(desk.consumerGroup == before)
        // A silent member stays until it can be written down.
        desk.advance(60_000)
        #expect(desk.consumerGroup?.members.count == 2)
        desk.refusal = nil
        desk.advance(6_000)
        #expect(desk.consumerGroup?.members.count == 0)
    }

    @Test func nothingIsToldBeforeItIsCommitted() {
        var settings = GroupSettings()
        settings.offsetsCommitTimeoutMs = 90_000
        var desk = Desk(settings: settings)
        desk.commitsAtOnce = false
        #expect(desk.consume("a") == nil)
        desk.advance(60_000)
        #expect(desk.consumerGroup?.members.count == 1)
        #expect(desk.replies.isEmpty)
        desk.commit()
        #expect(desk.replies.count == 1)
    }

    // MARK: Commits

    private func commit(_ desk: inout Desk, _ name: String, epoch: Int32, partition: Int32) -> ErrorCode? {
        desk.clients[name] = Client(memberID: name, generation: epoch)
        return desk.commitError(desk.commit(name, 1, partition: partition))
    }

    @Test func commitsOfThisEpochAndOfKeptPartitions() {
        var desk = Desk()
        desk.consume("a")
        #expect(commit(&desk, "a", epoch: 1, partition: 3) == ErrorCode.none)
        desk.converge(["b", "a"])
        #expect(desk.consumers["a"]?.epoch == 2)
        let (kept, lost) = (desk.owned("a")[0], desk.owned("b")[0])
        #expect(commit(&desk, "a", epoch: 2, partition: kept) == ErrorCode.none)
        // Its own since epoch 1.
        #expect(commit(&desk, "a", epoch: 1, partition: kept) == ErrorCode.none)
        #expect(commit(&desk, "a", epoch: 1, partition: lost) == .staleMemberEpoch)
        #expect(commit(&desk, "b", epoch: 1, partition: lost) == .staleMemberEpoch)
        #expect(commit(&desk, "a", epoch: 3, partition: kept) == .staleMemberEpoch)
        #expect(commit(&desk, "c", epoch: 2, partition: kept) == .unknownMemberId)
        #expect(commit(&desk, "a", epoch: -1, partition: kept) == .staleMemberEpoch)
        #expect(desk.commitError(desk.commit(nil, 1)) == .unknownMemberId)
        desk.clients["a"] = Client(memberID: "a", generation: 2)
        #expect(desk.commitError(desk.commit("a", 1, version: 8)) == .unsupportedVersion)
        desk.quit("a")
        desk.quit("b")
        #expect(desk.commitError(desk.commit(nil, 1)) == ErrorCode.none)
    }

    @Test func memberFetchesInItsEpoch() {
        var desk = Desk()
        desk.converge(["a", "b"])
        for (id, epoch, error) in [
            ("a", 2, ErrorCode.none), ("a", 1, .none), ("a", 0, .staleMemberEpoch), ("c", 2, .unknownMemberId),
        ] as [(String, Int32, ErrorCode)] {
            var asked = OffsetFetchRequest.Group()
            asked.groupID = "g"
            asked.memberID = id
            asked.memberEpoch = epoch
            var request = OffsetFetchRequest()
            request.groups = [asked]
            guard case .offsetFetch(let answer)? = desk.replies[desk.ask(.offsetFetch(request), version: 9)] else {
                return
            }
            #expect(answer.groups.map(\.errorCode) == [error], "\(id) \(epoch)")
        }
    }

    // MARK: Between the protocols

    @Test func emptyGroupMayChangeItsProtocol() {
        var desk = Desk()
        desk.stable(["a"])
        desk.commit("a", 5)
        desk.leave("a")
        #expect(desk.consume("x")?.memberEpoch == 1)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=5"])
        desk.failOver()
        #expect(desk.group?.protocolType == nil)
        #expect(desk.consume("x")?.errorCode == ErrorCode.none)
        desk.quit("x")
        desk.clients["a"] = Client()
        desk.stable(["a"])
        desk.failOver()
        #expect(desk.consumerGroup == nil)
        #expect(desk.group?.state == .stable)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=5"])
    }

    @Test func describedListedAndDeleted() {
        var desk = Desk()
        desk.converge(["a", "b"])
        var describe = ConsumerGroupDescribeRequest()
        describe.groupIDs = ["g", "nowhere"]
        guard
            case .consumerGroupDescribe(let answer)? =
                desk.replies[desk.ask(.consumerGroupDescribe(describe), version: 1)]
        else { return }
        #expect(answer.groups.map(\.errorCode) == [.none, .groupIdNotFound])
        #expect(answer.groups[0].groupState == "Stable")
        #expect(answer.groups[0].groupEpoch == 2)
        #expect(answer.groups[0].assignorName == "uniform")
        #expect(answer.groups[0].rebalanceReason?.contains("member b") == true)
        #expect(answer.groups[0].rebalancedAtMs == desk.group?.lastRebalance?.wallMs)
        #expect(answer.groups[1].rebalanceReason == nil && answer.groups[1].rebalancedAtMs == -1)
        #expect(answer.groups[0].members.map(\.assignment.topicPartitions.first?.topicName) == ["rooks", "rooks"])
        var list = ListGroupsRequest()
        list.typesFilter = ["consumer"]
        guard case .listGroups(let listed)? = desk.replies[desk.ask(.listGroups(list), version: 5)] else { return }
        #expect(listed.groups.map(\.groupType) == ["consumer"])
        var delete = DeleteGroupsRequest()
        delete.groupsNames = ["g"]
        guard case .deleteGroups(let refused)? = desk.replies[desk.ask(.deleteGroups(delete), version: 2)] else {
            return
        }
        #expect(refused.results.map(\.errorCode) == [.nonEmptyGroup])
        desk.quit("a")
        desk.quit("b")
        guard case .deleteGroups(let deleted)? = desk.replies[desk.ask(.deleteGroups(delete), version: 2)] else {
            return
        }
        #expect(deleted.results.map(\.errorCode) == [.none])
        #expect(desk.coordinator.groups.isEmpty)
        desk.failOver()
        #expect(desk.coordinator.groups.isEmpty)
    }

    @Test func emptyConsumerGroupGoesWithItsOffsets() {
        var desk = Desk()
        desk.consume("a")
        desk.clients["a"] = Client(memberID: "a", generation: 1)
        desk.commit("a", 5)
        desk.quit("a")
        desk.advance(7 * AdminTests.dayMs - 1_000)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=5"])
        desk.advance(601_000)
        #expect(desk.coordinator.groups.isEmpty)
        desk.failOver()
        #expect(desk.coordinator.groups.isEmpty)
    }
}
