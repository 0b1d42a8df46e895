// Produce (key 0), versions 3–13; 0–2 are advertised for old librdkafka and never accepted. One batch per partition;
// acks 0, 1 or all. v13 names topics by id. acks=all is answered when the high watermark has passed the batch: it is
// then on disk on every in-sync replica.

import Metadata
import Model
import NIOCore
import Records
import Replication
import Storage
import Wire

/// A produce request whose answer waits for the high watermark.
struct PendingProduce {
    var context: RequestContext
    var response: ProduceResponse
    /// For each partition in request order: topic and partition index in `response`.
    var places: [(topic: Int, partition: Int)]
    var waiting: Int
    var timer: Timers<ShardTimer>.ID?
}

extension Shard {
    func produce(_ id: ConnectionID, _ header: RequestHeader, _ body: ByteBuffer) throws(WireError) {
        let request = try read(ProduceRequest.self, header, body)
        guard request.acks != 0 else {
            let context = RequestContext(connection: id, slot: 0, header: header)
            if !divide(request, context, isAnswered: false) { produceUnanswered(request, context) }
            return
        }
        let context = context(id, header)
        if !divide(request, context) { produce(request, context) }
    }

    func produce(_ request: ProduceRequest, _ context: RequestContext) {
        guard request.acks != 0 else { return produceUnanswered(request, context) }
        let version = context.header.version
        var pending = PendingProduce(context: context, response: ProduceResponse(), places: [], waiting: 0)
        let requestID = takeRequestNumber()
        for topic in request.topics {
            var answers = ProduceResponse.Topic()
            answers.name = topic.name
            answers.topicID = topic.topicID
            for partition in topic.partitions {
                var place = ProduceResponse.Partition()
                place.partitionIndex = partition.partitionIndex
                let index = pending.places.count
                switch complaining(context, topic, partition, produce(partition, of: topic, request, version)) {
                case .failed(let error, let message, let replica):
                    place.baseOffset = -1
                    place.errorCode = error
                    place.errorMessage = message
                    if let replica, error == .notLeaderOrFollower { place.currentLeader = hint(replica) }
                case .appended(let replica, let base, let end, let logAppendTimeMs):
                    place.baseOffset = base
                    place.logAppendTimeMs = logAppendTimeMs
                    place.logStartOffset = replica.visibleStart
                    // Mutant: the page cache of one node is enough (P6).
                    let waits = configuration.plantedBug != .acknowledgedBeforeFlush
                    if request.acks == -1 && waits && replica.partition.highWatermark < end {
                        replica.await(ProduceWaiter(request: requestID, index: index, endOffset: end))
                        pending.waiting += 1
                    }
                }
                pending.places.append((pending.response.topics.count, answers.partitions.count))
                answers.partitions.append(place)
            }
            pending.response.topics.append(answers)
        }
        guard pending.waiting > 0 else { return finish(pending) }
        pending.timer = timers.add(
            .produce(requestID), at: reading.now.advanced(byMs: Int64(max(0, request.timeoutMs))))
        pendingProduces[requestID] = pending
    }

    /// acks=0: nothing is ever answered, so an error has only one voice left: the connection ends, as in Kafka, and the
    /// client looks again.
    private func produceUnanswered(_ request: ProduceRequest, _ context: RequestContext) {
        for topic in request.topics {
            for partition in topic.partitions {
                if case .failed(let error, _, _) = produce(partition, of: topic, request, context.header.version) {
                    return close(
                        context, because: "produced with acks=0 to \(topic.name)-\(partition.partitionIndex): \(error)")
                }
            }
        }
    }

    /// A batch that no sane producer makes is named in the log; what ordinary life brings is not.
    private func complaining(
        _ context: RequestContext, _ topic: ProduceRequest.Topic, _ partition: ProduceRequest.Partition,
        _ outcome: Produced
    ) -> Produced {
        if case .failed(let error, let message?, _) = outcome, !error.isRetriable || error == .corruptMessage {
            complain(context, "a batch for \(topic.name.prefix(64))-\(partition.partitionIndex): \(error), \(message)")
        }
        return outcome
    }

    enum Produced {
        case failed(ErrorCode, String?, Replica?)
        case appended(Replica, base: Offset, end: Offset, logAppendTimeMs: Int64)
    }

    private func produce(
        _ partition: ProduceRequest.Partition, of topic: ProduceRequest.Topic, _ request: ProduceRequest,
        _ version: Int16
    ) -> Produced {
        guard [-1, 0, 1].contains(request.acks) else {
            return .failed(.invalidRequiredAcks, "acks is \(request.acks); 0, 1 and -1 (all) are known", nil)
        }
        guard request.transactionalID == nil else {
            return .failed(.invalidTxnState, "transactions are not served yet", nil)
        }
        let image = version >= 13 ? view.image.topic(id: topic.topicID) : view.image.topic(named: topic.name)
        guard let image, image.partitions.indices.contains(Int(partition.partitionIndex)) else {
            return .failed(version >= 13 && image == nil ? .unknownTopicId : .unknownTopicOrPartition, nil, nil)
        }
        guard image.name != GroupTopic.name else {
            return .failed(.invalidTopicException, "only the coordinators of groups write to \(image.name)", nil)
        }
        guard let replica = replicas[TopicPartition(image.id, partition.partitionIndex)] else {
            return .failed(.notLeaderOrFollower, nil, nil)
        }
        if let error = replica.admission(acks: request.acks) { return .failed(error, nil, replica) }
        guard let records = partition.records, records.readableBytes > 0 else {
            return .failed(.invalidRecord, "the partition entry holds no batch", replica)
        }
        return append(records, to: replica, isAnswered: request.acks != 0)
    }

    private func append(_ records: ByteBuffer, to replica: Replica, isAnswered: Bool) -> Produced {
        let settings = replica.settings
        var batch = records
        var header: BatchHeader
        do throws(BatchError) {
            header = try validateProduced(batch, checks: settings.produceChecks, wallMs: reading.wallMs)
        } catch {
            return .failed(error.errorCode, error.message, replica)
        }
        guard !header.isTransactional else {
            return .failed(.invalidTxnState, "transactions are not served yet", replica)
        }
        if header.hasProducer, let known = judge(ProducedBatch(header), in: replica, isAnswered: isAnswered) {
            return known
        }
        var logAppendTimeMs: Int64 = -1
        if settings.timestampIsLogAppendTime {
            batch = withLogAppendTime(batch, timeMs: reading.wallMs)
            logAppendTimeMs = reading.wallMs
            header = stamped(batch, header)
        } else if BatchHeader(reading: batch, at: batch.readerIndex)?.maxTimestamp != header.maxTimestamp {
            // The producer's header claims another largest time than its records have; time lookups go by the header.
            batch = withMaxTimestamp(batch, timeMs: header.maxTimestamp)
            header = stamped(batch, header)
        }
        do throws(LogError) {
            try take(batch, &header, into: replica)
        } catch {
            logFailed(replica, error)
            if header.hasProducer, replica.refusedProducers.count < Limits.producersPerPartitionMax {
                replica.refusedProducers[header.producerID] = true
            }
            return .failed(error.errorCode, "the log of \(replica.name) cannot be written", replica)
        }
        if !replica.refusedProducers.isEmpty { replica.refusedProducers.removeValue(forKey: header.producerID) }
        if !replica.unknownProducers.isEmpty { replica.unknownProducers.began(header.producerID) }
        return .appended(replica, base: header.baseOffset, end: header.nextOffset, logAppendTimeMs: logAppendTimeMs)
    }

    /// What an idempotent producer's batch is answered without being appended; nil: it follows on.
    private func judge(_ batch: ProducedBatch, in replica: Replica, isAnswered: Bool) -> Produced? {
        switch replica.producers.verdict(on: batch) {
        case .append:
            // Who hears no answer cannot send again.
            if !isAnswered || replica.producers.knows(batch.producerID) { return nil }
            if replica.unknownProducers.mayBegin(with: batch) { return nil }
            // Mutant: what comes second is taken for the first (I1).
            if configuration.plantedBug == .unknownProducerTakenAtOnce { return nil }
            let message =
                "producer \(batch.producerID) is not known here and begins at sequence \(batch.baseSequence): "
                + "send again, in order, what came before and this"
            return .failed(.notEnoughReplicas, message, replica)
        // Mutant: one record twice (I2).
        case .duplicate where configuration.plantedBug == .duplicateAppended: return nil
        case .duplicate(let baseOffset, let lastOffset, _):
            // Mutant: the original may yet be cut (P6).
            let isEarly = configuration.plantedBug == .duplicateAcknowledgedEarly
            return .appended(replica, base: baseOffset, end: isEarly ? 0 : lastOffset + 1, logAppendTimeMs: -1)
        case .refuse(let error):
            // The batch before this one found no space. A gap that the disk made is no reason to begin a new epoch and
            // to send again what is there.
            let isOurs = error == .outOfOrderSequenceNumber && replica.refusedProducers[batch.producerID] != nil
            return .failed(isOurs ? .kafkaStorageError : error, nil, replica)
        }
    }

    /// Appends a checked batch as the partition's leader; its header learns the place.
    func take(_ batch: ByteBuffer, _ header: inout BatchHeader, into replica: Replica) throws(LogError) {
        header.baseOffset = try replica.log.append(
            batch, header: header, leaderEpoch: replica.partition.leaderEpoch, wallMs: reading.wallMs)
        recordsTaken(by: replica)
        replica.record([header])
        replica.requestFlush(appendedBytes: header.sizeBytes)
        perform(on: replica) { $0.appended(log: replica.logView, at: reading.now, into: &$1) }
        wakeFetches(of: replica)
    }

    private func stamped(_ batch: ByteBuffer, _ before: BatchHeader) -> BatchHeader {
        BatchHeader(reading: batch, at: batch.readerIndex) ?? before
    }

    /// The high watermark reached those that waited for it.
    func completeWaiters(of replica: Replica) {
        let end = replica.partition.highWatermark
        var done = 0
        while done < replica.produceWaiters.count, replica.produceWaiters[done].endOffset <= end { done += 1 }
        guard done > 0 else { return }
        let waiters = Array(replica.produceWaiters[..<done])
        replica.produceWaiters.removeFirst(done)
        for waiter in waiters {
            complete(waiter, replica.partition.verdict(forWaiterAt: waiter.endOffset - 1) ?? .none)
        }
    }

    func failWaiters(of replica: Replica, _ error: ErrorCode) {
        failDeletes(of: replica, error)
        let waiters = replica.produceWaiters
        replica.produceWaiters = []
        for waiter in waiters { complete(waiter, error) }
    }

    private func complete(_ waiter: ProduceWaiter, _ error: ErrorCode) {
        guard pendingProduces[waiter.request] != nil else { return }
        var finished: PendingProduce?
        pendingProduces[waiter.request, default: .init(context: .none, response: .init(), places: [], waiting: 0)]
            .settle(waiter.index, error, into: &finished)
        if let finished {
            pendingProduces.removeValue(forKey: waiter.request)
            timers.cancel(finished.timer)
            finish(finished)
        }
    }

    /// `timeoutMs` ran out: what has not been acknowledged may or may not be kept, and the client is told just that.
    func produceTimedOut(_ id: UInt64) {
        guard var pending = pendingProduces.removeValue(forKey: id) else { return }
        for replica in replicas.values {
            guard replica.produceWaiters.contains(where: { $0.request == id }) else { continue }
            for waiter in replica.produceWaiters where waiter.request == id {
                var ignored: PendingProduce?
                pending.settle(waiter.index, .requestTimedOut, into: &ignored)
            }
            replica.produceWaiters.removeAll { $0.request == id }
        }
        finish(pending)
    }

    private func finish(_ pending: PendingProduce) {
        var response = pending.response
        if pending.context.header.version >= 10 { response.nodeEndpoints = endpoints(of: response) }
        respond(response, to: ProduceRequest.self, pending.context)
    }

    private func hint(_ replica: Replica) -> ProduceResponse.CurrentLeader {
        var hint = ProduceResponse.CurrentLeader()
        if let registration = view.image.partition(replica.topicPartition), let leader = registration.leader {
            hint.leaderID = leader
            hint.leaderEpoch = registration.leaderEpoch
        }
        return hint
    }

    func endpoints(of response: ProduceResponse) -> [ProduceResponse.NodeEndpoint] {
        var hinted = SortedMap<NodeID, Bool>()
        for topic in response.topics {
            for partition in topic.partitions where partition.currentLeader.leaderID >= 0 {
                hinted[partition.currentLeader.leaderID] = true
            }
        }
        return hinted.keys.compactMap { id in
            guard let broker = view.image.brokers[id] else { return nil }
            var endpoint = ProduceResponse.NodeEndpoint()
            endpoint.nodeID = id
            endpoint.host = broker.endpoint.host
            endpoint.port = Int32(broker.endpoint.port)
            endpoint.rack = broker.rack
            return endpoint
        }
    }

    func takeRequestNumber() -> UInt64 {
        defer { nextRequest += 1 }
        return nextRequest
    }
}

extension PendingProduce {
    /// One partition has its outcome; `finished` gets the whole when it was the last.
    mutating func settle(_ index: Int, _ error: ErrorCode, into finished: inout PendingProduce?) {
        let (topic, partition) = places[index]
        if error != .none {
            response.topics[topic].partitions[partition].errorCode = error
            response.topics[topic].partitions[partition].baseOffset = -1
        }
        waiting -= 1
        if waiting == 0 { finished = self }
    }
}

extension RequestContext {
    static let none = RequestContext(
        connection: ConnectionID(number: 0), slot: 0, header: RequestHeader(api: .produce, version: 0, correlationID: 0)
    )
}

extension Replica {
    /// Duplicates of batches still on their way may wait out of order.
    func await(_ waiter: ProduceWaiter) {
        let index = produceWaiters.lastIndex { $0.endOffset <= waiter.endOffset }.map { $0 + 1 } ?? 0
        produceWaiters.insert(waiter, at: index)
    }
}
