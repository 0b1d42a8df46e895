// Runs a machine's `drain` on an event loop: soon, once for any number of calls, and again when the machine wants it.

import Model
import NIOConcurrencyHelpers
import NIOCore
import Synchronization

final class Pump: Sendable {
    let loop: any EventLoop
    private let isScheduled = Atomic<Bool>(false)
    private let alarm = NIOLockedValueBox<(at: Instant, task: Scheduled<Void>)?>(nil)

    init(loop: any EventLoop) { self.loop = loop }

    /// The loop's clock; only differences mean anything.
    var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

    /// Runs `drain` on the loop unless that is about to happen anyway.
    func soon(_ drain: @escaping @Sendable () -> Void) {
        if !isScheduled.exchange(true, ordering: .acquiringAndReleasing) { loop.execute(drain) }
    }

    /// `drain` has begun: what comes in from here on needs another run.
    func began() {
        loop.assertInEventLoop()
        isScheduled.store(false, ordering: .releasing)
    }

    /// Runs `drain` at `instant`, and no longer at one that was set before and lies later.
    func wake(at instant: Instant?, now: Instant, _ drain: @escaping @Sendable () -> Void) {
        guard let instant else { return }
        let isEarlyEnough = alarm.withLockedValue { $0.map { $0.at <= instant && $0.at > now } ?? false }
        if isEarlyEnough { return }
        let delay = TimeAmount.nanoseconds(max(0, instant.nanoseconds - now.nanoseconds))
        let task = loop.scheduleTask(in: delay, drain)
        let former = alarm.withLockedValue { alarm in
            defer { alarm = (instant, task) }
            return alarm
        }
        former?.task.cancel()
    }
}
