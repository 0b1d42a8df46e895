// Reads the partitions of one topic from given offsets on, without a group.

import Model
import NIOCore
import Records
import Wire

package struct ConsumedRecord: Equatable, Sendable {
    package var partition: PartitionIndex
    package var record: Record
}

package enum StartPosition: Equatable, Sendable {
    case earliest
    /// Only what is written from now on.
    case latest
    case offset(Offset)
}

/// Reads uncommitted: records of open or aborted transactions are given out too. One call of `poll` at a time.
package struct Consumer {
    private let client: ClusterClient
    package let topic: String
    /// The next offset to read, by partition.
    package private(set) var positions: SortedMap<PartitionIndex, Offset>
    private var turn = 0
    private var failingSince: ContinuousClock.Instant?
    private var pauseMs: Int64 = 0

    /// Finds the topic and where to start. `partition`: that one only. Throws `ClientError`.
    package init(
        client: ClusterClient, topic: String, partition: PartitionIndex? = nil, from start: StartPosition
    ) async throws {
        self.client = client
        self.topic = topic
        var partitions = try await client.partitions(of: topic).partitions.map(\.index)
        if let partition {
            guard partitions.contains(partition) else {
                throw ClientError.noSuchPartition(topic: topic, partition, count: partitions.count)
            }
            partitions = [partition]
        }
        switch start {
        case .offset(let offset): positions = SortedMap(partitions.map { ($0, offset) })
        case .earliest: positions = try await client.offsets(of: topic, partitions, timestamp: -2)
        case .latest: positions = try await client.offsets(of: topic, partitions, timestamp: -1)
        }
    }

    /// Waits up to about `maxWaitMs` for records and returns what came, in order within each partition; none is no
    /// error. Throws `ClientError` when it cannot go on, or found no leader for longer than the client's patience.
    package mutating func poll(maxWaitMs: Int32 = 500) async throws -> [ConsumedRecord] {
        if pauseMs > 0 { try await Task.sleep(for: .milliseconds(pauseMs)) }
        do {
            let records = try await pollOnce(maxWaitMs: maxWaitMs)
            failingSince = nil
            pauseMs = 0
            return records
        } catch let error as ClientError where error.isRetriable {
            let now = ContinuousClock.now
            let since = failingSince ?? now
            failingSince = since
            let spentMs = (now - since).milliseconds
            guard spentMs < client.configuration.patienceMs else {
                throw ClientError.gaveUp(what: "read \(topic)", afterMs: spentMs, last: error.description)
            }
            let pauses = client.configuration.retryPauseMs
            pauseMs = min(max(pauses.lowerBound, pauseMs * 2), pauses.upperBound)
            await client.doubt(topic)
            return []
        }
    }

    private mutating func pollOnce(maxWaitMs: Int32) async throws -> [ConsumedRecord] {
        var byLeader = SortedMap<NodeID, [FetchRequest.Partition]>()
        // Rotated, because a node fills its answer in the order of the request.
        let count = positions.keys.count
        for step in 0..<count {
            let partition = positions.keys[(step + turn) % count]
            let leader = try await client.leader(of: topic, partition)
            var entry = FetchRequest.Partition()
            entry.partitionIndex = partition
            entry.currentLeaderEpoch = leader.epoch
            entry.fetchOffset = positions[partition] ?? 0
            entry.partitionMaxBytes = 1 << 20
            byLeader[leader.node, default: []].append(entry)
        }
        turn += 1
        // The slowest of several leaders holds up the records of the others, so none may wait long.
        let waitMs = byLeader.count > 1 ? min(maxWaitMs, 100) : maxWaitMs
        let (client, topic) = (client, topic)
        var fetched: [FetchResponse.Partition] = []
        try await withThrowingTaskGroup(of: [FetchResponse.Partition].self) { group in
            for (leader, partitions) in byLeader {
                group.addTask { try await client.fetch(topic, partitions, from: leader, maxWaitMs: waitMs) }
            }
            for try await part in group { fetched += part }
        }
        fetched.sort { $0.partitionIndex < $1.partitionIndex }
        return try take(fetched)
    }

    /// Unpacks what came and moves the positions on. What is good is kept even if another partition failed for now.
    private mutating func take(_ fetched: [FetchResponse.Partition]) throws -> [ConsumedRecord] {
        var records: [ConsumedRecord] = []
        var failure: ClientError?
        for answer in fetched {
            let partition = answer.partitionIndex
            guard answer.errorCode == .none else {
                let offset = positions[partition] ?? 0
                failure = .refused(
                    what: "read \(topic)-\(partition) at offset \(offset)", answer.errorCode, message: nil)
                continue
            }
            guard let bytes = answer.records else { continue }
            for (header, batch) in BatchSequence(bytes) {
                let position = positions[partition] ?? 0
                guard header.nextOffset > position else { continue }
                if !header.isControl {
                    do throws(BatchError) {
                        for record in try decodeRecords(batch) where record.offset >= position {
                            records.append(ConsumedRecord(partition: partition, record: record))
                        }
                    } catch {
                        throw ClientError.unreadableRecords(topic: topic, partition, reason: error.message)
                    }
                }
                positions[partition] = header.nextOffset
            }
        }
        if let failure, records.isEmpty || !failure.isRetriable { throw failure }
        return records
    }
}

extension ClusterClient {
    /// One Fetch of some partitions of a topic from one node, without a session.
    func fetch(
        _ topic: String, _ partitions: [FetchRequest.Partition], from leader: NodeID, maxWaitMs: Int32
    ) async throws -> [FetchResponse.Partition] {
        var topicEntry = FetchRequest.Topic()
        topicEntry.name = topic
        topicEntry.partitions = partitions
        var request = FetchRequest()
        request.maxWaitMs = maxWaitMs
        request.minBytes = 1
        request.maxBytes = 16 << 20
        request.topics = [topicEntry]
        // Version 13 names topics by id only.
        let response = try await ask(request, of: leader, maxVersion: 12, extraWaitMs: Int64(maxWaitMs))
        guard response.errorCode == .none else {
            throw ClientError.refused(what: "read \(topic)", response.errorCode, message: nil)
        }
        return response.topics.flatMap(\.partitions)
    }

    /// ListOffsets: −1 the end, −2 the start, else the first record not older than `timestamp`.
    package func offsets(
        of topic: String, _ partitions: [PartitionIndex], timestamp: Int64
    ) async throws -> SortedMap<PartitionIndex, Offset> {
        var found = SortedMap<PartitionIndex, Offset>()
        for partition in partitions {
            found[partition] = try await retrying("find the offsets of \(topic)-\(partition)") {
                do {
                    return try await offset(of: topic, partition, timestamp: timestamp)
                } catch let error as ClientError where error.isRetriable {
                    doubt(topic)
                    throw error
                }
            }
        }
        return found
    }

    private func offset(of topic: String, _ partition: PartitionIndex, timestamp: Int64) async throws -> Offset {
        let leader = try await leader(of: topic, partition)
        var entry = ListOffsetsRequest.Partition()
        entry.partitionIndex = partition
        entry.currentLeaderEpoch = leader.epoch
        entry.timestamp = timestamp
        var topicEntry = ListOffsetsRequest.Topic()
        topicEntry.name = topic
        topicEntry.partitions = [entry]
        var request = ListOffsetsRequest()
        request.replicaID = -1
        request.topics = [topicEntry]
        request.timeoutMs = Int32(clamping: configuration.requestTimeoutMs)
        let answer = try await ask(request, of: leader.node).topics.first?.partitions.first
        let code = answer?.errorCode ?? .unknownServerError
        guard let answer, code == .none else {
            throw ClientError.refused(what: "find the offsets of \(topic)-\(partition)", code, message: nil)
        }
        return answer.offset
    }
}
