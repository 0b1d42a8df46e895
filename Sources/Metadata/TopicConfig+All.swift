// The table of topic settings, in name order: Kafka 4.4's, and `flush.mode`, which is ours.

import Model

extension TopicConfig {
    package static let flushMode = "flush.mode"
    static let maxCompactionLagMs = "max.compaction.lag.ms"
    static let minCompactionLagMs = "min.compaction.lag.ms"
    package static let minInSyncReplicas = "min.insync.replicas"
    package static let uncleanLeaderElection = "unclean.leader.election.enable"

    package static let all: [TopicConfig] = [
        acting(
            "cleanup.policy", .list, "delete", .oneOf(["compact", "delete"]), "log.cleanup.policy",
            "What becomes of old records: delete removes them by age and by size, compact keeps the last of each key."),
        stored("compression.gzip.level", .int, "-1", .range(-1...9)),
        stored("compression.lz4.level", .int, "9", .range(1...17)),
        acting(
            "compression.type", .string, "producer", .oneOf(["producer"]), "compression.type",
            "Batches are kept as their producer compressed them."),
        stored("compression.zstd.level", .int, "3", .range(-131072...22)),
        acting(
            "delete.retention.ms", .long, "86400000", .range(0...Int64.max), "log.cleaner.delete.retention.ms",
            "How long a tombstone can be read after all before it was compacted, in milliseconds."),
        acting(
            "file.delete.delay.ms", .long, "60000", .range(0...Int64.max), "log.segment.delete.delay.ms",
            "How long the files of a removed segment stay under another name, in milliseconds."),
        stored("flush.messages", .long, "9223372036854775807", .range(1...Int64.max)),
        acting(
            flushMode, .string, "sync", .oneOf(["sync", "async"]), nil,
            "sync: acknowledged is flushed on every in-sync replica; async: kept in memory. Chosen at creation."),
        stored("flush.ms", .long, "9223372036854775807", .range(0...Int64.max)),
        stored("follower.replication.throttled.replicas", .list, "", .anything),
        stored("index.interval.bytes", .int, "4096", .range(0...Int64(Int32.max))),
        stored("leader.replication.throttled.replicas", .list, "", .anything),
        stored("local.retention.bytes", .long, "-2", .range(-2...Int64.max)),
        stored("local.retention.ms", .long, "-2", .range(-2...Int64.max)),
        acting(
            maxCompactionLagMs, .long, "9223372036854775807", .range(1...Int64.max),
            "log.cleaner.max.compaction.lag.ms",
            "A log with an older record that was never compacted is compacted whatever its ratio, in milliseconds."),
        acting(
            "max.message.bytes", .int, String(Limits.messageBytesMax), .range(0...Int64(Int32.max)),
            "message.max.bytes", "The largest batch that a producer may send, in bytes."),
        acting(
            "message.timestamp.after.max.ms", .long, "3600000", .range(0...Int64.max),
            "log.message.timestamp.after.max.ms", "How far a record's timestamp may lie ahead, in milliseconds."),
        acting(
            "message.timestamp.before.max.ms", .long, "9223372036854775807", .range(0...Int64.max),
            "log.message.timestamp.before.max.ms", "How far a record's timestamp may lie back, in milliseconds."),
        acting(
            "message.timestamp.type", .string, "CreateTime", .oneOf(["CreateTime", "LogAppendTime"]),
            "log.message.timestamp.type", "Whose clock a record's timestamp is: the producer's or the broker's."),
        acting(
            "min.cleanable.dirty.ratio", .double, "0.5", .fraction, "log.cleaner.min.cleanable.ratio",
            "A log is compacted when this share of its closed segments never was."),
        acting(
            minCompactionLagMs, .long, "0", .range(0...Int64.max), "log.cleaner.min.compaction.lag.ms",
            "Younger records are not compacted, in milliseconds."),
        acting(
            minInSyncReplicas, .int, nil, .range(1...Int64(Int32.max)), "min.insync.replicas",
            "How many replicas must hold a record before acks=all is answered; 2 by default from 3 replicas on."),
        stored("preallocate", .boolean, "false", booleans),
        stored("remote.log.copy.disable", .boolean, "false", booleans),
        stored("remote.log.delete.on.disable", .boolean, "false", booleans),
        stored("remote.storage.enable", .boolean, "false", .oneOf(["false"])),
        acting(
            "retention.bytes", .long, "-1", .range(-1...Int64.max), "log.retention.bytes",
            "The size of a partition above which its oldest segments are deleted, in bytes; -1: none."),
        acting(
            "retention.ms", .long, "604800000", .range(-1...Int64.max), "log.retention.ms",
            "The age above which segments are deleted, in milliseconds; -1: none."),
        acting(
            "segment.bytes", .int, "1073741824", .range(1_024 * 1_024...Int64(Int32.max)), "log.segment.bytes",
            "The size at which a log begins a new segment, in bytes."),
        stored("segment.index.bytes", .int, "10485760", .range(4...Int64(Int32.max))),
        stored("segment.jitter.ms", .long, "0", .range(0...Int64.max)),
        acting(
            "segment.ms", .long, "604800000", .range(1...Int64.max), "log.roll.ms",
            "The age at which a log begins a new segment, in milliseconds."),
        acting(
            uncleanLeaderElection, .boolean, "false", booleans, "unclean.leader.election.enable",
            "Whether a replica that may lack acknowledged records may lead when no other can."),
    ]

    private static let booleans = Rule.oneOf(["true", "false"])

    private static func acting(
        _ name: String, _ kind: Kind, _ value: String?, _ rule: Rule, _ synonym: String?, _ documentation: String
    ) -> TopicConfig {
        TopicConfig(
            name: name, kind: kind, defaultValue: value, rule: rule, acts: true, brokerSynonym: synonym,
            documentation: documentation)
    }

    private static func stored(
        _ name: String, _ kind: Kind, _ value: String, _ rule: Rule, _ synonym: String? = nil
    ) -> TopicConfig {
        TopicConfig(
            name: name, kind: kind, defaultValue: value, rule: rule, acts: false, brokerSynonym: synonym,
            documentation: "Kept and shown; it does not act in this version.")
    }
}
