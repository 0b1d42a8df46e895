// What the loops step: the Broker's two halves, named as the shell needs them, so that tests can put others in their
// place.

import Broker
import Model

package protocol ShardMachine: AnyObject {
    func step(_ input: ShardInput, at reading: ClockReading, into effects: inout [ShardEffect])
    var nextDeadline: Instant { get }
}

package protocol ControlMachine: AnyObject {
    func step(_ input: ControlInput, at reading: ClockReading, into effects: inout [ControlEffect])
    var nextDeadline: Instant { get }
}

extension Shard: ShardMachine {}
extension Control: ControlMachine {}

/// What a runner tells the process.
package struct ProcessHooks: Sendable {
    package var log: @Sendable (LogLine) -> Void
    package var halt: @Sendable (String) -> Void
    package var ready: @Sendable () -> Void
    package var stopped: @Sendable () -> Void

    package init(
        log: @escaping @Sendable (LogLine) -> Void, halt: @escaping @Sendable (String) -> Void,
        ready: @escaping @Sendable () -> Void = {}, stopped: @escaping @Sendable () -> Void = {}
    ) {
        self.log = log
        self.halt = halt
        self.ready = ready
        self.stopped = stopped
    }
}
