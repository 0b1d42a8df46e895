// A consumer that is a member of a group: the machine behind a lock, an event loop that does what it says, and an inner
// consumer that reads what the group assigns.

import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// Reads topics together with the other members of a group: every partition is read by one of them.
///
/// ```swift
/// let consumer = GroupConsumer(client, group: "kitchen", topics: ["orders"])
/// for try await record in consumer { print(record.offset, record.value.map(String.init(buffer:)) ?? "") }
/// await consumer.close()
/// ```
///
/// It joins at once, and heartbeats go on whatever the reader does. What the reader has come back from is committed
/// from time to time, before partitions go to others, and by `close`: a record that was given out when a process dies
/// is given out again, by whoever has the partition then. One task at a time reads.
///
/// In a rebalance, what stays with this member is read on. Partitions that go to others are given up when the reader
/// has come back from the last of their records, but after half of `rebalanceTimeoutMs` in any case.
public final class GroupConsumer: AsyncSequence, Sendable {
    public typealias Element = ConsumerRecord
    /// Told of every change, one after the other; the group waits for it to return.
    public typealias ChangeHandler = @Sendable (AssignmentChange) async -> Void

    public let groupID: String
    /// What the names of the topics match, where they are not listed.
    public let pattern: String?
    public let configuration: GroupConsumerConfiguration
    let client: ClusterClient
    /// Reads what is assigned.
    let reader: Consumer
    /// For what the coordinator answers late on purpose, and for what must not wait behind that.
    let lane: ClusterClient.Lane
    let sideLane: ClusterClient.Lane
    let pump: Pump
    let onChange: ChangeHandler?
    let state: NIOLockedValueBox<State>

    /// A handler runs beside the reader: what that has in its hands is not dealt with.
    @TaskLocal static var isHandlingChange = false

    struct State: Sendable {
        var machine: GroupMachine
        /// Who waits for a commit, by its id.
        var commits: [Int: CheckedContinuation<Void, any Error>] = [:]
        /// Given up, and the reader still holds records of it.
        var heldBack: (release: GivenUp, isLost: Bool, partitions: [TopicPartition])?
        /// Where reading ended of what the handler is told to be revoked: its last chance of a commit.
        var revoked = SortedMap<TopicPartition, OffsetAndMetadata>()
        /// Which stint in a partition its handler does not know of yet: reading waits for that.
        var untold: [TopicPartition: Int] = [:]
        var lastStint = 0
        /// By the user.
        var paused: Set<TopicPartition> = []
        /// Handlers run one after the other.
        var handlers: Task<Void, Never>?
        var closing: [CheckedContinuation<Void, Never>] = []
        var isClosed = false
    }

    public convenience init(
        _ client: ClusterClient, group: String, topics: [String],
        configuration: GroupConsumerConfiguration = GroupConsumerConfiguration(), onChange: ChangeHandler? = nil
    ) {
        self.init(client, group, topics, pattern: nil, configuration, onChange)
    }

    /// Reads the topics whose whole names match a regular expression, those of later days too: by the coordinator's
    /// reading of it in the next-generation protocol, else by Swift's, at a look every `metadataMaxAgeMs`. Internal
    /// topics are left out. Reading throws `refused` with `invalidRegularExpression` where it is none.
    public convenience init(
        _ client: ClusterClient, group: String, pattern: String,
        configuration: GroupConsumerConfiguration = GroupConsumerConfiguration(), onChange: ChangeHandler? = nil
    ) {
        self.init(client, group, [], pattern: pattern, configuration, onChange)
    }

    private init(
        _ client: ClusterClient, _ group: String, _ topics: [String], pattern: String?,
        _ configuration: GroupConsumerConfiguration, _ onChange: ChangeHandler?
    ) {
        self.client = client
        self.pattern = pattern
        self.configuration = configuration
        self.onChange = onChange
        groupID = group
        lane = client.newLane()
        sideLane = client.newLane()
        pump = Pump(loop: client.eventLoop)
        var reading = configuration.consumer
        switch configuration.offsetReset {
        case .earliest: (reading.onOutOfRange, reading.onTruncation) = (.earliest, .resume)
        case .latest: (reading.onOutOfRange, reading.onTruncation) = (.latest, .resume)
        case .none: (reading.onOutOfRange, reading.onTruncation) = (.fail, .fail)
        }
        reader = Consumer(client, configuration: reading)
        reader.keepAccount()
        var system = SystemRandomNumberGenerator()
        var random = SeededRandom(seed: system.next())
        let machine = GroupMachine(
            configuration: configuration, groupID: group, topics: topics, pattern: pattern,
            memberID: UUID128.random(using: &random).description)
        state = NIOLockedValueBox(State(machine: machine))
        drainSoon()
    }

    deinit {
        reader.close()
        Task { [client, lane, sideLane] in
            await client.close(lane)
            await client.close(sideLane)
        }
    }

    // MARK: Records

    public struct AsyncIterator: AsyncIteratorProtocol {
        let consumer: GroupConsumer

        public mutating func next() async throws -> ConsumerRecord? { try await consumer.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(consumer: self) }

    /// The next record; nil when the consumer is closed or the task cancelled. What was given out before counts as
    /// dealt with.
    public func next() async throws -> ConsumerRecord? {
        cameBack()
        return try await reader.next()
    }

    /// As `Consumer.nextBatch`; what was given out before counts as dealt with.
    public func nextBatch(countMax: Int = .max, waitMs: Int64? = nil) async throws -> [ConsumerRecord] {
        cameBack()
        return try await reader.nextBatch(countMax: countMax, waitMs: waitMs)
    }

    /// What is read now, in order of topic and partition.
    public var assignment: [TopicPartition] { reader.assignment }

    /// The offset of the next record to be given out; nil until it is known, and for what is not assigned.
    public func position(of partition: TopicPartition) -> Int64? { reader.position(of: partition) }

    /// The end of what may be read of an assigned partition, as of the last answer; nil before the first.
    public func highWatermark(of partition: TopicPartition) -> Int64? { reader.highWatermark(of: partition) }

    /// As `Consumer.seek`, in what is assigned. Of a partition that is being given up, what the reader holds does not
    /// count as dealt with then.
    public func seek(_ partition: TopicPartition, to start: StartPosition) {
        state.withLockedValue { state in
            guard let held = state.heldBack?.release.held, held.partition == partition else { return }
            state.heldBack?.release.positions[partition] = held.position
        }
        reader.letGo(of: partition)
        reader.seek(partition, to: start)
    }

    /// As `Consumer.pause`, in what is assigned; until `resume`, or until the partition is given up.
    public func pause(_ partition: TopicPartition) {
        state.withLockedValue { state in
            if reader.isAssigned(partition) { state.paused.insert(partition) }
        }
        reader.pause(partition)
    }

    /// What was assigned just now is read when the handler has returned.
    public func resume(_ partition: TopicPartition) {
        let isUntold = state.withLockedValue { state in
            state.paused.remove(partition)
            return state.untold[partition] != nil
        }
        if !isUntold { reader.resume(partition) }
    }

    // MARK: The group

    /// Sorted; with a pattern those that matched at the last look.
    public var topics: [String] { state.withLockedValue { $0.machine.topics } }
    /// Which protocol this member takes part by; nil before it has joined.
    public var groupProtocol: GroupProtocol? { state.withLockedValue { $0.machine.chosen } }
    /// The id under which the coordinator knows this member; empty before it has joined.
    public var memberID: String { state.withLockedValue { $0.machine.memberID } }

    /// Commits all that was given out, and returns when the coordinator has it. In a change handler what is being
    /// revoked is committed too, and what the reader still has in its hands is not.
    /// - Throws: `ClientError`; `refused` with `illegalGeneration` or `rebalanceInProgress` when the group has given a
    ///   partition to somebody else meanwhile.
    public func commit() async throws {
        if !Self.isHandlingChange { cameBack() }
        let partitions = reader.assignment
        var positions = reader.settledPositions(of: partitions)
        for (partition, position) in state.withLockedValue({ $0.revoked }) { positions[partition] = position }
        try await commit(positions)
    }

    /// Commits these offsets as they are, and returns when the coordinator has them.
    /// - Throws: as `commit()`; `refused` with `offsetMetadataTooLarge`.
    public func commit(_ offsets: [TopicPartition: OffsetAndMetadata]) async throws {
        try await commit(SortedMap(offsets.map { ($0.key, $0.value) }))
    }

    private func commit(_ offsets: SortedMap<TopicPartition, OffsetAndMetadata>) async throws {
        // The reader may know already that the client was closed.
        guard !reader.isClosed else { throw ClientError.closed }
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            let now = pump.now
            let isOpen = state.withLockedValue { state in
                guard !state.isClosed else { return false }
                state.commits[state.machine.commit(offsets, at: now)] = done
                return true
            }
            if !isOpen { return done.resume(throwing: ClientError.closed) }
            drainSoon()
        }
    }

    /// What the group has committed for these partitions; those without an offset are left out.
    /// - Throws: `ClientError`.
    public func committed(_ partitions: [TopicPartition]) async throws -> [TopicPartition: OffsetAndMetadata] {
        try await client.committedOffsets(of: groupID, partitions)
    }

    /// Gives all partitions up, commits what was given out unless `autoCommitIntervalMs` is nil, and leaves the group.
    /// The client stays open.
    /// - Parameter dealtWithAll: false where the reader could not deal with what it was given last: that is not
    ///   committed.
    /// - Parameter patienceMs: nil: `closePatienceMs`.
    public func close(dealtWithAll: Bool = true, patienceMs: Int64? = nil) async {
        if dealtWithAll { reader.settle() }
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            let now = pump.now
            let isOpen = state.withLockedValue { state in
                guard !state.isClosed else { return false }
                state.closing.append(done)
                state.machine.close(patienceMs: patienceMs, at: now)
                return true
            }
            if !isOpen { return done.resume() }
            giveUpHeldBack()
            drainSoon()
        }
    }

    /// The reader has dealt with what it had.
    private func cameBack() {
        reader.settle()
        if state.withLockedValue({ $0.heldBack != nil }) { giveUpHeldBack() }
    }

    // MARK: The loop

    func drainSoon() { pump.soon { [weak self] in self?.drain() } }

    /// Asks the machine what to do, and does it. On the loop only.
    func drain() {
        pump.began()
        let now = pump.now
        let (effects, wakeAt) = state.withLockedValue { $0.machine.drain(at: now) }
        for effect in effects { perform(effect) }
        pump.wake(at: wakeAt, now: now) { [weak self] in self?.drain() }
    }
}
