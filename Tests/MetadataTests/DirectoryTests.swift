// Damaged replicas by AssignReplicasToDirs: who leaves ISR and ELR, who is elected, and who never is.

import Metadata
import Model
import Testing
import Wire

@Suite struct DirectoryTests {
    /// Their own directories, but for the lost ones.
    private func directories(_ world: ControllerWorld, _ replicas: [NodeID], lost: [NodeID] = []) -> [UUID128] {
        replicas.map { lost.contains($0) ? DirectoryID.lost : world.brokers[$0]?.directoryID ?? .zero }
    }

    @Test func aLostFollowerLeavesTheISRAndARepeatedWordWritesNothing() throws {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        let lost = world.assign([key], of: 3, to: DirectoryID.lost)
        #expect(lost.records == [change(key, isr: [1, 2], directories: directories(world, [1, 2, 3], lost: [3]))])
        #expect(lost.response.errorCode == .none)
        let answered = try #require(lost.response.directories.first)
        #expect(answered.id == DirectoryID.lost && answered.topics.map(\.topicID) == [key.topicID])
        #expect(answered.topics[0].partitions.map(\.partitionIndex) == [0])
        #expect(answered.topics[0].partitions.map(\.errorCode) == [.none])
        let partition = try #require(world.partition(key))
        #expect(partition.isLost(3) && !partition.isLost(1) && !partition.isLost(9))
        #expect(partition.leaderEpoch == 0 && partition.partitionEpoch == 1)
        let again = world.assign([key], of: 3, to: DirectoryID.lost)
        #expect(again.records.isEmpty && again.response == lost.response)
        #expect(world.repair(key, of: 3) == [change(key, directories: directories(world, [1, 2, 3]))])
        #expect(world.repair(key, of: 3).isEmpty)
    }

    @Test func aLostLeaderIsFollowedByTheNextInSync() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        #expect(
            world.lose(key, of: 1)
                == [change(key, isr: [2, 3], leader: 2, directories: directories(world, [1, 2, 3], lost: [1]))])
        #expect(world.partition(key)?.leaderEpoch == 1)
    }

    @Test func whoIsLostBelowMinISRIsNotEligible() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.die(3)
        let directories = directories(world, [1, 2, 3], lost: [2])
        #expect(world.lose(key, of: 2) == [change(key, isr: [1], directories: directories)])
    }

    @Test func whoIsLostLeavesTheELRWhileAnotherLeads() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.die(3)
        world.die(2)
        world.register(2)
        #expect(world.partition(key)?.eligibleLeaderReplicas == [2])
        let directories = directories(world, [1, 2, 3], lost: [2])
        #expect(world.lose(key, of: 2) == [change(key, elr: [], directories: directories)])
    }

    @Test func anEligibleReplicaFollowsTheLastInSync() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.die(3)
        world.die(2)
        world.start(2)
        #expect(world.partition(key)?.isr == [1])
        let directories = directories(world, [1, 2, 3], lost: [1])
        #expect(world.lose(key, of: 1) == [change(key, isr: [2], leader: 2, elr: [], directories: directories)])
    }

    @Test func theLastInSyncStaysAndLeadsOnWhenItIsWhole() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.die(3)
        world.die(2)
        let lost = directories(world, [1, 2, 3], lost: [1])
        #expect(world.lose(key, of: 1) == [change(key, leader: -1, lastKnown: [1], directories: lost)])
        #expect(world.partition(key)?.isr == [1] && world.partition(key)?.eligibleLeaderReplicas == [2])
        var repaired = world
        let whole = directories(world, [1, 2, 3])
        #expect(repaired.repair(key, of: 1) == [change(key, leader: 1, lastKnown: [], directories: whole)])
        #expect(repaired.partition(key)?.leaderEpoch == 2)
        // Another that has all comes first: it leads, and the lost one leaves.
        world.register(2, clean: true)
        #expect(
            world.heartbeat(2).records.last == change(key, isr: [2], leader: 2, elr: [], lastKnown: []))
        #expect(world.repair(key, of: 1) == [change(key, directories: whole)])
        #expect(world.alterPartition(key, isr: [2, 1]).response.topics[0].partitions[0].errorCode == .none)
    }

    @Test func theLastInSyncKeepsItsPlaceOverARestartAndIsNotElectedBeforeItIsWhole() {
        var world = ControllerWorld(brokers: 1)
        let key = world.createTopic(on: [1])
        world.lose(key, of: 1)
        #expect(world.partition(key)?.leader == nil && world.partition(key)?.isr == [1])
        #expect(world.register(1).last == change(key, isr: [], elr: [1]))
        #expect(world.heartbeat(1).records.count == 1)
        #expect(world.partition(key)?.isLost(1) == true)
        #expect(
            world.repair(key, of: 1)
                == [
                    change(
                        key, isr: [1], leader: 1, elr: [], lastKnown: [], directories: directories(world, [1]))
                ])
    }

    @Test func anAsyncTopicsLastLeaderIsTakenBackUncleanlyOnlyWhenItIsWhole() {
        var world = ControllerWorld(brokers: 1)
        let key = world.createTopic(on: [1], configs: [("flush.mode", "async")])
        world.lose(key, of: 1)
        #expect(world.register(1).last == change(key, isr: []))
        #expect(world.heartbeat(1).records.count == 1)
        #expect(
            world.repair(key, of: 1)
                == [
                    change(
                        key, isr: [1], leader: 1, lastKnown: [], directories: directories(world, [1]),
                        recovery: .recovering)
                ])
    }

    @Test func uncleanElectionPassesALostReplicaOver() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3], configs: [("unclean.leader.election.enable", "true")])
        world.lose(key, of: 2)
        world.die(3)
        world.die(1)
        #expect(world.partition(key)?.leader == nil)
        world.repair(key, of: 2)
        #expect(world.partition(key)?.leader == 2 && world.partition(key)?.isr == [2])
        #expect(world.partition(key)?.leaderRecoveryState == .recovering)
    }

    @Test func anUncleanLeaderIsTakenOverTheLastInSyncThatIsLost() {
        var world = ControllerWorld(brokers: 2)
        let key = world.createTopic(on: [1, 2], configs: [("unclean.leader.election.enable", "true")])
        world.alterPartition(key, isr: [1])
        _ = world.alterConfig(.topic, "t", [("min.insync.replicas", 0, "1")])
        let lost = directories(world, [1, 2], lost: [1])
        #expect(
            world.lose(key, of: 1).last
                == change(key, isr: [2], leader: 2, directories: lost, recovery: .recovering))
    }

    @Test func aLostReplicaIsNotElectedWhenTheLeaderDies() {
        var world = ControllerWorld(brokers: 2)
        let key = world.createTopic(on: [1, 2])
        world.lose(key, of: 2)
        #expect(world.die(1).last == change(key, isr: [], leader: -1, elr: [1], lastKnown: [1]))
        world.register(2)
        #expect(world.heartbeat(2).records.count == 1)
        #expect(world.partition(key)?.leader == nil)
    }

    @Test func alterPartitionDoesNotTakeALostReplicaIn() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.lose(key, of: 3)
        let refused = world.alterPartition(key, isr: [1, 2, 3])
        #expect(refused.records.isEmpty)
        #expect(refused.response.topics[0].partitions[0].errorCode == .ineligibleReplica)
        world.repair(key, of: 3)
        #expect(world.alterPartition(key, isr: [1, 2, 3]).records == [change(key, isr: [1, 2, 3])])
    }

    @Test func aPreferredLeaderThatIsLostGetsItsLeadershipBackWhenItIsInSyncAgain() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.lose(key, of: 1)
        func wait(_ world: inout ControllerWorld) -> [MetadataRecord] {
            var records: [MetadataRecord] = []
            for _ in 0..<8 {
                world.advance(ms: 500)
                for id: NodeID in 1...3 { world.heartbeat(id) }
                records += world.tick()
            }
            return records
        }
        #expect(wait(&world).isEmpty)
        world.repair(key, of: 1)
        world.alterPartition(key, isr: [1, 2, 3])
        #expect(wait(&world) == [change(key, leader: 1)])
    }

    @Test func aLeaderThatStopsDoesNotHandOverToALostReplica() {
        var world = ControllerWorld(brokers: 2)
        let key = world.createTopic(on: [1, 2])
        world.lose(key, of: 2)
        world.heartbeat(1, wantShutDown: true)
        #expect(world.partition(key)?.leader == 1 && world.partition(key)?.isr == [1])
        // And one that is lost and alone stays where it is.
        var alone = ControllerWorld(brokers: 1)
        let other = alone.createTopic(on: [1])
        alone.lose(other, of: 1)
        alone.heartbeat(1, wantShutDown: true)
        #expect(alone.partition(other)?.isr == [1] && alone.partition(other)?.leader == nil)
    }

    @Test func newPartitionsLieInTheBrokersOwnDirectory() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.lose(key, of: 1)
        var topic = CreatePartitionsRequest.Topic()
        topic.name = "t"
        topic.count = 2
        var request = CreatePartitionsRequest()
        request.topics = [topic]
        world.append(world.controller.createPartitions(request, nextOffset: world.end, at: world.now).records)
        let added = world.partition(TopicPartition(key.topicID, 1))
        #expect(added.map { $0.isr.count } == 3 && added?.replicas.contains { added?.isLost($0) ?? true } == false)
    }

    @Test func aRestartKeepsTheMarkAndANewDiskTakesItAway() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.lose(key, of: 3)
        #expect(world.register(3).count == 1)
        #expect(world.partition(key)?.isLost(3) == true)
        let records = world.register(3, newDirectory: true)
        #expect(records.last == change(key, directories: directories(world, [1, 2, 3])))
        #expect(world.partition(key)?.isLost(3) == false && world.partition(key)?.isr == [1, 2])
    }

    @Test func aNewDiskOfTheLastInSyncIsNotElected() {
        var world = ControllerWorld(brokers: 2)
        let key = world.createTopic(on: [1, 2])
        world.alterPartition(key, isr: [1])
        world.die(2)
        world.register(2, newDirectory: true)
        world.lose(key, of: 1)
        world.start(1, newDirectory: true)
        world.heartbeat(2)
        #expect(world.partition(key)?.isr == [] && world.partition(key)?.eligibleLeaderReplicas == [])
        #expect(world.partition(key)?.leader == nil)
    }

    @Test func aSmallerMinISRDoesNotEndEligibilityWhileOnlyALostReplicaIsInSync() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.die(3)
        world.die(2)
        world.lose(key, of: 1)
        #expect(world.alterConfig(.topic, "t", [("min.insync.replicas", 0, "1")]).records.count == 1)
        #expect(world.partition(key)?.eligibleLeaderReplicas == [2])
        world.register(2, clean: true)
        #expect(world.heartbeat(2).records.last == change(key, isr: [2], leader: 2, elr: [], lastKnown: []))
    }

    @Test func whatCannotBeAssignedIsRefusedPartByPart() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2])
        let old = world.brokers[1]?.epoch
        #expect(world.assign([key], of: 9, to: DirectoryID.lost).response.errorCode == .staleBrokerEpoch)
        let others = [
            TopicPartition(UUID128(high: 1, low: 9), 0), TopicPartition(key.topicID, 7),
            TopicPartition(key.topicID, -1), key,
        ]
        func errors(_ id: NodeID, to directory: UUID128) -> [ErrorCode] {
            var copy = world
            let decision = copy.assign(others, of: id, to: directory)
            #expect(decision.response.errorCode == .none)
            let errors = decision.response.directories.flatMap(\.topics).flatMap(\.partitions).map(\.errorCode)
            #expect(decision.records.count == errors.filter { $0 == .none }.count)
            return errors
        }
        let unknown: [ErrorCode] = [.unknownTopicId, .unknownTopicOrPartition, .unknownTopicOrPartition]
        #expect(errors(1, to: DirectoryID.lost) == unknown + [.none])
        #expect(errors(3, to: DirectoryID.lost) == unknown + [.notLeaderOrFollower])
        #expect(errors(1, to: UUID128(high: 7, low: 7)) == unknown + [.logDirNotFound])
        #expect(errors(1, to: DirectoryID.unassigned) == unknown + [.logDirNotFound])
        #expect(errors(1, to: DirectoryID.migrating) == unknown + [.logDirNotFound])
        world.register(1)
        let stale = world.assign([key], of: 1, to: DirectoryID.lost, epoch: old)
        #expect(stale.records.isEmpty && stale.response.errorCode == .staleBrokerEpoch)
        #expect(stale.response.directories.isEmpty)
    }

    @Test func aSnapshotKeepsTheMark() {
        var world = ControllerWorld(brokers: 2)
        let key = world.createTopic(on: [1, 2])
        world.lose(key, of: 2)
        var copy = MetadataImage.empty
        var changes = ImageChanges()
        for (index, record) in world.replica.records().enumerated() {
            copy.apply(record, at: Offset(index), changes: &changes)
        }
        #expect(copy.partition(key)?.isLost(2) == true && copy.partition(key) == world.partition(key))
    }
}
