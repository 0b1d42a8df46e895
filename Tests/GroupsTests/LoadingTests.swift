// A coordinator that loads the log of another, and one that stops.

import Groups
import Model
import NIOCore
import Testing
import Wire

struct LoadingTests {
    @Test func loadingIsSaidNeverUnknown() {
        var desk = Desk(loaded: false)
        desk.clients["a"] = Client(memberID: "m", generation: 3)
        #expect(desk.joined(desk.join("a"))?.errorCode == .coordinatorLoadInProgress)
        #expect(desk.synced(desk.sync("a"))?.errorCode == .coordinatorLoadInProgress)
        #expect(desk.beat("a") == .coordinatorLoadInProgress)
        #expect(desk.commitError(desk.commit("a", 1)) == .coordinatorLoadInProgress)
        for (request, version) in EveryRequest.all(group: "g") {
            let ticket = desk.ask(request, version: version)
            #expect(desk.replies[ticket] == request.refused(.coordinatorLoadInProgress, version: version))
        }
        #expect(desk.coordinator.nextDeadline == .distantFuture)
    }

    @Test func everyWaitingRequestIsToldOfTheEnd() {
        var desk = Desk()
        desk.stable(["a", "b"])
        let joins = desk.enter("c")
        desk.clients["x"] = Client()
        desk.enter("x", group: "h")
        desk.enter("y", group: "h")
        desk.advance(150)
        let follower = desk.coordinator.groups["h"]?.leaderID == desk.client("x").memberID ? "y" : "x"
        let syncs = desk.sync(follower, group: "h")
        desk.commitsAtOnce = false
        let commits = desk.commit(nil, 1, group: "simple")
        var effects: [GroupEffect] = []
        desk.coordinator.resigned(into: &effects)
        var told: [GroupTicket] = []
        for case .reply(let ticket, _) in effects { told.append(ticket) }
        #expect(told == [joins, syncs, commits])
        for (request, version) in EveryRequest.all(group: "g") {
            let ticket = desk.ask(request, version: version)
            #expect(desk.replies[ticket] == request.refused(.notCoordinator, version: version))
        }
    }

    @Test func everyMemberHasAFreshSession() {
        var desk = Desk()
        desk.stable(["a", "b"])
        desk.advance(9_000)
        desk.failOver()
        desk.advance(9_900)
        #expect(desk.beat("a") == ErrorCode.none)
        desk.advance(200)
        #expect(desk.group?.members.count == 1)
    }

    @Test func membersGoOnWhereTheyWere() {
        var desk = Desk()
        desk.stable(["a", "b"])
        desk.commit("a", 4)
        let before = desk.group
        desk.failOver()
        #expect(desk.group?.generation == 1)
        #expect(desk.group?.state == .stable)
        #expect(desk.group?.leaderID == before?.leaderID)
        #expect(desk.beat("a") == ErrorCode.none)
        #expect(desk.synced(desk.sync("b")).map { String(buffer: $0.assignment) } == "b")
        #expect(desk.commitError(desk.commit("b", 5, partition: 1)) == ErrorCode.none)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=4", "rooks-1=5"])
        #expect(desk.joined(desk.join(desk.leader)) == nil)
        #expect(desk.group?.state == .preparingRebalance)
    }

    /// The log has only the chosen protocol of each member: whoever speaks another one that all do is not turned away.
    @Test func membersSayAgainWhatTheySpeak() {
        var desk = Desk()
        for name in ["a", "b"] { desk.clients[name] = Client(protocols: [("sticky", []), ("range", [])]) }
        desk.stable(["a", "b"])
        desk.failOver()
        desk.clients["c"] = Client(protocols: [("range", [])])
        desk.clients["d"] = Client(protocols: [("rr", [])])
        #expect(desk.joined(desk.join("c"))?.errorCode == .coordinatorLoadInProgress)
        #expect(desk.beat("a") == .rebalanceInProgress)
        #expect(desk.joined(desk.join("c"))?.errorCode == .coordinatorLoadInProgress)
        desk.join("a")
        desk.join("b")
        #expect(desk.group?.generation == 2)
        #expect(desk.joined(desk.join("d"))?.errorCode == .inconsistentGroupProtocol)
        let joins = desk.enter("c")
        desk.join("a")
        desk.join("b")
        #expect(desk.joined(joins)?.protocolName == "range")
    }

    @Test func loadedFollowerThatJoinsAgainIsUnchanged() {
        var desk = Desk()
        for name in ["a", "b"] { desk.clients[name] = Client(protocols: [("sticky", []), ("range", [])]) }
        desk.stable(["a", "b"])
        desk.failOver()
        let follower = desk.leader == "a" ? "b" : "a"
        #expect(desk.joined(desk.join(follower))?.generationID == 1)
        #expect(desk.group?.state == .stable)
        #expect(desk.group?.members[desk.client(follower).memberID]?.protocols.count == 2)
    }

    @Test func generationWithoutAnAssignmentIsNotLoaded() {
        var desk = Desk()
        desk.stable(["a"])
        desk.enter("b")
        desk.join("a")
        #expect(desk.group?.generation == 2)
        let old = desk.client("a")
        desk.failOver()
        #expect(desk.group?.generation == 1)
        #expect(desk.group?.members.keys == [old.memberID])
        #expect(desk.synced(desk.sync("a", ["a": "x"]))?.errorCode == .illegalGeneration)
        #expect(desk.synced(desk.sync("b"))?.errorCode == .unknownMemberId)
    }

    @Test func tombstonesAndUnknownRecords() {
        var desk = Desk(loaded: false)
        var key = OffsetCommitKey()
        key.groupID = "g"
        key.topic = "rooks"
        var value = OffsetCommitValue()
        value.offset = 5
        var group = GroupMetadataKey()
        group.groupID = "g"
        var metadata = GroupMetadataValue()
        metadata.protocolType = "consumer"
        metadata.generation = 4
        let unknown = GroupRecord.unknown(type: 99, key: ByteBuffer(string: "?"), value: nil)
        desk.coordinator.loaded(unknown)
        desk.coordinator.loaded(.offsetCommit(key, nil))
        desk.coordinator.loaded(.groupMetadata(group, nil))
        desk.coordinator.loaded(.offsetCommit(key, value))
        desk.coordinator.loaded(.groupMetadata(group, metadata))
        desk.coordinator.loaded(.groupMetadata(group, nil))
        desk.loadEnded()
        #expect(desk.group?.generation == 0)
        #expect(desk.group?.protocolType == nil)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=5"])
    }

    @Test func hostileGroupMetadataIsTaken() {
        var desk = Desk(loaded: false)
        var group = GroupMetadataKey()
        group.groupID = "g"
        var metadata = GroupMetadataValue()
        metadata.protocolType = "consumer"
        metadata.generation = -5
        metadata.leader = "nobody"
        var member = GroupMetadataValue.Member()
        member.memberID = "m"
        member.sessionTimeoutMs = .min
        member.subscription = ByteBuffer(bytes: [9, 9, 9])
        metadata.members = [member, member]
        desk.coordinator.loaded(.groupMetadata(group, metadata))
        desk.loadEnded()
        desk.advance(10)
        #expect(desk.group?.state == .empty)
    }

    /// A hundred thousand offsets of a thousand groups. The figure is printed, not judged: the machines are noisy.
    @Test func aHundredThousandOffsets() {
        var records: [(key: ByteBuffer, value: ByteBuffer?)] = []
        for index in 0..<100_000 {
            var key = OffsetCommitKey()
            key.groupID = "group-\(index % 1_000)"
            key.topic = "topic-\(index / 1_000 % 10)"
            key.partition = Int32(index / 10_000)
            var value = OffsetCommitValue()
            value.offset = Int64(index)
            records.append(GroupRecord.offsetCommit(key, value).encode())
        }
        var coordinator = GroupCoordinator(partition: 0, settings: GroupSettings(), seed: 1)
        let clock = ContinuousClock()
        let took = clock.measure {
            for record in records {
                guard let read = try? GroupRecord.decode(key: record.key, value: record.value) else { continue }
                coordinator.loaded(read)
            }
            var effects: [GroupEffect] = []
            coordinator.loadEnded(
                endOffset: 100_000, topics: Topics(), at: ClockReading(now: .zero, wallMs: 0), into: &effects)
        }
        print("decoding and loading 100,000 offset records of 1,000 groups took \(took)")
        #expect(coordinator.groups.count == 1_000)
        #expect(coordinator.groups.values.map(\.offsets.count).reduce(0, +) == 100_000)
    }
}

/// One request of each kind, at a version that has all fields.
enum EveryRequest {
    static func all(group: String) -> [(GroupRequest, Int16)] {
        var join = JoinGroupRequest()
        join.groupID = group
        join.sessionTimeoutMs = 10_000
        var sync = SyncGroupRequest()
        sync.groupID = group
        var heartbeat = HeartbeatRequest()
        heartbeat.groupID = group
        var leave = LeaveGroupRequest()
        leave.groupID = group
        var commit = OffsetCommitRequest()
        commit.groupID = group
        commit.topics = [OffsetCommitRequest.Topic()]
        commit.topics[0].partitions = [OffsetCommitRequest.Partition()]
        var fetch = OffsetFetchRequest()
        fetch.groups = [OffsetFetchRequest.Group()]
        var older = OffsetFetchRequest()
        older.groupID = group
        older.topics = [OffsetFetchRequest.Topic()]
        older.topics?[0].partitionIndexes = [0]
        var offsets = OffsetDeleteRequest()
        offsets.groupID = group
        var deletion = DeleteGroupsRequest()
        deletion.groupsNames = [group]
        var describe = DescribeGroupsRequest()
        describe.groups = [group]
        return [
            (.joinGroup(join), 9), (.joinGroup(join), 0), (.syncGroup(sync), 5), (.heartbeat(heartbeat), 4),
            (.leaveGroup(leave), 5), (.offsetCommit(commit), 9), (.offsetFetch(fetch), 8), (.offsetFetch(older), 1),
            (.offsetDelete(offsets), 0), (.deleteGroups(deletion), 2), (.describeGroups(describe), 6),
            (.listGroups(ListGroupsRequest()), 5),
        ]
    }
}
