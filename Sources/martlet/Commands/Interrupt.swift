// Ctrl-C as a flag that loops look at, so that a command ends between two records and not inside one; and as an end
// that comes soon in any case, whatever the command waits for.

import Glibc
import MartletClient
import NIOPosix
import Synchronization

enum Interrupt {
    /// By the monotonic clock; 0 before.
    private static let seenAtNs = Atomic<Int64>(0)
    /// What is done and what is not, said when the command is ended in the middle of a wait.
    private static let accounts = Mutex<[@Sendable () -> String]>([])

    /// How long a command may take to end by itself after Ctrl-C.
    private static let patienceMs: Int64 = 2_000
    /// How long it waits for records that are on their way; the rest is for cleaning up.
    private static let deliveryPatienceMs: Int64 = 1_000
    private static let lookMs: Int64 = 50

    static var isSeen: Bool { seenAtNs.load(ordering: .relaxed) != 0 }

    /// The first Ctrl-C (or TERM) sets the flag; the second ends the process the usual way.
    static func watch() {
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                var now = timespec()
                clock_gettime(CLOCK_MONOTONIC, &now)
                Interrupt.seenAtNs.store(
                    max(1, Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)), ordering: .relaxed)
                signal(SIGINT, SIG_DFL)
                signal(SIGTERM, SIG_DFL)
            }
        }
    }

    /// `words`: what is done and what is not, said when there is no time to end in order; what was added last first.
    static func account(for words: @escaping @Sendable () -> String) { accounts.withLock { $0.append(words) } }

    static var lastWords: String {
        let words = accounts.withLock { $0 }.reversed().map { $0() }
        return "ended by Ctrl-C" + (words.isEmpty ? " before it was done" : ": " + words.joined(separator: "; "))
    }

    /// Returns when a command that has not ended by itself after Ctrl-C must be ended.
    /// - Throws: `CancellationError`.
    static func outlived() async throws { try await wait(graceMs: patienceMs) }

    private static func wait(graceMs: Int64) async throws {
        while true {
            let seenAt = seenAtNs.load(ordering: .relaxed)
            if seenAt != 0 {
                var now = timespec()
                clock_gettime(CLOCK_MONOTONIC, &now)
                let spentNs = Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec) - seenAt
                if spentNs >= graceMs * 1_000_000 { return }
            }
            try await Task.sleep(for: .milliseconds(lookMs))
        }
    }

    /// Closes a producer. False when Ctrl-C was pressed and records are still without an answer some time later.
    static func close(_ producer: Producer) async -> Bool {
        let ended = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Bool.self)
        Task {
            await producer.close()
            ended.succeed(true)
        }
        let impatience = Task {
            guard (try? await wait(graceMs: deliveryPatienceMs)) != nil else { return }
            ended.succeed(false)
        }
        defer { impatience.cancel() }
        return (try? await ended.futureResult.get()) ?? false
    }
}
