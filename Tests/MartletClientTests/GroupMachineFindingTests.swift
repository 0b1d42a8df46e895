// Findings of reviews of the member's machine, one test each: what went wrong once, by scripts.

import MartletClient
import Model
import Testing
import Wire

private let a0 = TopicPartition("a", 0)
private let a1 = TopicPartition("a", 1)
private let a2 = TopicPartition("a", 2)
private let b0 = TopicPartition("b", 0)
private let all = [a0, a1, b0]

@Suite struct GroupMachineFindingTests {
    private func member(
        isNextGeneration: Bool, configure: (inout GroupConsumerConfiguration) -> Void = { _ in }
    ) -> GroupWorld {
        var world = GroupWorld(isNextGeneration: isNextGeneration, configure: configure)
        #expect(world.run { $0.begun.count >= 3 })
        world.settle()
        return world
    }

    /// A classic group where another leader gives this member less.
    private func deal(_ topics: [(String, [Int32])], in world: inout GroupWorld) {
        var said = ConsumerProtocolAssignment()
        said.assignedPartitions = topics.map { name, partitions in
            var entry = ConsumerProtocolAssignment.TopicPartitions()
            (entry.topic, entry.partitions) = (name, partitions)
            return entry
        }
        let blob = said.encode(version: 0)
        world.override = { call in
            guard case .sync = call else { return nil }
            var response = SyncGroupResponse()
            response.assignment = blob
            return .sync(response)
        }
        world.group.rebalances = true
    }

    // MARK: Leaving

    /// Or the group waits a session timeout for it.
    @Test(arguments: [false, true]) func whoCannotCommitLeavesAllTheSame(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration) { $0.autoCommitIntervalMs = 60_000 }
        world.positions[a0] = 7
        world.group.refusesCommits = true
        world.machine.close(patienceMs: 400, at: world.now)
        let begin = world.now
        #expect(world.run { $0.isClosed })
        #expect(world.group.left)
        #expect(world.now.milliseconds(since: begin) < 400)
    }

    @Test func aCoordinatorThatIsRebalancingIsNotAskedAllTheTimeWhileClosing() {
        var world = member(isNextGeneration: false) { $0.autoCommitIntervalMs = nil }
        world.group.refusesCommits = true
        _ = world.machine.commit(SortedMap([(a0, OffsetAndMetadata(3))]), at: world.now)
        world.machine.close(at: world.now)
        world.run(forMs: 1_000)
        world.group.rebalances = true
        let before = world.group.heartbeats
        world.run(forMs: 2_000)
        #expect(world.group.heartbeats - before <= 3)
        #expect(!world.asked.contains("does not come to rest"))
    }

    // MARK: Topics

    /// KIP-814: it is told not to assign, and leads all the same.
    @Test func aStaticLeaderThatComesBackLooksForPartitionsThatAreAdded() {
        let configure: (inout GroupConsumerConfiguration) -> Void = {
            ($0.groupInstanceID, $0.metadataMaxAgeMs) = ("one", 3_000)
        }
        let before = member(isNextGeneration: false, configure: configure)
        var world = GroupWorld(configure: configure)
        world.group = before.group
        world.group.skipsAssignment = true
        #expect(world.run { $0.begun.count == 3 })
        world.run(forMs: 4_000)
        #expect(world.begun.count == 3 && world.asked.filter { $0 == "sync" }.count == 1)
        world.group.skipsAssignment = false
        world.group.topics[0].partitions = 3
        #expect(world.run { $0.positions[a2] != nil })
    }

    /// A node that lags behind, or cannot say now.
    @Test(arguments: [true, false]) func whatOneLookDoesNotFindIsThere(isUnclear: Bool) {
        var world = member(isNextGeneration: false) { $0.metadataMaxAgeMs = 3_000 }
        let (topics, looks, asked) = (world.group.topics, world.looks, world.asked.count)
        if isUnclear { world.unclearTopics = ["a"] } else { world.group.topics.removeFirst() }
        #expect(world.run { $0.looks == looks + 1 })
        (world.group.topics, world.unclearTopics) = (topics, [])
        #expect(world.run { $0.looks == looks + 3 })
        #expect(!world.asked[asked...].contains("join"))
        #expect(world.changes == ["begun a-0 a-1 b-0"])
    }

    @Test func whatASecondLookDoesNotFindIsGone() {
        var world = member(isNextGeneration: false) { $0.metadataMaxAgeMs = 3_000 }
        world.group.topics.removeFirst()
        #expect(world.run { Array($0.positions.keys) == [b0] })
        #expect(world.changes.last == "revoked a-0 a-1")
    }

    /// A commit by name would say of the new topic what was read of the old one.
    @Test func ofATopicThatWasMadeAnewNothingIsCommitted() {
        var world = member(isNextGeneration: true) { $0.autoCommitIntervalMs = 60_000 }
        world.run(forMs: 1_000)
        world.positions[b0] = 9
        world.group.topics[1].id = UUID128(high: 1, low: 3)
        (world.group.rebalances, world.group.owned) = (true, nil)
        #expect(world.run { $0.begun.count == 4 })
        #expect(world.changes.suffix(2) == ["lost b-0", "begun b-0"])
        #expect(world.group.commits.isEmpty && world.positions[b0] == 0)
        // It has to hear that the member reads the new one.
        #expect(world.run { $0.group.owned == all })
    }

    /// Before the member hears of it.
    @Test func aCommitNamesTheTopicThatWasRead() {
        var world = member(isNextGeneration: true)
        world.positions[a0] = 5
        world.positions[b0] = 9
        world.group.topics[1].id = UUID128(high: 1, low: 3)
        #expect(world.run { $0.group.offsets[a0] == 5 })
        world.run(forMs: 3_000)
        #expect(!world.group.commits.contains { $0.partition == b0 })
    }

    /// Asked for, it is tried again for a while, and by then the member reads the new topic.
    @Test func aCommitThatWaitsIsNotTheNewTopics() {
        var world = member(isNextGeneration: true) { $0.autoCommitIntervalMs = nil }
        world.group.refusals[b0] = .unknownTopicOrPartition
        let id = world.machine.commit(SortedMap([(b0, OffsetAndMetadata(9))]), at: world.now)
        world.run(forMs: 1_000)
        #expect(world.committed[id] == nil)
        world.group.topics[1].id = UUID128(high: 1, low: 3)
        (world.group.rebalances, world.group.owned) = (true, nil)
        world.group.refusals = [:]
        #expect(world.run { $0.begun.count == 4 && $0.committed[id] != nil })
        #expect(!world.group.commits.contains { $0.partition == b0 })
        #expect(world.committed[id] != .some(nil))
    }

    // MARK: Commits

    @Test(arguments: [false, true]) func onlyWhatWasRefusedIsCommittedAgain(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration) { $0.autoCommitIntervalMs = nil }
        world.group.refusals[a1] = .coordinatorLoadInProgress
        let offsets = SortedMap([(a0, OffsetAndMetadata(3)), (a1, OffsetAndMetadata(4))])
        let id = world.machine.commit(offsets, at: world.now)
        world.run(forMs: 1_000)
        #expect(world.group.commits.map(\.partition) == [a0] && world.committed[id] == nil)
        world.group.refusals = [:]
        #expect(world.run { $0.committed[id] != nil })
        #expect(world.committed[id] == .some(nil))
        #expect(world.group.commits.map(\.partition) == [a0, a1])
    }

    @Test func aDeletedTopicDoesNotHoldUpTheOthers() {
        var world = member(isNextGeneration: false)
        world.group.refusals[b0] = .unknownTopicOrPartition
        (world.positions[a0], world.positions[b0]) = (3, 4)
        #expect(world.run { $0.group.offsets[a0] == 3 })
        world.run(forMs: 3_000)
        world.positions[a0] = 5
        #expect(world.run { $0.group.offsets[a0] == 5 })
        #expect(world.group.commits.filter { $0.partition == a0 }.map(\.offset) == [3, 5])
    }

    /// One that is refused because a rebalance took its partition away.
    @Test func aCommitThatIsRefusedDoesNotHoldUpTheNext() {
        var world = member(isNextGeneration: false) { config in
            (config.autoCommitIntervalMs, config.heartbeatIntervalMs) = (nil, 5_000)
        }
        world.group.refusesCommits = true
        let refused = world.machine.commit(SortedMap([(a1, OffsetAndMetadata(3))]), at: world.now)
        let next = world.machine.commit(SortedMap([(a0, OffsetAndMetadata(4))]), at: world.now)
        deal([("a", [0]), ("b", [0])], in: &world)
        #expect(world.run { Array($0.machine.owned.keys) == [a0, b0] && $0.machine.membership == .member })
        #expect(world.committed.isEmpty)
        // The turn of both has come when it looks next.
        world.group.refusesCommits = false
        world.now = world.now.advanced(byMs: 200)
        world.settle()
        guard case .some(.some(.refused(_, .illegalGeneration, _))) = world.committed[refused] else {
            Issue.record("\(String(describing: world.committed[refused]))")
            return
        }
        #expect(world.committed[next] == .some(nil))
    }

    @Test(arguments: [false, true]) func whoHasLostItsPlaceDoesNotCommit(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration) { $0.autoCommitIntervalMs = nil }
        world.holdsReleases = true
        world.group.forget()
        #expect(world.run { $0.heldRelease == all })
        let id = world.machine.commit(SortedMap([(a0, OffsetAndMetadata(3))]), at: world.now)
        world.holdsReleases = false
        world.release(all)
        #expect(world.run { $0.begun.count == 6 && $0.committed[id] != nil })
        #expect(world.committed[id] != .some(nil) && world.group.commits.isEmpty)
    }

    /// A rebalance does not wait longer than it may for what cannot be committed.
    @Test func theCommitOfWhatIsGivenUpEndsInTime() {
        var world = member(isNextGeneration: false) { config in
            (config.autoCommitIntervalMs, config.rebalanceTimeoutMs) = (60_000, 8_000)
        }
        world.positions[a1] = 5
        world.group.refusesCommits = true
        deal([("a", [0]), ("b", [0])], in: &world)
        #expect(world.run { $0.changes.last == "revoked a-1" })
        let (begin, asked) = (world.now, world.asked.count)
        #expect(world.run { $0.asked[asked...].contains("join") })
        #expect(world.now.milliseconds(since: begin) <= 2_000)
    }

    // MARK: Waiting

    /// What it gave up is with others already: nobody needs to come back from it.
    @Test(arguments: [false, true]) func whoLosesItsPlaceDoesNotWaitForTheReader(isNextGeneration: Bool) {
        var world = member(isNextGeneration: isNextGeneration)
        world.holdsReleases = true
        world.group.target = [a0, b0]
        if isNextGeneration { world.group.rebalances = true } else { deal([("a", [0]), ("b", [0])], in: &world) }
        #expect(world.run { $0.heldRelease == [a1] })
        (world.holdsReleases, world.override) = (false, nil)
        world.group.target = all
        world.group.forget()
        #expect(world.run { Array($0.positions.keys) == all && $0.begun.count == 6 })
    }

    /// While a handler still deals with what was to go before.
    @Test func whoHasLostItsPlaceBeginsNothing() throws {
        var world = GroupWorld(isNextGeneration: true)
        world.holdsOffsets = true
        #expect(world.run { $0.machine.owned.count == 3 })
        world.run(forMs: 500)
        let id = try #require(world.machine.requests.first { $0.value.kind == .offsets(all) }?.key)
        (world.holdsReleases, world.hasSlowHandler) = (true, true)
        world.group.target = [a0, b0]
        world.group.rebalances = true
        #expect(world.run { $0.heldRelease == [a1] })
        world.group.forget()
        #expect(world.run { $0.machine.hasLostPlace })
        var request = OffsetFetchRequest()
        request.groups = [OffsetFetchRequest.Group()]
        request.groups[0].topics = ["a", "b"].map { name in
            var topic = OffsetFetchRequest.Topic()
            (topic.name, topic.partitionIndexes) = (name, [0])
            return topic
        }
        world.machine.answered(id, world.group.answer(.fetchOffsets(request)), at: world.now)
        world.settle()
        #expect(world.begun.isEmpty)
    }

    /// The group waits for its other members, and says nothing meanwhile.
    @Test func aJoinThatIsHeldBackIsNoStruggle() {
        var world = GroupWorld { $0.consumer.patienceMs = 3_000 }
        world.faults[1] = .notCoordinator
        world.heldBack = [2]
        world.run(forMs: 20_000)
        #expect(world.asked == ["join anew", "join", "join"])
        #expect(world.failure == nil)
    }

    @Test(arguments: [false, true]) func offsetsThatCannotBeReadEndPatience(isNextGeneration: Bool) {
        var world = GroupWorld(isNextGeneration: isNextGeneration) { $0.consumer.patienceMs = 3_000 }
        world.group.refusesOffsets = true
        #expect(world.run { $0.failure != nil })
        guard case .gaveUp(_, _, let last)? = world.failure, last.contains("COORDINATOR_LOAD_IN_PROGRESS") else {
            Issue.record("\(String(describing: world.failure))")
            return
        }
    }

    @Test func offsetsThatWereReadInTheEndAreNoStruggle() {
        var world = GroupWorld { $0.consumer.patienceMs = 3_000 }
        world.group.refusesOffsets = true
        world.run(forMs: 2_000)
        world.group.refusesOffsets = false
        world.run(forMs: 10_000)
        #expect(world.failure == nil && world.begun.count == 3)
    }

    @Test func topicsThatCannotBeLearntEndTheLeadersPatience() {
        var world = GroupWorld { $0.consumer.patienceMs = 3_000 }
        world.failsTopics = true
        #expect(world.run { $0.failure != nil })
        guard case .gaveUp? = world.failure else {
            Issue.record("\(String(describing: world.failure))")
            return
        }
    }

    /// It may coordinate again, and the next join would wait behind the one that it holds back.
    @Test func aFormerCoordinatorsHeldBackAnswerIsGivenUp() {
        var world = GroupWorld()
        world.heldBack = [1]
        world.run(forMs: 100)
        #expect(world.asked == ["join anew", "join"])
        world.node = 2
        #expect(world.run { $0.begun.count == 3 })
        #expect(world.abandoned == [1])
    }
}
