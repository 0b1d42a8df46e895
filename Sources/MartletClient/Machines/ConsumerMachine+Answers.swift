// What the answers to Fetch, ListOffsets and OffsetForLeaderEpoch mean for where reading stands.

import Model
import NIOCore
import Records

extension ConsumerMachine {
    /// What a Fetch answer says of one partition.
    package struct FetchAnswer: Sendable {
        package var code = ErrorCode.none
        package var highWatermark: Offset = -1
        package var bytes: ByteBuffer?
        package var aborted: [FetchedChunk.AbortedTransaction] = []
        /// The log and what was read part here (KIP-595).
        package var divergedAt: (offset: Offset, epoch: LeaderEpoch)?
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
        /// OffsetForLeaderEpoch: whose end `offset` is; −1: not known.
        package var epoch: LeaderEpoch = -1

        package init(code: ErrorCode = .none, offset: Offset = -1, epoch: LeaderEpoch = -1) {
            self.code = code
            self.offset = offset
            self.epoch = epoch
        }
    }

    /// Returns whether there is something new for readers.
    package mutating func fetched(_ id: Int, _ answers: [TopicPartition: FetchAnswer], at now: Instant) -> Bool {
        guard let request = end(id) else { return false }
        let before = (chunks.count, failures.count)
        for asked in request.partitions {
            let partition = asked.partition
            guard assignments[partition]?.generation == asked.generation else { continue }
            let answer = answers[partition] ?? FetchAnswer(code: .unknownTopicOrPartition)
            take(answer, of: partition, at: now)
        }
        return before != (chunks.count, failures.count)
    }

    package mutating func located(_ id: Int, _ answers: [TopicPartition: OffsetAnswer], at now: Instant) {
        guard let request = end(id) else { return }
        for asked in request.partitions {
            let partition = asked.partition
            // Only the first answer counts: reading goes on from it.
            guard let known = assignments[partition], known.generation == asked.generation, case .starting = known.phase
            else { continue }
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
        for asked in request.partitions {
            let partition = asked.partition
            guard let known = assignments[partition], known.generation == asked.generation, known.phase == .comparing
            else { continue }
            // A leader that leads no more cannot vouch for the next one.
            guard known.leaderEpoch == asked.leaderEpoch else { continue }
            let answer = answers[partition] ?? OffsetAnswer(code: .unknownTopicOrPartition)
            guard answer.code == .none else {
                refused(
                    answer.code, hint: nil, what: "find the end of an epoch in \(partition)", of: partition, at: now)
                continue
            }
            succeeded(partition)
            assignments[partition]?.phase = .reading
            forgetCommittedEpoch(of: partition)
            // The leader knows no epoch that old, so it cannot tell.
            guard answer.offset >= 0 else { continue }
            let end = known.commonEnd(offset: answer.offset, epoch: answer.epoch)
            if end < known.position { truncated(partition, at: end, epoch: answer.epoch) }
        }
        return failures.count > before
    }

    /// The node does not know how to compare: reading goes on without.
    package mutating func cannotCompare(_ id: Int) {
        guard let request = end(id) else { return }
        for asked in request.partitions where assignments[asked.partition]?.phase == .comparing {
            assignments[asked.partition]?.phase = .reading
            forgetCommittedEpoch(of: asked.partition)
        }
    }

    /// What was read long ago may be of an epoch that the log holds no record of any more; a Fetch that named it would
    /// be out of range.
    private mutating func forgetCommittedEpoch(of partition: TopicPartition) {
        guard assignments[partition]?.isEpochCommitted == true else { return }
        assignments[partition]?.isEpochCommitted = false
        assignments[partition]?.lastEpoch = -1
    }

    /// Request `id` came to nothing.
    package mutating func lost(_ id: Int, _ error: ClientError, at now: Instant) -> Bool {
        guard let request = end(id) else { return false }
        let before = failures.count
        for asked in request.partitions where assignments[asked.partition]?.generation == asked.generation {
            let partition = asked.partition
            guard assignments[partition]?.phase != .failed else { continue }
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
        for asked in request.partitions { assignments[asked.partition]?.isAsked = false }
        return request
    }

    private mutating func succeeded(_ partition: TopicPartition) {
        assignments[partition]?.failingSince = nil
        assignments[partition]?.lastError = nil
        assignments[partition]?.retryPauseMs = 0
    }

    private mutating func take(_ answer: FetchAnswer, of partition: TopicPartition, at now: Instant) {
        guard let known = assignments[partition], known.phase == .reading else { return }
        switch answer.code {
        case .none:
            succeeded(partition)
            assignments[partition]?.highWatermark = answer.highWatermark
            if let (offset, epoch) = answer.divergedAt {
                return truncated(partition, at: known.commonEnd(offset: offset, epoch: epoch), epoch: epoch)
            }
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
            guard known.bytesMax < 1 << 30 else {
                return fail(
                    partition,
                    .unreadableRecords(
                        topic: partition.topic, partition.partition, offset: known.position,
                        nextOffset: known.position + 1,
                        reason:
                            "\(bytes.readableBytes) bytes hold no whole batch of the format that Kafka writes since "
                            + "0.11"))
            }
            assignments[partition]?.bytesMax = known.bytesMax <= 1 << 29 ? max(1, known.bytesMax) * 2 : 1 << 30
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
        assignments[partition]?.isEpochCommitted = false
        assignments[partition]?.note(epochsOf: slice)
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

    /// The log was cut off at `divergedAt`, where its records of `epoch` end. What nobody has seen yet is simply read
    /// again.
    private mutating func truncated(_ partition: TopicPartition, at divergedAt: Offset, epoch: LeaderEpoch) {
        guard let known = assignments[partition] else { return }
        if known.consumed <= divergedAt || configuration.onTruncation == .resume {
            seek(partition, to: .offset(min(known.consumed, divergedAt)))
            // What was given out is still compared with the next leader's log.
            assignments[partition]?.lastEpoch = epoch
            assignments[partition]?.epochs = known.epochs.filter { $0.start < divergedAt }
        } else {
            // Nothing more of what is gone is given out.
            lastGeneration += 1
            assignments[partition]?.generation = lastGeneration
            dropChunks(of: partition)
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
        known.lastError = error.description
        assignments[partition] = known
        let spentMs = now.milliseconds(since: since)
        if let patienceMs = configuration.patienceMs, spentMs >= patienceMs {
            fail(partition, .gaveUp(what: "read \(partition)", afterMs: spentMs, last: error.description))
        }
    }
}

extension ConsumerMachine.Assignment {
    /// Up to where a log whose newest epoch not above ours is `epoch`, ending at `offset`, holds what was read. After
    /// an unclean election it may go on further than ours, with other records (KIP-320).
    fileprivate func commonEnd(offset: Offset, epoch: LeaderEpoch) -> Offset {
        guard epoch >= 0, let parted = epochs.first(where: { $0.epoch > epoch }) else { return offset }
        return min(offset, parted.start)
    }

    package mutating func forgetEpochs() {
        (leader, leaderEpoch, lastEpoch, epochs) = (nil, -1, -1, [])
        if phase == .comparing { phase = .reading }
    }

    fileprivate mutating func note(epochsOf bytes: ByteBuffer) {
        var batches = BatchSequence(bytes).makeIterator()
        while let header = batches.nextHeader() {
            guard header.partitionLeaderEpoch > epochs.last?.epoch ?? -1 else { continue }
            epochs.append((header.partitionLeaderEpoch, header.baseOffset))
        }
        // More leaders than this between two looks at the log are not remembered.
        if epochs.count > 64 { epochs.removeFirst(epochs.count - 64) }
    }
}
