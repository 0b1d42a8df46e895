// A consumer: the machine behind a lock, an event loop that does what it says, and readers that unpack what came.

import Model
import NIOConcurrencyHelpers
import NIOCore
import Wire

/// Reads records of partitions that it is told to read, in order within each of them.
///
/// ```swift
/// let consumer = Consumer(client)
/// try await consumer.assign(topic: "orders", from: .earliest)
/// for try await record in consumer { print(record.offset, record.value.map(String.init(buffer:)) ?? "") }
/// ```
///
/// It fetches ahead, up to `prefetchBytesMax`, and no further until records are taken: a slow reader slows it down.
/// `for try await` ends when the consumer is closed or the task is cancelled, and throws where it cannot go on by
/// itself; after `positionOutOfRange` and `logTruncated` a `seek` goes on.
public final class Consumer: AsyncSequence, MachineShell, Sendable {
    public typealias Element = ConsumerRecord

    public let configuration: ConsumerConfiguration
    let client: ClusterClient
    let lane: ClusterClient.Lane
    let pump: Pump
    let state: NIOLockedValueBox<State>

    struct State: MachineShellState {
        var machine: ConsumerMachine
        var links: [NodeID: BrokerConnection] = [:]
        /// Unpacked and not given out yet.
        var rest: [ConsumerRecord] = []
        var restAt = 0
        /// What `rest` is of.
        var chunk: FetchedChunk?
        /// A reader has taken a chunk and is yet to `give` its records: no other chunk may overtake it.
        var isUnpacking = false
        var readers: [(id: Int, done: CheckedContinuation<Void, Never>)] = []
        var lastReaderID = 0
        var isClosed = false
        /// Of a group, whose account of what was given out this is.
        var handedOut: HandedOut?
        /// Why nothing is read any more.
        var ending: ClientError?
    }

    public init(_ client: ClusterClient, configuration: ConsumerConfiguration = ConsumerConfiguration()) {
        self.client = client
        self.configuration = configuration
        lane = client.newLane()
        pump = Pump(loop: client.eventLoop)
        state = NIOLockedValueBox(State(machine: ConsumerMachine(configuration: configuration)))
    }

    deinit { Task { [client, lane] in await client.close(lane) } }

    // MARK: Partitions

    /// Adds all partitions that a topic has now. Errors: `ClientError`, `noSuchTopic` among them.
    public func assign(topic: String, from start: StartPosition) async throws {
        let found = try await client.partitions(of: topic, isFresh: true)
        try assign(found, found.partitions.map { TopicPartition(topic, $0.index) }, from: start)
    }

    /// Adds one partition. Errors: `ClientError`, `noSuchTopic` and `noSuchPartition` among them.
    public func assign(_ partition: TopicPartition, from start: StartPosition) async throws {
        let found = try await client.partitions(of: partition.topic, isFresh: true)
        guard found.partitions.contains(where: { $0.index == partition.partition }) else {
            throw ClientError.noSuchPartition(
                topic: partition.topic, partition.partition, count: found.partitions.count)
        }
        try assign(found, [partition], from: start)
    }

    private func assign(
        _ topic: ClusterView.Topic, _ partitions: [TopicPartition], from start: StartPosition
    ) throws(ClientError) {
        let now = pump.now
        let isOpen = state.withLockedValue { state in
            guard !state.isClosed else { return false }
            for partition in partitions { state.seek(partition, to: start) }
            state.machine.learned(topics: [topic], at: now)
            return true
        }
        guard isOpen else { throw .closed }
        drainSoon()
    }

    /// Stops reading a partition; nothing more of it is given out.
    public func unassign(_ partition: TopicPartition) {
        state.withLockedValue { state in
            state.drop(partition)
            state.machine.unassign(partition)
        }
        drainSoon()
    }

    /// Moves reading in an assigned partition: the next record of it given out is the one at `start`.
    public func seek(_ partition: TopicPartition, to start: StartPosition) {
        state.withLockedValue { state in
            guard state.machine.assignments[partition] != nil else { return }
            state.seek(partition, to: start)
        }
        drainSoon()
    }

    /// Gives out and fetches no records of a partition until `resume`; its place stays.
    public func pause(_ partition: TopicPartition) {
        state.withLockedValue { state in
            state.putBack(partition)
            state.machine.pause(partition, true)
        }
    }

    public func resume(_ partition: TopicPartition) {
        state.withLockedValue { $0.machine.pause(partition, false) }
        wakeReaders()
        drainSoon()
    }

    /// What is read, in order of topic and partition.
    public var assignment: [TopicPartition] { state.withLockedValue { Array($0.machine.assignments.keys) } }

    /// The offset of the next record to be given out; nil until it is known.
    public func position(of partition: TopicPartition) -> Int64? {
        state.withLockedValue { $0.machine.assignments[partition].flatMap { $0.consumed >= 0 ? $0.consumed : nil } }
    }

    /// The end of what may be read of a partition, as of the last answer; nil before the first.
    public func highWatermark(of partition: TopicPartition) -> Int64? {
        state.withLockedValue {
            $0.machine.assignments[partition].flatMap { $0.highWatermark >= 0 ? $0.highWatermark : nil }
        }
    }

    /// Ends all reading. The client stays open.
    public func close() {
        state.withLockedValue { state in
            state.isClosed = true
            for partition in state.machine.assignments.keys { state.machine.unassign(partition) }
            (state.rest, state.restAt, state.chunk) = ([], 0, nil)
        }
        wakeReaders()
        Task { await client.close(lane) }
    }

    func clientWasClosed() { close() }

    /// Whether a caller waits for records.
    package var hasWaitingReaders: Bool { state.withLockedValue { !$0.readers.isEmpty } }

    /// Whether records that were fetched ahead are at hand.
    package var hasPrefetched: Bool { state.withLockedValue { !$0.machine.chunks.isEmpty } }

    // MARK: Records

    public struct AsyncIterator: AsyncIteratorProtocol {
        let consumer: Consumer

        public mutating func next() async throws -> ConsumerRecord? { try await consumer.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(consumer: self) }

    /// The next record; nil when the consumer is closed or the task cancelled.
    public func next() async throws -> ConsumerRecord? {
        while !Task.isCancelled {
            if let record = state.withLockedValue({ $0.takeRecord() }) { return record }
            guard try await fill(until: nil) else { return nil }
        }
        return nil
    }

    /// All records at hand, at most `countMax`, in order; waits for some up to `waitMs` or, when nil, until there are.
    /// Empty when the time is over, the consumer closed or the task cancelled.
    public func nextBatch(countMax: Int = .max, waitMs: Int64? = nil) async throws -> [ConsumerRecord] {
        guard countMax > 0 else { return [] }
        let deadline = waitMs.map { pump.now.advanced(byMs: $0) }
        while !Task.isCancelled {
            let records = state.withLockedValue { $0.takeRecords(countMax) }
            if !records.isEmpty { return records }
            guard try await fill(until: deadline) else { return [] }
        }
        return []
    }

    /// Unpacks the next chunk. False when there is none in time, or never will be.
    private func fill(until deadline: Instant?) async throws -> Bool {
        while !Task.isCancelled {
            switch state.withLockedValue({ $0.takeNews() }) {
            case .closed: return false
            case .records: return true
            case .chunk(let chunk):
                drainSoon()
                defer { wakeReaders() }
                unpack(chunk)
                return true
            case .failure(let failure): throw failure
            case nil: break
            }
            if let deadline, pump.now >= deadline { return false }
            await waitForNews(until: deadline)
        }
        return false
    }

    private func unpack(_ chunk: FetchedChunk) {
        let unpacked = chunk.unpacked(batchBytesMax: configuration.unpackedBatchBytesMax)
        state.withLockedValue { $0.give(unpacked, of: chunk) }
    }

    private func waitForNews(until deadline: Instant?) async {
        let id = state.withLockedValue { state in
            state.lastReaderID += 1
            return state.lastReaderID
        }
        let alarm = deadline.map { deadline in
            pump.loop.scheduleTask(in: .nanoseconds(Swift.max(0, deadline.nanoseconds - pump.now.nanoseconds))) {
                self.wakeReader(id)
            }
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { done in
                let mustWait = state.withLockedValue { state in
                    guard !state.hasNews else { return false }
                    state.readers.append((id, done))
                    return true
                }
                if !mustWait { return done.resume() }
                // The alarm and a cancellation may have come before the reader was there to be woken.
                let isLate = deadline.map { pump.now >= $0 } ?? false
                if Task.isCancelled || isLate { wakeReader(id) }
            }
        } onCancel: {
            wakeReader(id)
        }
        alarm?.cancel()
    }

    private func wakeReader(_ id: Int) {
        let reader = state.withLockedValue { state in
            state.readers.firstIndex { $0.id == id }.map { state.readers.remove(at: $0) }
        }
        reader?.done.resume()
    }

    func wakeReaders() {
        let readers = state.withLockedValue { state in
            defer { state.readers = [] }
            return state.readers
        }
        for reader in readers { reader.done.resume() }
    }

    // MARK: The loop

    /// Asks the machine what to do, and does it. On the loop only.
    func drain() {
        pump.began()
        let now = pump.now
        let (effects, wakeAt) = state.withLockedValue { $0.machine.drain(at: now) }
        for effect in effects { perform(effect) }
        if state.withLockedValue({ $0.machine.hasFailureToTell }) { wakeReaders() }
        pump.wake(at: wakeAt, now: now) { [weak self] in self?.drain() }
    }
}

extension Consumer.State {
    enum News {
        case closed
        /// There are unpacked records to take.
        case records
        /// To be unpacked, and answered by `give`.
        case chunk(FetchedChunk)
        case failure(ClientError)
    }

    var hasNews: Bool {
        if isClosed || ending != nil || restAt < rest.count { return true }
        return !isUnpacking
            && (machine.hasFailureToTell
                || machine.chunks.contains { machine.assignments[$0.partition]?.isPaused == false })
    }

    /// What a reader without records does next. A failure comes after the records of its partition that were read
    /// before it, and before those of others.
    mutating func takeNews() -> News? {
        if isClosed { return .closed }
        if let ending { return .failure(ending) }
        if restAt < rest.count { return .records }
        if isUnpacking { return nil }
        if let failure = machine.takeFailure() { return .failure(failure) }
        guard let chunk = machine.takeChunk() else { return nil }
        isUnpacking = true
        return .chunk(chunk)
    }

    mutating func seek(_ partition: TopicPartition, to start: StartPosition) {
        drop(partition)
        machine.seek(partition, to: start)
    }

    /// Packs up again what is left of a partition's chunk, so that others do not wait for it.
    mutating func putBack(_ partition: TopicPartition) {
        guard let chunk, chunk.partition == partition, restAt < rest.count else { return }
        machine.putBack(chunk, from: rest[restAt].offset)
        (rest, restAt, self.chunk) = ([], 0, nil)
    }

    /// Forgets what was unpacked of a partition.
    mutating func drop(_ partition: TopicPartition) {
        if chunk?.partition == partition { (rest, restAt, chunk) = ([], 0, nil) }
    }

    mutating func give(_ unpacked: FetchedChunk.Unpacked, of chunk: FetchedChunk) {
        isUnpacking = false
        guard machine.isCurrent(chunk) else { return }
        if machine.assignments[chunk.partition]?.isPaused == true {
            return machine.putBack(chunk, from: chunk.position)
        }
        (rest, restAt, self.chunk) = (unpacked.records, 0, chunk)
        if let (offset, error) = unpacked.failure {
            machine.stop(chunk.partition, error)
            self.chunk = chunk.ending(at: offset)
        }
        if rest.isEmpty { finishChunk() }
    }

    /// What stands after the last record given out was no record for this reader: markers, gaps, aborted ones.
    private mutating func finishChunk() {
        guard let chunk else { return }
        machine.consumed(chunk.partition, generation: chunk.generation, upTo: chunk.nextOffset)
        if machine.isCurrent(chunk) {
            handedOut?.finished(chunk.partition, HandedOut.Known(epoch: chunk.lastEpoch, next: chunk.nextOffset))
        }
        (rest, restAt, self.chunk) = ([], 0, nil)
    }

    /// What `rest` is of, if it may still be given out: the machine drops what turns out to be gone from the log.
    private mutating func currentChunk() -> FetchedChunk? {
        guard restAt < rest.count, let chunk else { return nil }
        if machine.isCurrent(chunk) { return chunk }
        (rest, restAt, self.chunk) = ([], 0, nil)
        return nil
    }

    mutating func takeRecord() -> ConsumerRecord? {
        guard let chunk = currentChunk() else { return nil }
        let record = rest[restAt]
        restAt += 1
        handedOut?.add(chunk.partition, record, record)
        if restAt == rest.count {
            finishChunk()
        } else {
            machine.consumed(chunk.partition, generation: chunk.generation, upTo: record.offset + 1)
        }
        return record
    }

    mutating func takeRecords(_ countMax: Int) -> [ConsumerRecord] {
        guard let chunk = currentChunk() else { return [] }
        let end = min(rest.count, restAt + min(countMax, rest.count))
        let taken = restAt == 0 && end == rest.count ? rest : Array(rest[restAt..<end])
        if let first = taken.first, let last = taken.last { handedOut?.add(chunk.partition, first, last) }
        restAt = end
        if restAt == rest.count {
            finishChunk()
        } else if let last = taken.last {
            machine.consumed(chunk.partition, generation: chunk.generation, upTo: last.offset + 1)
        }
        return taken
    }
}
