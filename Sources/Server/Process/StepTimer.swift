// One timer for one machine, armed for its next deadline.

import Model
import NIOCore

/// Most deadlines move into the future before they come (a heartbeat postpones an election). So the armed timer is left
/// alone unless an earlier deadline appears; when it fires too early it arms itself again.
final class StepTimer {
    private let loop: any EventLoop
    private let nextDeadline: () -> Instant
    private let fire: () -> Void
    private var armed: Instant = .distantFuture
    private var scheduled: Scheduled<Void>?

    /// All on the loop. `fire` steps the machine, which is expected to move its deadline.
    init(loop: any EventLoop, nextDeadline: @escaping () -> Instant, fire: @escaping () -> Void) {
        self.loop = loop
        self.nextDeadline = nextDeadline
        self.fire = fire
    }

    func arm() {
        let deadline = nextDeadline()
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
        if nextDeadline() <= NodeClock.now { fire() }
        arm()
    }
}
