// Who waits for room in a producer's buffer, in the order in which they came; and outcomes collected for one caller.

import NIOConcurrencyHelpers
import NIOCore

struct Waiters: Sendable {
    struct Waiter: Sendable {
        let id: Int
        let sizeBytes: Int
        let done: CheckedContinuation<Void, any Error>
    }

    private var queue = CircularBuffer<Waiter>()
    private var lastID = 0

    var isEmpty: Bool { queue.isEmpty }

    mutating func nextID() -> Int {
        lastID += 1
        return lastID
    }

    mutating func append(_ waiter: Waiter) { queue.append(waiter) }

    mutating func remove(id: Int) -> Waiter? {
        guard let at = queue.firstIndex(where: { $0.id == id }) else { return nil }
        return queue.remove(at: at)
    }

    /// Those from the front that fit into `roomBytes` together; the first one in any case when the buffer is empty.
    mutating func take(fitting roomBytes: Int, isEmpty: Bool) -> [Waiter] {
        var (taken, left) = ([Waiter](), roomBytes)
        while let first = queue.first, first.sizeBytes <= left || (isEmpty && taken.isEmpty) {
            left -= first.sizeBytes
            taken.append(queue.removeFirst())
        }
        return taken
    }

    mutating func takeAll() -> [Waiter] {
        defer { queue = CircularBuffer() }
        return Array(queue)
    }
}

extension Producer {
    /// Whether a caller waits for room in the buffer.
    package var hasWaiters: Bool { state.withLockedValue { !$0.waiters.isEmpty } }

    /// Returns when there may be room for `sizeBytes`, in turn. Throws `bufferFull`, `closed` or `CancellationError`.
    func waitForRoom(_ sizeBytes: Int) async throws {
        let id = state.withLockedValue { $0.waiters.nextID() }
        let limitMs = configuration.maxBlockMs
        let deadline = NIODeadline.now() + .milliseconds(limitMs)
        let alarm = pump.loop.scheduleTask(deadline: deadline) { self.waitedTooLong(id, limitMs: limitMs) }
        defer { alarm.cancel() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
                let isClosed = state.withLockedValue { state in
                    if !state.isClosed {
                        state.waiters.append(Waiters.Waiter(id: id, sizeBytes: sizeBytes, done: done))
                    }
                    return state.isClosed
                }
                if isClosed { return done.resume(throwing: ClientError.closed) }
                // Room may have come between the attempt and here, and a task may be cancelled before it waits.
                drainSoon()
                if Task.isCancelled { cancelWait(id) }
                // And the alarm may have gone off before there was anybody to wake.
                if NIODeadline.now() >= deadline { waitedTooLong(id, limitMs: limitMs) }
            }
        } onCancel: {
            cancelWait(id)
        }
    }

    private func waitedTooLong(_ id: Int, limitMs: Int64) {
        let waiter = state.withLockedValue { $0.waiters.remove(id: id) }
        waiter?.done.resume(
            throwing: ClientError.bufferFull(limitBytes: configuration.bufferBytesMax, afterMs: limitMs))
    }

    private func cancelWait(_ id: Int) {
        state.withLockedValue { $0.waiters.remove(id: id) }?.done.resume(throwing: CancellationError())
    }
}

/// The outcomes of a known number of records, in the order of the records.
final class Outcomes: Sendable {
    private struct State {
        var results: [Int: Result<RecordMetadata, ClientError>] = [:]
        var waiting: (count: Int, done: CheckedContinuation<Void, Never>)?
    }

    private let state = NIOLockedValueBox(State())

    func add(_ result: Result<RecordMetadata, ClientError>, at place: Int) {
        let done = state.withLockedValue { state -> CheckedContinuation<Void, Never>? in
            state.results[place] = result
            guard let waiting = state.waiting, state.results.count == waiting.count else { return nil }
            state.waiting = nil
            return waiting.done
        }
        done?.resume()
    }

    /// Returns when `count` of them are there.
    func wait(for count: Int) async -> [Result<RecordMetadata, ClientError>] {
        await withCheckedContinuation { done in
            let isComplete = state.withLockedValue { state in
                if state.results.count == count { return true }
                state.waiting = (count, done)
                return false
            }
            if isComplete { done.resume() }
        }
        return state.withLockedValue { state in (0..<count).compactMap { state.results[$0] } }
    }
}
