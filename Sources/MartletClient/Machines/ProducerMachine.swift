// What a producer decides, without a socket, a clock or a lock: which batch a record joins, what is sent to whom and
// when, and what an answer means for the records that were in it. Inputs change the state; `drain` gives the effects.

import Model
import NIOCore
import Records

/// `Token` is what the owner gets back with the outcome of a record.
package struct ProducerMachine<Token: Sendable>: Sendable {
    package enum Effect: Sendable {
        case connect(NodeID)
        case send(Dispatch)
        /// InitProducerId, to any node; answered by `learned(identity:)` or `failedToIdentify`.
        case askProducerIdentity
        /// Metadata of these topics; answered by `learned(topics:)` or `failedToLearn`.
        case askMetadata([String])
        case complete(Completion)
        /// The node keeps an answer back although others lead now what it was sent: drop the connection to it.
        case abandon(NodeID)
    }

    /// One Produce request. Answered by `answered` or `lost`.
    package struct Dispatch: Sendable {
        package struct Entry: Sendable {
            package let queue: Int
            package let number: Int
            package let topic: String
            package let partition: PartitionIndex
            package let builder: RecordBatchBuilder
        }

        package let id: Int
        package let node: NodeID
        package var entries: [Entry]
        package let timeoutMs: Int64

        package init(id: Int, node: NodeID, entries: [Entry], timeoutMs: Int64) {
            self.id = id
            self.node = node
            self.entries = entries
            self.timeoutMs = timeoutMs
        }
    }

    /// The end of one batch.
    package struct Completion: Sendable {
        package let topic: String
        package let partition: PartitionIndex
        package let tokens: [Token?]
        package let timestampsMs: [Int64]
        package let outcome: Result<Written, ClientError>

        package struct Written: Sendable {
            /// −1: not known.
            package var baseOffset: Offset
            /// −1: the records' own times stand.
            package var logAppendTimeMs: Int64
        }
    }

    package enum Admission: Sendable {
        /// `isUrgent`: `drain` should run now.
        case appended(isUrgent: Bool)
        case bufferIsFull
        case topicIsUnknown
    }

    package struct TopicState: Sendable {
        /// Zero where the cluster gives topics no ids.
        package var id = UUID128()
        /// Indices into `queues`, by partition.
        package var queues: [Int]
        /// Partitions with a leader.
        package var available: [PartitionIndex]
        package var sticky = StickyPartition()
    }

    package enum Identity: Equatable, Sendable {
        case none(retryAt: Instant)
        case asked
        case known(ProducerIdentity)
    }

    package struct Request: Sendable {
        package let node: NodeID
        package let entries: [(queue: Int, number: Int)]
        package let sentAt: Instant
        /// Metadata was asked because the answer is late.
        package var isWatched = false
    }

    package let configuration: ProducerConfiguration
    package var random: SeededRandom
    package var topics: [String: TopicState] = [:]
    package var queues: [PartitionQueue<Token>] = []
    /// By the index of the queue.
    package var places: [(topic: String, partition: PartitionIndex)] = []
    /// Queues that hold something, by index, in the order in which they began to.
    package var active: [Int] = []
    package var links: LinkTable
    package var requests = SortedMap<Int, Request>()
    package var lastRequestID = 0
    package var identity = Identity.none(retryAt: .zero)
    package var identityPauseMs: Int64 = 0
    package var lastNumber = 0
    package private(set) var bufferedBytes = 0
    /// Batches up to this number do not wait for company.
    package var flushMark = 0
    package var metadata: MetadataPace
    /// Nodes that no longer lead what they were sent and owe an answer.
    package var abandoned: [NodeID] = []
    /// Ends that `drain` is yet to give out.
    package var completions: [Completion] = []

    package init(configuration: ProducerConfiguration, seed: UInt64) {
        self.configuration = configuration
        random = SeededRandom(seed: seed)
        links = LinkTable(pauseMs: configuration.retryPauseMs)
        metadata = MetadataPace(pausesMs: configuration.retryPauseMs)
    }

    // MARK: Records

    /// Takes a record in. Throws `recordTooLarge` and `noSuchPartition`.
    package mutating func append(
        _ record: ProducerRecord, token: Token?, timestampMs: Int64, at now: Instant
    ) throws(ClientError) -> Admission {
        let sizeBytes = record.sizeBytes
        guard sizeBytes <= configuration.recordBytesMax else {
            throw .recordTooLarge(sizeBytes: sizeBytes, limitBytes: configuration.recordBytesMax)
        }
        // A record that is larger than the whole buffer may have it alone.
        guard bufferedBytes == 0 || bufferedBytes + sizeBytes <= configuration.bufferBytesMax else {
            return .bufferIsFull
        }
        guard topics[record.topic] != nil else { return .topicIsUnknown }
        let index = try queue(for: record, sizeBytes: sizeBytes)
        var isUrgent = false
        if let open = queues[index].open,
            open.builder.estimatedSizeBytes + sizeBytes > max(configuration.batchBytesMax, sizeBytes)
        {
            queues[index].closeOpen()
            isUrgent = true
        }
        if queues[index].open == nil {
            lastNumber += 1 << 32
            queues[index].open = OutgoingBatch(
                number: lastNumber, builder: RecordBatchBuilder(compression: configuration.compression),
                expiresAt: now.advanced(byMs: configuration.deliveryTimeoutMs),
                lingersUntil: now.advanced(byMs: configuration.lingerMs))
            activate(index)
            isUrgent = true
        }
        queues[index].open?.append(record, token, timestampMs: timestampMs, sizeBytes: sizeBytes)
        bufferedBytes += sizeBytes
        if let open = queues[index].open, open.builder.estimatedSizeBytes >= configuration.batchBytesMax {
            queues[index].closeOpen()
            isUrgent = true
        }
        return .appended(isUrgent: isUrgent)
    }

    private mutating func queue(for record: ProducerRecord, sizeBytes: Int) throws(ClientError) -> Int {
        guard let count = topics[record.topic]?.queues.count else { preconditionFailure("the topic was looked up") }
        let wanted = record.partition ?? configuration.partitioner.partition(for: record, count: count)
        if let wanted {
            guard wanted >= 0, Int(wanted) < count, let index = topics[record.topic]?.queues[Int(wanted)] else {
                throw .noSuchPartition(topic: record.topic, wanted, count: count)
            }
            return index
        }
        let available = topics[record.topic]?.available ?? []
        let drawn = topics[record.topic]?.sticky.take(
            sizeBytes: sizeBytes, switchAfterBytes: configuration.batchBytesMax, count: count, available: available,
            random: &random)
        guard let index = topics[record.topic]?.queues[Int(drawn ?? 0)] else {
            preconditionFailure("a topic has a queue for each partition")
        }
        return index
    }

    package mutating func activate(_ index: Int) {
        guard !queues[index].isActive else { return }
        queues[index].isActive = true
        active.append(index)
    }

    /// All that was taken in so far is sent without waiting for company. Returns a mark for `isSettled`.
    package mutating func flush() -> Int {
        flushMark = lastNumber
        return flushMark
    }

    /// Whether every batch up to `mark` has come to its end, and `drain` has given that out.
    package func isSettled(upTo mark: Int) -> Bool {
        completions.isEmpty
            && active.allSatisfy { index in
                let queue = queues[index]
                return queue.open.map { $0.number > mark } ?? true
                    && queue.ready.allSatisfy { $0.number >> 32 > mark >> 32 }
                    && (queue.inFlight + queue.returned).allSatisfy { $0.number >> 32 > mark >> 32 }
            }
    }

    // MARK: What is known of the cluster

    /// Takes in what the cluster said of topics. Ones that are missing from it, or show no partitions yet, keep what is
    /// known of them.
    package mutating func learned(topics found: [ClusterView.Topic], at now: Instant) {
        metadata.answered(at: now, isNews: true)
        for topic in found where !topic.partitions.isEmpty {
            var state = topics[topic.name] ?? TopicState(queues: [], available: [])
            if topic.id != state.id, state.id != UUID128() { leaveFormer(&state, for: topic) }
            state.id = topic.id
            while state.queues.count < topic.partitions.count {
                places.append((topic.name, PartitionIndex(state.queues.count)))
                state.queues.append(queues.count)
                queues.append(PartitionQueue())
            }
            for partition in topic.partitions where Int(partition.index) < state.queues.count {
                let index = state.queues[Int(partition.index)]
                learned(leader: partition.leader, epoch: partition.leaderEpoch, of: index, at: now)
            }
            state.available = topic.partitions.filter { $0.leader != nil }.map(\.index)
            topics[topic.name] = state
        }
    }

    /// Another topic of the same name: its epochs and sequences have nothing to do with those of the old one, and it
    /// may have fewer partitions.
    private mutating func leaveFormer(_ state: inout TopicState, for topic: ClusterView.Topic) {
        for index in state.queues {
            (queues[index].leader, queues[index].leaderEpoch) = (nil, -1)
            if queues[index].producerID >= 0 { queues[index].hasSequenceGap = true }
            for at in queues[index].ready.indices { queues[index].ready[at].forgetDoubt() }
            for at in queues[index].returned.indices { queues[index].returned[at].forgetDoubt() }
        }
        for index in state.queues.dropFirst(topic.partitions.count) {
            queues[index].closeOpen()
            let error = ClientError.noSuchPartition(
                topic: topic.name, places[index].partition, count: topic.partitions.count)
            for batch in queues[index].returned + Array(queues[index].ready) {
                complete(batch, of: index, .failure(error))
            }
            queues[index].returned = []
            queues[index].ready = CircularBuffer()
        }
        state.queues.removeLast(max(0, state.queues.count - topic.partitions.count))
    }

    /// What metadata or a hint in a Produce answer says. Older news than what is known changes nothing (KIP-320).
    package mutating func learned(leader: NodeID?, epoch: LeaderEpoch, of index: Int, at now: Instant) {
        let isNewer = epoch > queues[index].leaderEpoch
        guard isNewer || epoch == queues[index].leaderEpoch || epoch < 0 else { return }
        let former = queues[index].leader
        queues[index].leader = leader
        queues[index].leaderEpoch = max(epoch, queues[index].leaderEpoch)
        guard let leader else { return }
        if isNewer || leader != former {
            queues[index].isLeaderStale = false
            queues[index].retryAt = .zero
            queues[index].retryPauseMs = 0
        } else if !links.isTroubled(leader) {
            // The cluster insists, and the node can be reached. The queue's own pause keeps the next attempt off.
            queues[index].isLeaderStale = false
        }
        for (_, request) in requests where request.isWatched && request.node != leader {
            if request.entries.contains(where: { $0.queue == index }) { abandon(request.node) }
        }
    }

    /// A node that stopped without closing its connections would hold its batches up until their requests time out.
    package mutating func abandon(_ node: NodeID) {
        if !abandoned.contains(node) { abandoned.append(node) }
    }

    package mutating func failedToLearn(at now: Instant) { metadata.answered(at: now, isNews: false) }

    package mutating func learned(identity found: ProducerIdentity) {
        identity = .known(found)
        identityPauseMs = 0
    }

    package mutating func failedToIdentify(_ error: ClientError, at now: Instant) {
        identityPauseMs = min(
            max(configuration.retryPauseMs.lowerBound, identityPauseMs * 2), configuration.retryPauseMs.upperBound)
        identity = .none(retryAt: now.advanced(byMs: identityPauseMs))
        if !error.isRetriable { abandonAll(error) }
    }

    package mutating func connected(_ node: NodeID) {
        links.connected(node)
        for index in active where queues[index].leader == node { queues[index].isLeaderStale = false }
    }

    /// The node cannot be reached, or its connection broke. What was on its way there is lost by its own input.
    package mutating func disconnected(_ node: NodeID, at now: Instant) {
        links.disconnected(node, at: now)
        for index in active where queues[index].leader == node { doubtLeader(of: index) }
    }

    package mutating func doubtLeader(of index: Int) {
        guard !queues[index].isLeaderStale else { return }
        queues[index].isLeaderStale = true
        metadata.doubted()
        topics[places[index].topic]?.sticky.leave()
    }

    // MARK: Ends

    package mutating func complete(
        _ batch: OutgoingBatch<Token>, of index: Int, _ outcome: Result<Completion.Written, ClientError>
    ) {
        bufferedBytes -= batch.bufferedBytes
        completions.append(
            Completion(
                topic: places[index].topic, partition: places[index].partition, tokens: batch.tokens,
                timestampsMs: batch.timestampsMs, outcome: outcome))
    }

    /// Gives up everything: the producer is closed for good.
    package mutating func abandonAll(_ error: ClientError) {
        for index in active {
            queues[index].closeOpen()
            let batches = queues[index].inFlight + queues[index].returned + Array(queues[index].ready)
            queues[index].inFlight = []
            queues[index].returned = []
            queues[index].ready = CircularBuffer()
            for batch in batches {
                if batch.baseSequence != nil { queues[index].hasSequenceGap = true }
                complete(batch, of: index, .failure(error))
            }
        }
        for (_, request) in requests { links.ended(at: request.node) }
        requests.removeAll()
    }
}

extension OutgoingBatch {
    package mutating func append(_ record: ProducerRecord, _ token: Token?, timestampMs: Int64, sizeBytes: Int) {
        builder.append(timestamp: timestampMs, key: record.key, value: record.value, headers: record.headers)
        tokens.append(token)
        timestampsMs.append(timestampMs)
        bufferedBytes += sizeBytes
    }

    package init(number: Int, builder: RecordBatchBuilder, expiresAt: Instant, lingersUntil: Instant) {
        self.number = number
        self.builder = builder
        self.expiresAt = expiresAt
        self.lingersUntil = lingersUntil
    }
}
