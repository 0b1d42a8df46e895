// Who leads and who is in sync: ELR, unclean election, AlterPartition's order of checks, preferred leaders.

import Metadata
import Model
import Testing
import Wire

@Suite struct ElectionTests {
    @Test func whoLeavesBelowMinISRIsEligibleAndLeadsWhenItReturns() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        #expect(world.die(3).last == change(key, isr: [1, 2]))
        #expect(world.die(2).last == change(key, isr: [1], elr: [2]))
        #expect(world.die(1).last == change(key, isr: [], leader: -1, elr: [1, 2], lastKnown: [1]))
        world.start(3)
        #expect(world.partition(key)?.leader == nil)
        world.register(2)
        #expect(world.heartbeat(2).records.last == change(key, isr: [2], leader: 2, elr: [1], lastKnown: []))
        #expect(world.alterPartition(key, isr: [2, 3]).records == [change(key, isr: [2, 3], elr: [])])
    }

    @Test func uncleanElectionNeedsTheSetting() {
        for enabled in ["true", "false"] {
            var world = ControllerWorld(brokers: 2)
            let key = world.createTopic(on: [1, 2], configs: [("unclean.leader.election.enable", enabled)])
            world.die(2)
            world.start(2)
            let records = world.die(1)
            if enabled == "true" {
                #expect(records.last == change(key, isr: [2], leader: 2, recovery: .recovering))
                #expect(world.alterPartition(key, isr: [2]).records == [change(key, recovery: .recovered)])
            } else {
                #expect(records.last == change(key, isr: [], leader: -1, elr: [1], lastKnown: [1]))
            }
        }
    }

    @Test func enablingUncleanElectionElectsAtOnce() {
        var world = ControllerWorld(brokers: 2)
        let key = world.createTopic(on: [1, 2])
        world.die(2)
        world.start(2)
        world.die(1)
        let decision = world.alterConfig(.topic, "t", [("unclean.leader.election.enable", 0, "true")])
        #expect(decision.records.count == 2)
        #expect(
            decision.records.last
                == change(key, isr: [2], leader: 2, elr: [], lastKnown: [], recovery: .recovering))
    }

    @Test func anAsyncTopicTakesItsLastLeaderBackAfterAnUncleanRestartAndASyncOneWithANewDiskDoesNot() {
        var world = ControllerWorld(brokers: 1)
        let key = world.createTopic(on: [1], configs: [("flush.mode", "async")])
        #expect(world.register(1).last == change(key, isr: [], leader: -1, lastKnown: [1]))
        #expect(
            world.heartbeat(1).records.last
                == change(key, isr: [1], leader: 1, lastKnown: [], recovery: .recovering))
        world.start(1, newDirectory: true)
        #expect(world.partition(key)?.leader == nil)
    }

    @Test func aSmallerMinISREndsEligibilityInTheSameBatch() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.die(3)
        world.die(2)
        let decision = world.alterConfig(.topic, "t", [("min.insync.replicas", 0, "1")])
        #expect(decision.records.last == change(key, elr: []))
        #expect(decision.records.count == 2)
        let back = world.alterConfig(.topic, "t", [("min.insync.replicas", 1, nil)])
        #expect(back.records.count == 1)
    }

    @Test func oneAlterPartitionChangesManyPartitionsInOneDecision() {
        var world = ControllerWorld(brokers: 3)
        let ids = ["a", "b"].map { world.create($0, partitions: 6).topicID }
        var request = AlterPartitionRequest()
        request.brokerID = 1
        request.brokerEpoch = world.controller.image.brokers[1]?.epoch ?? -1
        var led: [TopicPartition] = []
        for id in ids {
            var topic = AlterPartitionRequest.Topic()
            topic.topicID = id
            for index: Int32 in 0..<6 {
                guard let known = world.partition(TopicPartition(id, index)), known.leader == 1 else { continue }
                var proposal = AlterPartitionRequest.Partition()
                proposal.partitionIndex = index
                proposal.leaderEpoch = known.leaderEpoch
                // The first of all starts from a state that is gone.
                proposal.partitionEpoch = led.isEmpty ? known.partitionEpoch - 1 : known.partitionEpoch
                proposal.newIsr = [1]
                topic.partitions.append(proposal)
                led.append(TopicPartition(id, index))
            }
            request.topics.append(topic)
        }
        let decision = world.controller.alterPartition(request, nextOffset: world.end, at: world.now)
        world.append(decision.records)
        let errors = decision.response.topics.flatMap { $0.partitions.map(\.errorCode) }
        #expect(led.count > 2 && errors == [.invalidUpdateVersion] + led.dropFirst().map { _ in .none })
        #expect(decision.records.count == led.count - 1)
        #expect(led.map { world.partition($0)?.isr.count } == [3] + led.dropFirst().map { _ in 1 })
    }

    @Test func alterPartitionChecksInOrder() {
        var world = ControllerWorld(brokers: 4)
        let key = world.createTopic(on: [1, 2, 3])
        world.alterPartition(key, isr: [1, 2])
        func code(_ isr: [NodeID], from: NodeID = 1, _ edit: (inout AlterPartitionRequest.Partition) -> Void = { _ in })
            -> ErrorCode?
        {
            var copy = world
            let decision = copy.alterPartition(key, isr: isr, from: from, change: edit)
            let code = decision.response.topics.first?.partitions.first?.errorCode ?? decision.response.errorCode
            if code != .none { #expect(decision.records.isEmpty) }
            return code
        }
        #expect(code([1, 2], from: 9) == .staleBrokerEpoch)
        #expect(code([9]) { $0.leaderEpoch += 1 } == .notController)
        #expect(code([9]) { $0.partitionEpoch += 1 } == .notController)
        #expect(code([9], from: 2) { $0.leaderEpoch -= 1 } == .fencedLeaderEpoch)
        #expect(code([9], from: 2) { $0.partitionEpoch -= 1 } == .invalidRequest)
        #expect(code([9]) { $0.partitionEpoch -= 1 } == .invalidUpdateVersion)
        #expect(code([1, 4]) == .invalidRequest)
        #expect(code([1, 1]) == .invalidRequest)
        #expect(code([2]) == .invalidRequest)
        #expect(code([]) == .invalidRequest)
        #expect(code([1]) { $0.leaderRecoveryState = 1 } == .invalidRequest)
        #expect(code([1, 3]) { $0.newIsrWithEpochs[1].brokerEpoch -= 1 } == .ineligibleReplica)
        #expect(code([1, 3]) { $0.newIsrWithEpochs[1].brokerEpoch = -1 } == ErrorCode.none)
        #expect(code([1, 2, 3]) == ErrorCode.none)
        world.register(3)
        #expect(code([1, 3]) == .ineligibleReplica)
        world.heartbeat(3)
        world.heartbeat(3, wantShutDown: true)
        #expect(code([1, 3]) == .ineligibleReplica)
        let unknownTopic = world.alterPartition(TopicPartition(UUID128(high: 1, low: 9), 0), isr: [1], from: 1)
        #expect(unknownTopic.response.topics[0].partitions[0].errorCode == .unknownTopicId)
        let unknownPartition = world.alterPartition(TopicPartition(key.topicID, 7), isr: [1], from: 1)
        #expect(unknownPartition.response.topics[0].partitions[0].errorCode == .unknownTopicOrPartition)
    }

    @Test func anAcceptedProposalAnswersTheNewStateAndARepeatWritesNothing() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        let decision = world.alterPartition(key, isr: [1, 3])
        #expect(decision.records == [change(key, isr: [1, 3])])
        let answer = decision.response.topics[0].partitions[0]
        #expect(answer.leaderID == 1 && answer.isr == [1, 3] && answer.partitionEpoch == 1 && answer.leaderEpoch == 0)
        let again = world.alterPartition(key, isr: [1, 3])
        #expect(again.records.isEmpty && again.response.topics[0].partitions[0].partitionEpoch == 1)
        let v2 = world.alterPartition(key, isr: []) { $0.newIsr = [1, 2] }
        #expect(v2.records == [change(key, isr: [1, 2])])
    }

    @Test func aReturnedBrokerLeadsAgainWhenItHasBeenInSyncForAWhile() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.die(1)
        world.start(1)
        world.alterPartition(key, isr: [2, 3, 1])
        for _ in 0..<5 {
            world.advance(ms: 500)
            for id: NodeID in 1...3 { world.heartbeat(id) }
            #expect(world.tick().isEmpty)
        }
        world.advance(ms: 500)
        for id: NodeID in 1...3 { world.heartbeat(id) }
        #expect(world.controller.nextDeadline == world.now)
        #expect(world.tick() == [change(key, leader: 1)])
        #expect(world.controller.nextDeadline > world.now)
    }

    @Test func onlySoManyLeadershipsAreGivenBackInOneTick() {
        var settings = ControllerSettings()
        settings.preferredLeadersPerTick = 4
        settings.sessionTimeoutMs = 100_000
        var world = ControllerWorld(brokers: 3, settings: settings)
        world.create("many", partitions: 30, factor: 3)
        world.die(1)
        world.start(1)
        for index: Int32 in 0..<30 {
            let key = TopicPartition(world.controller.image.topic(named: "many")?.id ?? .zero, index)
            world.alterPartition(key, isr: [1, 2, 3])
        }
        world.advance(ms: 3_000)
        var rounds: [Int] = []
        while world.controller.nextDeadline <= world.now.advanced(byMs: 200) {
            rounds.append(world.tick().count)
            world.advance(ms: 100)
        }
        #expect(rounds.filter { $0 > 0 } == [4, 4, 2])
    }
}
