// What the answers to Produce mean: which records are written, which go out again, and what is now known of leaders.

import Model
import NIOCore
import Records

/// What a Produce answer says of one partition.
package struct PartitionAnswer {
    package var code = ErrorCode.none
    package var message: String?
    package var baseOffset: Offset = -1
    package var logAppendTimeMs: Int64 = -1
    /// Who leads now, where a node that leads no more says so (KIP-951).
    package var leaderHint: (node: NodeID, epoch: LeaderEpoch)?

    package init(code: ErrorCode = .none, message: String? = nil, baseOffset: Offset = -1) {
        self.code = code
        self.message = message
        self.baseOffset = baseOffset
    }
}

extension ProducerMachine {
    /// The answer to request `id`; `answers` in the order of its entries, nil for a partition that it left out.
    package mutating func answered(_ id: Int, _ answers: [PartitionAnswer?], at now: Instant) {
        guard let request = requests.removeValue(forKey: id) else { return }
        links.ended(at: request.node)
        for (entry, answer) in zip(request.entries, answers) {
            guard let batch = takeFromFlight(entry.queue, number: entry.number) else { continue }
            let answer = answer ?? PartitionAnswer(code: .unknownServerError, message: "the answer left it out")
            take(answer, for: batch, of: entry.queue, at: now)
            queues[entry.queue].settle()
        }
    }

    /// Request `id` came to nothing. Whether the cluster took its batches is not known, unless it never left.
    package mutating func lost(_ id: Int, _ error: ClientError, wasSent: Bool, at now: Instant) {
        guard let request = requests.removeValue(forKey: id) else { return }
        links.ended(at: request.node)
        for entry in request.entries {
            guard var batch = takeFromFlight(entry.queue, number: entry.number) else { continue }
            batch.isInDoubt = batch.isInDoubt || wasSent
            batch.wasLost = batch.wasLost || wasSent
            batch.lastError = error.description
            if error.isRetriable {
                doubtLeader(of: entry.queue)
                giveBack(batch, to: entry.queue, at: now)
            } else {
                fail(batch, of: entry.queue, error)
            }
            queues[entry.queue].settle()
        }
    }

    private mutating func takeFromFlight(_ index: Int, number: Int) -> OutgoingBatch<Token>? {
        guard let at = queues[index].inFlight.firstIndex(where: { $0.number == number }) else { return nil }
        return queues[index].inFlight.remove(at: at)
    }

    private mutating func giveBack(_ batch: OutgoingBatch<Token>, to index: Int, at now: Instant) {
        queues[index].returned.append(batch)
        queues[index].pause(configuration.retryPauseMs, from: now)
    }

    private mutating func fail(_ batch: OutgoingBatch<Token>, of index: Int, _ error: ClientError) {
        if batch.baseSequence != nil { queues[index].hasSequenceGap = true }
        complete(batch, of: index, .failure(error))
    }

    private mutating func take(
        _ answer: PartitionAnswer, for batch: OutgoingBatch<Token>, of index: Int, at now: Instant
    ) {
        var batch = batch
        switch answer.code {
        case .none, .duplicateSequenceNumber:
            // A duplicate is a batch of ours whose first answer was lost; where it stands is not remembered.
            let isNew = answer.code == .none
            queues[index].retryPauseMs = 0
            queues[index].isRecognised = true
            // That this batch stands proves that those before it do: there is no gap after all.
            if batch.isInDoubt { queues[index].hasSequenceGap = false }
            complete(
                batch, of: index,
                .success(
                    Completion.Written(
                        baseOffset: isNew ? answer.baseOffset : -1,
                        logAppendTimeMs: isNew ? answer.logAppendTimeMs : -1)))
        case .outOfOrderSequenceNumber, .unknownProducerId:
            outOfOrder(answer, batch, of: index, at: now)
        case .messageTooLarge where batch.builder.count > 1:
            for half in split(batch) { queues[index].returned.append(half) }
        case let code where code.isRetriable:
            // The partition's leader took nothing, or said that too few others have it: then it stands in its log.
            batch.isInDoubt =
                batch.isInDoubt || code == .requestTimedOut || code == .notEnoughReplicasAfterAppend
                || code == .notLeaderOrFollower || code == .kafkaStorageError
            batch.lastError = refusal(of: index, answer).description
            giveBack(batch, to: index, at: now)
            if let hint = answer.leaderHint, hint.epoch > queues[index].leaderEpoch {
                learned(leader: hint.node, epoch: hint.epoch, of: index, at: now)
            } else if code.tellsOfAnotherLeader {
                doubtLeader(of: index)
            }
        default:
            fail(batch, of: index, refusal(of: index, answer))
        }
    }

    /// The cluster misses records before this batch, so it does not hold this one.
    private mutating func outOfOrder(
        _ answer: PartitionAnswer, _ batch: OutgoingBatch<Token>, of index: Int, at now: Instant
    ) {
        var batch = batch
        batch.isInDoubt = batch.isHalfOfDoubt
        batch.lastError = refusal(of: index, answer).description
        let isFirst = (queues[index].inFlight + queues[index].returned).allSatisfy { $0.number > batch.number }
        if isFirst, !queues[index].hasSequenceGap || batch.isHalfOfDoubt {
            guard answer.code == .unknownProducerId, !batch.isHalfOfDoubt else {
                // Nothing of ours is missing, so the cluster has lost what it had acknowledged: that must be told. Or
                // it may hold these records as part of a larger batch, so that they must not be written anew.
                return fail(batch, of: index, refusal(of: index, answer))
            }
            // The records it knew us by have been deleted by retention (KIP-360).
            queues[index].hasSequenceGap = true
        }
        queues[index].returned.append(batch)
        if isFirst, answer.code == .outOfOrderSequenceNumber {
            queues[index].retryAt = now
        } else {
            queues[index].pause(configuration.retryPauseMs, from: now)
        }
    }

    private func refusal(of index: Int, _ answer: PartitionAnswer) -> ClientError {
        .refused(
            what: "produce to \(places[index].topic)-\(places[index].partition)", answer.code,
            message: answer.message)
    }

    /// The batch as two, for a cluster that takes only smaller ones. The halves keep the sequence: the cluster refused
    /// the batch as a whole.
    private func split(_ batch: OutgoingBatch<Token>) -> [OutgoingBatch<Token>] {
        let plain = batch.builder.withoutCompression
        let records: [Record]
        do throws(BatchError) {
            records = try decodeRecords(plain.build())
        } catch {
            preconditionFailure("a batch of our own cannot be read: \(error)")
        }
        let middle = records.count / 2
        return [0..<middle, middle..<records.count].enumerated().map { half, range in
            var part = OutgoingBatch<Token>(
                number: batch.number + half * (batch.span / 2),
                builder: RecordBatchBuilder(compression: configuration.compression), expiresAt: batch.expiresAt,
                lingersUntil: batch.lingersUntil)
            part.span = batch.span / 2
            part.attempts = batch.attempts
            part.lastError = batch.lastError
            part.isInDoubt = batch.isInDoubt
            part.wasLost = batch.wasLost
            part.isHalfOfDoubt = batch.isInDoubt || batch.isHalfOfDoubt
            part.bufferedBytes = half == 0 ? batch.bufferedBytes / 2 : batch.bufferedBytes - batch.bufferedBytes / 2
            part.baseSequence = batch.baseSequence.map { Int32((Int64($0) + Int64(range.lowerBound)) & 0x7FFF_FFFF) }
            for at in range {
                let record = records[at]
                part.builder.append(
                    timestamp: record.timestamp, key: record.key, value: record.value, headers: record.headers)
                part.tokens.append(batch.tokens[at])
                part.timestampsMs.append(batch.timestampsMs[at])
            }
            return part
        }
    }
}

extension ErrorCode {
    /// Who answers so does not lead the partition, or does not know who does.
    package var tellsOfAnotherLeader: Bool {
        switch self {
        case .notLeaderOrFollower, .unknownTopicOrPartition, .leaderNotAvailable, .fencedLeaderEpoch,
            .unknownLeaderEpoch, .kafkaStorageError, .unknownTopicId, .brokerNotAvailable, .replicaNotAvailable:
            true
        default: false
        }
    }
}
