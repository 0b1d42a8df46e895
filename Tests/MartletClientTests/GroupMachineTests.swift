// The member's machine by scripts: joining, moving partitions, committing, leaving, and a coordinator that vanishes at
// every stage of it.

import MartletClient
import Model
import Testing
import Wire

private let a0 = TopicPartition("a", 0)
private let a1 = TopicPartition("a", 1)
private let b0 = TopicPartition("b", 0)
private let all = [a0, a1, b0]

@Suite struct GroupMachineTests {
    private func member(
        isNextGeneration: Bool, configure: (inout GroupConsumerConfiguration) -> Void = { _ in }
    ) -> GroupWorld {
        var world = GroupWorld(isNextGeneration: isNextGeneration, configure: configure)
        #expect(world.run { $0.begun.count >= 3 })
        world.settle()
        return world
    }

    @Test func aMemberOfAClassicGroupJoinsInTheseSteps() {
        let world = member(isNextGeneration: false)
        #expect(world.asked == ["join anew", "join", "sync", "fetch"])
        #expect(world.changes == ["begun a-0 a-1 b-0"])
        #expect(world.machine.chosen == .classic)
    }

    @Test func aMemberOfAConsumerGroupJoinsInTheseSteps() {
        let world = member(isNextGeneration: true)
        #expect(world.asked == ["join", "tell", "fetch"] || world.asked == ["join", "fetch", "tell"])
        #expect(world.machine.chosen == .nextGeneration)
        #expect(world.group.owned == all)
    }

    @Test func theProtocolThatWasAskedForIsUsed() {
        let world = member(isNextGeneration: true) { $0.groupProtocol = .classic }
        #expect(world.asked.first == "join anew" && world.machine.chosen == .classic)
    }

    @Test(arguments: [false, true]) func readingGoesOnWhereTheGroupHasCommitted(isNextGeneration: Bool) {
        var world = GroupWorld(isNextGeneration: isNextGeneration)
        world.group.offsets[a1] = 40
        #expect(world.run { $0.begun.count == 3 })
        #expect(world.begun.first { $0.partition == a1 }?.committed == OffsetAndMetadata(40))
        #expect(world.begun.first { $0.partition == a0 }?.committed == nil)
    }

    @Test(arguments: [false, true]) func whatWasReadIsCommittedFromTimeToTimeAndOnceOnly(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration)
        world.positions[a0] = 7
        world.run(forMs: 5_000)
        #expect(world.group.commits.filter { $0.partition == a0 }.map(\.offset) == [7])
        world.positions[a0] = 9
        world.run(forMs: 5_000)
        #expect(world.group.commits.filter { $0.partition == a0 }.map(\.offset) == [7, 9])
    }

    @Test(arguments: [false, true]) func closingCommitsThenLeaves(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration) { $0.autoCommitIntervalMs = 60_000 }
        world.positions[a0] = 7
        let before = world.asked.count
        world.machine.close(at: world.now)
        #expect(world.run { $0.isClosed })
        #expect(Array(world.asked[before...].filter { $0 != "heartbeat" }) == ["commit", "leave"])
        #expect(world.group.offsets[a0] == 7 && world.group.left)
        #expect(world.changes.last == "revoked a-0 a-1 b-0")
    }

    @Test func aStaticMemberOfAClassicGroupDoesNotLeave() {
        var world = member(isNextGeneration: false) { $0.groupInstanceID = "one" }
        world.machine.close(at: world.now)
        #expect(world.run { $0.isClosed })
        #expect(!world.asked.contains("leave"))
    }

    @Test func whatGoesToOthersIsCommittedBeforeTheNextJoinAndTheRestIsReadOn() {
        var world = member(isNextGeneration: false) { $0.autoCommitIntervalMs = 60_000 }
        world.positions[a1] = 5
        // Another member: its leader deals only a-0 and b-0 to this one.
        var said = ConsumerProtocolAssignment()
        var (a, b) = (ConsumerProtocolAssignment.TopicPartitions(), ConsumerProtocolAssignment.TopicPartitions())
        (a.topic, a.partitions, b.topic, b.partitions) = ("a", [0], "b", [0])
        said.assignedPartitions = [a, b]
        let blob = said.encode(version: 0)
        world.override = { call in
            guard case .sync = call else { return nil }
            var response = SyncGroupResponse()
            response.assignment = blob
            return .sync(response)
        }
        world.group.rebalances = true
        let before = world.asked.count
        #expect(world.run { $0.changes.contains("revoked a-1") && $0.asked.count >= before + 5 })
        let steps = world.asked[before...].filter { $0 != "heartbeat" }
        #expect(Array(steps.prefix(5)) == ["join", "sync", "commit", "join", "sync"])
        #expect(world.group.offsets[a1] == 5)
        #expect(!world.changes.contains { $0.contains("a-0") && $0.hasPrefix("revoked") })
        #expect(Array(world.machine.owned.keys) == [a0, b0])
    }

    @Test func aConsumerGroupHearsOfWhatWasGivenUpAfterTheCommit() {
        var world = member(isNextGeneration: true) { $0.autoCommitIntervalMs = 60_000 }
        world.positions[a1] = 5
        world.group.target = [a0, b0]
        world.group.rebalances = true
        let before = world.asked.count
        #expect(world.run { $0.group.owned == [a0, b0] })
        #expect(Array(world.asked[before...].filter { $0 != "heartbeat" }) == ["commit", "tell"])
        #expect(world.group.offsets[a1] == 5)
        #expect(world.changes.last == "revoked a-1")
    }

    /// Or the next owner would begin where this one had not committed yet.
    @Test func whatIsBeingCommittedCountsAsOwned() {
        var world = member(isNextGeneration: true) { $0.autoCommitIntervalMs = 60_000 }
        world.group.heartbeatIntervalMs = 10
        world.run(forMs: 2_000)
        world.positions[a1] = 5
        world.group.target = [a0, b0]
        world.group.rebalances = true
        world.group.refusesCommits = true
        world.run(forMs: 2_000)
        #expect(world.asked.last(where: { $0 != "heartbeat" }) == "commit")
        #expect(world.group.owned == all)
        world.group.refusesCommits = false
        #expect(world.run { $0.group.owned == [a0, b0] })
        #expect(world.group.offsets[a1] == 5)
    }

    @Test(arguments: [false, true]) func aCommitThatIsTriedAgainDoesNotSetALaterOneBack(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration) { $0.autoCommitIntervalMs = nil }
        world.group.refusesCommits = true
        let older = world.machine.commit([(a0, OffsetAndMetadata(3))].map, at: world.now)
        let before = world.asked.count
        #expect(world.run { $0.asked[before...].contains("commit") })
        let newer = world.machine.commit([(a0, OffsetAndMetadata(7))].map, at: world.now)
        world.group.refusesCommits = false
        #expect(world.run { $0.committed[older] != nil && $0.committed[newer] != nil })
        #expect(world.group.commits.map(\.offset) == [3, 7])
    }

    /// The handler of a rebalance takes its time, and the coordinator its own with the offsets.
    @Test func whatIsGivenUpIsNotBegunByALateAnswer() {
        var world = GroupWorld(isNextGeneration: true) { $0.autoCommitIntervalMs = 60_000 }
        world.group.refusesOffsets = true
        #expect(world.run { $0.machine.owned.count == 3 })
        world.run(forMs: 1_000)
        world.holdsReleases = true
        world.group.target = [a0, b0]
        world.group.rebalances = true
        #expect(world.run { $0.heldRelease != nil })
        world.group.refusesOffsets = false
        world.run(forMs: 5_000)
        #expect(Array(world.positions.keys).sorted() == [a0, b0])
    }

    @Test func anEagerAssignorTakesEverythingFirst() {
        var world = member(isNextGeneration: false) { $0.assignors = [.range] }
        world.group.rebalances = true
        #expect(world.run { $0.begun.count == 6 })
        #expect(world.changes == ["begun a-0 a-1 b-0", "revoked a-0 a-1 b-0", "begun a-0 a-1 b-0"])
    }

    @Test(arguments: [false, true]) func heartbeatsGoOnWhileAReaderTakesItsTime(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration) { $0.assignors = [.range] }
        world.holdsReleases = true
        world.group.target = []
        world.group.rebalances = true
        #expect(world.run { $0.heldRelease != nil })
        let before = world.asked.count
        world.run(forMs: 10_000)
        let asked = world.asked[before...].filter { $0 != "commit" }
        #expect(asked.allSatisfy { $0 == "heartbeat" } && asked.count > 5)
    }

    // MARK: A coordinator that vanishes

    /// Joins, reads, commits, gives up and closes, with a fault at one question after the other.
    @Test(arguments: [false, true], GroupFault.allCases)
    func aCoordinatorVanishesAtEveryStage(isNextGeneration: Bool, fault: GroupFault) {
        for at in 0..<14 {
            var world = GroupWorld(isNextGeneration: isNextGeneration)
            world.faults[at] = fault
            let what: Comment = "question \(at)"
            #expect(world.run { Array($0.positions.keys) == all }, what)
            world.positions[a0] = 3
            #expect(world.run { $0.group.offsets[a0] == 3 || $0.positions[a0] == 0 }, what)
            // Whoever lost its place read again from what was committed.
            let position = world.positions[a0] ?? 0
            world.positions[a0] = position + 4
            let id = world.machine.commit([(a0, OffsetAndMetadata(position + 4))].map, at: world.now)
            #expect(world.run { $0.committed[id] != nil }, what)
            #expect(world.run { Array($0.positions.keys) == all }, what)
            if case .some(.none) = world.committed[id] { #expect(world.group.offsets[a0] == position + 4, what) }
            let last = world.positions[a0] ?? 0
            world.machine.close(at: world.now)
            #expect(world.run { $0.isClosed }, what)
            #expect(world.failure == nil && !world.asked.contains("does not come to rest"), what)
            if fault != .forgotten || at < world.asked.count - 3 { #expect(world.group.offsets[a0] ?? 0 >= last, what) }
            let offsets = world.group.commits.filter { $0.partition == a0 }.map(\.offset)
            #expect(offsets == offsets.sorted(), "a commit went back: \(offsets), question \(at)")
        }
    }

    @Test(arguments: [false, true]) func aFrozenCoordinatorIsLeftForTheNextOne(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration)
        world.faults[world.asked.count] = .silent
        world.positions[a0] = 3
        let start = world.now
        #expect(world.run { $0.group.offsets[a0] == 3 })
        #expect(world.now.milliseconds(since: start) < 2_500)
    }

    // MARK: Errors

    @Test(arguments: [
        ErrorCode.fencedInstanceId, .groupMaxSizeReached, .inconsistentGroupProtocol, .groupAuthorizationFailed,
    ])
    func whatDoesNotPassByItselfEndsTheMembership(code: ErrorCode) {
        var world = member(isNextGeneration: false)
        world.override = { call in
            if case .heartbeat = call { return call.refused(code) }
            return nil
        }
        #expect(world.run { $0.failure != nil })
        guard case .refused(_, let told, _)? = world.failure else { return }
        #expect(told == code)
        #expect(world.changes.last == "lost a-0 a-1 b-0")
        let id = world.machine.commit([(a0, OffsetAndMetadata(1))].map, at: world.now)
        world.settle()
        #expect(world.committed[id] == .some(world.failure))
        world.machine.close(at: world.now)
        #expect(world.run { $0.isClosed })
    }

    @Test(arguments: [false, true]) func aMemberThatIsUnknownReadsAgainFromTheCommittedOffsets(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration)
        world.positions[a0] = 3
        #expect(world.run { $0.group.offsets[a0] == 3 })
        world.positions[a0] = 8
        world.group.forget()
        #expect(world.run { $0.begun.count == 6 })
        #expect(world.changes.contains("lost a-0 a-1 b-0"))
        #expect(world.positions[a0] == 3)
    }

    @Test func aCommitThatIsTooLateForItsPartitionFails() {
        var world = member(isNextGeneration: false) { $0.commitPatienceMs = 5_000 }
        world.override = { call in
            if case .commit = call { return call.refused(.rebalanceInProgress) }
            return nil
        }
        let id = world.machine.commit([(a0, OffsetAndMetadata(1))].map, at: world.now)
        #expect(world.run { $0.committed[id] != nil })
        guard case .some(.some(.gaveUp)) = world.committed[id] else {
            Issue.record("\(String(describing: world.committed[id]))")
            return
        }
    }

    @Test func aGroupWithoutACoordinatorIsGivenUpWhereTheReaderWantsToBeTold() {
        var world = GroupWorld { $0.consumer.patienceMs = 3_000 }
        world.servesNextGeneration = false
        world.override = { $0.refused(.coordinatorLoadInProgress) }
        #expect(world.run { $0.failure != nil })
        guard case .gaveUp? = world.failure else {
            Issue.record("\(String(describing: world.failure))")
            return
        }
    }

    // MARK: Patterns

    @Test func aClassicMemberJoinsAgainWhenOtherTopicsMatch() {
        var world = GroupWorld(topics: [], pattern: "[abc]") { $0.metadataMaxAgeMs = 3_000 }
        #expect(world.run { Array($0.positions.keys) == all })
        world.group.topics.append(GroupMachine.KnownTopic(name: "c", id: UUID128(high: 1, low: 9), partitions: 1))
        let asked = world.asked.count
        #expect(world.run { $0.positions[TopicPartition("c", 0)] != nil })
        #expect(world.asked[asked...].filter { $0 == "join" }.count == 1)
        #expect(world.changes == ["begun a-0 a-1 b-0", "begun c-0"])
        world.group.topics.removeFirst()
        #expect(world.run { Array($0.positions.keys) == [b0, TopicPartition("c", 0)] })
        #expect(world.machine.topics == ["b", "c"])
    }

    @Test func theCoordinatorOfAConsumerGroupMatches() {
        var world = GroupWorld(isNextGeneration: true, topics: [], pattern: "[abc]")
        #expect(world.run { Array($0.positions.keys) == all })
        #expect(world.group.pattern == "[abc]")
        // It may know of a topic before the member does.
        world.group.topics.append(GroupMachine.KnownTopic(name: "c", id: UUID128(high: 1, low: 9), partitions: 1))
        world.group.target.append(TopicPartition("c", 0))
        world.group.rebalances = true
        #expect(world.run { $0.group.owned == all + [TopicPartition("c", 0)] })
        #expect(world.changes == ["begun a-0 a-1 b-0", "begun c-0"])
    }

    /// Its reading of the pattern counts, and a topic that the member takes for none of them holds up no other.
    @Test func whatTheCoordinatorMatchesIsRead() {
        var world = GroupWorld(isNextGeneration: true, topics: [], pattern: ".*")
        world.unmatched = ["b"]
        #expect(world.run { Array($0.positions.keys) == all })
        #expect(world.machine.topics == ["a"])
    }

    @Test func aTopicThatNoNodeNamesIsToldOf() {
        var world = GroupWorld(isNextGeneration: true, topics: [], pattern: ".*") { $0.consumer.patienceMs = 5_000 }
        world.hidden = ["b"]
        #expect(world.run { $0.failure != nil })
        guard case .gaveUp? = world.failure else {
            Issue.record("\(String(describing: world.failure))")
            return
        }
    }

    @Test(arguments: [false, true]) func whoCannotFindOutWhichTopicsThereAreIsTold(isNextGeneration: Bool) {
        var world = GroupWorld(isNextGeneration: isNextGeneration, topics: [], pattern: "[abc]") { config in
            config.consumer.patienceMs = 3_000
        }
        world.failsTopics = true
        #expect(world.run { $0.failure != nil })
        guard case .gaveUp? = world.failure else {
            Issue.record("\(String(describing: world.failure))")
            return
        }
    }

    @Test func theLeaderNoticesPartitionsThatWereAdded() {
        var world = member(isNextGeneration: false) { $0.metadataMaxAgeMs = 3_000 }
        world.group.topics[0].partitions = 3
        #expect(world.run { $0.positions[TopicPartition("a", 2)] != nil })
    }
}

extension [(TopicPartition, OffsetAndMetadata)] {
    fileprivate var map: SortedMap<TopicPartition, OffsetAndMetadata> { SortedMap(self) }
}
