// What a node asks of the kernel's scheduler, and who has it.

import CPosix
import Glibc
import NIOConcurrencyHelpers
import NIOPosix
import Testing

@Suite struct SchedulingTests {
    /// What one thread saw: its own turns, those of a thread that it made, and its niceness before and behind.
    private struct Seen: Sendable {
        var status: Int32 = -1
        var own: Int64 = 0
        var ofThreadMade: Int64 = 0
        var niceness: (before: Int32, behind: Int32) = (0, 0)
    }

    /// Runs `work` on a thread of its own, so that this test process keeps its turns.
    private func onThread<Result: Sendable>(_ work: @escaping @Sendable () -> Result) throws -> Result {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let result = NIOLockedValueBox<Result?>(nil)
        let isThrough = ConditionLock(value: false)
        pool.submit { _ in
            let made = work()
            result.withLockedValue { $0 = made }
            isThrough.lock()
            isThrough.unlock(withValue: true)
        }
        isThrough.lock(whenValue: true)
        isThrough.unlock()
        try pool.syncShutdownGracefully()
        return try #require(result.withLockedValue { $0 })
    }

    @Test func shortTurnsAreThisThreadsAndThoseThatItMakes() throws {
        let asked: UInt64 = 100_000
        let seen = try onThread { () -> Seen in
            var seen = Seen()
            // Of this thread alone.
            _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 5)
            let niceness = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)
            seen.status = posix_ask_for_short_turns(asked)
            seen.own = posix_turn_ns()
            seen.ofThreadMade = (try? onThread { posix_turn_ns() }) ?? -1
            seen.niceness = (niceness, getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0))
            return seen
        }
        #expect(seen.status == 0)
        #expect(seen.niceness == (5, 5))
        // Kernels before 6.12 take what is asked and say 0.
        #expect([Int64(asked), 0].contains(seen.own), "\(seen.own)")
        #expect(seen.ofThreadMade == seen.own)
        #expect(try onThread { posix_turn_ns() } != Int64(asked))
    }

    @Test func aPolicyThatSomebodyChoseStays() throws {
        let seen = try onThread { () -> (made: Int32, status: Int32, policy: Int32) in
            var parameters = sched_param()
            // SCHED_IDLE: to run only where nobody else wants to.
            let made = sched_setscheduler(0, 5, &parameters)
            let status = posix_ask_for_short_turns(100_000)
            return (made, status, sched_getscheduler(0))
        }
        #expect(seen.made == 0)
        #expect(seen.status == 0)
        #expect(seen.policy == 5)
    }
}
