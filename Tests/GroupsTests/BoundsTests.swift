// What a request may cost, whatever it asks: bounds are counted in steps and lengths, not in time.

import Groups
import Model
import NIOCore
import Testing
import Wire

struct BoundsTests {
    // MARK: Repeats

    @Test func whatIsNamedTwiceIsAnsweredOnce() {
        var desk = Desk()
        desk.commit(nil, 5, metadata: "note")
        let names = [String](repeating: "g", count: 50) + ["nowhere", "nowhere"]
        var describe = DescribeGroupsRequest()
        describe.groups = names
        if case .describeGroups(let answer)? = desk.replies[desk.ask(.describeGroups(describe), version: 6)] {
            #expect(answer.groups.map(\.groupID) == ["g", "nowhere"])
        }
        var consumers = ConsumerGroupDescribeRequest()
        consumers.groupIDs = names
        if case .consumerGroupDescribe(let answer)? =
            desk.replies[desk.ask(.consumerGroupDescribe(consumers), version: 1)]
        {
            #expect(answer.groups.map(\.groupID) == ["g", "nowhere"])
        }
        var topic = OffsetFetchRequest.Topic()
        topic.name = "rooks"
        topic.partitionIndexes = [0, 0, 1, 0, 1]
        var other = topic
        other.partitionIndexes = [1, 2]
        var fetch = OffsetFetchRequest()
        fetch.groups = names.map { name in
            var group = OffsetFetchRequest.Group()
            group.groupID = name
            group.topics = [topic, topic, other, topic]
            return group
        }
        if case .offsetFetch(let answer)? = desk.replies[desk.ask(.offsetFetch(fetch), version: 9)] {
            #expect(answer.groups.map(\.groupID) == ["g", "nowhere"])
            #expect(answer.groups[0].topics.map { $0.partitions.map(\.partitionIndex) } == [[0, 1], [2]])
        }
        fetch = OffsetFetchRequest()
        fetch.groupID = "g"
        fetch.topics = [topic, topic]
        if case .offsetFetch(let answer)? = desk.replies[desk.ask(.offsetFetch(fetch), version: 7)] {
            #expect(answer.topics.map { $0.partitions.map(\.committedOffset) } == [[5, -1]])
        }
        var deletion = DeleteGroupsRequest()
        deletion.groupsNames = names
        if case .deleteGroups(let answer)? = desk.replies[desk.ask(.deleteGroups(deletion), version: 2)] {
            #expect(answer.results.map(\.groupID) == ["g", "nowhere"])
            #expect(answer.results.map(\.errorCode) == [.none, .groupIdNotFound])
        }
        #expect(desk.replies.count == desk.asked.count)
    }

    @Test func repeatedPartitionsAreWrittenOnce() {
        var desk = Desk()
        var topic = OffsetCommitRequest.Topic()
        topic.name = "rooks"
        topic.partitions = (0..<100).map { offset in
            var one = OffsetCommitRequest.Partition()
            one.partitionIndex = 3
            one.committedOffset = Offset(offset)
            return one
        }
        var request = OffsetCommitRequest()
        request.groupID = "g"
        request.topics = [topic, topic]
        let ticket = desk.ask(.offsetCommit(request), version: 9)
        #expect(desk.commitError(ticket) == ErrorCode.none)
        #expect(desk.end == 1)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-3=99"])
        var gone = OffsetDeleteRequest.Topic()
        gone.name = "rooks"
        gone.partitions = topic.partitions.map { _ in
            var one = OffsetDeleteRequest.Partition()
            one.partitionIndex = 3
            return one
        }
        var deletion = OffsetDeleteRequest()
        deletion.groupID = "g"
        deletion.topics = [gone]
        desk.ask(.offsetDelete(deletion), version: 0)
        #expect(desk.end == 2)
    }

    // MARK: Joining

    @Test func aHundredProtocolsAreEnough() {
        var desk = Desk()
        desk.clients["a"] = Client(protocols: (0...100).map { ("p\($0)", []) })
        #expect(desk.joined(desk.join("a"))?.errorCode == .inconsistentGroupProtocol)
        #expect(desk.coordinator.groups.isEmpty)
        desk.clients["a"]?.protocols.removeLast()
        desk.clients["b"] = Client(protocols: [("x", []), ("p99", []), ("p98", []), ("p98", [])])
        desk.enter("a")
        let joins = desk.enter("b")
        desk.advance(150)
        #expect(desk.joined(joins)?.protocolName == "p98" || desk.joined(joins)?.protocolName == "p99")
        desk.clients["c"] = Client(protocols: [("x", []), ("p0", [])])
        #expect(desk.joined(desk.join("c"))?.errorCode == .inconsistentGroupProtocol)
    }

    @Test func strangersAreForgotten() {
        var settings = GroupSettings()
        settings.handshakeGroupsMax = 3
        settings.handshakesMax = 5
        var desk = Desk(settings: settings)
        func stranger(_ group: String) {
            desk.clients["s"] = Client(sessionTimeoutMs: 1_800_000)
            desk.join("s", group: group)
        }
        for number in 1...5 { stranger("g\(number)") }
        #expect(desk.coordinator.groups.keys.sorted() == ["g3", "g4", "g5"])
        for _ in 0..<3 { stranger("g5") }
        #expect(desk.coordinator.groups.keys.sorted() == ["g4", "g5"])
        // A group that becomes one is none of them.
        desk.clients["a"] = Client()
        desk.enter("a", group: "g4")
        for number in 6...9 { stranger("g\(number)") }
        #expect(desk.coordinator.groups.keys.sorted() == ["g4", "g7", "g8", "g9"])
        // Who asked for a session of half an hour and does not come back is not remembered for that long.
        desk.advance(61_000)
        #expect(desk.coordinator.groups.isEmpty)
        #expect(desk.coordinator.nextDeadline > desk.now.advanced(byMs: 60_000))
    }

    @Test func longClientNamesAreCutInMemberIDs() {
        var desk = Desk()
        let name = String(repeating: "x", count: 30_000)
        #expect(desk.joined(desk.join(name))?.memberID.utf8.count == 249 + 37)
        desk.advance(1)
        #expect(desk.joined(desk.join(name))?.errorCode != .unknownMemberId)
    }

    // MARK: Consumers

    /// Counts how often somebody walks through all topics.
    private final class Walks { var count = 0 }
    private struct CountedTopics: TopicLookup {
        var topics = Topics()
        let walks = Walks()
        func topic(named name: String) -> KnownTopic? { topics.topic(named: name) }
        func topic(_ id: UUID128) -> KnownTopic? { topics.topic(id) }
        var topicNames: [String] {
            walks.count += 1
            return topics.topicNames
        }
    }

    @Test func anExpressionIsLookedUpOnce() {
        let topics = CountedTopics()
        var coordinator = GroupCoordinator(partition: 7, settings: GroupSettings(), seed: 1)
        let reading = ClockReading(now: Instant(nanoseconds: 1_000_000_000), wallMs: 1)
        var effects: [GroupEffect] = []
        coordinator.loadEnded(endOffset: 0, topics: topics, at: reading, into: &effects)
        var last: UInt64 = 0
        var end: Offset = 0
        var assigned: [String: Int] = [:]
        func heartbeat(_ member: String, _ group: String, joins: Bool) {
            var request = ConsumerGroupHeartbeatRequest()
            request.groupID = group
            request.memberID = member
            request.memberEpoch = joins ? 0 : coordinator.groups[group]?.consumer?.members[member]?.epoch ?? -1
            if joins {
                request.rebalanceTimeoutMs = 1_000
                request.subscribedTopicRegex = "roo.*"
                request.topicPartitions = []
            }
            last += 1
            let call = GroupCall(.consumerGroupHeartbeat(request), version: 1, ticket: GroupTicket(last))
            var next: [GroupEffect] = []
            coordinator.requested(call, topics: topics, at: reading, into: &next)
            while let effect = next.popLast() {
                guard case .append(let id, let records) = effect else { continue }
                end += Offset(records.count)
                coordinator.appended(id, endOffset: end, at: reading, into: &next)
                coordinator.committed(upTo: end, at: reading, into: &next)
            }
            assigned[group] = coordinator.groups[group]?.consumer?.members.values.map(\.target.count).reduce(0, +)
        }
        for group in ["g", "h"] { for number in 0..<10 { heartbeat("m\(number)", group, joins: true) } }
        #expect(assigned == ["g": 4, "h": 4])
        #expect(topics.walks.count == 1)
        coordinator.topicsChanged()
        for group in ["g", "h"] { for number in 0..<10 { heartbeat("m\(number)", group, joins: false) } }
        #expect(topics.walks.count == 2)
    }

    /// A copy of the members would be at another place.
    @Test func heartbeatAtRestCopiesNoMembers() {
        var desk = Desk()
        let names = (0..<20).map { "m\($0)" }
        desk.converge(names)
        func place() -> Int? {
            desk.coordinator.groups["g"]?.consumer?.members.values.withUnsafeBufferPointer { members in
                members.baseAddress.map { Int(bitPattern: $0) }
            }
        }
        let before = place()
        #expect(desk.consume("m7")?.errorCode == ErrorCode.none)
        #expect(place() == before)
        #expect(desk.consumerGroup?.state == .stable)
    }

    @Test func matchingTakesOneStepForAStateAndALetter() throws {
        let name = String(repeating: "a", count: 249)
        for text in [
            String(repeating: ".*", count: 240), String(repeating: "(a*)*", count: 40) + "b",
            String(repeating: "(a|a)?", count: 80), "(a|b)*a.{200}", String(repeating: "a{1,3}", count: 80),
        ] {
            let pattern = try #require(TopicPattern(text))
            var steps = 0
            _ = pattern.matches(name, steps: &steps)
            #expect(steps > 249 && steps <= TopicPattern.statesMax * 250, "\(text.prefix(20)): \(steps)")
        }
        #expect(TopicPattern(String(repeating: ".*", count: 251)) == nil)
        #expect(TopicPattern("a{501}") == nil)
    }

    @Test func assignmentCostsNoProductOfMembersAndPartitions() {
        let topics = (0..<20).map { KnownTopic(name: "t\($0)", id: UUID128(low: UInt64($0)), partitions: 100) }
        func subscribers(_ count: Int, _ previous: [String: [TopicPartition]], everything: Bool) -> [Subscriber] {
            (0..<count).map { number in
                Subscriber(
                    id: "m\(number)", rank: "m\(number)",
                    topics: everything ? topics : topics.filter { $0.id.low % 3 != UInt64(number % 3) },
                    previous: previous["m\(number)"] ?? [])
            }
        }
        for everything in [true, false] {
            var looks = 0
            let first = ConsumerAssignor.uniform.assign(subscribers(500, [:], everything: everything), looks: &looks)
            // 2,000 partitions and 10,000 subscriptions; each member for each partition would be a million.
            #expect(looks < 100_000, "\(everything): \(looks)")
            looks = 0
            let next = ConsumerAssignor.uniform.assign(subscribers(501, first, everything: everything), looks: &looks)
            #expect(looks < 100_000, "\(everything): \(looks)")
            let moved = first.reduce(0) { $0 + Set($1.value).subtracting(next[$1.key] ?? []).count }
            #expect(moved <= 4, "\(everything): \(moved)")
        }
    }

    // MARK: The node's log

    @Test func clientsDoNotWriteTheLog() {
        let long = "a\nb\u{1B}[2J\u{202E}" + String(repeating: "ä", count: 5_000)
        var desk = Desk()
        desk.clients[long] = Client(instanceID: long, protocols: [(long, [])])
        desk.stable([long], group: long)
        desk.clients[long]?.protocols = [(long, ["rooks"]), ("range", [])]
        desk.join(long, group: long, reason: long)
        desk.clients["new"] = Client(instanceID: long, protocols: [(long, [])])
        desk.join("new", group: long)
        desk.clients["stranger"] = Client(protocols: [(long, [])])
        desk.join("stranger", group: long)
        desk.advance(15_000)
        desk.failOver()
        desk.clients["other"] = Client(protocols: [("other", [])])
        desk.join("other", group: long)
        desk.advance(60_000)
        desk.consumers["x"] = Consumer(memberID: long)
        desk.consume("x", group: long + "c")
        desk.quit("x")
        let lines = desk.events.map(\.description)
        #expect(lines.count > 8)
        for line in lines {
            #expect(line.unicodeScalars.count < 1_300, "\(line)")
            #expect(
                line.unicodeScalars.allSatisfy {
                    $0.properties.generalCategory != .control && $0.properties.generalCategory != .format
                }, "\(line)")
        }
        var plain = Desk()
        plain.consume("größe-1")
        #expect(plain.events.last?.description == "group g: epoch 1 with 1 members: member größe-1 (/10.0.0.1) joined")
    }
}
