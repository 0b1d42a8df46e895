// Describing, listing and deleting groups, and what goes by itself.

import Groups
import Model
import Testing
import Wire

struct AdminTests {
    private func describe(_ desk: inout Desk, _ group: String, version: Int16 = 6) -> DescribeGroupsResponse.Group? {
        var request = DescribeGroupsRequest()
        request.groups = [group]
        guard case .describeGroups(let answer)? = desk.replies[desk.ask(.describeGroups(request), version: version)]
        else { return nil }
        return answer.groups.first
    }

    private func delete(_ desk: inout Desk, _ groups: [String]) -> [ErrorCode]? {
        var request = DeleteGroupsRequest()
        request.groupsNames = groups
        guard case .deleteGroups(let answer)? = desk.replies[desk.ask(.deleteGroups(request), version: 2)] else {
            return nil
        }
        return answer.results.map(\.errorCode)
    }

    private func list(_ desk: inout Desk, states: [String] = [], types: [String] = []) -> [String] {
        var request = ListGroupsRequest()
        request.statesFilter = states
        request.typesFilter = types
        guard case .listGroups(let answer)? = desk.replies[desk.ask(.listGroups(request), version: 5)] else {
            return []
        }
        return answer.groups.map { "\($0.groupID) \($0.protocolType) \($0.groupState) \($0.groupType)" }
    }

    @Test func describesWhatIsSettled() {
        var desk = Desk()
        desk.clients["b"] = Client(instanceID: "two")
        desk.stable(["a", "b"])
        let group = describe(&desk, "g")
        #expect(group?.rebalanceReason?.contains("joined") == true)
        #expect(group?.rebalancedAtMs == desk.group?.lastRebalance?.wallMs)
        #expect(group?.groupState == "Stable")
        #expect(group?.protocolType == "consumer")
        #expect(group?.protocolData == "range")
        #expect(group?.members.map(\.clientHost) == ["/10.0.0.1", "/10.0.0.1"])
        #expect(group?.members.compactMap(\.groupInstanceID) == ["two"])
        #expect(Set(group?.members.map { String(buffer: $0.memberAssignment) } ?? []) == ["a", "b"])
        desk.enter("c")
        let between = describe(&desk, "g")
        #expect(between?.groupState == "PreparingRebalance")
        #expect(between?.members.map(\.memberAssignment.readableBytes) == [0, 0, 0])
    }

    @Test func unknownGroupIsDeadOrNotFound() {
        var desk = Desk()
        #expect(describe(&desk, "nowhere", version: 5)?.errorCode == ErrorCode.none)
        #expect(describe(&desk, "nowhere", version: 5)?.groupState == "Dead")
        #expect(describe(&desk, "nowhere", version: 6)?.errorCode == .groupIdNotFound)
        #expect(describe(&desk, "nowhere", version: 6)?.errorMessage != nil)
    }

    @Test func listsByStateAndType() {
        var desk = Desk()
        desk.stable(["a"])
        desk.commit(nil, 1, group: "simple")
        #expect(list(&desk) == ["g consumer Stable classic", "simple  Empty classic"])
        #expect(list(&desk, states: ["stable"]) == ["g consumer Stable classic"])
        #expect(list(&desk, states: ["Empty", "Dead"]) == ["simple  Empty classic"])
        #expect(list(&desk, types: ["Classic"]).count == 2)
        #expect(list(&desk, types: ["consumer"]) == [])
    }

    @Test func deletesOnlyWhatIsEmpty() {
        var desk = Desk()
        desk.stable(["a"])
        desk.commit("a", 3)
        desk.commit(nil, 1, group: "simple")
        #expect(
            delete(&desk, ["simple", "g", "nowhere", "simple"]) == [.none, .nonEmptyGroup, .groupIdNotFound])
        desk.leave("a")
        #expect(delete(&desk, ["g"]) == [ErrorCode.none])
        #expect(desk.coordinator.groups.isEmpty)
        desk.failOver()
        #expect(desk.coordinator.groups.isEmpty)
    }

    @Test func deletionIsToldOnceItIsCommitted() {
        var desk = Desk()
        desk.commit(nil, 1)
        desk.commitsAtOnce = false
        #expect(delete(&desk, ["g"]) == nil)
        let fetch = desk.fetchAll()
        #expect(desk.offsets(fetch) == nil)
        desk.commit()
        #expect(desk.offsets(fetch) == [])
    }

    @Test func manyOffsetsAreDeletedInSeveralAppends() {
        var settings = GroupSettings()
        settings.tombstoneBytesMax = 100
        var desk = Desk(settings: settings)
        desk.stable(["a"])
        for partition in 0..<4 {
            for topic in ["rooks", "swifts"] { desk.commit("a", 3, topic: topic, partition: Int32(partition)) }
        }
        desk.leave("a")
        desk.refusal = .notEnoughReplicas
        #expect(delete(&desk, ["g"]) == [.coordinatorNotAvailable])
        desk.refusal = nil
        #expect(delete(&desk, ["g"]) == [ErrorCode.none])
        #expect(desk.log.suffix(9).allSatisfy { $0.description.hasSuffix("tombstone") })
        #expect(desk.coordinator.groups.isEmpty)
    }

    // MARK: What goes by itself

    static let dayMs: Int64 = 86_400_000

    @Test func emptyGroupGoesARetentionAfterItsLastMember() {
        var desk = Desk()
        desk.stable(["a"])
        desk.commit("a", 3)
        desk.leave("a")
        desk.advance(7 * Self.dayMs - 1_000)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=3"])
        desk.advance(601_000)
        #expect(desk.coordinator.groups.isEmpty)
        #expect(desk.log.suffix(2).allSatisfy { $0.description.hasSuffix("tombstone") })
        desk.failOver()
        #expect(desk.coordinator.groups.isEmpty)
    }

    @Test func commitIntoAnOldEmptyGroupStartsItsRetention() {
        var desk = Desk()
        desk.stable(["a"])
        desk.commit("a", 3)
        desk.leave("a")
        desk.advance(7 * Self.dayMs - 10_000)
        desk.commit(nil, 1)
        desk.advance(2 * Self.dayMs)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=1"])
    }

    @Test func livingGroupKeepsWhatItReads() {
        var desk = Desk()
        desk.clients["a"] = Client(protocols: [("range", ["rooks"])], sessionTimeoutMs: 1_800_000)
        desk.stable(["a"])
        desk.commit("a", 3)
        desk.commit("a", 3, topic: "swifts")
        desk.commit(nil, 4, group: "simple")
        for _ in 0..<(8 * 48) {
            desk.advance(1_799_000)
            desk.beat("a")
        }
        #expect(desk.group?.state == .stable)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=3"])
        #expect(desk.coordinator.groups["simple"] == nil)
    }

    @Test func oldRecordsSayThemselvesWhenTheyEnd() {
        var desk = Desk(loaded: false)
        var key = OffsetCommitKey()
        key.groupID = "g"
        key.topic = "rooks"
        var value = OffsetCommitValue()
        value.commitTimestamp = desk.reading.wallMs
        value.expireTimestamp = desk.reading.wallMs + 1_200_000
        desk.coordinator.loaded(.offsetCommit(key, value))
        desk.loadEnded()
        desk.advance(1_190_000)
        #expect(desk.group != nil)
        desk.advance(700_000)
        #expect(desk.group == nil)
    }

    @Test func offsetsOfADeletedTopicGo() {
        var desk = Desk()
        desk.commit(nil, 3)
        desk.commit(nil, 4, topic: "swifts")
        desk.commit(nil, 5, partition: 1, version: 10)
        desk.commit(nil, 6, group: "other")
        let reading = desk.reading
        // The id that was committed to is another one: the topic was made anew.
        desk.input { coordinator, _ in
            coordinator.topicsDeleted([KnownTopic(name: "rooks", id: UUID128(low: 55), partitions: 4)], at: reading)
        }
        desk.advance(100)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-1=5", "swifts-0=4"])
        #expect(desk.coordinator.groups["other"] == nil)
    }

    @Test func refusedSweepIsTriedAgainLater() {
        var desk = Desk()
        desk.commit(nil, 3)
        desk.refusal = .notEnoughReplicas
        desk.advance(7 * Self.dayMs + 600_000)
        #expect(desk.group != nil)
        let tries = desk.events.count
        desk.advance(300_000)
        #expect((1...11).contains(desk.events.count - tries))
        desk.refusal = nil
        desk.advance(31_000)
        #expect(desk.group == nil)
    }
}
