// What there is to do now: batches that expired, requests that can go out, connections and metadata that are missing,
// and when to look again.

import Model
import NIOCore
import Records

extension ProducerMachine {
    /// The effects of everything that came in, in order, and when `drain` should run again without new input.
    package mutating func drain(at now: Instant) -> (effects: [Effect], wakeAt: Instant?) {
        expire(at: now)
        watch(at: now)
        var effects = abandoned.map(Effect.abandon)
        abandoned = []
        while let round = dispatchRound(at: now, &effects) { effects += round }
        askForWhatIsMissing(at: now, &effects)
        effects += completions.map(Effect.complete)
        completions = []
        retire()
        return (effects, nextLook(after: now))
    }

    /// An answer that is late is no reason to send again, but one to ask who leads now.
    private mutating func watch(at now: Instant) {
        for id in requests.keys {
            guard let request = requests[id], !request.isWatched, lateAt(request) <= now else { continue }
            requests[id]?.isWatched = true
            metadata.doubted()
            // That another leads now may be known already.
            let isElsewhere = request.entries.contains { entry in
                queues[entry.queue].leader.map { $0 != request.node } ?? false
            }
            if isElsewhere { abandon(request.node) }
        }
    }

    private func lateAt(_ request: Request) -> Instant {
        request.sentAt.advanced(byMs: configuration.lateAnswerMs)
    }

    /// Fails what waited too long. A batch on its way is waited for: its request ends by itself.
    private mutating func expire(at now: Instant) {
        for index in active {
            queues[index].settle()
            if let open = queues[index].open, open.expiresAt <= now { queues[index].closeOpen() }
            while let first = queues[index].ready.first, first.expiresAt <= now {
                queues[index].ready.removeFirst()
                if first.baseSequence != nil { queues[index].hasSequenceGap = true }
                let place = places[index]
                let reason = first.lastError ?? (queues[index].leader == nil ? "the partition has no leader" : nil)
                let error = ClientError.deliveryTimedOut(
                    topic: place.topic, place.partition, afterMs: configuration.deliveryTimeoutMs, last: reason)
                complete(first, of: index, .failure(error))
            }
        }
    }

    /// At most one request for each node, with at most one batch of each partition. Nil when there is none to send.
    private mutating func dispatchRound(at now: Instant, _ effects: inout [Effect]) -> [Effect]? {
        var entries = SortedMap<NodeID, [Dispatch.Entry]>()
        var sizes: [NodeID: Int] = [:]
        var expiries: [NodeID: Instant] = [:]
        for index in active {
            if queues[index].isLeaderStale, let node = queues[index].leader, !queues[index].isIdle {
                // Perhaps it is back, and still the leader.
                _ = isReachable(node, at: now, &effects)
            }
            guard let node = target(of: index, at: now), isReachable(node, at: now, &effects) else { continue }
            guard links.inFlight(node) < configuration.inFlightPerNodeMax else { continue }
            let size = sizes[node] ?? 0
            guard size == 0 || size + candidateSizeBytes(index) <= configuration.requestBytesMax else { continue }
            guard let batch = takeForSending(index, at: now) else { continue }
            sizes[node] = size + batch.builder.estimatedSizeBytes
            expiries[node] = min(expiries[node] ?? .distantFuture, batch.expiresAt)
            entries[node, default: []].append(
                Dispatch.Entry(
                    queue: index, number: batch.number, topic: places[index].topic, partition: places[index].partition,
                    builder: batch.builder))
        }
        guard !entries.isEmpty else { return nil }
        rotate()
        return entries.map { node, entries in
            lastRequestID += 1
            requests[lastRequestID] = Request(
                node: node, entries: entries.map { ($0.queue, $0.number) }, sentAt: now)
            links.sent(to: node)
            let leftMs = (expiries[node] ?? now).milliseconds(since: now)
            // A batch near its end must not end the whole request before it can be answered.
            let leastMs = min(1_000, configuration.requestTimeoutMs, configuration.deliveryTimeoutMs)
            let timeoutMs = max(leastMs, min(configuration.requestTimeoutMs, leftMs))
            return .send(Dispatch(id: lastRequestID, node: node, entries: entries, timeoutMs: timeoutMs))
        }
    }

    /// Others go first the next time, so that no partition starves behind a full request.
    private mutating func rotate() {
        if active.count > 1 { active.append(active.removeFirst()) }
    }

    /// The leader to which the queue's next batch can go now.
    private func target(of index: Int, at now: Instant) -> NodeID? {
        let queue = queues[index]
        guard let leader = queue.leader, !queue.isLeaderStale, queue.retryAt <= now, queue.returned.isEmpty else {
            return nil
        }
        guard queue.inFlight.count < window(of: queue) else { return nil }
        if configuration.actsIdempotently, wouldPushOut(queue) { return nil }
        if configuration.actsIdempotently, case .known = identity {
        } else if configuration.actsIdempotently {
            return nil
        }
        return queue.ready.isEmpty ? (isDue(queue, at: now) ? leader : nil) : leader
    }

    /// One at a time where a Kafka node could take a later batch for the first: it takes any sequence from a producer
    /// of which the partition holds nothing.
    private func window(of queue: PartitionQueue<Token>) -> Int {
        let isStranger = configuration.actsIdempotently && !queue.isRecognised
        return queue.hasSequenceGap || isStranger ? 1 : configuration.partitionWindow
    }

    /// The cluster recognises only the last five batches of a producer: a new one must not push one that is in doubt
    /// out of its memory. Halves of a batch that was too large count each.
    private func wouldPushOut(_ queue: PartitionQueue<Token>) -> Bool {
        guard let next = queue.ready.first ?? queue.open, next.ordinal == nil else { return false }
        return queue.inFlight.contains { batch in
            (batch.isInDoubt || batch.wasLost) && queue.lastOrdinal + 1 - (batch.ordinal ?? 0) >= Self.remembered
        }
    }

    /// Batches of a producer that a Kafka cluster remembers.
    private static var remembered: Int { 5 }

    /// Whether the batch that takes records need not wait for more.
    private func isDue(_ queue: PartitionQueue<Token>, at now: Instant) -> Bool {
        guard let open = queue.open else { return false }
        if open.lingersUntil <= now || open.number <= flushMark { return true }
        // Without answers nothing is ever in flight, so that only time can tell.
        return configuration.acks != .none && queue.inFlight.isEmpty
    }

    private mutating func isReachable(_ node: NodeID, at now: Instant, _ effects: inout [Effect]) -> Bool {
        if links.shouldConnect(node, at: now) { effects.append(.connect(node)) }
        return links.isConnected(node)
    }

    private func candidateSizeBytes(_ index: Int) -> Int {
        (queues[index].ready.first ?? queues[index].open)?.builder.estimatedSizeBytes ?? 0
    }

    /// Takes the queue's next batch as in flight, with its sequence.
    private mutating func takeForSending(_ index: Int, at now: Instant) -> OutgoingBatch<Token>? {
        if queues[index].ready.isEmpty { queues[index].closeOpen() }
        guard let first = queues[index].ready.first else { return nil }
        if case .known(let identity) = identity, configuration.actsIdempotently {
            let queue = queues[index]
            // Only a batch that the cluster cannot hold may get another sequence; one in doubt asks under its old.
            if queue.producerID < 0 || (queue.hasSequenceGap && !first.isInDoubt) {
                guard queues[index].startSequenceAnew(identity) else {
                    self.identity = .none(retryAt: .zero)
                    return nil
                }
            }
        }
        var batch = queues[index].ready.removeFirst()
        if configuration.actsIdempotently {
            let sequence = batch.baseSequence ?? queues[index].takeSequence(count: batch.builder.count)
            batch.baseSequence = sequence
            batch.builder.stamp(
                producerID: queues[index].producerID, producerEpoch: queues[index].producerEpoch,
                baseSequence: sequence)
        }
        if batch.ordinal == nil {
            queues[index].lastOrdinal += 1
            batch.ordinal = queues[index].lastOrdinal
        }
        batch.attempts += 1
        queues[index].inFlight.append(batch)
        return batch
    }

    private mutating func askForWhatIsMissing(at now: Instant, _ effects: inout [Effect]) {
        if configuration.actsIdempotently, !active.isEmpty, case .none(let retryAt) = identity, retryAt <= now {
            identity = .asked
            effects.append(.askProducerIdentity)
        }
        guard !metadata.isAsking, metadata.retryAt <= now else { return }
        let isOld = now.milliseconds(since: metadata.learnedAt) >= configuration.metadataMaxAgeMs
        var wanted: [String] = []
        if isOld, !active.isEmpty {
            wanted = topics.keys.sorted()
        } else {
            for index in active where queues[index].leader == nil || queues[index].isLeaderStale {
                if wanted.last != places[index].topic { wanted.append(places[index].topic) }
            }
            for (_, request) in requests where request.isWatched {
                for entry in request.entries { wanted.append(places[entry.queue].topic) }
            }
            wanted = Set(wanted).sorted()
        }
        guard !wanted.isEmpty else { return }
        metadata.asked()
        effects.append(.askMetadata(wanted))
    }

    /// Takes queues that hold nothing off the list.
    private mutating func retire() {
        var kept = 0
        for index in active {
            if queues[index].isIdle {
                queues[index].isActive = false
            } else {
                active[kept] = index
                kept += 1
            }
        }
        active.removeLast(active.count - kept)
    }

    private func nextLook(after now: Instant) -> Instant? {
        var next = Instant.distantFuture
        for index in active { next = min(next, nextLook(at: queues[index], after: now)) }
        var isOneLate = false
        for (_, request) in requests {
            if request.isWatched { isOneLate = true } else { next = min(next, lateAt(request)) }
        }
        if isOneLate, !metadata.isAsking { next = min(next, metadata.retryAt) }
        if case .none(let retryAt) = identity, !active.isEmpty, configuration.actsIdempotently {
            next = min(next, retryAt)
        }
        return next == .distantFuture ? nil : max(next, now)
    }

    private func nextLook(at queue: PartitionQueue<Token>, after now: Instant) -> Instant {
        var next = (queue.ready.first ?? queue.open)?.expiresAt ?? .distantFuture
        // One that lies behind was left alone for another reason, whose end is an input.
        if let leader = queue.leader, let retryAt = links.retryAt(leader), retryAt > now { next = min(next, retryAt) }
        if queue.leader == nil || queue.isLeaderStale {
            return metadata.isAsking ? next : min(next, metadata.retryAt)
        }
        guard queue.returned.isEmpty else { return next }
        if queue.retryAt > now, !queue.ready.isEmpty || queue.open != nil { next = min(next, queue.retryAt) }
        if queue.ready.isEmpty, let open = queue.open, open.lingersUntil > now { next = min(next, open.lingersUntil) }
        return next
    }
}
