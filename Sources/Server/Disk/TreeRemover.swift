// Removing directories that nobody uses any more, one after another.

import NIOConcurrencyHelpers
import NIOCore

/// One at a time and each behind what was asked of the pool meanwhile, so that barriers wait for a single removal at
/// most. What the end of the process leaves, or cannot be removed, is there at the next start.
final class TreeRemover: Sendable {
    private struct State {
        var waiting = CircularBuffer<String>()
        var isRunning = false
    }

    private let pool: FlusherPool
    private let state = NIOLockedValueBox(State())

    init(pool: FlusherPool) { self.pool = pool }

    func remove(_ path: String) {
        let mustStart = state.withLockedValue { state in
            state.waiting.append(path)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if mustStart { pool.run { self.removeNext() } }
    }

    private func removeNext() {
        let path = state.withLockedValue { state in
            let next = state.waiting.popFirst()
            if next == nil { state.isRunning = false }
            return next
        }
        guard let path else { return }
        try? removeTree(path)
        pool.run { self.removeNext() }
    }
}
