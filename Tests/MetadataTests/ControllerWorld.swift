// A controller with what surrounds it: brokers that register and heartbeat, the log of its decisions, and the
// invariants after each.

import Metadata
import Model
import Testing
import Wire

struct ControllerWorld {
    struct Broker {
        var incarnationID: UUID128
        var directoryID: UUID128
        var epoch: BrokerEpoch = -1
    }

    var controller: Controller
    var now = Instant.zero
    var log: [MetadataRecord] = []
    /// Folded from the records alone, as a broker would.
    var replica = MetadataImage.empty
    var brokers: [NodeID: Broker] = [:]
    var checker = InvariantChecker()
    var random = SeededRandom(seed: 7)

    /// The first tick is done, so the log begins with the feature levels.
    init(seed: UInt64 = 1, settings: ControllerSettings = ControllerSettings()) {
        controller = Controller(image: .empty, settings: settings, seed: seed, now: .zero, dead: [])
        tick()
    }

    /// `count` brokers in service, from id 1.
    init(brokers count: NodeID, seed: UInt64 = 1, settings: ControllerSettings = ControllerSettings()) {
        self.init(seed: seed, settings: settings)
        for id in 1...count { start(id) }
    }

    var end: Offset { Offset(log.count) }

    mutating func append(_ records: [MetadataRecord]) {
        for record in records {
            var changes = ImageChanges()
            let before = replica
            replica.apply(record, at: end, changes: &changes)
            #expect(changes.ignoredRecords == 0, "the controller wrote what does not apply: \(record)")
            log.append(record)
            checker.saw(record, before: before, after: replica)
        }
        #expect(replica == controller.image || records.isEmpty)
        checker.check(replica, partitionsDue: !records.isEmpty)
    }

    mutating func take<Response>(_ decision: Decision<Response>) -> Response {
        append(decision.records)
        return decision.response
    }

    @discardableResult
    mutating func tick() -> [MetadataRecord] {
        let records = controller.ticked(nextOffset: end, at: now)
        append(records)
        return records
    }

    mutating func advance(ms: Int64) { now = now.advanced(byMs: ms) }

    @discardableResult
    mutating func register(
        _ id: NodeID, newDirectory: Bool = false, clean: Bool = false, sameIncarnation: Bool = false
    ) -> [MetadataRecord] {
        var broker = brokers[id] ?? Broker(incarnationID: .zero, directoryID: .random(using: &random))
        if !sameIncarnation { broker.incarnationID = .random(using: &random) }
        if newDirectory { broker.directoryID = .random(using: &random) }
        var request = BrokerRegistrationRequest()
        request.brokerID = id
        request.incarnationID = broker.incarnationID
        request.logDirs = [broker.directoryID]
        request.previousBrokerEpoch = clean ? broker.epoch : -1
        var listener = BrokerRegistrationRequest.Listener()
        listener.host = "node\(id)"
        listener.port = 9092
        request.listeners = [listener]
        let decision = controller.registered(request, nextOffset: end, at: now)
        broker.epoch = take(decision).brokerEpoch
        brokers[id] = broker
        return decision.records
    }

    @discardableResult
    mutating func heartbeat(
        _ id: NodeID, wantShutDown: Bool = false, wantFence: Bool = false, epoch: BrokerEpoch? = nil,
        offset: Offset? = nil
    ) -> Decision<BrokerHeartbeatResponse> {
        var request = BrokerHeartbeatRequest()
        request.brokerID = id
        request.brokerEpoch = epoch ?? brokers[id]?.epoch ?? -1
        request.currentMetadataOffset = offset ?? end - 1
        request.wantShutDown = wantShutDown
        request.wantFence = wantFence
        let decision = controller.heartbeatReceived(request, nextOffset: end, at: now)
        append(decision.records)
        return decision
    }

    /// Registered and in service.
    mutating func start(_ id: NodeID, newDirectory: Bool = false) {
        register(id, newDirectory: newDirectory)
        heartbeat(id)
    }

    @discardableResult
    mutating func die(_ id: NodeID) -> [MetadataRecord] {
        let records = controller.brokerDied(
            id, incarnationID: brokers[id]?.incarnationID ?? .zero, nextOffset: end, at: now)
        append(records)
        return records
    }

    mutating func createTopics(_ request: CreateTopicsRequest) -> Decision<CreateTopicsResponse> {
        let decision = controller.createTopics(request, nextOffset: end, at: now)
        append(decision.records)
        return decision
    }

    @discardableResult
    mutating func create(
        _ name: String, partitions: Int32 = 1, factor: Int16 = 3, configs: [(String, String?)] = []
    ) -> CreateTopicsResponse.Topic {
        var request = CreateTopicsRequest()
        request.topics = [Self.topic(name, partitions: partitions, factor: factor, configs: configs)]
        return createTopics(request).response.topics[0]
    }

    static func topic(
        _ name: String, partitions: Int32 = 1, factor: Int16 = 3, configs: [(String, String?)] = [],
        assignments: [[NodeID]] = []
    ) -> CreateTopicsRequest.Topic {
        var topic = CreateTopicsRequest.Topic()
        topic.name = name
        topic.numPartitions = partitions
        topic.replicationFactor = factor
        for (name, value) in configs {
            var config = CreateTopicsRequest.Config()
            config.name = name
            config.value = value
            topic.configs.append(config)
        }
        for (index, replicas) in assignments.enumerated() {
            var assignment = CreateTopicsRequest.Assignment()
            assignment.partitionIndex = Int32(index)
            assignment.brokerIDs = replicas
            topic.assignments.append(assignment)
        }
        return topic
    }

    /// A topic "t" of one partition on these nodes, the first of them its leader; its key.
    mutating func createTopic(on replicas: [NodeID], configs: [(String, String?)] = []) -> TopicPartition {
        var request = CreateTopicsRequest()
        request.topics = [
            Self.topic("t", partitions: -1, factor: -1, configs: configs, assignments: [replicas])
        ]
        return TopicPartition(createTopics(request).response.topics[0].topicID, 0)
    }

    func partition(_ key: TopicPartition) -> PartitionRegistration? { controller.image.partition(key) }

    @discardableResult
    mutating func alterPartition(
        _ key: TopicPartition, isr: [NodeID], from sender: NodeID? = nil,
        change: (inout AlterPartitionRequest.Partition) -> Void = { _ in }
    ) -> Decision<AlterPartitionResponse> {
        let known = partition(key)
        var proposal = AlterPartitionRequest.Partition()
        proposal.partitionIndex = key.partition
        proposal.leaderEpoch = known?.leaderEpoch ?? 0
        proposal.partitionEpoch = known?.partitionEpoch ?? 0
        proposal.newIsrWithEpochs = isr.map { id in
            var member = AlterPartitionRequest.BrokerState()
            member.brokerID = id
            member.brokerEpoch = controller.image.brokers[id]?.epoch ?? -1
            return member
        }
        change(&proposal)
        var topic = AlterPartitionRequest.Topic()
        topic.topicID = key.topicID
        topic.partitions = [proposal]
        var request = AlterPartitionRequest()
        request.brokerID = sender ?? known?.leader ?? -1
        request.brokerEpoch = controller.image.brokers[request.brokerID]?.epoch ?? -1
        request.topics = [topic]
        let decision = controller.alterPartition(request, nextOffset: end, at: now)
        append(decision.records)
        return decision
    }

    /// What the broker says of where its replicas lie.
    @discardableResult
    mutating func assign(
        _ keys: [TopicPartition], of id: NodeID, to directory: UUID128, epoch: BrokerEpoch? = nil
    ) -> Decision<AssignReplicasToDirsResponse> {
        var request = AssignReplicasToDirsRequest()
        request.brokerID = id
        request.brokerEpoch = epoch ?? brokers[id]?.epoch ?? -1
        var named = AssignReplicasToDirsRequest.Directory()
        named.id = directory
        named.topics = keys.map { key in
            var topic = AssignReplicasToDirsRequest.Topic()
            topic.topicID = key.topicID
            var partition = AssignReplicasToDirsRequest.Partition()
            partition.partitionIndex = key.partition
            topic.partitions = [partition]
            return topic
        }
        request.directories = [named]
        let decision = controller.assignReplicasToDirs(request, nextOffset: end, at: now)
        append(decision.records)
        return decision
    }

    /// Its disk damaged the copy.
    @discardableResult
    mutating func lose(_ key: TopicPartition, of id: NodeID) -> [MetadataRecord] {
        assign([key], of: id, to: DirectoryID.lost).records
    }

    /// The copy is whole again.
    @discardableResult
    mutating func repair(_ key: TopicPartition, of id: NodeID) -> [MetadataRecord] {
        assign([key], of: id, to: brokers[id]?.directoryID ?? .zero).records
    }

    mutating func alterConfig(
        _ type: ConfigResourceType, _ name: String, _ changes: [(name: String, operation: Int8, value: String?)],
        validateOnly: Bool = false
    ) -> Decision<IncrementalAlterConfigsResponse> {
        var resource = IncrementalAlterConfigsRequest.Resource()
        resource.resourceType = type.rawValue
        resource.resourceName = name
        resource.configs = changes.map { change in
            var config = IncrementalAlterConfigsRequest.Config()
            config.name = change.name
            config.configOperation = change.operation
            config.value = change.value
            return config
        }
        var request = IncrementalAlterConfigsRequest()
        request.resources = [resource]
        request.validateOnly = validateOnly
        let decision = controller.incrementalAlterConfigs(request, nextOffset: end, at: now)
        append(decision.records)
        return decision
    }

    /// A new controller on the same log.
    mutating func failOver(
        seed: UInt64, dead: [(id: NodeID, incarnationID: UUID128)] = [], silent: (id: NodeID, since: Instant)? = nil
    ) {
        controller = Controller(
            image: replica, settings: controller.settings, seed: seed, now: now, dead: dead, silent: silent)
    }
}

/// The change of one partition, with only the named fields set.
func change(
    _ key: TopicPartition, isr: [NodeID]? = nil, leader: NodeID? = nil, elr: [NodeID]? = nil,
    lastKnown: [NodeID]? = nil, directories: [UUID128]? = nil, recovery: LeaderRecoveryState? = nil
) -> MetadataRecord {
    var record = PartitionChangeRecord()
    record.topicID = key.topicID
    record.partitionID = key.partition
    record.isr = isr
    record.leader = leader ?? -2
    record.eligibleLeaderReplicas = elr
    record.lastKnownElr = lastKnown
    record.directories = directories
    record.leaderRecoveryState = recovery?.rawValue ?? -1
    return .partitionChange(record)
}

func registrationChange(_ id: NodeID, _ epoch: BrokerEpoch, fenced: Int8 = 0, shutdown: Int8 = 0) -> MetadataRecord {
    var record = BrokerRegistrationChangeRecord()
    record.brokerID = id
    record.brokerEpoch = epoch
    record.fenced = fenced
    record.inControlledShutdown = shutdown
    return .brokerRegistrationChange(record)
}
