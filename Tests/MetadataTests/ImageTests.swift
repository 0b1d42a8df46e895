// The image as a fold: snapshots, changes, records that make no sense, and long random runs with the invariants checked
// after each batch.

import Metadata
import Model
import Testing
import Wire

@Suite struct ImageTests {
    @Test func recordsThatNameWhatDoesNotExistAreCountedAndChangeNothing() {
        var world = ControllerWorld(brokers: 1)
        let key = world.createTopic(on: [1])
        var topicAgain = TopicRecord()
        topicAgain.name = "t"
        topicAgain.topicID = UUID128(high: 3, low: 3)
        var gap = PartitionRecord()
        gap.topicID = key.topicID
        gap.partitionID = 5
        var negative = gap
        negative.partitionID = -1
        var foreign = gap
        foreign.topicID = UUID128(high: 3, low: 3)
        var config = ConfigRecord()
        config.resourceType = 99
        var nobody = RegisterBrokerRecord()
        nobody.brokerID = -1
        let records: [MetadataRecord] = [
            .topic(topicAgain), .partition(gap), .partition(negative), .partition(foreign), .config(config),
            .registerBroker(nobody), .removeTopic(.init()), .unregisterBroker(.init()), .beginTransaction(.init()),
            registrationChange(1, 77, fenced: 1), registrationChange(8, 1, fenced: 1),
            change(TopicPartition(key.topicID, 3)),
            change(TopicPartition(key.topicID, -1)), change(TopicPartition(.zero, 0)),
        ]
        var image = world.replica
        var changes = ImageChanges()
        for record in records { image.apply(record, at: image.lastOffset + 1, changes: &changes) }
        #expect(changes.ignoredRecords == records.count && changes.isEmpty)
        #expect(image.lastOffset == world.replica.lastOffset + Offset(records.count))
        image.lastOffset = world.replica.lastOffset
        #expect(image == world.replica)
    }

    @Test func changesNameWhatAStretchTouched() {
        var world = ControllerWorld(brokers: 2)
        let from = world.log.count
        let before = world.replica
        let a = world.create("a", factor: 1, configs: [("retention.ms", "1")]).topicID
        let b = world.create("b", factor: 1).topicID
        world.register(2)
        var request = DeleteTopicsRequest()
        request.topicNames = ["b"]
        world.append(world.controller.deleteTopics(request, nextOffset: world.end, at: world.now).records)
        var image = before
        var changes = ImageChanges()
        for record in world.log[from...] { image.apply(record, at: image.lastOffset + 1, changes: &changes) }
        #expect(changes.topics == [a] && changes.deletedTopics == [b] && changes.brokers == [2])
        #expect(changes.partitions(of: a) == [0] && changes.partitions(of: b).isEmpty)
        #expect(changes.configs == [ConfigResource(.topic, "a")])
        #expect(image == world.replica)
    }

    @Test func changesNameThePartitionsThatAreNewOrOther() {
        var world = ControllerWorld(brokers: 3)
        let id = world.create("t", partitions: 5).topicID
        let before = world.replica
        let from = world.log.count
        for index: Int32 in [3, 1, 3] {
            let key = TopicPartition(id, index)
            let isr = world.partition(key)?.isr ?? []
            world.alterPartition(key, isr: isr.count == 3 ? Array(isr.dropLast()) : isr)
        }
        let other = world.create("u", partitions: 2).topicID
        var image = before
        var changes = ImageChanges()
        for record in world.log[from...] { image.apply(record, at: image.lastOffset + 1, changes: &changes) }
        #expect(changes.partitions(of: id) == [1, 3] && changes.partitions(of: other) == [0, 1])
        let difference = ImageChanges(from: before, to: world.replica)
        #expect(difference.partitions(of: id) == [1, 3] && difference.partitions(of: other) == [0, 1])
        #expect(ImageChanges(from: .empty, to: world.replica).partitions(of: id) == [0, 1, 2, 3, 4])
    }

    @Test func unregisteringABrokerRemovesIt() {
        let world = ControllerWorld(brokers: 1)
        var image = world.replica
        var record = UnregisterBrokerRecord()
        record.brokerID = 1
        record.brokerEpoch = image.brokers[1]?.epoch ?? -1
        var changes = ImageChanges()
        image.apply(.unregisterBroker(record), at: 9, changes: &changes)
        #expect(image.brokers.isEmpty && changes.brokers == [1] && changes.ignoredRecords == 0)
    }

    @Test(arguments: 1...24 as ClosedRange<UInt64>)
    func randomLivesKeepTheInvariantsAndTheirSnapshotsFoldToTheSameImage(seed: UInt64) throws {
        var run = RandomRun(seed: seed)
        for step in 0..<400 {
            run.step()
            guard step % 40 == 39 else { continue }
            var copy = MetadataImage.empty
            var changes = ImageChanges()
            for (index, record) in run.world.replica.records().enumerated() {
                let decoded = try MetadataRecord.decode(record.encode())
                copy.apply(decoded, at: Offset(index), changes: &changes)
            }
            copy.lastOffset = run.world.replica.lastOffset
            #expect(changes.ignoredRecords == 0 && copy == run.world.replica)
        }
        #expect(run.world.checker.sawLeaderless > 0 && run.world.checker.sawELR > 0)
        #expect(run.world.checker.sawLost > 0 && run.world.checker.sawLostInPlace > 0)
        run.heal()
        for topic in run.world.replica.topics.values {
            for partition in topic.partitions where partition.leader == nil {
                #expect(
                    partition.isr.isEmpty && partition.eligibleLeaderReplicas.isEmpty,
                    "with all in service a partition without a leader has no copy that is known to be whole")
            }
        }
    }

    @Test func equalSeedsGiveEqualLogs() {
        var first = RandomRun(seed: 5)
        var second = RandomRun(seed: 5)
        for _ in 0..<200 {
            first.step()
            second.step()
        }
        #expect(first.world.log == second.world.log && first.world.controller == second.world.controller)
    }
}

/// A seeded life of four brokers under one controller after another.
struct RandomRun {
    var world: ControllerWorld
    var random: SeededRandom
    var topics: Int64 = 0

    init(seed: UInt64) {
        world = ControllerWorld(brokers: 4, seed: seed)
        random = SeededRandom(seed: seed)
    }

    mutating func node() -> NodeID { NodeID(1 + random.below(4)) }

    mutating func step() {
        world.advance(ms: random.below(120))
        switch random.below(23) {
        case 0: createTopic()
        case 1: if random.oneIn(4) { deleteTopic() }
        case 2: world.register(node(), newDirectory: random.oneIn(5), clean: random.oneIn(2))
        case 3: world.die(node())
        case 4: world.heartbeat(node(), wantShutDown: true)
        case 5: world.heartbeat(node(), wantFence: true)
        case 6: if random.oneIn(3) { world.failOver(seed: random.next()) }
        case 7: if random.oneIn(3) { changeConfig() }
        case 8: world.register(node(), sameIncarnation: true)
        case 9...13: alterPartition()
        case 14: world.tick()
        case 15...17: assignDirectory()
        default: world.heartbeat(node())
        }
    }

    private mutating func createTopic() {
        topics += 1
        let configs: [(String, String?)] =
            switch random.below(4) {
            case 0: [("flush.mode", "async")]
            case 1: [("unclean.leader.election.enable", "true")]
            default: []
            }
        world.create(
            "t\(random.below(8))", partitions: Int32(1 + random.below(4)), factor: Int16(1 + random.below(4)),
            configs: configs)
    }

    private mutating func deleteTopic() {
        var request = DeleteTopicsRequest()
        request.topicNames = ["t\(random.below(8))"]
        world.append(world.controller.deleteTopics(request, nextOffset: world.end, at: world.now).records)
    }

    private mutating func changeConfig() {
        let value = String(1 + random.below(3))
        _ = world.alterConfig(.topic, "t\(random.below(8))", [("min.insync.replicas", 0, value)])
    }

    private mutating func alterPartition() {
        let all = world.replica.topics.values
        guard !all.isEmpty else { return }
        let topic = all[Int(random.below(Int64(all.count)))]
        let index = Int(random.below(Int64(topic.partitions.count)))
        let partition = topic.partitions[index]
        let isr = partition.replicas.filter { replica in replica == partition.leader || !random.oneIn(3) }
        let stale = random.oneIn(8)
        world.alterPartition(TopicPartition(topic.id, PartitionIndex(index)), isr: isr) { proposal in
            if stale { proposal.partitionEpoch -= 1 }
        }
    }

    private mutating func assignDirectory() {
        let all = world.replica.topics.values
        guard !all.isEmpty else { return }
        let topic = all[Int(random.below(Int64(all.count)))]
        let index = Int(random.below(Int64(topic.partitions.count)))
        let replicas = topic.partitions[index].replicas
        let id = replicas[Int(random.below(Int64(replicas.count)))]
        let key = TopicPartition(topic.id, PartitionIndex(index))
        if random.oneIn(2) { world.lose(key, of: id) } else { world.repair(key, of: id) }
    }

    /// Everyone comes back with its disk and stays, and all that was damaged is whole.
    mutating func heal() {
        for id: NodeID in 1...4 {
            world.register(id)
            world.heartbeat(id)
        }
        for topic in world.replica.topics.values {
            for (index, partition) in topic.partitions.enumerated() {
                let key = TopicPartition(topic.id, PartitionIndex(index))
                for id in partition.replicas where partition.isLost(id) { world.repair(key, of: id) }
            }
        }
    }
}
