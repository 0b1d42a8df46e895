// One question to several nodes, one after the other but not waiting for those that are slow: the first answer counts.

import NIOConcurrencyHelpers
import NIOCore

/// Starts its attempts in order: the next one when the last one fails, or does not end in time.
final class Race<Answer: Sendable>: Sendable {
    private struct State {
        var next = 0
        var lost = 0
        var waiting: CheckedContinuation<Answer, any Error>?
    }

    private let attempts: [@Sendable () async throws -> Answer]
    private let loop: any EventLoop
    private let patience: TimeAmount
    private let state = NIOLockedValueBox(State())

    /// `patienceMs`: after so long without an answer the next attempt starts beside.
    init(loop: any EventLoop, patienceMs: Int64, _ attempts: [@Sendable () async throws -> Answer]) {
        precondition(!attempts.isEmpty, "a race needs somebody who runs")
        self.attempts = attempts
        self.loop = loop
        patience = .milliseconds(patienceMs)
    }

    /// The first answer, or the last attempt's error when all have failed.
    func run() async throws -> Answer {
        try await withCheckedThrowingContinuation { waiting in
            state.withLockedValue { $0.waiting = waiting }
            startNext()
        }
    }

    private func startNext() {
        let attempt = state.withLockedValue { state -> (@Sendable () async throws -> Answer)? in
            guard state.waiting != nil, state.next < attempts.count else { return nil }
            defer { state.next += 1 }
            return attempts[state.next]
        }
        guard let attempt else { return }
        Task {
            do { self.won(try await attempt()) } catch { self.lost(error) }
        }
        loop.scheduleTask(in: patience) { self.startNext() }
    }

    private func won(_ answer: Answer) { takeWaiting()?.resume(returning: answer) }

    private func lost(_ error: any Error) {
        let isLast = state.withLockedValue { state in
            state.lost += 1
            return state.lost == attempts.count
        }
        if isLast { takeWaiting()?.resume(throwing: error) } else { startNext() }
    }

    private func takeWaiting() -> CheckedContinuation<Answer, any Error>? {
        state.withLockedValue { state in
            defer { state.waiting = nil }
            return state.waiting
        }
    }
}
