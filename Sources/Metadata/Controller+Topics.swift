// CreateTopics and DeleteTopics as decisions.

import Model
import Wire

extension Controller {
    package mutating func createTopics(
        _ request: CreateTopicsRequest, nextOffset: Offset, at now: Instant
    ) -> Decision<CreateTopicsResponse> {
        if request.validateOnly {
            var trial = self
            var decision = trial.decideTopics(request, nextOffset: nextOffset)
            decision.records = []
            // The ids of a trial are not the ids that the topics would get.
            for index in decision.response.topics.indices { decision.response.topics[index].topicID = .zero }
            return decision
        }
        return decideTopics(request, nextOffset: nextOffset)
    }

    private mutating func decideTopics(
        _ request: CreateTopicsRequest, nextOffset: Offset
    ) -> Decision<CreateTopicsResponse> {
        var batch = MetadataBatch(firstOffset: nextOffset)
        var response = CreateTopicsResponse()
        var placement = Placement(image: image)
        let names = SortedMap(request.topics.map { ($0.name, true) })
        let counts = names.count == request.topics.count ? SortedMap() : Self.counts(request.topics.map(\.name))
        for topic in request.topics {
            var answer = CreateTopicsResponse.Topic()
            answer.name = topic.name
            do throws(Refusal) {
                if let count = counts[topic.name], count > 1 {
                    throw Refusal(.invalidRequest, "Topic '\(topic.name)' is named \(count) times in the request.")
                }
                try checkName(topic.name)
                let settings = try Self.settings(of: topic)
                try checkCompactionLags(settings)
                let assignments = try assignments(for: topic, &placement)
                write(topic.name, settings, assignments, &answer, &batch)
            } catch {
                answer.errorCode = error.code
                answer.errorMessage = error.sentence
            }
            response.topics.append(answer)
        }
        return Decision(records: batch.records, response: response)
    }

    static func counts(_ names: [String]) -> SortedMap<String, Int> {
        var counts = SortedMap<String, Int>()
        for name in names { counts[name, default: 0] += 1 }
        return counts
    }

    private func checkName(_ name: String) throws(Refusal) {
        guard isValidTopicName(name), name != MetadataTopic.name else {
            throw Refusal(
                .invalidTopicException,
                "'\(name)' cannot name a topic: a name has 1 to \(Limits.topicNameLengthMax) of the characters a-z, "
                    + "A-Z, 0-9, '.', '_' and '-', and is none of '.', '..' and \(MetadataTopic.name).")
        }
        if image.topicID(named: name) != nil {
            throw Refusal(.topicAlreadyExists, "There is a topic '\(name)' already.")
        }
        // Kafka's metric names map '.' to '_', so names that differ only in these may not live together.
        guard name.utf8.contains(where: { $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") }) else { return }
        for other in image.topicNames where other.utf8.count == name.utf8.count {
            if other.utf8.elementsEqual(name.utf8, by: { Self.merged($0) == Self.merged($1) }) {
                throw Refusal(.invalidTopicException, "'\(name)' and the topic '\(other)' differ only in '.' and '_'.")
            }
        }
    }

    private static func merged(_ character: UInt8) -> UInt8 {
        character == UInt8(ascii: ".") ? UInt8(ascii: "_") : character
    }

    private static func settings(of topic: CreateTopicsRequest.Topic) throws(Refusal) -> SortedMap<String, String> {
        var settings = SortedMap<String, String>()
        for setting in topic.configs {
            guard let known = TopicConfig.named(setting.name) else {
                throw Refusal(.invalidConfig, "There is no topic setting \(setting.name).")
            }
            guard let value = setting.value else {
                throw Refusal(.invalidConfig, "The setting \(setting.name) needs a value.")
            }
            do throws(InvalidConfig) {
                try known.validate(value)
            } catch {
                throw Refusal(.invalidConfig, error.sentence)
            }
            settings[setting.name] = value
        }
        return settings
    }

    private func assignments(
        for topic: CreateTopicsRequest.Topic, _ placement: inout Placement
    ) throws(Refusal) -> [[NodeID]] {
        guard topic.assignments.isEmpty else { return try manualAssignments(of: topic) }
        let partitions = topic.numPartitions == -1 ? settings.defaultPartitions : topic.numPartitions
        guard partitions > 0 else {
            throw Refusal(.invalidPartitions, "A topic has at least one partition; -1 asks for the default.")
        }
        try checkPartitionCount(Int(partitions), added: Int(partitions))
        let factor = Int(topic.replicationFactor == -1 ? defaultReplicationFactor : topic.replicationFactor)
        guard factor > 0 else {
            throw Refusal(.invalidReplicationFactor, "A partition has at least one replica; -1 asks for the default.")
        }
        try checkReplicationFactor(factor, placement)
        return (0..<partitions).map { _ in placement.next(replicationFactor: factor) }
    }

    /// min(3, registered brokers), unless configured.
    private var defaultReplicationFactor: Int16 {
        settings.defaultReplicationFactor ?? Int16(clamping: min(3, max(1, image.brokers.count)))
    }

    func checkReplicationFactor(_ factor: Int, _ placement: Placement) throws(Refusal) {
        guard factor <= placement.brokerCount else {
            throw Refusal(
                .invalidReplicationFactor,
                "\(factor) replicas need as many brokers, and \(placement.brokerCount) are registered.")
        }
        guard placement.eligibleCount > 0 else {
            throw Refusal(
                .invalidReplicationFactor,
                "No broker is in service: all are fenced or shutting down.")
        }
    }

    func checkPartitionCount(_ count: Int, added: Int) throws(Refusal) {
        guard count <= Limits.partitionsPerTopicMax else {
            throw Refusal(.invalidPartitions, "A topic may have \(Limits.partitionsPerTopicMax) partitions at most.")
        }
        guard image.partitionCount + added <= Limits.partitionsMax else {
            throw Refusal(.invalidPartitions, "The cluster may have \(Limits.partitionsMax) partitions at most.")
        }
    }

    private func manualAssignments(of topic: CreateTopicsRequest.Topic) throws(Refusal) -> [[NodeID]] {
        guard topic.replicationFactor == -1 else {
            throw Refusal(
                .invalidRequest, "Assignments say how many replicas there are, so the replication factor must be -1.")
        }
        guard topic.numPartitions == -1 else {
            throw Refusal(
                .invalidRequest, "Assignments say how many partitions there are, so their number must be -1.")
        }
        try checkPartitionCount(topic.assignments.count, added: topic.assignments.count)
        var byIndex = SortedMap<PartitionIndex, [NodeID]>()
        for assignment in topic.assignments {
            guard byIndex[assignment.partitionIndex] == nil else {
                throw Refusal(
                    .invalidReplicaAssignment, "Partition \(assignment.partitionIndex) is assigned twice.")
            }
            byIndex[assignment.partitionIndex] = assignment.brokerIDs
        }
        guard byIndex.keys.first == 0, byIndex.keys.last == PartitionIndex(byIndex.count - 1) else {
            throw Refusal(.invalidReplicaAssignment, "The assigned partitions must be numbered from 0 without gaps.")
        }
        let factor = byIndex.values[0].count
        for (index, replicas) in byIndex { try checkAssignment(replicas, of: index, replicationFactor: factor) }
        return byIndex.values
    }

    func checkAssignment(
        _ replicas: [NodeID], of index: PartitionIndex, replicationFactor: Int
    ) throws(Refusal) {
        func refusal(_ sentence: String) -> Refusal { Refusal(.invalidReplicaAssignment, sentence) }
        guard !replicas.isEmpty else { throw refusal("Partition \(index) is assigned to no broker.") }
        guard replicas.count == replicationFactor else {
            throw refusal(
                "Partition \(index) is assigned \(replicas.count) replica(s), others have \(replicationFactor).")
        }
        for (place, replica) in replicas.enumerated() {
            guard image.brokers[replica] != nil else {
                throw refusal("Partition \(index) is assigned to broker \(replica), which is not registered.")
            }
            guard !replicas[..<place].contains(replica) else {
                throw refusal("Partition \(index) is assigned to broker \(replica) twice.")
            }
        }
        guard replicas.contains(where: image.isEligible) else {
            throw refusal(
                "Partition \(index) is assigned only to brokers that are fenced or shutting down.")
        }
    }

    private mutating func write(
        _ name: String, _ settings: SortedMap<String, String>, _ assignments: [[NodeID]],
        _ answer: inout CreateTopicsResponse.Topic, _ batch: inout MetadataBatch
    ) {
        var id = UUID128.random(using: &random)
        while image.topic(id: id) != nil { id = UUID128.random(using: &random) }
        write(.topic(TopicRecord(name: name, id: id)), &batch)
        for (setting, value) in settings {
            write(.config(ConfigRecord(ConfigResource(.topic, name), name: setting, value: value)), &batch)
        }
        for (index, replicas) in assignments.enumerated() {
            writePartition(TopicPartition(id, PartitionIndex(index)), replicas, &batch)
        }
        answer.topicID = id
        answer.numPartitions = Int32(assignments.count)
        answer.replicationFactor = Int16(clamping: assignments[0].count)
        let all = image.describedTopicConfigs(name, brokerDefaults: self.settings.brokerDefaults)
        answer.configs = all.map { described in
            var config = CreateTopicsResponse.Config()
            config.name = described.name
            config.value = described.value
            config.configSource = described.configSource
            return config
        }
    }

    /// A partition's first record: everyone in service is in sync with an empty log, and the first of them leads. Too
    /// few of them commit nothing, so whoever is away has all that is committed, and may be elected.
    mutating func writePartition(_ key: TopicPartition, _ replicas: [NodeID], _ batch: inout MetadataBatch) {
        let inSync = replicas.filter(image.isEligible)
        let config = image.topic(id: key.topicID).flatMap {
            image.effectiveConfig(
                named: $0.name, replicationFactor: replicas.count, brokerDefaults: settings.brokerDefaults)
        }
        let isShort = inSync.count < min(config?.minInSyncReplicas ?? 1, replicas.count)
        let partition = PartitionRegistration(
            replicas: replicas, directories: replicas.map { image.brokers[$0]?.directoryID ?? .zero }, isr: inSync,
            eligibleLeaderReplicas: isShort ? replicas.filter { !inSync.contains($0) } : [], leader: inSync.first)
        write(.partition(PartitionRecord(key, partition)), &batch)
    }

    package mutating func deleteTopics(
        _ request: DeleteTopicsRequest, nextOffset: Offset, at now: Instant
    ) -> Decision<DeleteTopicsResponse> {
        var batch = MetadataBatch(firstOffset: nextOffset)
        var response = DeleteTopicsResponse()
        let byName = request.topicNames.map { (name: Optional($0), id: UUID128.zero) }
        for (name, id) in request.topics.map({ (name: $0.name, id: $0.topicID) }) + byName {
            var answer = DeleteTopicsResponse.Topic()
            answer.name = name
            answer.topicID = id
            do throws(Refusal) {
                let topic = try topicToDelete(name, id)
                var record = RemoveTopicRecord()
                record.topicID = topic.id
                write(.removeTopic(record), &batch)
                answer.name = topic.name
                answer.topicID = topic.id
            } catch {
                answer.errorCode = error.code
                answer.errorMessage = error.sentence
            }
            response.topics.append(answer)
        }
        return Decision(records: batch.records, response: response)
    }

    private func topicToDelete(_ name: String?, _ id: UUID128) throws(Refusal) -> TopicImage {
        switch (name, id) {
        case (nil, .zero): throw Refusal(.invalidRequest, "The request gives neither a name nor an id.")
        case (nil, let id):
            guard let topic = image.topic(id: id) else {
                throw Refusal(.unknownTopicId, "There is no topic of this id.")
            }
            return topic
        case (let name?, .zero):
            guard let topic = image.topic(named: name) else {
                throw Refusal(.unknownTopicOrPartition, "There is no topic '\(name)'.")
            }
            return topic
        default: throw Refusal(.invalidRequest, "The request gives a name and an id; one of them is enough.")
        }
    }
}
