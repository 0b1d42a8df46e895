// What the answers to Fetch, ListOffsets and OffsetForLeaderEpoch mean for where reading stands.

import Model
import NIOCore

extension ConsumerMachine {
    /// What a Fetch answer says of one partition.
    package struct FetchAnswer: Sendable {
        package var code = ErrorCode.none
        package var highWatermark: Offset = -1
        package var bytes: ByteBuffer?
        package var aborted: [FetchedChunk.AbortedTransaction] = []
        /// The log and what was read part here (KIP-595).
        package var divergedAt: Offset?
        package var leaderHint: (node: NodeID, epoch: LeaderEpoch)?
        package var preferredReplica: NodeID?

        package init(code: ErrorCode = .none, highWatermark: Offset = -1, bytes: ByteBuffer? = nil) {
            self.code = code
            self.highWatermark = highWatermark
            self.bytes = bytes
        }
    }

    /// What ListOffsets or OffsetForLeaderEpoch says of one partition.
    package struct OffsetAnswer: Sendable {
        package var code = ErrorCode.none
        /// −1: there is none.
        package var offset: Offset = -1

        package init(code: ErrorCode = .none, offset: Offset = -1) {
            self.code = code
            self.offset = offset
        }
    }

    /// Returns whether there is something new for readers.
    package mutating func fetched(_ id: Int, _ answers: [TopicPartition: FetchAnswer], at now: Instant) -> Bool {
        guard let request = end(id) else { return false }
        let before = (chunks.count, failures.count)
        for (partition, generation) in request.partitions {
            guard assignments[partition]?.generation == generation else { continue }
            let answer = answers[partition] ?? FetchAnswer(code: .unknownTopicOrPartition)
            take(answer, of: partition, at: now)
        }
        return before != (chunks.count, failures.count)
    }

    package mutating func located(_ id: Int, _ answers: [TopicPartition: OffsetAnswer], at now: Instant) {
        guard let request = end(id) else { return }
        for (partition, generation) in request.partitions {
            guard let known = assignments[partition], known.generation == generation else { continue }
            let answer = answers[partition] ?? OffsetAnswer(code: .unknownTopicOrPartition)
            guard answer.code == .none else {
                refused(answer.code, hint: nil, what: "find the offsets of \(partition)", of: partition, at: now)
                continue
            }
            succeeded(partition)
            if answer.offset < 0, case .starting(.timestamp) = known.phase {
                assignments[partition]?.phase = .starting(.latest)
            } else {
                assignments[partition]?.phase = .reading
                assignments[partition]?.position = max(0, answer.offset)
                assignments[partition]?.consumed = max(0, answer.offset)
                assignments[partition]?.lastEpoch = -1
            }
        }
    }

    /// Where the epoch of the last record that was read ends in the new leader's log.
    package mutating func compared(_ id: Int, _ answers: [TopicPartition: OffsetAnswer], at now: Instant) -> Bool {
        guard let request = end(id) else { return false }
        let before = failures.count
        for (partition, generation) in request.partitions {
            guard let known = assignments[partition], known.generation == generation, known.phase == .comparing else {
                continue
            }
            let answer = answers[partition] ?? OffsetAnswer(code: .unknownTopicOrPartition)
            guard answer.code == .none else {
                refused(
                    answer.code, hint: nil, what: "find the end of an epoch in \(partition)", of: partition, at: now)
                continue
            }
            succeeded(partition)
            assignments[partition]?.phase = .reading
            if answer.offset < known.position { truncated(partition, at: max(0, answer.offset)) }
        }
        return failures.count > before
    }

    /// The node does not know how to compare: reading goes on without.
    package mutating func cannotCompare(_ id: Int) {
        guard let request = end(id) else { return }
        for (partition, _) in request.partitions where assignments[partition]?.phase == .comparing {
            assignments[partition]?.phase = .reading
        }
    }

    /// Request `id` came to nothing.
    package mutating func lost(_ id: Int, _ error: ClientError, at now: Instant) -> Bool {
        guard let request = end(id) else { return false }
        let before = failures.count
        for (partition, generation) in request.partitions where assignments[partition]?.generation == generation {
            if error.isRetriable {
                doubtLeader(of: partition)
                tryLater(partition, error, at: now)
            } else {
                fail(partition, error)
            }
        }
        return failures.count > before
    }

    private mutating func end(_ id: Int) -> Request? {
        guard let request = requests.removeValue(forKey: id) else { return nil }
        if request.isFetch { fetching.remove(request.node) }
        for (partition, _) in request.partitions { assignments[partition]?.isAsked = false }
        return request
    }

    private mutating func succeeded(_ partition: TopicPartition) {
        assignments[partition]?.failingSince = nil
        assignments[partition]?.retryPauseMs = 0
    }

    private mutating func take(_ answer: FetchAnswer, of partition: TopicPartition, at now: Instant) {
        guard let known = assignments[partition], known.phase == .reading else { return }
        switch answer.code {
        case .none:
            succeeded(partition)
            assignments[partition]?.highWatermark = answer.highWatermark
            if let divergedAt = answer.divergedAt { return truncated(partition, at: divergedAt) }
            if let replica = answer.preferredReplica { assignments[partition]?.preferred = replica }
            if let bytes = answer.bytes, bytes.readableBytes > 0 { add(bytes, answer.aborted, to: partition, known) }
        case .offsetOutOfRange where known.preferred != nil:
            // The replica nearby lags: the leader knows better.
            assignments[partition]?.preferred = nil
        case .offsetOutOfRange: outOfRange(partition, known)
        default:
            refused(
                answer.code, hint: answer.leaderHint, what: "read \(partition) at offset \(known.position)",
                of: partition, at: now)
        }
    }

    private mutating func add(
        _ bytes: ByteBuffer, _ aborted: [FetchedChunk.AbortedTransaction], to partition: TopicPartition,
        _ known: Assignment
    ) {
        guard let end = FetchedChunk.end(of: bytes), end.nextOffset > known.position else {
            // Not one whole batch: an old node cuts them. More room next time.
            assignments[partition]?.bytesMax = min(
                known.bytesMax.multipliedReportingOverflow(by: 2).partialValue, 1 << 30)
            return
        }
        let slice = bytes.getSlice(at: bytes.readerIndex, length: end.sizeBytes) ?? bytes
        chunks.append(
            FetchedChunk(
                partition: partition, generation: known.generation, bytes: slice, position: known.position,
                nextOffset: end.nextOffset, lastEpoch: end.epoch,
                aborted: configuration.isolation == .readCommitted ? aborted : nil))
        bufferedBytes += end.sizeBytes
        assignments[partition]?.bufferedBytes += end.sizeBytes
        assignments[partition]?.position = end.nextOffset
        assignments[partition]?.lastEpoch = end.epoch
    }

    private mutating func outOfRange(_ partition: TopicPartition, _ known: Assignment) {
        switch configuration.onOutOfRange {
        case .earliest: assignments[partition]?.phase = .starting(.earliest)
        case .latest: assignments[partition]?.phase = .starting(.latest)
        case .fail:
            fail(
                partition,
                .positionOutOfRange(topic: partition.topic, partition.partition, position: known.position))
        }
    }

    /// The log was cut off at `divergedAt`. What nobody has seen yet is simply read again.
    private mutating func truncated(_ partition: TopicPartition, at divergedAt: Offset) {
        guard let known = assignments[partition] else { return }
        if known.consumed <= divergedAt || configuration.onTruncation == .resume {
            let position = min(known.consumed, divergedAt)
            seek(partition, to: .offset(position))
        } else {
            fail(
                partition,
                .logTruncated(
                    topic: partition.topic, partition.partition, position: known.consumed, divergedAt: divergedAt))
        }
    }

    private mutating func refused(
        _ code: ErrorCode, hint: (node: NodeID, epoch: LeaderEpoch)?, what: String, of partition: TopicPartition,
        at now: Instant
    ) {
        let error = ClientError.refused(what: what, code, message: nil)
        guard code.isRetriable else { return fail(partition, error) }
        tryLater(partition, error, at: now)
        if let hint, hint.epoch > assignments[partition]?.leaderEpoch ?? -1 {
            learned(leader: hint.node, epoch: hint.epoch, of: partition)
        } else if code.tellsOfAnotherLeader {
            doubtLeader(of: partition)
        }
    }

    private mutating func tryLater(_ partition: TopicPartition, _ error: ClientError, at now: Instant) {
        guard var known = assignments[partition] else { return }
        let range = configuration.retryPauseMs
        known.retryPauseMs = min(max(range.lowerBound, known.retryPauseMs * 2), range.upperBound)
        known.retryAt = now.advanced(byMs: known.retryPauseMs)
        known.preferred = nil
        let since = known.failingSince ?? now
        known.failingSince = since
        assignments[partition] = known
        let spentMs = now.milliseconds(since: since)
        if let patienceMs = configuration.patienceMs, spentMs >= patienceMs {
            fail(partition, .gaveUp(what: "read \(partition)", afterMs: spentMs, last: error.description))
        }
    }
}
