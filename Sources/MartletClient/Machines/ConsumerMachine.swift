// What a consumer decides, without a socket, a clock or a lock: which partitions are asked of whom, from which offset,
// and what an answer means for where reading stands. Inputs change the state; `drain` gives the effects.

import Model
import NIOCore

package struct ConsumerMachine: Sendable {
    package enum Effect: Sendable {
        case connect(NodeID)
        /// Answered by `fetched` or `lost`.
        case fetch(FetchDispatch)
        /// ListOffsets; answered by `located` or `lost`.
        case locate(Question)
        /// OffsetForLeaderEpoch; answered by `compared` or `lost`.
        case compare(Question)
        /// Answered by `learned` or `failedToLearn`.
        case askMetadata([String])
        /// The node keeps an answer back although others lead now what it was asked for: drop the connection to it.
        case abandon(NodeID)
    }

    package struct FetchDispatch: Sendable {
        package struct Entry: Sendable {
            package let partition: TopicPartition
            package let leaderEpoch: LeaderEpoch
            package let offset: Offset
            package let lastEpoch: LeaderEpoch
            package let bytesMax: Int32
        }

        package let id: Int
        package let node: NodeID
        package var entries: [Entry]
        package let waitMs: Int32
    }

    /// About some partitions, to their leader.
    package struct Question: Sendable {
        package struct Entry: Sendable {
            package let partition: TopicPartition
            package let leaderEpoch: LeaderEpoch
            /// ListOffsets: the timestamp, −1 for the end, −2 for the start. OffsetForLeaderEpoch: the epoch.
            package let subject: Int64
        }

        package let id: Int
        package let node: NodeID
        package let entries: [Entry]
    }

    package enum Phase: Equatable, Sendable {
        case starting(StartPosition)
        case reading
        /// A new leader: does it hold what was read (KIP-320)?
        case comparing
        /// Told to the reader; only a seek goes on from here.
        case failed
    }

    package struct Assignment: Sendable {
        package var phase: Phase
        /// Counts seeks: what was fetched before one is not given out after it.
        package var generation: Int
        /// The next offset to fetch.
        package var position: Offset = -1
        /// The next offset to give out; −1 until it is known.
        package var consumed: Offset = -1
        /// Of the last batch that was fetched; −1: none yet.
        package var lastEpoch: LeaderEpoch = -1
        /// `lastEpoch` was committed with the position, and no batch was fetched yet.
        package var isEpochCommitted = false
        /// Where each epoch began of what was fetched since the last seek; the newest ones.
        package var epochs: [(epoch: LeaderEpoch, start: Offset)] = []
        package var leader: NodeID?
        package var leaderEpoch: LeaderEpoch = -1
        /// Zero where the cluster gives topics no ids.
        package var topicID = UUID128()
        package var isLeaderStale = false
        /// A replica that the leader says is nearer (KIP-392).
        package var preferred: NodeID?
        package var isPaused = false
        package var isAsked = false
        package var retryAt = Instant.zero
        package var retryPauseMs: Int64 = 0
        package var failingSince: Instant?
        package var lastError: String?
        package var bufferedBytes = 0
        package var highWatermark: Offset = -1
        package var bytesMax: Int32
    }

    /// A partition in a request, as it stood then.
    package struct Asked: Sendable {
        package let partition: TopicPartition
        package let generation: Int
        package let leaderEpoch: LeaderEpoch
    }

    package struct Failure: Sendable {
        package let partition: TopicPartition
        package let error: ClientError
    }

    package struct Request: Sendable {
        package let node: NodeID
        package let partitions: [Asked]
        package let isFetch: Bool
        package let lateAt: Instant
        package var isWatched = false
    }

    package let configuration: ConsumerConfiguration
    package var assignments = SortedMap<TopicPartition, Assignment>()
    package var chunks = CircularBuffer<FetchedChunk>()
    /// What readers are to be told.
    package private(set) var failures = CircularBuffer<Failure>()
    package var links: LinkTable
    package var metadata: MetadataPace
    package var requests = SortedMap<Int, Request>()
    /// Nodes that owe the answer to a Fetch: one at a time.
    package var fetching: Set<NodeID> = []
    package var lastRequestID = 0
    package var abandoned: [NodeID] = []
    package var lastGeneration = 0
    /// Partitions take turns at the front of requests, because a node fills its answer in their order.
    package var turn = 0
    package var bufferedBytes = 0

    package init(configuration: ConsumerConfiguration) {
        self.configuration = configuration
        links = LinkTable(pauseMs: configuration.retryPauseMs)
        metadata = MetadataPace(pausesMs: configuration.retryPauseMs)
    }

    // MARK: What the user asks

    /// Adds a partition, or moves reading in one.
    package mutating func seek(_ partition: TopicPartition, to start: StartPosition) {
        lastGeneration += 1
        var assignment = Assignment(
            phase: .starting(start), generation: lastGeneration, bytesMax: configuration.partitionBytesMax)
        if let known = assignments[partition] {
            (assignment.leader, assignment.leaderEpoch, assignment.topicID) =
                (known.leader, known.leaderEpoch, known.topicID)
            (assignment.isPaused, assignment.isAsked) = (known.isPaused, known.isAsked)
            assignment.isLeaderStale = known.isLeaderStale
        }
        if case .offset(let offset) = start {
            (assignment.phase, assignment.position, assignment.consumed) = (.reading, offset, offset)
        }
        assignments[partition] = assignment
        dropChunks(of: partition)
    }

    /// Adds a partition at an offset that was committed, behind a record of `epoch`: the log is compared first
    /// (KIP-320).
    package mutating func resume(_ partition: TopicPartition, at offset: Offset, epoch: LeaderEpoch) {
        seek(partition, to: .offset(offset))
        assignments[partition]?.phase = .comparing
        assignments[partition]?.lastEpoch = epoch
        assignments[partition]?.isEpochCommitted = true
    }

    package mutating func unassign(_ partition: TopicPartition) {
        _ = assignments.removeValue(forKey: partition)
        dropChunks(of: partition)
    }

    package mutating func pause(_ partition: TopicPartition, _ isPaused: Bool) {
        assignments[partition]?.isPaused = isPaused
    }

    package mutating func dropChunks(of partition: TopicPartition) {
        // What went wrong at a place that is left is of no interest at the next.
        failures.removeAll { $0.partition == partition }
        for chunk in chunks where chunk.partition == partition { bufferedBytes -= chunk.bytes.readableBytes }
        chunks.removeAll { $0.partition == partition }
        assignments[partition]?.bufferedBytes = 0
    }

    // MARK: What the reader takes

    /// Takes back what `takeChunk` gave, to be given again from `offset` on.
    package mutating func putBack(_ chunk: FetchedChunk, from offset: Offset) {
        guard isCurrent(chunk) else { return }
        chunks.prepend(
            FetchedChunk(
                partition: chunk.partition, generation: chunk.generation, bytes: chunk.bytes,
                position: max(offset, chunk.position), nextOffset: chunk.nextOffset, lastEpoch: chunk.lastEpoch,
                aborted: chunk.aborted))
        bufferedBytes += chunk.bytes.readableBytes
        assignments[chunk.partition]?.bufferedBytes += chunk.bytes.readableBytes
    }

    private var failureToTell: CircularBuffer<Failure>.Index? {
        failures.firstIndex { failure in !chunks.contains { $0.partition == failure.partition } }
    }

    package var hasFailureToTell: Bool { failureToTell != nil }

    /// The oldest failure that no reader was told of, of a partition all of whose records were taken.
    package mutating func takeFailure() -> ClientError? {
        failureToTell.map { failures.remove(at: $0).error }
    }

    /// The oldest chunk of a partition that is not paused.
    package mutating func takeChunk() -> FetchedChunk? {
        guard let at = chunks.firstIndex(where: { assignments[$0.partition]?.isPaused == false }) else { return nil }
        let chunk = chunks.remove(at: at)
        bufferedBytes -= chunk.bytes.readableBytes
        assignments[chunk.partition]?.bufferedBytes -= chunk.bytes.readableBytes
        return chunk
    }

    /// Whether what was taken may still be given out.
    package func isCurrent(_ chunk: FetchedChunk) -> Bool {
        assignments[chunk.partition]?.generation == chunk.generation
    }

    /// Everything up to `offset` was given out.
    package mutating func consumed(_ partition: TopicPartition, generation: Int, upTo offset: Offset) {
        guard assignments[partition]?.generation == generation else { return }
        assignments[partition]?.consumed = offset
    }

    /// Nothing behind the chunk that was taken last can be given out.
    package mutating func stop(_ partition: TopicPartition, _ error: ClientError) {
        guard assignments[partition]?.phase != .failed else { return }
        dropChunks(of: partition)
        fail(partition, error)
    }

    package mutating func fail(_ partition: TopicPartition, _ error: ClientError) {
        assignments[partition]?.phase = .failed
        failures.append(Failure(partition: partition, error: error))
    }

    // MARK: What is known of the cluster

    package mutating func learned(topics: [ClusterView.Topic], at now: Instant) {
        metadata.answered(at: now, isNews: true)
        for topic in topics {
            for partition in topic.partitions {
                let name = TopicPartition(topic.name, partition.index)
                guard let known = assignments[name] else { continue }
                if topic.id != known.topicID {
                    // Another topic of the same name: its epochs and records have nothing to do with those of the old.
                    if known.topicID != UUID128() { assignments[name]?.forgetEpochs() }
                    assignments[name]?.topicID = topic.id
                }
                learned(leader: partition.leader, epoch: partition.leaderEpoch, of: name)
            }
        }
    }

    package mutating func failedToLearn(at now: Instant) { metadata.answered(at: now, isNews: false) }

    /// What metadata or a hint in a Fetch answer says. Older news than what is known changes nothing (KIP-320).
    package mutating func learned(leader: NodeID?, epoch: LeaderEpoch, of partition: TopicPartition) {
        guard var known = assignments[partition] else { return }
        let isNewer = epoch > known.leaderEpoch
        guard isNewer || epoch == known.leaderEpoch || epoch < 0 else { return }
        let former = known.leader
        known.leader = leader
        known.leaderEpoch = max(epoch, known.leaderEpoch)
        defer { assignments[partition] = known }
        guard let leader else { return }
        if isNewer || former != leader {
            (known.isLeaderStale, known.retryAt, known.retryPauseMs, known.preferred) = (false, .zero, 0, nil)
            if isNewer, known.lastEpoch >= 0, known.lastEpoch < epoch, known.phase == .reading {
                known.phase = .comparing
            }
        } else if !links.isTroubled(leader) {
            known.isLeaderStale = false
        }
        for (_, request) in requests where request.isWatched && request.node != leader {
            let owes = request.partitions.contains { $0.partition == partition }
            if owes, request.node != known.preferred { abandon(request.node) }
        }
    }

    package mutating func abandon(_ node: NodeID) {
        if !abandoned.contains(node) { abandoned.append(node) }
    }

    package mutating func connected(_ node: NodeID) {
        links.connected(node)
        for partition in assignments.keys where assignments[partition]?.leader == node {
            assignments[partition]?.isLeaderStale = false
        }
    }

    package mutating func disconnected(_ node: NodeID, at now: Instant) {
        links.disconnected(node, at: now)
        for (partition, assignment) in assignments {
            if assignment.leader == node { doubtLeader(of: partition) }
            if assignment.preferred == node { assignments[partition]?.preferred = nil }
        }
    }

    package mutating func doubtLeader(of partition: TopicPartition) {
        guard assignments[partition]?.isLeaderStale == false else { return }
        assignments[partition]?.isLeaderStale = true
        metadata.doubted()
    }
}
