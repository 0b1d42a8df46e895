// The node's clocks. The only place that reads them.

import Glibc
import Model
import NIOCore

enum NodeClock {
    static var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

    static func read() -> ClockReading {
        ClockReading(now: now, wallMs: wallMs())
    }

    static func wallMs() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}

extension Instant {
    /// The same point for NIO's timers. Instants come from NIO's own clock, so both count alike.
    var deadline: NIODeadline { .uptimeNanoseconds(UInt64(clamping: nanoseconds)) }
}
