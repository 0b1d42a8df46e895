// Names the seed when a precondition of the broker ends the process: a trap is a failure like any other, and needs its
// seed.

import Glibc

/// Read by the signal handler, written by the only thread before each seed.
nonisolated(unsafe) private var currentSeed: UInt64 = 0

struct TrapNotice {
    init() {
        for number in [SIGILL, SIGTRAP, SIGSEGV, SIGABRT] {
            signal(number) { number in
                // Only calls that are safe in a handler: digits by hand, and write.
                var digits: (UInt8, UInt8) = (0, 10)
                var scale: UInt64 = 1
                while currentSeed / scale >= 10 { scale *= 10 }
                "martlet-sim: trapped in seed ".utf8CString.withUnsafeBytes {
                    _ = write(2, $0.baseAddress, $0.count - 1)
                }
                while scale > 0 {
                    digits.0 = UInt8(ascii: "0") + UInt8(currentSeed / scale % 10)
                    _ = write(2, &digits.0, 1)
                    scale /= 10
                }
                _ = write(2, &digits.1, 1)
                signal(number, SIG_DFL)
                raise(number)
            }
        }
    }

    func note(_ seed: UInt64) { currentSeed = seed }
}
