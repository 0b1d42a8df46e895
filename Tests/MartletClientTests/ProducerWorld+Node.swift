// The nodes of the producer's world: what they write, what they refuse, and what must be true at the end.

import MartletClient
import Model
import NIOCore
import Records

extension ProducerWorld {
    mutating func arrive(_ dispatch: ProducerMachine<Int>.Dispatch, _ connection: Int) {
        let answers = dispatch.entries.map { Optional(write($0, at: dispatch.node)) }
        let isOpen = connections[dispatch.node] == connection
        guard isOpen else { return }
        // Answers come in order: where one is missing, all behind it are.
        if mute.contains(connection) || (isFaulty && random.oneIn(40)) {
            mute.insert(connection)
            // The node stops without closing its connections: only `abandon` or the request's own timeout ends this.
            note("no answer to \(dispatch.id)")
            return schedule(.lost(dispatch), afterMs: dispatch.timeoutMs)
        }
        if isFaulty, random.oneIn(15) { return breakConnection(dispatch.node) }
        let at = max(now.advanced(byMs: random.below(6)), answerFreeAt[connection] ?? now)
        answerFreeAt[connection] = at
        schedule(.answer(dispatch, answers, connection: connection), at: at)
    }

    private mutating func write(
        _ entry: ProducerMachine<Int>.Dispatch.Entry, at node: NodeID
    ) -> PartitionAnswer {
        let index = Int(entry.partition)
        guard partitions[index].leader == node else {
            var answer = PartitionAnswer(code: .notLeaderOrFollower)
            if random.oneIn(2), let leader = partitions[index].leader {
                answer.leaderHint = (leader, partitions[index].epoch)
            }
            return answer
        }
        let batch = entry.builder.build()
        guard let header = BatchHeader(reading: batch, at: 0), let records = try? decodeRecords(batch) else {
            return PartitionAnswer(code: .invalidRecord)
        }
        let tokens = records.compactMap { $0.value.flatMap { $0.getInteger(at: $0.readerIndex, as: Int.self) } }
        if batch.readableBytes > batchBytesLimit, tokens.count > 1 { return PartitionAnswer(code: .messageTooLarge) }
        if isFaulty, random.oneIn(30) { return PartitionAnswer(code: .notEnoughReplicas) }
        let verdict = header.producerID < 0 || settings.nodesForget ? nil : refusal(header, in: index)
        if let verdict { return verdict }
        let offset = Offset(partitions[index].written.count)
        partitions[index].written += tokens
        if header.producerID >= 0 { remember(header, at: offset, in: index) }
        if isFaulty, random.oneIn(20) { return PartitionAnswer(code: .requestTimedOut) }
        return PartitionAnswer(baseOffset: offset)
    }

    /// Kafka's check of sequences; nil: to be appended.
    private func refusal(_ header: BatchHeader, in index: Int) -> PartitionAnswer? {
        let known = partitions[index].producers[header.producerID]
        // Kafka's own nodes take any sequence from a producer of which the partition holds nothing.
        if known == nil, isLenient { return nil }
        guard let known, known.epoch >= header.producerEpoch else {
            return header.baseSequence == 0 ? nil : PartitionAnswer(code: .outOfOrderSequenceNumber)
        }
        if known.epoch > header.producerEpoch { return PartitionAnswer(code: .invalidProducerEpoch) }
        let count = Int(header.recordsCount)
        if let same = known.recent.first(where: { $0.first == header.baseSequence && $0.count == count }) {
            // Both ways of saying so are found among nodes.
            return same.offset % 2 == 0
                ? PartitionAnswer(code: .duplicateSequenceNumber) : PartitionAnswer(baseOffset: same.offset)
        }
        return header.baseSequence == known.nextSequence ? nil : PartitionAnswer(code: .outOfOrderSequenceNumber)
    }

    private mutating func remember(_ header: BatchHeader, at offset: Offset, in index: Int) {
        var known =
            partitions[index].producers[header.producerID]
            ?? ProducerState(epoch: header.producerEpoch, nextSequence: 0, recent: [])
        if known.epoch != header.producerEpoch {
            known = ProducerState(epoch: header.producerEpoch, nextSequence: 0, recent: [])
        }
        known.nextSequence = header.baseSequence + header.recordsCount
        known.recent.append((header.baseSequence, Int(header.recordsCount), offset))
        if known.recent.count > 5 { known.recent.removeFirst() }
        partitions[index].producers[header.producerID] = known
    }

    // MARK: What must be true

    mutating func check() {
        if machine.bufferedBytes != 0, isDone { complaints.append("\(machine.bufferedBytes) bytes stay buffered") }
        for (index, log) in partitions.enumerated() {
            if settings.isIdempotent, Set(log.written).count != log.written.count {
                complaints.append("partition \(index) holds duplicates: \(log.written)")
            }
            if settings.isIdempotent, log.written != log.written.sorted() {
                complaints.append("partition \(index) is out of order: \(log.written)")
            }
            let held = Set(log.written)
            for token in appended[index] {
                switch outcomes[token] {
                case .success:
                    if !held.contains(token) { complaints.append("record \(token) is said to be written, and is not") }
                case .failure(let error):
                    if settings.deliveryTimeoutMs > 1_000_000 { complaints.append("record \(token) failed: \(error)") }
                case nil: complaints.append("record \(token) has no end")
                }
            }
            checkOffsets(log, index)
        }
        let seconds = Int(now.milliseconds(since: start) / 1_000) + 1
        if effectCount > 4_000 + seconds * 1_000 || drainCount > 8_000 + seconds * 2_000 {
            complaints.append("\(effectCount) effects and \(drainCount) drains in \(seconds) s")
        }
    }

    private mutating func checkOffsets(_ log: LogPartition, _ index: Int) {
        for token in appended[index] {
            guard case .success(let written)? = outcomes[token], written.baseOffset >= 0 else { continue }
            guard let first = placeInBatch[token] else { continue }
            let offset = Int(written.baseOffset) + first
            if settings.isIdempotent, !log.written.indices.contains(offset) || log.written[offset] != token {
                complaints.append("record \(token) does not stand at \(offset)")
            }
        }
    }
}
