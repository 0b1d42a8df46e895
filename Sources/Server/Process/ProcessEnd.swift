// How a node's process ends: by a signal, by the node's own decision, or by both.

import CPosix
import Glibc
import NIOConcurrencyHelpers

/// The starting thread waits here while the loops work. One a process, because signals are the process's.
final class ProcessEnd: Sendable {
    private let code = NIOLockedValueBox<Int32?>(nil)
    private let signals: Int32

    init() throws(StartError) {
        signals = posix_catch_stop_signals()
        if signals < 0 { throw StartError("signals cannot be caught: \(reason(errno: -signals))") }
    }

    /// Ends the wait with an exit code. The first one counts.
    func decide(_ code: Int32) {
        self.code.withLockedValue { $0 = $0 ?? code }
        posix_wake_signal_reader()
    }

    /// Waits for the exit code; meanwhile a signal asks for a stop by its name.
    func wait(stop: (String) -> Void) -> Int32 {
        while true {
            switch posix_next_signal(signals) {
            case SIGTERM: stop("SIGTERM")
            case SIGINT: stop("SIGINT")
            case 0:
                if let code = code.withLockedValue({ $0 }) { return code }
            default:
                return 1
            }
        }
    }
}
