// Topics: creation, placement, validation, growth, deletion.

import Metadata
import Model
import Testing
import Wire

@Suite struct TopicTests {
    @Test func aTopicIsWrittenWithItsSettingsAndPartitions() throws {
        var world = ControllerWorld(brokers: 3)
        var request = CreateTopicsRequest()
        request.topics = [
            ControllerWorld.topic(
                "a", partitions: 2, factor: 3, configs: [("retention.ms", "5"), ("flush.mode", "async")])
        ]
        let decision = world.createTopics(request)
        let answer = decision.response.topics[0]
        #expect(answer.errorCode == .none && answer.numPartitions == 2 && answer.replicationFactor == 3)
        #expect(answer.configs?.first { $0.name == "flush.mode" }?.value == "async")
        #expect(decision.records.count == 5)
        let topic = try #require(world.controller.image.topic(named: "a"))
        #expect(topic.id == answer.topicID && topic.partitions.count == 2)
        for partition in topic.partitions {
            #expect(partition.isr == partition.replicas && partition.leader == partition.replicas[0])
            #expect(partition.leaderEpoch == 0 && partition.partitionEpoch == 0)
            #expect(partition.directories == partition.replicas.map { world.brokers[$0]?.directoryID ?? .zero })
        }
        let config = try #require(world.controller.image.effectiveConfig(topic.id))
        #expect(!config.synchronous && config.retentionMs == 5 && config.minInSyncReplicas == 2)
    }

    @Test func defaultsAreOnePartitionAndThreeReplicasAsFarAsThereAreBrokers() {
        for (brokers, factor) in [(1, 1), (2, 2), (3, 3), (5, 3)] as [(NodeID, Int16)] {
            var world = ControllerWorld(brokers: brokers)
            let answer = world.create("a", partitions: -1, factor: -1)
            #expect(answer.numPartitions == 1 && answer.replicationFactor == factor)
        }
    }

    @Test func placementSpreadsLeadersReplicasAndFollowersEvenly() {
        var world = ControllerWorld(brokers: 5)
        world.create("a", partitions: 20, factor: 3)
        world.create("b", partitions: 20, factor: 3)
        var leaders: [NodeID: Int] = [:]
        var replicas: [NodeID: Int] = [:]
        var seconds: [NodeID: Set<NodeID>] = [:]
        for topic in world.controller.image.topics.values {
            for partition in topic.partitions {
                leaders[partition.replicas[0], default: 0] += 1
                seconds[partition.replicas[0], default: []].insert(partition.replicas[1])
                for replica in partition.replicas { replicas[replica, default: 0] += 1 }
            }
        }
        #expect((1...5).allSatisfy { leaders[$0] == 8 })
        #expect((1...5).allSatisfy { (23...25).contains(replicas[$0] ?? 0) })
        #expect((1...5).allSatisfy { (seconds[$0] ?? []).count >= 2 })
    }

    @Test func aBrokerOutOfServiceIsPlacedOnlyWhenNeededAndNeverInSync() {
        var world = ControllerWorld(brokers: 3)
        world.die(2)
        world.create("two", partitions: 4, factor: 2)
        world.create("three", partitions: 4, factor: 3)
        let two = world.controller.image.topic(named: "two")
        let three = world.controller.image.topic(named: "three")
        #expect(two?.partitions.allSatisfy { !$0.replicas.contains(2) } == true)
        #expect(three?.partitions.allSatisfy { $0.replicas.last == 2 && $0.isr.count == 2 } == true)
        #expect(world.create("x", factor: 4).errorCode == .invalidReplicationFactor)
        #expect(three?.partitions.allSatisfy(\.eligibleLeaderReplicas.isEmpty) == true)
        world.die(1)
        // One of three is too few to commit anything: the others lack nothing, and may be elected when it is gone.
        world.create("alone", factor: 3)
        let alone = world.controller.image.topic(named: "alone")?.partitions.first
        #expect(alone?.isr == [3] && alone?.eligibleLeaderReplicas.sorted() == [1, 2])
        world.die(3)
        #expect(world.create("y", factor: 1).errorCode == .invalidReplicationFactor)
    }

    @Test func badTopicsAreRefusedWithTheirCodeAndASentence() {
        var world = ControllerWorld(brokers: 3)
        world.create("a.b")
        let cases: [(CreateTopicsRequest.Topic, ErrorCode)] = [
            (ControllerWorld.topic("a.b"), .topicAlreadyExists),
            (ControllerWorld.topic("a_b"), .invalidTopicException),
            (ControllerWorld.topic("a b"), .invalidTopicException),
            (ControllerWorld.topic(""), .invalidTopicException),
            (ControllerWorld.topic("__cluster_metadata"), .invalidTopicException),
            (ControllerWorld.topic("x", partitions: 0), .invalidPartitions),
            (ControllerWorld.topic("x", partitions: -2), .invalidPartitions),
            (ControllerWorld.topic("x", partitions: 10_001), .invalidPartitions),
            (ControllerWorld.topic("x", factor: 0), .invalidReplicationFactor),
            (ControllerWorld.topic("x", factor: 4), .invalidReplicationFactor),
            (ControllerWorld.topic("x", configs: [("cleanup.policy", "compress")]), .invalidConfig),
            (ControllerWorld.topic("x", configs: [("cleanup.policy", "")]), .invalidConfig),
            (ControllerWorld.topic("x", configs: [("compression.type", "lz4")]), .invalidConfig),
            (ControllerWorld.topic("x", configs: [("flush.mode", "never")]), .invalidConfig),
            (ControllerWorld.topic("x", configs: [("min.insync.replicas", "0")]), .invalidConfig),
            (ControllerWorld.topic("x", configs: [("segment.bytes", "many")]), .invalidConfig),
            (ControllerWorld.topic("x", configs: [("no.such.setting", "1")]), .invalidConfig),
            (ControllerWorld.topic("x", configs: [("retention.ms", nil)]), .invalidConfig),
            (ControllerWorld.topic("x", factor: -1, assignments: [[1]]), .invalidRequest),
            (ControllerWorld.topic("x", partitions: -1, factor: 1, assignments: [[1]]), .invalidRequest),
            (ControllerWorld.topic("x", partitions: -1, factor: -1, assignments: [[1, 1]]), .invalidReplicaAssignment),
            (ControllerWorld.topic("x", partitions: -1, factor: -1, assignments: [[9]]), .invalidReplicaAssignment),
            (ControllerWorld.topic("x", partitions: -1, factor: -1, assignments: [[]]), .invalidReplicaAssignment),
            (
                ControllerWorld.topic("x", partitions: -1, factor: -1, assignments: [[1], [1, 2]]),
                .invalidReplicaAssignment
            ),
        ]
        for (topic, code) in cases {
            var request = CreateTopicsRequest()
            request.topics = [topic]
            let decision = world.createTopics(request)
            #expect(decision.response.topics[0].errorCode == code, "\(topic)")
            #expect(decision.response.topics[0].errorMessage?.isEmpty == false)
            #expect(decision.records.isEmpty)
        }
    }

    @Test func whatClientsSetByHabitIsAcceptedAndOnlyWhatActsIsShown() {
        var world = ControllerWorld(brokers: 1)
        let answer = world.create(
            "a", factor: 1,
            configs: [
                ("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "1000"),
                ("compression.type", "producer"), ("flush.messages", "5"), ("segment.bytes", "2097152"),
            ])
        #expect(answer.errorCode == .none)
        #expect(answer.configs?.first { $0.name == "segment.bytes" }?.configSource == ConfigSource.topic.rawValue)
        #expect(answer.configs?.contains { $0.name == "flush.messages" } == false)
        #expect(world.controller.image.config(.topic, "a")["flush.messages"] == "5")
        let effective = world.controller.image.effectiveConfig(answer.topicID)
        #expect(effective?.retentionBytes == 1_000 && effective?.retentionMs == -1 && effective?.deletes == true)
        #expect(effective?.fileDeleteDelayMs == 60_000)
    }

    @Test func aRequestIsAnsweredTopicByTopicAndNamesNoTopicTwice() {
        var world = ControllerWorld(brokers: 1)
        var request = CreateTopicsRequest()
        request.topics = ["a", "a", "b", "c.d", "c_d"].map { ControllerWorld.topic($0, factor: 1) }
        let codes = world.createTopics(request).response.topics.map(\.errorCode)
        #expect(codes == [.invalidRequest, .invalidRequest, .none, .none, .invalidTopicException])
        #expect(world.controller.image.topicNames == ["b", "c.d"])
    }

    @Test func validateOnlyChangesNothing() {
        var world = ControllerWorld(brokers: 1)
        var request = CreateTopicsRequest()
        request.topics = [ControllerWorld.topic("a", factor: 1)]
        request.validateOnly = true
        let before = world.controller
        let decision = world.createTopics(request)
        #expect(decision.records.isEmpty && decision.response.topics[0].errorCode == .none)
        #expect(world.controller == before)
    }

    @Test func aTopicGrowsAndNeverShrinks() {
        var world = ControllerWorld(brokers: 3)
        world.create("a", partitions: 2, factor: 2)
        func grow(_ count: Int32, _ assignments: [[NodeID]]? = nil) -> ErrorCode {
            var topic = CreatePartitionsRequest.Topic()
            topic.name = "a"
            topic.count = count
            topic.assignments = assignments.map { lists in
                lists.map { list in
                    var assignment = CreatePartitionsRequest.Assignment()
                    assignment.brokerIDs = list
                    return assignment
                }
            }
            var request = CreatePartitionsRequest()
            request.topics = [topic]
            let decision = world.controller.createPartitions(request, nextOffset: world.end, at: world.now)
            world.append(decision.records)
            return decision.response.results[0].errorCode
        }
        #expect(grow(1) == .invalidPartitions)
        #expect(grow(2) == .invalidPartitions)
        #expect(grow(4, [[1, 2]]) == .invalidReplicaAssignment)
        #expect(grow(3, [[1]]) == .invalidReplicaAssignment)
        #expect(grow(3, [[3, 1]]) == .none)
        #expect(grow(6) == .none)
        #expect(world.controller.image.topic(named: "a")?.partitions.count == 6)
        #expect(world.controller.image.topic(named: "a")?.partitions[2].replicas == [3, 1])
    }

    @Test func aDeletedTopicIsGoneWithItsSettingsAndItsIDNeverReturns() throws {
        var world = ControllerWorld(brokers: 1)
        let id = world.create("a", factor: 1, configs: [("retention.ms", "5")]).topicID
        var request = DeleteTopicsRequest()
        request.topicNames = ["a", "nope"]
        let decision = world.controller.deleteTopics(request, nextOffset: world.end, at: world.now)
        world.append(decision.records)
        #expect(decision.response.topics.map(\.errorCode) == [.none, .unknownTopicOrPartition])
        #expect(world.controller.image.topic(id: id) == nil)
        #expect(world.controller.image.config(.topic, "a").isEmpty)
        #expect(world.create("a", factor: 1).topicID != id)
        var byID = DeleteTopicsRequest()
        byID.topics = [id, .zero].map { id in
            var topic = DeleteTopicsRequest.Topic()
            topic.topicID = id
            return topic
        }
        let codes = world.controller.deleteTopics(byID, nextOffset: world.end, at: world.now).response.topics
        #expect(codes.map(\.errorCode) == [.unknownTopicId, .invalidRequest])
    }
}
