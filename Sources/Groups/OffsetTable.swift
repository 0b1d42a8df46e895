// The committed offsets of one group, by topic and partition.

import Model
import Wire

package struct CommittedOffset: Hashable, Sendable {
    package var offset: Offset
    /// Of the record before it; −1: unknown.
    package var leaderEpoch: LeaderEpoch
    /// What the client wanted to remember beside it.
    package var metadata: String
    /// Wall clock.
    package var commitTimestampMs: Int64
    /// Set by clients of old that chose their own retention; −1: none.
    package var expireTimestampMs: Int64
    /// Zero: committed by name.
    package var topicID: UUID128
}

extension CommittedOffset {
    init(_ value: OffsetCommitValue) {
        offset = value.offset
        leaderEpoch = value.leaderEpoch
        metadata = value.metadata
        commitTimestampMs = value.commitTimestamp
        expireTimestampMs = value.expireTimestamp
        topicID = value.topicID
    }
}

package struct OffsetTable: Equatable, Sendable {
    package struct Key: Hashable, Comparable, Sendable {
        package var topic: String
        package var partition: PartitionIndex

        package static func < (a: Self, b: Self) -> Bool {
            a.topic == b.topic ? a.partition < b.partition : a.topic < b.topic
        }
    }

    private struct Entry: Equatable, Sendable {
        var offset: CommittedOffset
        /// Of the log, after its record was appended; 0: loaded.
        var end: Offset
    }

    private var topics: [String: [PartitionIndex: Entry]] = [:]
    package private(set) var count = 0

    package var isEmpty: Bool { count == 0 }

    package var topicNames: [String] { topics.keys.sorted() }

    package subscript(topic: String, partition: PartitionIndex) -> CommittedOffset? {
        topics[topic]?[partition]?.offset
    }

    /// Takes an offset as its record says; nil is a tombstone.
    /// - Parameter end: of the log, after the record was appended; 0: it was loaded.
    mutating func take(_ offset: CommittedOffset?, _ topic: String, _ partition: PartitionIndex, end: Offset = 0) {
        if let offset {
            let entry = Entry(offset: offset, end: end)
            if topics[topic, default: [:]].updateValue(entry, forKey: partition) == nil { count += 1 }
        } else if topics[topic]?.removeValue(forKey: partition) != nil {
            count -= 1
            if topics[topic]?.isEmpty == true { topics[topic] = nil }
        }
    }

    func has(_ topic: String) -> Bool { topics[topic] != nil }

    /// The ids under which offsets of that name were committed, sorted; zero is none.
    func topicIDs(of topic: String) -> [UUID128] {
        Set((topics[topic] ?? [:]).values.lazy.map(\.offset.topicID)).subtracting([.zero]).sorted()
    }

    package func partitions(of topic: String) -> [PartitionIndex] { topics[topic].map { $0.keys.sorted() } ?? [] }

    /// The keys of the offsets that it holds for, in order.
    func keys(where isWanted: (String, CommittedOffset) -> Bool) -> [Key] {
        var found: [Key] = []
        for (topic, partitions) in topics {
            for (partition, entry) in partitions where isWanted(topic, entry.offset) {
                found.append(Key(topic: topic, partition: partition))
            }
        }
        return found.sorted()
    }

    /// The keys of the offsets that were committed to a topic that is gone, in order.
    func keys(of gone: TopicGone) -> [Key] {
        (topics[gone.name] ?? [:]).compactMap { partition, entry -> Key? in
            let id = entry.offset.topicID
            guard entry.end <= gone.end, id == .zero ? gone.withoutID : id == gone.id ?? id else { return nil }
            return Key(topic: gone.name, partition: partition)
        }.sorted()
    }
}
