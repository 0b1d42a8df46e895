// One timer for one machine, armed for its next deadline.

import Model
import NIOCore

/// Most deadlines move into the future before they come (a heartbeat postpones an election). So the armed timer is left
/// alone unless an earlier deadline appears; when it fires too early it arms itself again.
package final class StepTimer {
    /// NIO's loop runs what is due until nothing is, and only then looks at its sockets. So a machine that has more to
    /// do at once gets its next turn a moment later, or nobody is heard until it is through. What has become due during
    /// the step (reports of barriers, mail) is to end within that moment: a quarter of the step's time, within
    /// these bounds.
    private static let restMicroseconds: ClosedRange<Int64> = 50...10_000

    private let loop: any EventLoop
    private let nextDeadline: () -> Instant
    private let fire: () -> Void
    private var armed: Instant = .distantFuture
    private var scheduled: Scheduled<Void>?
    /// Nothing is armed for an earlier time; while it fires, nothing at all.
    private var restingUntil = Instant.zero

    /// All on the loop. `fire` steps the machine, which is expected to move its deadline.
    package init(loop: any EventLoop, nextDeadline: @escaping () -> Instant, fire: @escaping () -> Void) {
        self.loop = loop
        self.nextDeadline = nextDeadline
        self.fire = fire
    }

    package func arm() {
        let deadline = max(nextDeadline(), restingUntil)
        guard deadline < armed else { return }
        scheduled?.cancel()
        armed = deadline
        let bound = NIOLoopBound(self, eventLoop: loop)
        scheduled = loop.scheduleTask(deadline: deadline.deadline) { bound.value.timerCame() }
    }

    func stop() {
        scheduled?.cancel()
        scheduled = nil
    }

    private func timerCame() {
        scheduled = nil
        armed = .distantFuture
        restingUntil = .distantFuture
        let began = NodeClock.now
        if nextDeadline() <= began { fire() }
        let ended = NodeClock.now
        let rest = (ended.nanoseconds - began.nanoseconds) / 4_000
        restingUntil = ended.advanced(
            byMicroseconds: min(max(rest, Self.restMicroseconds.lowerBound), Self.restMicroseconds.upperBound))
        arm()
    }
}
