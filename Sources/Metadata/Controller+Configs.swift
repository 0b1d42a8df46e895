// IncrementalAlterConfigs as a decision: topic settings, and the cluster's defaults for them.

import Model
import Wire

/// Kafka's AlterConfigOp codes.
private enum ConfigOperation: Int8 {
    case set = 0
    case delete = 1
    case append = 2
    case subtract = 3
}

extension Controller {
    package mutating func incrementalAlterConfigs(
        _ request: IncrementalAlterConfigsRequest, nextOffset: Offset, at now: Instant
    ) -> Decision<IncrementalAlterConfigsResponse> {
        var batch = MetadataBatch(firstOffset: nextOffset)
        var response = IncrementalAlterConfigsResponse()
        for (index, resource) in request.resources.enumerated() {
            var answer = IncrementalAlterConfigsResponse.ResourceResponse()
            answer.resourceType = resource.resourceType
            answer.resourceName = resource.resourceName
            do throws(Refusal) {
                for (other, named) in request.resources.enumerated() where other != index {
                    if named.resourceType == resource.resourceType, named.resourceName == resource.resourceName {
                        throw Refusal(.invalidRequest, "The request names this resource twice.")
                    }
                }
                let records = try configRecords(for: resource)
                if !request.validateOnly {
                    for record in records { write(.config(record), &batch) }
                }
            } catch {
                answer.errorCode = error.code
                answer.errorMessage = error.sentence
            }
            response.responses.append(answer)
        }
        if !batch.records.isEmpty { writeConsequences(&batch) }
        return Decision(records: batch.records, response: response)
    }

    /// A smaller `min.insync.replicas` lets a leader commit without the eligible replicas, so they stop being eligible
    /// in the same batch; and
    /// a leaderless partition may now have an unclean leader.
    private mutating func writeConsequences(_ batch: inout MetadataBatch) {
        var records: [PartitionChangeRecord] = []
        let all = batch.changes.configs.contains(.clusterDefaults)
        for topic in image.topics.values {
            guard all || batch.changes.configs.contains(ConfigResource(.topic, topic.name)) else { continue }
            let config = config(of: topic)
            for (index, partition) in topic.partitions.enumerated()
            where partition.leader == nil || !partition.eligibleLeaderReplicas.isEmpty {
                let key = TopicPartition(topic.id, PartitionIndex(index))
                let transition = PartitionTransition(key, partition, config: config, bug: settings.plantedBug)
                if let record = transition.record(image: image) { records.append(record) }
            }
        }
        for record in records { write(.partitionChange(record), &batch) }
    }

    private func configRecords(
        for resource: IncrementalAlterConfigsRequest.Resource
    ) throws(Refusal) -> [ConfigRecord] {
        let target: ConfigResource
        switch ConfigResourceType(rawValue: resource.resourceType) {
        case .topic:
            guard image.topicID(named: resource.resourceName) != nil else {
                throw Refusal(.unknownTopicOrPartition, "There is no topic '\(resource.resourceName)'.")
            }
            target = ConfigResource(.topic, resource.resourceName)
        case .broker:
            guard resource.resourceName.isEmpty else {
                throw Refusal(
                    .invalidRequest,
                    "Settings of a single broker are not dynamic here; name no broker to set the cluster's default.")
            }
            target = .clusterDefaults
        default:
            throw Refusal(.invalidRequest, "Settings of resource type \(resource.resourceType) cannot be altered.")
        }
        var records: [ConfigRecord] = []
        for (index, change) in resource.configs.enumerated() {
            if resource.configs[..<index].contains(where: { $0.name == change.name }) {
                throw Refusal(.invalidRequest, "The setting \(change.name) is named more than once.")
            }
            if let record = try configRecord(for: change, of: target) { records.append(record) }
        }
        if target.type == .topic, records.contains(where: { Self.compactionLags.contains($0.name) }) {
            var own = image.config(target.type, target.name)
            for record in records { own[record.name] = record.value }
            try checkCompactionLags(own)
        }
        return records
    }

    private static let compactionLags = [TopicConfig.minCompactionLagMs, TopicConfig.maxCompactionLagMs]

    /// A record cannot both have to wait for its compaction and be too late for it.
    func checkCompactionLags(_ own: SortedMap<String, String>) throws(Refusal) {
        let effective = image.effectiveConfig(own: own, replicationFactor: 1, brokerDefaults: settings.brokerDefaults)
        guard effective.minCompactionLagMs <= effective.maxCompactionLagMs else {
            throw Refusal(
                .invalidConfig,
                "min.compaction.lag.ms is \(effective.minCompactionLagMs), which is more than max.compaction.lag.ms, "
                    + "\(effective.maxCompactionLagMs).")
        }
    }

    /// Nil when the change would leave everything as it is.
    private func configRecord(
        for change: IncrementalAlterConfigsRequest.Config, of target: ConfigResource
    ) throws(Refusal) -> ConfigRecord? {
        guard let operation = ConfigOperation(rawValue: change.configOperation) else {
            throw Refusal(.invalidRequest, "\(change.name): there is no operation \(change.configOperation).")
        }
        let setting = try setting(change.name, of: target)
        let present = image.config(target.type, target.name)[change.name]
        let value = try newValue(operation, change, setting, present)
        if let value {
            do throws(InvalidConfig) {
                try setting.validate(value)
            } catch {
                throw Refusal(.invalidConfig, error.sentence)
            }
        }
        guard value != present else { return nil }
        if setting.name == TopicConfig.flushMode, (value ?? setting.defaultValue) != (present ?? setting.defaultValue) {
            throw Refusal(.invalidConfig, "flush.mode is chosen when a topic is created and cannot be changed.")
        }
        return ConfigRecord(target, name: change.name, value: value)
    }

    private func setting(_ name: String, of target: ConfigResource) throws(Refusal) -> TopicConfig {
        if target.type == .topic {
            guard let setting = TopicConfig.named(name) else {
                throw Refusal(.invalidConfig, "There is no topic setting \(name).")
            }
            return setting
        }
        guard let setting = TopicConfig.all.first(where: { $0.acts && $0.brokerSynonym == name }) else {
            throw Refusal(.invalidConfig, "The broker setting \(name) is unknown or cannot be changed while running.")
        }
        return setting
    }

    private func newValue(
        _ operation: ConfigOperation, _ change: IncrementalAlterConfigsRequest.Config, _ setting: TopicConfig,
        _ present: String?
    ) throws(Refusal) -> String? {
        if operation == .delete { return nil }
        guard let given = change.value else {
            throw Refusal(.invalidRequest, "\(change.name) needs a value; DELETE brings the default back.")
        }
        if operation == .set { return given }
        guard setting.kind == .list else {
            throw Refusal(.invalidConfig, "\(change.name) is not a list, so nothing can be appended or taken away.")
        }
        let parts = TopicConfig.elements(of: given)
        let list = TopicConfig.elements(of: present ?? setting.defaultValue ?? "")
        let changed =
            operation == .append ? list + parts.filter { !list.contains($0) } : list.filter { !parts.contains($0) }
        return changed.joined(separator: ",")
    }
}
