// Registration, fencing, heartbeats, controlled shutdown: each rule by the records it writes.

import Metadata
import Model
import Testing
import Wire

@Suite struct BrokerLifeTests {
    @Test func theFirstTickOfAnEmptyClusterWritesTheFeatureLevels() {
        let world = ControllerWorld()
        #expect(world.log.count == 2)
        #expect(world.controller.image.features["metadata.version"] == 27)
        #expect(world.controller.image.features["eligible.leader.replicas.version"] == 1)
        #expect(world.controller.nextDeadline == .distantFuture)
    }

    @Test func aRegistrationsEpochIsItsRecordsOffset() throws {
        var world = ControllerWorld()
        let records = world.register(1)
        #expect(records.count == 1)
        let broker = try #require(world.controller.image.brokers[1])
        #expect(broker.epoch == 2 && world.brokers[1]?.epoch == 2)
        #expect(broker.fenced && broker.endpoint == Endpoint(host: "node1", port: 9092))
        #expect(broker.directoryID == world.brokers[1]?.directoryID)
    }

    @Test func aRepeatedRegistrationAnswersTheSameEpochAndWritesNothing() {
        var world = ControllerWorld(brokers: 1)
        let epoch = world.brokers[1]?.epoch
        #expect(world.register(1, sameIncarnation: true).isEmpty)
        #expect(world.brokers[1]?.epoch == epoch)
    }

    @Test func aRegistrationWithoutOneDirectoryIsRefused() {
        var world = ControllerWorld()
        var request = BrokerRegistrationRequest()
        request.brokerID = 1
        request.incarnationID = UUID128(high: 1, low: 1)
        request.listeners = [.init()]
        let decision = world.controller.registered(request, nextOffset: world.end, at: world.now)
        #expect(decision.response.errorCode == .invalidRegistration && decision.records.isEmpty)
    }

    @Test func aBrokerIsUnfencedOnceItHasAppliedItsOwnRegistration() throws {
        var world = ControllerWorld()
        world.register(1)
        let early = world.heartbeat(1, offset: 1)
        #expect(early.records.isEmpty && early.response.isFenced && !early.response.isCaughtUp)
        let caughtUp = world.heartbeat(1, offset: 2)
        #expect(caughtUp.records == [registrationChange(1, 2, fenced: -1)])
        #expect(!caughtUp.response.isFenced && caughtUp.response.isCaughtUp)
        #expect(world.heartbeat(1).records.isEmpty)
    }

    @Test func heartbeatsOfUnknownAndSupersededRegistrationsAreRefused() {
        var world = ControllerWorld(brokers: 1)
        #expect(world.heartbeat(9).response.errorCode == .brokerIdNotRegistered)
        let old = world.brokers[1]?.epoch
        world.register(1)
        #expect(world.heartbeat(1, epoch: old).response.errorCode == .staleBrokerEpoch)
        #expect(world.controller.image.brokers[1]?.fenced == true)
    }

    @Test func aBrokerThatIsNotHeardFromIsFencedAtItsDeadlineAndOthersAreElected() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.advance(ms: 1_000)
        world.heartbeat(2)
        world.heartbeat(3)
        #expect(world.controller.nextDeadline == Instant.zero.advanced(byMs: 1_500))
        world.advance(ms: 499)
        #expect(world.tick().isEmpty)
        world.advance(ms: 1)
        let epoch = world.brokers[1]?.epoch ?? -1
        #expect(world.tick() == [registrationChange(1, epoch, fenced: 1), change(key, isr: [2, 3], leader: 2)])
        #expect(world.partition(key)?.leaderEpoch == 1 && world.partition(key)?.partitionEpoch == 1)
    }

    @Test func brokersWhoseSessionsEndTogetherAreNotElectedInEachOthersPlace() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.advance(ms: 1_000)
        world.heartbeat(3)
        world.advance(ms: 600)
        let records = world.tick()
        #expect(records.count == 3)
        #expect(records.last == change(key, isr: [3], leader: 3, elr: [1, 2]))
    }

    @Test func proofOfDeathFencesAtOnceAndNamesTheIncarnation() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        let epoch = world.brokers[1]?.epoch ?? -1
        let other = world.controller.brokerDied(
            1, incarnationID: UUID128(high: 5, low: 5), nextOffset: world.end, at: world.now)
        #expect(other.isEmpty)
        #expect(world.die(1) == [registrationChange(1, epoch, fenced: 1), change(key, isr: [2, 3], leader: 2)])
        #expect(world.die(1).isEmpty)
    }

    @Test func aLateHeartbeatOfADeadIncarnationDoesNotBringItBackButRegisteringDoes() {
        var world = ControllerWorld(brokers: 3)
        world.die(1)
        #expect(world.heartbeat(1).response.errorCode == .staleBrokerEpoch)
        #expect(world.controller.image.brokers[1]?.fenced == true)
        #expect(world.register(1, sameIncarnation: true).count == 1)
        #expect(world.heartbeat(1).response.isFenced == false)
    }

    @Test func aBrokerWhoseSessionEndedComesBackWithAHeartbeat() {
        var world = ControllerWorld(brokers: 1)
        world.advance(ms: 2_000)
        #expect(world.tick().count == 1)
        #expect(world.heartbeat(1).response.isFenced == false)
    }

    @Test func aNewIncarnationLosesItsLeadershipsAtOnce() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        let records = world.register(1)
        #expect(records.count == 2)
        #expect(records.last == change(key, isr: [2, 3], leader: 2))
    }

    @Test func theOnlyReplicaLeadsAgainUnderANewEpochAfterARestart() {
        var world = ControllerWorld(brokers: 1)
        let key = world.createTopic(on: [1])
        #expect(world.register(1).last == change(key, isr: [], leader: -1, elr: [1], lastKnown: [1]))
        let unfenced = world.heartbeat(1).records
        #expect(unfenced.last == change(key, isr: [1], leader: 1, elr: [], lastKnown: []))
        #expect(world.partition(key)?.leaderEpoch == 2)
    }

    @Test func aNewDirectoryLeavesEveryISRAndELRInTheRegistrationsBatch() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.die(3)
        world.die(2)
        #expect(world.partition(key)?.eligibleLeaderReplicas == [2])
        let records = world.register(2, newDirectory: true)
        let directories = [1, 2, 3].compactMap { world.brokers[$0]?.directoryID }
        #expect(records.count == 2)
        #expect(records.last == change(key, elr: [], directories: directories))
        let wiped = world.register(1, newDirectory: true)
        let all = [1, 2, 3].compactMap { world.brokers[$0]?.directoryID }
        #expect(wiped.last == change(key, isr: [], leader: -1, directories: all))
        world.heartbeat(1)
        world.heartbeat(2)
        #expect(world.partition(key)?.leader == nil)
    }

    @Test func aSyncCopyKeepsItsPlaceAfterAnUncleanRestartAndAnAsyncCopyDoesNot() {
        for mode in ["sync", "async"] {
            var world = ControllerWorld(brokers: 3)
            let key = world.createTopic(on: [1, 2, 3], configs: [("flush.mode", mode)])
            world.die(3)
            world.die(2)
            #expect(world.partition(key)?.eligibleLeaderReplicas == [2])
            world.register(2)
            #expect(world.partition(key)?.eligibleLeaderReplicas == (mode == "sync" ? [2] : []))
        }
    }

    @Test func anAsyncCopyKeepsItsPlaceAfterACleanRestart() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3], configs: [("flush.mode", "async")])
        world.die(3)
        world.die(2)
        world.register(2, clean: true)
        #expect(world.partition(key)?.eligibleLeaderReplicas == [2])
    }

    @Test func controlledShutdownMovesLeadershipsAndWaitsUntilOthersKnow() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        let epoch = world.brokers[1]?.epoch ?? -1
        let first = world.heartbeat(1, wantShutDown: true)
        #expect(first.records == [registrationChange(1, epoch, shutdown: 1), change(key, isr: [2, 3], leader: 2)])
        #expect(!first.response.shouldShutDown && !first.response.isFenced)
        #expect(!world.heartbeat(1, wantShutDown: true).response.shouldShutDown)
        world.heartbeat(2)
        #expect(!world.heartbeat(1, wantShutDown: true).response.shouldShutDown)
        world.heartbeat(3)
        #expect(world.heartbeat(1, wantShutDown: true).response.shouldShutDown)
        world.heartbeat(1)
        #expect(world.controller.image.brokers[1]?.inControlledShutdown == true)
    }

    @Test func aLeaderWithoutAPeerInSyncLeadsUntilItIsGone() {
        var world = ControllerWorld(brokers: 2)
        let key = world.createTopic(on: [1, 2])
        world.die(2)
        let epoch = world.brokers[1]?.epoch ?? -1
        let stopping = world.heartbeat(1, wantShutDown: true)
        #expect(stopping.records == [registrationChange(1, epoch, shutdown: 1)])
        #expect(stopping.response.shouldShutDown)
        #expect(world.partition(key)?.leader == 1)
        world.die(1)
        #expect(world.partition(key)?.eligibleLeaderReplicas == [1])
    }

    @Test func aFencedBrokerMayStopAtOnce() {
        var world = ControllerWorld(brokers: 1)
        world.register(1)
        #expect(world.heartbeat(1, wantShutDown: true).response.shouldShutDown)
    }

    @Test func aNewControllerGivesFreshSessionsAndFencesWhatItCanProve() {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        world.advance(ms: 1_400)
        let dead = world.brokers[1]?.incarnationID ?? .zero
        world.failOver(seed: 2, dead: [(1, dead), (2, UUID128(high: 1, low: 2))])
        #expect(world.controller.nextDeadline == world.now)
        let records = world.tick()
        #expect(records.count == 2 && records.last == change(key, isr: [2, 3], leader: 2))
        #expect(world.controller.nextDeadline == world.now.advanced(byMs: 1_500))
        world.advance(ms: 1_499)
        #expect(world.tick().isEmpty)
    }

    @Test(arguments: [(0, 1_500), (600, 900), (1_000, 500), (20_000, 500)])
    func theControllerBeforeMayBeSilentForLessLong(silentForMs: Int64, leftMs: Int64) throws {
        var world = ControllerWorld(brokers: 3)
        let key = world.createTopic(on: [1, 2, 3])
        _ = world.tick()
        world.advance(ms: 30_000)
        world.failOver(seed: 2, silent: (1, world.now.advanced(byMs: -silentForMs)))
        _ = world.tick()
        #expect(world.controller.nextDeadline == world.now.advanced(byMs: leftMs))
        world.advance(ms: leftMs - 1)
        #expect(world.tick().isEmpty)
        for id in [2, 3] as [NodeID] { _ = world.heartbeat(id) }
        world.advance(ms: 1)
        #expect(world.tick().last == change(key, isr: [2, 3], leader: 2))
    }

    @Test func theControllerBeforeThatLivesSaysSoInTime() {
        var world = ControllerWorld(brokers: 3)
        _ = world.tick()
        world.failOver(seed: 2, silent: (1, world.now.advanced(byMs: -1_000)))
        _ = world.tick()
        world.advance(ms: 400)
        for id in [1, 2, 3] as [NodeID] { _ = world.heartbeat(id) }
        world.advance(ms: 1_499)
        #expect(world.tick().isEmpty)
    }

    @Test func producerIDsAreGivenOutInBlocksThatDoNotMeet() {
        var world = ControllerWorld(brokers: 2)
        var request = AllocateProducerIDsRequest()
        request.brokerID = 1
        request.brokerEpoch = world.brokers[1]?.epoch ?? -1
        let first = world.controller.allocateProducerIDs(request, nextOffset: world.end, at: world.now)
        world.append(first.records)
        #expect(first.response.producerIDStart == 0 && first.response.producerIDLen == 1_000)
        request.brokerID = 2
        let stale = world.controller.allocateProducerIDs(request, nextOffset: world.end, at: world.now)
        #expect(stale.response.errorCode == .staleBrokerEpoch && stale.records.isEmpty)
        request.brokerEpoch = world.brokers[2]?.epoch ?? -1
        let second = world.controller.allocateProducerIDs(request, nextOffset: world.end, at: world.now)
        #expect(second.response.producerIDStart == 1_000)
        #expect(world.controller.image.nextProducerID == 2_000)
    }
}
