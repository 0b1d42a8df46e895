// Offsets of partitions: where they begin, where they end, and where a time lies in them.

import Model
import Wire

/// Which offset of a partition.
public enum OffsetSpec: Equatable, Sendable {
    /// The oldest record that is kept.
    case earliest
    /// Behind the newest record that consumers may read.
    case latest
    /// The first record whose timestamp is this or later, in milliseconds since 1970.
    case timestamp(ms: Int64)

    /// Kafka's number in ListOffsets.
    var number: Int64 {
        switch self {
        case .earliest: -2
        case .latest: -1
        case .timestamp(let ms): max(0, ms)
        }
    }
}

/// An offset that was found in a partition.
public struct PartitionOffset: Equatable, Sendable {
    public var partition: Int32
    /// Nil: no record is that young.
    public var offset: Int64?
    /// The record's own, for a search by timestamp.
    public var timestampMs: Int64?
    /// The leader epoch of the record at the offset; nil where the node does not say.
    public var leaderEpoch: Int32?
}

extension ClusterClient {
    /// Finds one offset in each of a topic's `partitions`, by partition; nil asks for all.
    /// - Throws: `ClientError`; `noSuchTopic`, `noSuchPartition`, or `gaveUp` when a partition has no leader for longer
    ///   than the client's patience.
    public func offsets(
        of topic: String, at spec: OffsetSpec = .latest, partitions: [Int32]? = nil
    ) async throws -> [PartitionOffset] {
        var asked: [Int32]
        if let partitions {
            asked = partitions
        } else {
            asked = try await describeTopic(topic).partitions.map(\.index)
        }
        asked = Set(asked).sorted()
        var found: [Int32: PartitionOffset] = [:]
        try await retrying("find the offsets of \(topic)") {
            do {
                // What an earlier attempt has found stays found.
                for (leader, group) in try await byLeader(topic, asked.filter { found[$0] == nil }) {
                    for offset in try await listOffsets(topic, group, spec, of: leader) {
                        found[offset.partition] = offset
                    }
                }
            } catch let error as ClientError where error.isRetriable {
                doubt(topic)
                throw error
            }
        }
        return asked.compactMap { found[$0] }
    }

    private func byLeader(
        _ topic: String, _ partitions: [Int32]
    ) async throws -> [(node: Int32, entries: [ListOffsetsRequest.Partition])] {
        var groups = SortedMap<Int32, [ListOffsetsRequest.Partition]>()
        for partition in partitions {
            let leader = try await leader(of: topic, partition)
            var entry = ListOffsetsRequest.Partition()
            entry.partitionIndex = partition
            entry.currentLeaderEpoch = leader.epoch
            groups[leader.node, default: []].append(entry)
        }
        return groups.map { ($0.key, $0.value) }
    }

    private func listOffsets(
        _ topic: String, _ entries: [ListOffsetsRequest.Partition], _ spec: OffsetSpec, of leader: Int32
    ) async throws -> [PartitionOffset] {
        var topicEntry = ListOffsetsRequest.Topic()
        topicEntry.name = topic
        topicEntry.partitions = entries.map { entry in
            var entry = entry
            entry.timestamp = spec.number
            return entry
        }
        var request = ListOffsetsRequest()
        request.replicaID = -1
        request.topics = [topicEntry]
        request.timeoutMs = Int32(clamping: configuration.requestTimeoutMs)
        let answers = try await ask(request, of: leader).topics.first?.partitions ?? []
        return try entries.map { entry in
            let answer = answers.first { $0.partitionIndex == entry.partitionIndex }
            let code = answer?.errorCode ?? .unknownServerError
            guard let answer, code == .none else {
                throw ClientError.refused(
                    what: "find the offsets of \(topic)-\(entry.partitionIndex)", code, message: nil)
            }
            return PartitionOffset(
                partition: entry.partitionIndex, offset: answer.offset.unlessNegative,
                timestampMs: answer.timestamp.unlessNegative, leaderEpoch: answer.leaderEpoch.unlessNegative)
        }
    }
}
