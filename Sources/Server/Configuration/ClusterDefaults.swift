// The `defaults` of cluster.yaml, by Kafka's names where Kafka has them.

import Broker
import Groups
import Metadata
import Model

package struct ClusterDefaults: Sendable {
    package var autoCreateTopics = true
    package var partitions: Int32 = 1
    /// Nil: min(3, nodes).
    package var replicationFactor: Int16?
    /// What topics fall back to, under the broker settings' names.
    package var topics = SortedMap<String, String>()
    package var log = LogDefaults()
    package var groups = GroupSettings()
    package var offsetsTopicPartitions: Int32 = 50
    /// Nil: min(3, nodes).
    package var offsetsTopicReplicationFactor: Int16?
    package var timing = NodeTiming()
    package var connections = ConnectionSettings()
    package var flusherThreads = 4
    package var shardThreads = 1
    package var openFilesMax = Limits.openFilesMax

    package init() {}

    init(_ mapping: YamlMapping) throws(ConfigurationError) {
        try mapping.rejectUnknown(Self.keys, in: "defaults")
        if let value = try mapping.boolean("auto.create.topics.enable") { autoCreateTopics = value }
        if let value = try mapping.integer("num.partitions", in: 1...Int64(Limits.partitionsPerTopicMax)) {
            partitions = Int32(value)
        }
        if let value = try mapping.integer("default.replication.factor", in: 1...Int64(Int16.max)) {
            replicationFactor = Int16(value)
        }
        try readTopicDefaults(mapping)
        try mapping.read("log.segment.bytes", in: 1...Int64(Int32.max), into: &log.segmentBytes)
        try mapping.read(
            "log.retention.check.interval.ms", in: 1...Int64(Int32.max), into: &log.retentionCheckIntervalMs)
        try mapping.read("log.cleaner.backoff.ms", in: 1...Int64(Int32.max), into: &log.cleanerBackoffMs)
        try mapping.read(
            "log.cleaner.io.max.bytes.per.second", in: 0...Int64(Int32.max), into: &log.cleanerBytesPerSecond)
        try mapping.read("log.scrub.bytes.per.second", in: 0...Int64(Int32.max), into: &log.scrubBytesPerSecond)
        try mapping.read("log.scrub.interval.ms", in: 1...Int64.max / 2, into: &log.scrubIntervalMs)
        try mapping.read("metadata.log.segment.bytes", in: 1 << 14...(1 << 31) - 1, into: &log.metadataSegmentBytes)
        try mapping.read(
            "metadata.log.max.record.bytes.between.snapshots", in: 1...Int64.max, into: &log.metadataSnapshotBytes)
        try readGroups(mapping)
        for (key, path) in Self.timingKeys {
            try mapping.read(key, in: 1...86_400_000, into: &timing[keyPath: path])
        }
        if timing.sessionTimeoutMs <= timing.heartbeatMs {
            throw mapping.complaint(
                "broker.session.timeout.ms",
                "broker.session.timeout.ms (\(timing.sessionTimeoutMs)) must be above broker.heartbeat.interval.ms "
                    + "(\(timing.heartbeatMs))")
        }
        try readConnections(mapping)
        if let value = try mapping.integer("flusher.threads", in: 1...64) { flusherThreads = Int(value) }
        if let value = try mapping.integer("shard.threads", in: 1...64) { shardThreads = Int(value) }
        if let value = try mapping.integer("open.files.max", in: 16...1_000_000) { openFilesMax = Int(value) }
    }

    /// A topic setting that acts and has a broker setting behind it may be given here, under the latter's name.
    private mutating func readTopicDefaults(_ mapping: YamlMapping) throws(ConfigurationError) {
        for (key, config) in Self.topicKeys {
            guard let value = try mapping.string(key) else { continue }
            do throws(InvalidConfig) {
                try config.validate(value)
            } catch {
                throw mapping.complaint(key, error.sentence)
            }
            topics[key] = value
        }
    }

    private static var topicKeys: [(String, TopicConfig)] {
        TopicConfig.all.compactMap { config in config.acts ? config.brokerSynonym.map { ($0, config) } : nil }
    }

    private mutating func readGroups(_ mapping: YamlMapping) throws(ConfigurationError) {
        let integers = 1...Int64(Int32.max)
        if let value = try mapping.integer("group.min.session.timeout.ms", in: integers) {
            groups.sessionTimeoutMsMin = Int32(value)
        }
        if let value = try mapping.integer("group.max.session.timeout.ms", in: integers) {
            groups.sessionTimeoutMsMax = Int32(value)
        }
        if groups.sessionTimeoutMsMax < groups.sessionTimeoutMsMin {
            throw mapping.complaint(
                "group.max.session.timeout.ms",
                "group.max.session.timeout.ms (\(groups.sessionTimeoutMsMax)) must not be below "
                    + "group.min.session.timeout.ms (\(groups.sessionTimeoutMsMin))")
        }
        if let value = try mapping.integer("group.max.size", in: integers) { groups.groupSizeMax = Int(value) }
        try mapping.read(
            "group.initial.rebalance.delay.ms", in: 0...Int64(Int32.max), into: &groups.initialRebalanceDelayMs)
        try mapping.read("group.consumer.session.timeout.ms", in: integers, into: &groups.consumerSessionTimeoutMs)
        try mapping.read(
            "group.consumer.heartbeat.interval.ms", in: integers, into: &groups.consumerHeartbeatIntervalMs)
        if groups.consumerSessionTimeoutMs <= groups.consumerHeartbeatIntervalMs {
            throw mapping.complaint(
                "group.consumer.session.timeout.ms",
                "group.consumer.session.timeout.ms (\(groups.consumerSessionTimeoutMs)) must be above "
                    + "group.consumer.heartbeat.interval.ms (\(groups.consumerHeartbeatIntervalMs))")
        }
        if let value = try mapping.integer("group.consumer.max.size", in: integers) {
            groups.consumerSizeMax = Int(value)
        }
        if let value = try mapping.integer("offset.metadata.max.bytes", in: 0...Int64(Int32.max)) {
            groups.offsetMetadataBytesMax = Int(value)
        }
        if let value = try mapping.integer("offsets.retention.minutes", in: integers) {
            groups.offsetsRetentionMs = value * 60_000
        }
        try mapping.read(
            "offsets.retention.check.interval.ms", in: integers, into: &groups.offsetsRetentionCheckIntervalMs)
        if let value = try mapping.integer(
            "offsets.topic.num.partitions", in: 1...Int64(Limits.partitionsPerTopicMax))
        {
            offsetsTopicPartitions = Int32(value)
        }
        if let value = try mapping.integer("offsets.topic.replication.factor", in: 1...Int64(Int16.max)) {
            offsetsTopicReplicationFactor = Int16(value)
        }
    }

    private mutating func readConnections(_ mapping: YamlMapping) throws(ConfigurationError) {
        try mapping.read("connections.max.idle.ms", in: 1_000...Int64(Int32.max), into: &connections.idleMs)
        try mapping.read("frame.stall.ms", in: 100...Int64(Int32.max), into: &connections.stallMs)
        if let value = try mapping.integer("max.connections", in: 1...1_000_000) {
            connections.connectionsMax = Int(value)
        }
        if let value = try mapping.integer("socket.request.max.bytes", in: 1_024...Int64(Limits.frameBytesMax)) {
            connections.frameBytesMax = Int(value)
        }
        if let value = try mapping.integer("queued.max.request.bytes", in: 1 << 20...1 << 40) {
            connections.partialFrameBytesMax = Int(value)
        }
    }

    private static var timingKeys: [(String, WritableKeyPath<NodeTiming, Int64>)] {
        [
            ("broker.heartbeat.interval.ms", \.heartbeatMs),
            ("broker.session.timeout.ms", \.sessionTimeoutMs),
            ("controller.quorum.fetch.timeout.ms", \.quorumFetchTimeoutMs),
            ("controller.quorum.election.timeout.ms", \.quorumElectionTimeoutMs),
            ("controller.quorum.request.timeout.ms", \.requestTimeoutMs),
            ("controller.quorum.fetch.max.wait.ms", \.quorumFetchMaxWaitMs),
            ("replica.fetch.wait.max.ms", \.replicaFetchMaxWaitMs),
            ("replica.lag.time.max.ms", \.replicaLagTimeMaxMs),
            ("preferred.leader.delay.ms", \.preferredLeaderDelayMs),
            ("stop.timeout.ms", \.stopTimeoutMs),
        ]
    }

    private static var keys: [String] {
        timingKeys.map(\.0) + topicKeys.map(\.0) + [
            "auto.create.topics.enable", "num.partitions", "default.replication.factor",
            "log.cleaner.backoff.ms", "log.cleaner.io.max.bytes.per.second",
            "log.retention.check.interval.ms", "log.scrub.bytes.per.second", "log.scrub.interval.ms",
            "metadata.log.segment.bytes",
            "metadata.log.max.record.bytes.between.snapshots", "connections.max.idle.ms",
            "frame.stall.ms", "max.connections", "socket.request.max.bytes", "queued.max.request.bytes",
            "flusher.threads", "shard.threads", "open.files.max", "group.min.session.timeout.ms",
            "group.consumer.session.timeout.ms", "group.consumer.heartbeat.interval.ms", "group.consumer.max.size",
            "group.max.session.timeout.ms", "group.max.size", "group.initial.rebalance.delay.ms",
            "offset.metadata.max.bytes", "offsets.retention.minutes", "offsets.retention.check.interval.ms",
            "offsets.topic.num.partitions", "offsets.topic.replication.factor",
        ]
    }
}

extension YamlMapping {
    fileprivate func read(
        _ key: String, in range: ClosedRange<Int64>, into value: inout Int64
    ) throws(ConfigurationError) {
        if let number = try integer(key, in: range) { value = number }
    }
}
