// The settings that act on one topic, with every default filled in.

import Model

package enum TimestampType: Hashable, Sendable {
    /// The producer's clock.
    case createTime
    /// The leader's clock at append.
    case logAppendTime
}

package struct EffectiveTopicConfig: Hashable, Sendable {
    /// 2 from three replicas on and 1 below, unless configured. It is not bounded by the replica count here.
    package var minInSyncReplicas: Int
    /// `flush.mode=sync`: a record counts as held once it is flushed.
    package var synchronous: Bool = true
    package var segmentBytes: Int = 1 << 30
    package var segmentMs: Int64 = 604_800_000
    package var maxMessageBytes: Int = Limits.messageBytesMax
    package var timestampType: TimestampType = .createTime
    package var timestampBeforeMaxMs: Int64 = .max
    package var timestampAfterMaxMs: Int64 = 3_600_000
    package var uncleanLeaderElection: Bool = false
    /// `cleanup.policy` has `delete` in it.
    package var deletes: Bool = true
    /// `cleanup.policy` has `compact` in it.
    package var compacts: Bool = false
    package var minCleanableDirtyRatio: Double = 0.5
    package var minCompactionLagMs: Int64 = 0
    package var maxCompactionLagMs: Int64 = .max
    package var deleteRetentionMs: Int64 = 86_400_000
    /// −1: for ever.
    package var retentionMs: Int64 = 604_800_000
    /// −1: without limit.
    package var retentionBytes: Int64 = -1
    package var fileDeleteDelayMs: Int64 = 60_000

    /// All defaults for a topic with this many replicas.
    package init(replicationFactor: Int) {
        minInSyncReplicas = Self.defaultMinInSyncReplicas(replicationFactor: replicationFactor)
    }

    package static func defaultMinInSyncReplicas(replicationFactor: Int) -> Int { replicationFactor >= 3 ? 2 : 1 }

    /// A value that does not parse leaves what was there: records may come from a version with other rules.
    mutating func set(_ name: String, _ value: String) {
        func number() -> Int64? { Int64(TopicConfig.trim(value)) }
        let text = TopicConfig.trim(value)
        switch name {
        case TopicConfig.minInSyncReplicas: minInSyncReplicas = number().map { Int($0) } ?? minInSyncReplicas
        case TopicConfig.flushMode: synchronous = text != "async"
        case "segment.bytes": segmentBytes = number().map { Int($0) } ?? segmentBytes
        case "segment.ms": segmentMs = number() ?? segmentMs
        case "max.message.bytes": maxMessageBytes = number().map { Int($0) } ?? maxMessageBytes
        case "message.timestamp.type": timestampType = text == "LogAppendTime" ? .logAppendTime : .createTime
        case "message.timestamp.before.max.ms": timestampBeforeMaxMs = number() ?? timestampBeforeMaxMs
        case "message.timestamp.after.max.ms": timestampAfterMaxMs = number() ?? timestampAfterMaxMs
        case TopicConfig.uncleanLeaderElection: uncleanLeaderElection = text == "true"
        case "cleanup.policy":
            deletes = TopicConfig.elements(of: text).contains("delete")
            compacts = TopicConfig.elements(of: text).contains("compact")
        case "min.cleanable.dirty.ratio": minCleanableDirtyRatio = Double(text) ?? minCleanableDirtyRatio
        case TopicConfig.minCompactionLagMs: minCompactionLagMs = number() ?? minCompactionLagMs
        case TopicConfig.maxCompactionLagMs: maxCompactionLagMs = number() ?? maxCompactionLagMs
        case "delete.retention.ms": deleteRetentionMs = number() ?? deleteRetentionMs
        case "file.delete.delay.ms": fileDeleteDelayMs = number() ?? fileDeleteDelayMs
        case "retention.ms": retentionMs = number() ?? retentionMs
        case "retention.bytes": retentionBytes = number() ?? retentionBytes
        default: break
        }
    }
}

extension MetadataImage {
    /// What acts on this topic: its own settings, then the cluster's dynamic defaults, then `brokerDefaults` (a node's
    /// configured
    /// settings under their broker names), then the built-in ones. Nil for an unknown topic.
    package func effectiveConfig(
        _ topicID: UUID128, brokerDefaults: SortedMap<String, String> = SortedMap()
    ) -> EffectiveTopicConfig? {
        guard let topic = topics[topicID] else { return nil }
        return effectiveConfig(
            named: topic.name, replicationFactor: topic.replicationFactor, brokerDefaults: brokerDefaults)
    }

    func effectiveConfig(
        named name: String, replicationFactor: Int, brokerDefaults: SortedMap<String, String>
    ) -> EffectiveTopicConfig {
        effectiveConfig(
            own: configs[ConfigResource(.topic, name)] ?? SortedMap(), replicationFactor: replicationFactor,
            brokerDefaults: brokerDefaults)
    }

    func effectiveConfig(
        own: SortedMap<String, String>, replicationFactor: Int, brokerDefaults: SortedMap<String, String>
    ) -> EffectiveTopicConfig {
        var effective = EffectiveTopicConfig(replicationFactor: replicationFactor)
        let cluster = configs[.clusterDefaults] ?? SortedMap()
        if !brokerDefaults.isEmpty || !cluster.isEmpty {
            for setting in TopicConfig.all {
                guard setting.acts, let synonym = setting.brokerSynonym else { continue }
                if let value = cluster[synonym] ?? brokerDefaults[synonym] { effective.set(setting.name, value) }
            }
        }
        for (name, value) in own { effective.set(name, value) }
        return effective
    }
}
