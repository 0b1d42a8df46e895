// Random histories of consumer groups: nobody reads what another one still has, the log says what memory says, and in
// peace everyone has its share.

import Groups
import Model
import Testing
import Wire

struct ConsumerHistoryTests {
    @Test func invariantsHoldInRandomHistories() {
        var moves = 0
        for seed in HistoryTests.seeds {
            var random = SeededRandom(seed: seed)
            var desk = Desk(seed: seed)
            let names = ["a", "b", "c", "s"]
            desk.consumers["s"] = Consumer(memberID: "s0", instanceID: "place")
            for step in 0..<300 {
                let name = names[Int(random.below(4))]
                switch random.below(30) {
                case 0: desk.quit(name, for: name == "s" ? -2 : -1)
                case 1:
                    // A process dies, and another one comes.
                    desk.consumers[name] = Consumer(memberID: "\(name)\(step)", instanceID: name == "s" ? "place" : nil)
                case 2: desk.refusal = desk.refusal == nil ? .notEnoughReplicas : nil
                case 3:
                    let before = desk.consumerGroup
                    desk.failOver()
                    #expect(text(desk.consumerGroup) == text(before), "seed \(seed), step \(step)")
                case 4:
                    desk.topics.all[0].partitions += 1
                    desk.coordinator.topicsChanged()
                case 5:
                    desk.consumers[name]?.topics = random.oneIn(2) ? ["rooks"] : ["rooks", "swifts"]
                    desk.consumers[name]?.saysAll = true
                case 6..<10: desk.advance(random.below(10_000))
                case 10..<13: desk.consume(name, answered: false)
                default: desk.consume(name)
                }
                let owners = owners(desk)
                moves += owners.isEmpty ? 0 : 1
                #expect(owners.values.allSatisfy { $0.count == 1 }, "G1, seed \(seed), step \(step): \(owners)")
            }
            desk.refusal = nil
            // Whoever left a place behind is gone after a session.
            for _ in 0..<10 {
                desk.advance(5_000)
                for name in names { desk.consume(name) }
            }
            desk.converge(names)
            desk.converge(names)
            #expect(desk.consumerGroup?.state == .stable, "L4, seed \(seed)")
            #expect(desk.consumerGroup?.members.count == 4, "L4, seed \(seed)")
            let rooks = owners(desk).keys.filter { $0.topicID == UUID128(low: 101) }.count
            #expect(rooks == Int(desk.topics.all[0].partitions), "L4, seed \(seed)")
            #expect(desk.answeredTwice.isEmpty)
            #expect(desk.asked.allSatisfy { desk.replies[$0] != nil })
        }
        #expect(moves > 1_000)
    }

    /// Who reads each partition by the coordinator's own word. A member that was removed may still read for a while:
    /// its commits are refused.
    private func owners(_ desk: Desk) -> [TopicPartition: [String]] {
        var owners: [TopicPartition: [String]] = [:]
        for member in desk.consumerGroup?.members.values ?? [] {
            for partition in member.assigned.keys + member.revoking.keys {
                owners[partition, default: []].append(member.id)
            }
        }
        // What a living client reads is what the coordinator knows it to read.
        for consumer in desk.consumers.values {
            guard let member = desk.consumerGroup?.members[consumer.memberID], consumer.epoch == member.epoch else {
                continue
            }
            for partition in consumer.owned where owners[partition]?.contains(member.id) != true {
                owners[partition, default: []].append("\(member.id), who reads it all the same")
            }
        }
        return owners
    }

    /// Everything but deadlines.
    private func text(_ group: ConsumerGroup?) -> String {
        guard let group else { return "none" }
        let members = group.members.values.map { member in
            "\(member.id) \(member.instanceID ?? "-") \(member.topics) \(member.epoch) \(member.previousEpoch) "
                + "\(member.state) \(member.assigned) \(member.revoking) \(member.target)"
        }
        return "\(group.epoch) \(group.metadataHash) \(group.assignmentEpoch) \(members)"
    }
}

struct AssignorTests {
    private func topic(_ id: UInt64, _ partitions: Int32) -> KnownTopic {
        KnownTopic(name: "t\(id)", id: UUID128(low: id), partitions: partitions)
    }

    @Test(arguments: ConsumerAssignor.allCases) func everyPartitionHasOneReader(assignor: ConsumerAssignor) {
        var random = SeededRandom(seed: 11)
        for _ in 0..<300 {
            let topics = (0..<4).map { topic($0, Int32(random.below(9))) }
            var previous: [String: [TopicPartition]] = [:]
            for round in 0..<3 {
                let subscribers = (0..<(1 + random.below(6))).map { place in
                    Subscriber(
                        id: "m\(place)", rank: "m\(place)", topics: topics.filter { _ in !random.oneIn(3) },
                        previous: previous["m\(place)"] ?? [])
                }
                let targets = assignor.assign(subscribers)
                let all = targets.values.joined()
                #expect(all.count == Set(all).count, "round \(round)")
                let wanted = Set(subscribers.flatMap(\.topics)).map { Int($0.partitions) }.reduce(0, +)
                #expect(all.count == wanted)
                for one in subscribers {
                    let ids = Set(one.topics.map(\.id))
                    #expect(targets[one.id]?.allSatisfy { ids.contains($0.topicID) } == true)
                }
                previous = targets
            }
        }
    }

    @Test func uniformIsEvenAndMovesLittle() {
        var random = SeededRandom(seed: 12)
        for _ in 0..<300 {
            let topics = (0..<3).map { topic($0, Int32(random.below(12))) }
            func round(_ count: Int64, _ previous: [String: [TopicPartition]]) -> [String: [TopicPartition]] {
                ConsumerAssignor.uniform.assign(
                    (0..<count).map {
                        Subscriber(id: "m\($0)", rank: "m\($0)", topics: topics, previous: previous["m\($0)"] ?? [])
                    })
            }
            let before = 1 + random.below(6)
            let first = round(before, [:])
            #expect(round(before, first) == first)
            let after = 1 + random.below(6)
            let second = round(after, first)
            for targets in [first, second] {
                let counts = targets.values.map(\.count)
                #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 1)
            }
            // Members who came take no more than their share; when members go, nothing else moves.
            if after < before {
                for id in second.keys { #expect(Set(second[id] ?? []).isSuperset(of: first[id] ?? [])) }
            }
        }
    }

    /// The same rule, said as plainly as can be: every free partition asks every member.
    private func plainly(_ subscribers: [Subscriber]) -> [String: [TopicPartition]] {
        let order = subscribers.sorted { $0.id < $1.id }
        let reads = order.map { Set($0.topics.map(\.id)) }
        let all = Set(order.flatMap(\.topics)).sorted { $0.id < $1.id }.flatMap { topic in
            (0..<topic.partitions).map { TopicPartition(topic.id, $0) }
        }
        let isUniform = Set(reads).count == 1
        var extra = all.count % order.count
        var held = order.map { _ in [TopicPartition]() }
        var free = all
        for (place, one) in order.enumerated() {
            for partition in one.previous.sorted() where reads[place].contains(partition.topicID) {
                let room = all.count / order.count - held[place].count
                guard free.contains(partition), !isUniform || room > 0 || (room == 0 && extra > 0) else { continue }
                if isUniform, room == 0 { extra -= 1 }
                held[place].append(partition)
                free.removeAll { $0 == partition }
            }
        }
        func poorest(_ partition: TopicPartition) -> Int? {
            order.indices.filter { reads[$0].contains(partition.topicID) }.min { held[$0].count < held[$1].count }
        }
        for partition in free { if let place = poorest(partition) { held[place].append(partition) } }
        var moved = true
        while moved {
            moved = false
            for rich in held.indices {
                for partition in held[rich].reversed() {
                    guard let place = poorest(partition), held[place].count + 1 < held[rich].count else { continue }
                    held[rich].removeAll { $0 == partition }
                    held[place].append(partition)
                    moved = true
                }
            }
        }
        return Dictionary(uniqueKeysWithValues: order.indices.map { (order[$0].id, held[$0].sorted()) })
    }

    @Test func shortWayLeadsToTheSameAssignment() {
        var random = SeededRandom(seed: 13)
        for round in 0..<400 {
            let topics = (0..<4).map { topic($0, Int32(random.below(9))) }
            let isUniform = random.oneIn(2)
            var previous: [String: [TopicPartition]] = [:]
            for _ in 0..<3 {
                let subscribers = (0..<(1 + random.below(6))).map { place in
                    Subscriber(
                        id: "m\(place)", rank: "m\(place)",
                        topics: topics.filter { _ in isUniform || !random.oneIn(3) },
                        previous: previous["m\(random.oneIn(5) ? 0 : place)"] ?? [])
                }
                let targets = ConsumerAssignor.uniform.assign(subscribers)
                #expect(targets == plainly(subscribers), "round \(round)")
                previous = targets
            }
        }
    }

    @Test func rangeKeepsEqualNumbersTogether() {
        let topics = [topic(1, 6), topic(2, 6)]
        let targets = ConsumerAssignor.range.assign(
            ["b", "a", "c"].map { Subscriber(id: $0, rank: $0, topics: topics, previous: []) })
        for (id, from) in [("a", 0), ("b", 2), ("c", 4)] as [(String, Int32)] {
            #expect(targets[id]?.map(\.partition) == [from, from + 1, from, from + 1])
        }
    }
}

struct TopicPatternTests {
    @Test(arguments: [
        ("rooks", ["rooks"], ["rook", "rookss", "xrooks"]), ("rook.*", ["rook", "rooks"], ["xrook"]),
        ("^rook.*", ["rooks"], ["xrooks"]), ("(a|b)c?", ["a", "bc"], ["c", "abc"]), ("a|bc", ["a", "bc"], ["ac"]),
        ("[a-c]+[^x-z]", ["abcd", "aa"], ["ax", "d"]), ("a{2,3}", ["aa", "aaa"], ["a", "aaaa"]),
        ("a{2,}", ["aa", "aaaaa"], ["a"]), ("a{2}", ["aa"], ["a", "aaa"]), ("t\\.\\d+", ["t.12"], ["t-1", "t."]),
        ("(?:ab)*", ["", "abab"], ["aba"]), ("^(rook|owl)s$", ["rooks", "owls"], ["rook"]), (".*", ["", "x"], []),
        ("[\\w.-]+", ["a_b.c-d"], ["a b"]), ("a+?b", ["aab"], ["b"]), ("", [""], ["a"]), ("[]a]", ["]", "a"], ["b"]),
    ])
    func matches(text: String, yes: [String], no: [String]) throws {
        let pattern = try #require(TopicPattern(text))
        for name in yes { #expect(pattern.matches(name), "\(text) \(name)") }
        for name in no { #expect(!pattern.matches(name), "\(text) \(name)") }
    }

    @Test(arguments: [
        "(", ")", "a)", "[a", "*", "a**", "a{", "a{3,2}", "a{x}", "\\", "(?=a)", "\\b", "[b-a]", "a^b", "a$b", "é",
    ])
    func whatIsNotUnderstoodIsNone(text: String) { #expect(TopicPattern(text) == nil) }

    @Test func noExpressionTakesLong() throws {
        let pattern = try #require(TopicPattern(String(repeating: "(a*)*", count: 20) + "b"))
        #expect(!pattern.matches(String(repeating: "a", count: 249)))
        #expect(TopicPattern(String(repeating: "(", count: 200) + String(repeating: ")", count: 200)) == nil)
        #expect(TopicPattern("((((){999}){999}){999}){999}") == nil)
        #expect(TopicPattern("((((a{999}){999}){999}){999})") == nil)
        var random = SeededRandom(seed: 3)
        let letters = Array("ab.*+?()[]{}|^$\\d-,12".utf8)
        for _ in 0..<20_000 {
            let text = String(
                decoding: (0..<(1 + random.below(12))).map { _ in letters[Int(random.below(Int64(letters.count)))] },
                as: UTF8.self)
            _ = TopicPattern(text)?.matches("abab12")
        }
    }
}
