// Records taken from the front of partitions, at their leaders.

import Model
import Wire

/// Up to where records are deleted.
public enum DeletionSpec: Equatable, Sendable {
    /// All that consumers can read now.
    case end
    /// Records below this offset.
    case offset(Int64)

    /// Kafka's number in DeleteRecords.
    var number: Int64 {
        switch self {
        case .end: -1
        case .offset(let offset): offset
        }
    }
}

/// Where a partition begins after a deletion.
public struct DeletedRecords: Equatable, Sendable {
    public var partition: Int32
    /// The first offset that is kept, on every in-sync replica.
    public var lowWatermark: Int64
}

extension ClusterClient {
    /// Deletes the oldest records of one topic: in each partition those below its bound. Returns when no replica that
    /// may lead has them any more, by partition. Where a partition begins behind its bound already nothing is done.
    ///
    /// Tried again until `ClientConfiguration.patienceMs` ends: deleting twice is deleting once. `.end` is looked up
    /// anew with each attempt.
    /// - Throws: `ClientError`; `noSuchTopic`, `noSuchPartition`, `refused` with `offsetOutOfRange` for a bound behind
    ///   the end, or `gaveUp` when an in-sync replica does not follow for longer than the client's patience.
    @discardableResult
    public func deleteRecords(
        of topic: String, before bounds: [Int32: DeletionSpec]
    ) async throws -> [DeletedRecords] {
        let asked = bounds.keys.sorted()
        var done: [Int32: DeletedRecords] = [:]
        try await retrying("delete records of \(topic)") {
            do {
                var groups = SortedMap<Int32, [DeleteRecordsRequest.Partition]>()
                for partition in asked where done[partition] == nil {
                    let leader = try await leader(of: topic, partition)
                    var entry = DeleteRecordsRequest.Partition()
                    entry.partitionIndex = partition
                    entry.offset = bounds[partition]?.number ?? 0
                    groups[leader.node, default: []].append(entry)
                }
                for (leader, entries) in groups {
                    for deleted in try await deleteRecords(of: topic, entries, at: leader) {
                        done[deleted.partition] = deleted
                    }
                }
            } catch let error as ClientError where error.isRetriable {
                doubt(topic)
                throw error
            }
        }
        return asked.compactMap { done[$0] }
    }

    private func deleteRecords(
        of topic: String, _ entries: [DeleteRecordsRequest.Partition], at leader: Int32
    ) async throws -> [DeletedRecords] {
        var topicEntry = DeleteRecordsRequest.Topic()
        topicEntry.name = topic
        topicEntry.partitions = entries
        var request = DeleteRecordsRequest()
        request.topics = [topicEntry]
        request.timeoutMs = Int32(clamping: configuration.requestTimeoutMs)
        let answers = try await ask(request, of: leader, extraWaitMs: configuration.requestTimeoutMs).topics.first
        return try entries.map { entry in
            let answer = answers?.partitions.first { $0.partitionIndex == entry.partitionIndex }
            let code = answer?.errorCode ?? .unknownServerError
            guard let answer, code == .none else {
                throw ClientError.refused(
                    what: "delete records of \(topic)-\(entry.partitionIndex)", code, message: nil)
            }
            return DeletedRecords(partition: entry.partitionIndex, lowWatermark: answer.lowWatermark)
        }
    }
}
