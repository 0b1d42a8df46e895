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

    private var topics: [String: [PartitionIndex: CommittedOffset]] = [:]
    package private(set) var count = 0

    package var isEmpty: Bool { count == 0 }

    package var topicNames: [String] { topics.keys.sorted() }

    package subscript(topic: String, partition: PartitionIndex) -> CommittedOffset? {
        get { topics[topic]?[partition] }
        set {
            if let newValue {
                if topics[topic, default: [:]].updateValue(newValue, forKey: partition) == nil { count += 1 }
            } else if topics[topic]?.removeValue(forKey: partition) != nil {
                count -= 1
                if topics[topic]?.isEmpty == true { topics[topic] = nil }
            }
        }
    }

    package func partitions(of topic: String) -> [PartitionIndex] { topics[topic].map { $0.keys.sorted() } ?? [] }

    /// The keys of the offsets that it holds for, in order.
    func keys(where isWanted: (String, CommittedOffset) -> Bool) -> [Key] {
        var found: [Key] = []
        for (topic, partitions) in topics {
            for (partition, offset) in partitions where isWanted(topic, offset) {
                found.append(Key(topic: topic, partition: partition))
            }
        }
        return found.sorted()
    }
}
