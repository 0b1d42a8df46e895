// Offsets of topics that are gone, or were made anew under their name.

import Groups
import Model
import Testing
import Wire

struct TopicsGoneTests {
    private func fetch(_ desk: inout Desk, version: Int16) -> [Offset]? {
        var topic = OffsetFetchRequest.Topic()
        topic.name = "rooks"
        topic.partitionIndexes = [0]
        var request = OffsetFetchRequest()
        if version >= 8 {
            var group = OffsetFetchRequest.Group()
            group.groupID = "g"
            group.topics = [topic]
            request.groups = [group]
        } else {
            request.groupID = "g"
            request.topics = [topic]
        }
        guard case .offsetFetch(let answer)? = desk.replies[desk.ask(.offsetFetch(request), version: version)] else {
            return nil
        }
        let topics = version >= 8 ? answer.groups.flatMap(\.topics) : answer.topics
        return topics.flatMap { $0.partitions.map(\.committedOffset) }
    }

    @Test(arguments: [7, 8, 9] as [Int16]) func newTopicDoesNotInheritOffsets(version: Int16) {
        var desk = Desk()
        desk.commit(nil, 5, version: 10)
        #expect(fetch(&desk, version: version) == [5])
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=5"])
        // Nobody has told the coordinator yet.
        desk.topics.all[0].id = UUID128(low: 201)
        #expect(fetch(&desk, version: version) == [-1])
        #expect(desk.offsets(desk.fetchAll()) == [])
        desk.topics.all.remove(at: 0)
        #expect(fetch(&desk, version: version) == [-1])
        #expect(desk.offsets(desk.fetchAll()) == [])
    }

    @Test func whatWentWhileNobodyListenedIsSweptAfterTheLoad() {
        var desk = Desk()
        desk.commit(nil, 1, partition: 0, version: 10)
        desk.commit(nil, 2, partition: 1)
        desk.commit(nil, 3, topic: "swifts", partition: 0)
        desk.commit(nil, 4, topic: "swifts", partition: 1, version: 10)
        desk.commit(nil, 5, topic: "swifts", group: "other")
        // One was made anew, the other is gone.
        desk.topics.all = [KnownTopic(name: "rooks", id: UUID128(low: 201), partitions: 4)]
        desk.failOver()
        desk.advance(200)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-1=2"])
        #expect(desk.group?.offsets.count == 1)
        #expect(desk.coordinator.groups["other"] == nil)
        // It is written down: another load finds nothing to sweep.
        let end = desk.end
        desk.failOver()
        desk.advance(200)
        #expect(desk.end == end)
        #expect(desk.group?.offsets.count == 1)
    }

    /// Tombstones are written over some time; what is committed meanwhile is the new topic's.
    @Test func lateSweepsSpareTheSuccessor() {
        var desk = Desk()
        desk.commit(nil, 1, partition: 0)
        desk.commit(nil, 2, partition: 1)
        let old = desk.topics.all[0]
        desk.topics.all[0].id = UUID128(low: 201)
        let reading = desk.reading
        desk.input { coordinator, _ in coordinator.topicsDeleted([old], at: reading) }
        desk.commit(nil, 7, partition: 0)
        desk.advance(200)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-0=7"])
        #expect(desk.group?.offsets.count == 1)
        // The same after a load.
        let rooks = desk.topics.all.removeFirst()
        desk.failOver()
        desk.topics.all.append(rooks)
        desk.commit(nil, 8, partition: 1)
        desk.advance(200)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-1=8"])
    }

    @Test func retentionOfOldClientsIsTheirs() {
        func commit(_ desk: inout Desk, retentionMs: Int64, partition: Int32) {
            var one = OffsetCommitRequest.Partition()
            one.partitionIndex = partition
            one.committedOffset = 1
            var topic = OffsetCommitRequest.Topic()
            topic.name = "rooks"
            topic.partitions = [one]
            var request = OffsetCommitRequest()
            request.groupID = "g"
            request.topics = [topic]
            request.retentionTimeMs = retentionMs
            let ticket = desk.ask(.offsetCommit(request), version: 4)
            #expect(desk.commitError(ticket) == ErrorCode.none)
        }
        var desk = Desk()
        for (partition, retentionMs) in [60_000, .max, -1, 8 * AdminTests.dayMs].enumerated() {
            commit(&desk, retentionMs: retentionMs, partition: Int32(partition))
        }
        desk.failOver()
        desk.advance(1_300_000)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-1=1", "rooks-2=1", "rooks-3=1"])
        desk.advance(7 * AdminTests.dayMs)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-1=1", "rooks-3=1"])
        desk.advance(AdminTests.dayMs)
        #expect(desk.offsets(desk.fetchAll()) == ["rooks-1=1"])
    }
}
