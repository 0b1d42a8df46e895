// A producer: the machine behind a lock, and an event loop that does what it says.

import Model
import NIOConcurrencyHelpers
import NIOCore
import Wire

/// Writes records to the partitions of a cluster, in order within each partition, and with the default settings exactly
/// once as long as `deliveryTimeoutMs` is not used up.
///
/// ```swift
/// let producer = Producer(client)
/// let written = try await producer.send(ProducerRecord(topic: "orders", key: "42", value: "one tea"))
/// try await producer.submit(ProducerRecord(topic: "orders", value: "two teas")) { result in … }
/// await producer.close()
/// ```
///
/// `send` waits for the acknowledgement; `submit` only for room in the buffer, which makes it the one for many records.
public final class Producer: MachineShell, Sendable {
    /// Gets the outcome of one record, on the client's event loop: it must not block.
    public typealias Delivery = @Sendable (Result<RecordMetadata, ClientError>) -> Void

    public let configuration: ProducerConfiguration
    let client: ClusterClient
    let lane: ClusterClient.Lane
    let pump: Pump
    let state: NIOLockedValueBox<State>

    struct State: MachineShellState {
        var machine: ProducerMachine<Delivery>
        var links: [NodeID: BrokerConnection] = [:]
        /// Addresses from the last hint, on their way to the client.
        var learning: Task<Void, Never>?
        var waiters = Waiters()
        var flushes: [(mark: Int, done: CheckedContinuation<Void, Never>)] = []
        var isClosed = false
    }

    public init(_ client: ClusterClient, configuration: ProducerConfiguration = ProducerConfiguration()) {
        self.client = client
        self.configuration = configuration
        lane = client.newLane()
        pump = Pump(loop: client.eventLoop)
        let machine = ProducerMachine<Delivery>(configuration: configuration, seed: .random(in: 0 ... .max))
        state = NIOLockedValueBox(State(machine: machine))
    }

    deinit { Task { [client, lane] in await client.close(lane) } }

    // MARK: Records

    /// Writes a record and waits until it is acknowledged.
    ///
    /// Errors: `ClientError`. After `deliveryTimedOut` the record may have been written all the same.
    @discardableResult
    public func send(_ record: ProducerRecord) async throws -> RecordMetadata {
        try await admitted(record) { producer, record, isRetry in
            let outcome: Result<RecordMetadata, ClientError>? = try await withUnsafeThrowingContinuation { waiting in
                do {
                    let delivery: Delivery = { waiting.resume(returning: $0) }
                    guard case .appended = try producer.append(record, delivery, isRetry: isRetry) else {
                        return waiting.resume(returning: nil)
                    }
                } catch {
                    waiting.resume(throwing: error)
                }
            }
            return try outcome?.get()
        }
    }

    /// Writes records and waits until all are acknowledged. They go out in as few batches as they fit. Throws the first
    /// error when all have come to their end; some may have been written then.
    @discardableResult
    public func send(contentsOf records: some Sequence<ProducerRecord>) async throws -> [RecordMetadata] {
        let outcomes = Outcomes()
        var count = 0
        do {
            for record in records {
                let place = count
                try await submit(record) { outcomes.add($0, at: place) }
                count += 1
            }
        } catch {
            _ = await outcomes.wait(for: count)
            throw error
        }
        return try await outcomes.wait(for: count).map { try $0.get() }
    }

    /// Takes a record in and returns at once, or when there is room in the buffer. `onDelivery` tells the end.
    ///
    /// Errors: `recordTooLarge`, `noSuchPartition`, `noSuchTopic`, `bufferFull`, `closed`; the record was not taken in
    /// then, and `onDelivery` is not called.
    public func submit(_ record: ProducerRecord, onDelivery: Delivery? = nil) async throws {
        try await admitted(record) { producer, record, isRetry -> Void? in
            guard case .appended = try producer.append(record, onDelivery, isRetry: isRetry) else { return nil }
            return ()
        }
    }

    /// Waits until every record taken in before this call has come to its end. Nothing lingers meanwhile.
    public func flush() async {
        await withCheckedContinuation { done in
            // `drain` answers, even where nothing is left to do: what came to its end may yet have to be told.
            state.withLockedValue { $0.flushes.append(($0.machine.flush(), done)) }
            drainSoon()
        }
    }

    /// Takes no more, and flushes what was taken in. Who waits for room gets `closed`. The client stays open.
    public func close() async {
        let waiting = state.withLockedValue { state in
            state.isClosed = true
            return state.waiters.takeAll()
        }
        for waiter in waiting { waiter.done.resume(throwing: ClientError.closed) }
        await flush()
        await client.close(lane)
    }

    func clientWasClosed() {
        let waiting = state.withLockedValue { state in
            state.isClosed = true
            state.machine.abandonAll(.closed)
            return state.waiters.takeAll()
        }
        for waiter in waiting { waiter.done.resume(throwing: ClientError.closed) }
        drainSoon()
    }

    // MARK: Admission

    /// Runs `attempt` until it gives something, waiting for the topic or for room in between.
    private func admitted<T>(
        _ record: ProducerRecord, _ attempt: (Producer, ProducerRecord, _ isRetry: Bool) async throws -> T?
    ) async throws -> T {
        var isRetry = false
        while true {
            if let result = try await attempt(self, record, isRetry) { return result }
            isRetry = true
            if state.withLockedValue({ $0.machine.topics[record.topic] == nil }) {
                let topic = try await client.partitions(of: record.topic, mayCreate: true)
                let now = pump.now
                state.withLockedValue { $0.machine.learned(topics: [topic], at: now) }
            } else {
                try await waitForRoom(record.sizeBytes)
            }
        }
    }

    /// One attempt to take a record in.
    private func append(
        _ record: ProducerRecord, _ delivery: Delivery?, isRetry: Bool
    ) throws(ClientError) -> ProducerMachine<Delivery>.Admission {
        let (timestampMs, now) = (record.timestampMs ?? wallClockMs(), pump.now)
        let result = state.withLockedValue { state in
            state.append(record, delivery, isRetry: isRetry, timestampMs: timestampMs, at: now)
        }
        if case .success(.appended(isUrgent: true)) = result { drainSoon() }
        return try result.get()
    }

    // MARK: The loop

    /// Asks the machine what to do, and does it. On the loop only, so that requests go out in the machine's order.
    func drain() {
        pump.began()
        let now = pump.now
        let (effects, wakeAt) = state.withLockedValue { $0.machine.drain(at: now) }
        for effect in effects { perform(effect) }
        pump.wake(at: wakeAt, now: now) { self.drain() }
        let (admitted, flushed) = state.withLockedValue { state in
            (state.takeAdmitted(limitBytes: configuration.bufferBytesMax), state.takeFlushed())
        }
        for waiter in admitted { waiter.done.resume() }
        for flush in flushed { flush.resume() }
    }
}

extension Producer.State {
    mutating func append(
        _ record: ProducerRecord, _ delivery: Producer.Delivery?, isRetry: Bool, timestampMs: Int64, at now: Instant
    ) -> Result<ProducerMachine<Producer.Delivery>.Admission, ClientError> {
        if isClosed { return .failure(.closed) }
        // Who waits for room comes first.
        if !isRetry, !waiters.isEmpty { return .success(.bufferIsFull) }
        do throws(ClientError) {
            return .success(try machine.append(record, token: delivery, timestampMs: timestampMs, at: now))
        } catch {
            return .failure(error)
        }
    }

    /// Those who waited for room and have it now.
    mutating func takeAdmitted(limitBytes: Int) -> [Waiters.Waiter] {
        guard !waiters.isEmpty else { return [] }
        return waiters.take(fitting: limitBytes - machine.bufferedBytes, isEmpty: machine.bufferedBytes == 0)
    }

    mutating func takeFlushed() -> [CheckedContinuation<Void, Never>] {
        guard !flushes.isEmpty else { return [] }
        let settled = flushes.filter { machine.isSettled(upTo: $0.mark) }
        if !settled.isEmpty { flushes.removeAll { machine.isSettled(upTo: $0.mark) } }
        return settled.map(\.done)
    }
}
