// The leader's assignors: fair, sticky, and careful with what somebody still reads.

import MartletClient
import Model
import Testing

private func counts(_ pairs: (String, Int32)...) -> SortedMap<String, Int32> { SortedMap(pairs) }
private func partitions(_ topic: String, _ range: Range<Int32>) -> [TopicPartition] {
    range.map { TopicPartition(topic, $0) }
}

@Suite struct ClientAssignorTests {
    typealias Subscriber = ClientAssignor.Subscriber

    @Test func rangeGivesNeighboursOfEachTopic() {
        let found = ClientAssignor.range.assign(
            [Subscriber(id: "y", topics: ["t", "u"]), Subscriber(id: "x", topics: ["t"])],
            counts: counts(("t", 5), ("u", 2)))
        #expect(found["x"] == partitions("t", 0..<3))
        #expect(found["y"] == partitions("t", 3..<5) + partitions("u", 0..<2))
    }

    @Test func rangeKeepsThePlaceOfStaticMembers() {
        let one = ClientAssignor.range.assign(
            [Subscriber(id: "z", instanceID: "1", topics: ["t"]), Subscriber(id: "a", instanceID: "2", topics: ["t"])],
            counts: counts(("t", 2)))
        #expect(one["z"] == partitions("t", 0..<1))
    }

    @Test func aNewMemberGetsItsShareInTheSecondRound() {
        let all = partitions("t", 0..<4)
        let first = ClientAssignor.cooperativeSticky.assign(
            [Subscriber(id: "x", topics: ["t"], owned: all, generation: 1), Subscriber(id: "y", topics: ["t"])],
            counts: counts(("t", 4)))
        #expect(first["x"]?.count == 2 && first["y"] == [])
        let second = ClientAssignor.cooperativeSticky.assign(
            [
                Subscriber(id: "x", topics: ["t"], owned: first["x"] ?? [], generation: 2),
                Subscriber(id: "y", topics: ["t"], generation: 2),
            ], counts: counts(("t", 4)))
        #expect(second["x"] == first["x"])
        #expect(Set(second["y"] ?? []) == Set(all).subtracting(first["x"] ?? []))
    }

    @Test func theLaterGenerationIsRightAndOfTwoEqualClaimsNone() {
        let p0 = TopicPartition("t", 0)
        let later = ClientAssignor.cooperativeSticky.assign(
            [
                Subscriber(id: "x", topics: ["t"], owned: [p0], generation: 3),
                Subscriber(id: "y", topics: ["t"], owned: [p0], generation: 4),
            ], counts: counts(("t", 1)))
        #expect(later == ["x": [], "y": [p0]])
        let equal = ClientAssignor.cooperativeSticky.assign(
            [
                Subscriber(id: "x", topics: ["t"], owned: [p0], generation: 4),
                Subscriber(id: "y", topics: ["t"], owned: [p0], generation: 4),
            ], counts: counts(("t", 1)))
        #expect(equal == ["x": [], "y": []])
    }

    /// Random groups, round after round as a group goes through them: nobody gets what another still reads, it comes to
    /// rest fair and complete, and what need not move does not.
    @Test func roundsComeToRestFairAndComplete() {
        for seed in 0..<300 {
            var random = SeededRandom(seed: UInt64(seed))
            let topics = (0..<(1 + random.below(4))).map { "t\($0)" }
            let counts = SortedMap(topics.map { ($0, Int32(random.below(7))) })
            let isUniform = random.oneIn(2)
            var members = (0..<(1 + random.below(5))).map { number in
                var subscribed = Set(topics.filter { _ in isUniform || !random.oneIn(3) })
                if subscribed.isEmpty { subscribed = [topics[0]] }
                return Subscriber(id: "m\(number)", topics: subscribed)
            }
            for generation in 1..<8 {
                let found = ClientAssignor.cooperativeSticky.assign(members, counts: counts)
                var given: Set<TopicPartition> = []
                for member in members {
                    for partition in found[member.id] ?? [] {
                        #expect(given.insert(partition).inserted, "seed \(seed): \(partition) twice")
                        let others = members.filter { $0.id != member.id && $0.owned.contains(partition) }
                        #expect(others.isEmpty, "seed \(seed): \(partition) is still read")
                    }
                }
                for place in members.indices {
                    members[place].owned = found[members[place].id] ?? []
                    members[place].generation = Int32(generation)
                }
                if generation == 4, members.count > 1 { members.removeFirst() }
            }
            let wanted = counts.flatMap { topic, count in
                members.contains { $0.topics.contains(topic) } ? partitions(topic, 0..<count) : []
            }
            #expect(Set(members.flatMap(\.owned)) == Set(wanted), "seed \(seed)")
            let sizes = members.map(\.owned.count)
            if isUniform { #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= 1, "seed \(seed): \(sizes)") }
            let again = ClientAssignor.cooperativeSticky.assign(members, counts: counts)
            #expect(members.allSatisfy { again[$0.id] == $0.owned.sorted() }, "seed \(seed): it does not rest")
        }
    }
}
