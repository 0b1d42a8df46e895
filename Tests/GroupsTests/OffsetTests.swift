// Committed offsets: who may commit, what is told and when, and what goes.

import Groups
import Model
import Testing
import Wire

struct OffsetTests {
    @Test func membersCommitInTheirGeneration() {
        var desk = Desk()
        desk.stable(["a"])
        #expect(desk.commitError(desk.commit("a", 5)) == ErrorCode.none)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=5"])
        desk.clients["a"]?.generation = 7
        #expect(desk.commitError(desk.commit("a", 9)) == .illegalGeneration)
        desk.clients["ghost"] = Client(memberID: "ghost", generation: 1)
        #expect(desk.commitError(desk.commit("ghost", 9)) == .unknownMemberId)
        #expect(desk.commitError(desk.commit(nil, 9)) == .unknownMemberId)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=5"])
    }

    @Test func generationThatEndsMayStillCommit() {
        var desk = Desk()
        desk.stable(["a", "b"])
        desk.enter("c")
        #expect(desk.group?.state == .preparingRebalance)
        #expect(desk.commitError(desk.commit("a", 5)) == ErrorCode.none)
        desk.join("a")
        #expect(desk.commitError(desk.commit("b", 6)) == ErrorCode.none)
        desk.join("b")
        #expect(desk.group?.state == .completingRebalance)
        #expect(desk.commitError(desk.commit("b", 7)) == .rebalanceInProgress)
        desk.clients["late"] = Client(memberID: desk.client("b").memberID, generation: 1)
        #expect(desk.commitError(desk.commit("late", 8)) == .illegalGeneration)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=6"])
    }

    @Test func anyoneCommitsToAGroupWithoutMembers() {
        var desk = Desk()
        #expect(desk.commitError(desk.commit(nil, 3, group: "simple")) == ErrorCode.none)
        #expect(desk.offsets(desk.fetchAll("simple")) == ["rooks-0=3"])
        desk.clients["ghost"] = Client(memberID: "ghost", generation: 1)
        #expect(desk.commitError(desk.commit("ghost", 3, group: "none", version: 8)) == .illegalGeneration)
        #expect(desk.commitError(desk.commit("ghost", 3, group: "none", version: 9)) == .groupIdNotFound)
        #expect(desk.commitError(desk.commit("ghost", 3, group: "simple")) == .unknownMemberId)
        #expect(desk.coordinator.groups.keys.sorted() == ["simple"])
        desk.stable(["a"])
        desk.leave("a")
        #expect(desk.commitError(desk.commit(nil, 4)) == ErrorCode.none)
    }

    @Test func unknownTopicsAndLongMetadataAreRefusedAlone() {
        var desk = Desk()
        #expect(desk.commitError(desk.commit(nil, 1, topic: "owls")) == .unknownTopicOrPartition)
        #expect(desk.commitError(desk.commit(nil, 1, topic: "owls", version: 10)) == .unknownTopicId)
        #expect(desk.commitError(desk.commit(nil, 1, partition: 4)) == .unknownTopicOrPartition)
        #expect(desk.commitError(desk.commit(nil, 1, partition: -1)) == .unknownTopicOrPartition)
        let long = String(repeating: "x", count: 4_097)
        #expect(desk.commitError(desk.commit(nil, 1, metadata: long)) == .offsetMetadataTooLarge)
        #expect(desk.log.isEmpty)
        #expect(desk.commitError(desk.commit(nil, 1, metadata: String(long.dropLast()))) == ErrorCode.none)
        #expect(desk.commitError(desk.commit(nil, 2, partition: 1, version: 10)) == ErrorCode.none)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=1", "rooks-1=2"])
    }

    @Test(arguments: [
        (ErrorCode.notEnoughReplicas, ErrorCode.coordinatorNotAvailable), (.kafkaStorageError, .notCoordinator),
        (.messageTooLarge, .invalidCommitOffsetSize), (.notLeaderOrFollower, .notCoordinator),
    ])
    func refusedAppendIsToldAndForgotten(refusal: ErrorCode, told: ErrorCode) {
        var desk = Desk()
        desk.refusal = refusal
        #expect(desk.commitError(desk.commit(nil, 1)) == told)
        #expect(desk.coordinator.groups.isEmpty)
        #expect(desk.offsets(desk.fetchAll()) == [])
    }

    @Test func nothingIsToldBeforeItIsCommitted() {
        var desk = Desk()
        desk.commit(nil, 1)
        desk.commit(nil, 1, group: "other")
        desk.commitsAtOnce = false
        let commit = desk.commit(nil, 2)
        let fetch = desk.fetchAll()
        let other = desk.fetchAll("other")
        #expect(desk.commitError(commit) == nil)
        #expect(desk.offsets(fetch) == nil)
        #expect(desk.offsets(other) == ["rooks-0=1"])
        desk.commit()
        #expect(desk.commitError(commit) == ErrorCode.none)
        #expect(desk.offsets(fetch) == ["rooks-0=2"])
    }

    @Test func whatWasNeverCommittedIsGoneWithItsCoordinator() {
        var desk = Desk()
        desk.commit(nil, 1)
        desk.commitsAtOnce = false
        let commit = desk.commit(nil, 2)
        let fetch = desk.fetchAll()
        desk.failOver(through: desk.committed)
        #expect(desk.commitError(commit) == .notCoordinator)
        guard case .offsetFetch(let answer)? = desk.replies[fetch] else { return }
        #expect(answer.groups.map(\.errorCode) == [.notCoordinator])
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=1"])
    }

    @Test func loadedRecordsAreToldOnceTheyAreCommitted() {
        var desk = Desk()
        desk.commit(nil, 1)
        desk.commitsAtOnce = false
        desk.commit(nil, 2)
        desk.failOver()
        let fetch = desk.fetchAll()
        #expect(desk.offsets(fetch) == nil)
        desk.commit()
        #expect(desk.offsets(fetch) == ["rooks-0=2"])
    }

    // MARK: OffsetFetch by version

    private func fetch(_ desk: inout Desk, version: Int16, names: [String]?, ids: [UUID128] = [])
        -> OffsetFetchResponse?
    {
        var request = OffsetFetchRequest()
        func asked(_ name: String, _ id: UUID128 = .zero) -> OffsetFetchRequest.Topic {
            var topic = OffsetFetchRequest.Topic()
            topic.name = name
            topic.topicID = id
            topic.partitionIndexes = [0, 1]
            return topic
        }
        if version >= 8 {
            var group = OffsetFetchRequest.Group()
            group.groupID = "g"
            group.topics = version >= 10 ? ids.map { asked("", $0) } : names?.map { asked($0) }
            if version >= 10, names == nil, ids.isEmpty { group.topics = nil }
            var unknown = OffsetFetchRequest.Group()
            unknown.groupID = "nowhere"
            unknown.topics = group.topics
            request.groups = [group, unknown]
        } else {
            request.groupID = "g"
            request.topics = names?.map { asked($0) }
        }
        guard case .offsetFetch(let answer)? = desk.replies[desk.ask(.offsetFetch(request), version: version)] else {
            return nil
        }
        return answer
    }

    @Test(arguments: Array(1...7) as [Int16]) func oneGroupBeforeVersionEight(version: Int16) {
        var desk = Desk()
        desk.commit(nil, 5, partition: 1, metadata: "note")
        let answer = fetch(&desk, version: version, names: ["rooks", "owls"])
        #expect(answer?.errorCode == ErrorCode.none)
        #expect(answer?.topics.map(\.name) == ["rooks", "owls"])
        #expect(answer?.topics.first?.partitions.map(\.committedOffset) == [-1, 5])
        #expect(answer?.topics.first?.partitions.map(\.metadata) == ["", "note"])
        #expect(answer?.topics.last?.partitions.map(\.committedOffset) == [-1, -1])
        #expect(answer?.topics.last?.partitions.map(\.errorCode) == [.none, .none])
        if version >= 2 {
            #expect(fetch(&desk, version: version, names: nil)?.topics.first?.partitions.map(\.partitionIndex) == [1])
        }
    }

    @Test(arguments: [8, 9] as [Int16]) func manyGroupsFromVersionEight(version: Int16) {
        var desk = Desk()
        desk.commit(nil, 5, partition: 1)
        let answer = fetch(&desk, version: version, names: ["rooks"])
        #expect(answer?.groups.map(\.groupID) == ["g", "nowhere"])
        #expect(answer?.groups.map(\.errorCode) == [.none, .none])
        #expect(answer?.groups.map { $0.topics.first?.partitions.map(\.committedOffset) } == [[-1, 5], [-1, -1]])
        #expect(fetch(&desk, version: version, names: nil)?.groups.map(\.topics.count) == [1, 0])
    }

    @Test func topicIDsFromVersionTen() {
        var desk = Desk()
        desk.commit(nil, 5, partition: 1, version: 10)
        let rooks = UUID128(low: 101)
        let answer = fetch(&desk, version: 10, names: nil, ids: [rooks, UUID128(low: 9)])
        #expect(answer?.groups.first?.topics.map(\.topicID) == [rooks, UUID128(low: 9)])
        #expect(answer?.groups.first?.topics.first?.partitions.map(\.committedOffset) == [-1, 5])
        #expect(answer?.groups.first?.topics.last?.partitions.map(\.errorCode) == [.unknownTopicId, .unknownTopicId])
        #expect(fetch(&desk, version: 10, names: nil)?.groups.first?.topics.map(\.topicID) == [rooks])
        // The topic was made anew: its offsets are none of the old one's.
        desk.topics.all[0].id = UUID128(low: 201)
        #expect(
            fetch(&desk, version: 10, names: nil, ids: [UUID128(low: 201)])?.groups.first?.topics.first?.partitions
                .map(\.committedOffset) == [-1, -1])
    }

    // MARK: OffsetDelete

    private func delete(_ desk: inout Desk, _ topic: String, group: String = "g") -> (ErrorCode, ErrorCode?)? {
        var partition = OffsetDeleteRequest.Partition()
        partition.partitionIndex = 0
        var asked = OffsetDeleteRequest.Topic()
        asked.name = topic
        asked.partitions = [partition]
        var request = OffsetDeleteRequest()
        request.groupID = group
        request.topics = [asked]
        guard case .offsetDelete(let answer)? = desk.replies[desk.ask(.offsetDelete(request), version: 0)] else {
            return nil
        }
        return (answer.errorCode, answer.topics.first?.partitions.first?.errorCode)
    }

    @Test func offsetsOfReadTopicsStay() {
        var desk = Desk()
        desk.stable(["a"])
        desk.commit("a", 5)
        desk.commit("a", 6, topic: "swifts")
        #expect(delete(&desk, "rooks")?.1 == .groupSubscribedToTopic)
        #expect(delete(&desk, "swifts")?.1 == ErrorCode.none)
        #expect(delete(&desk, "owls")?.1 == .unknownTopicOrPartition)
        #expect(delete(&desk, "rooks", group: "nowhere")?.0 == .groupIdNotFound)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=5"])
        desk.leave("a")
        #expect(delete(&desk, "rooks")?.1 == ErrorCode.none)
        #expect(desk.offsets(desk.fetchAll()) == [])
        desk.failOver()
        #expect(desk.offsets(desk.fetchAll()) == [])
    }

    @Test func groupsOfOtherTypesKeepTheirsWhileTheyLive() {
        var desk = Desk()
        desk.clients["a"] = Client(protocolType: "connect")
        desk.stable(["a"])
        #expect(delete(&desk, "rooks")?.0 == .nonEmptyGroup)
    }
}
