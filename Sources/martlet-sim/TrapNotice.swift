// Names the seed when a precondition of the broker ends the process: a trap is a failure like any other, and needs its
// seed.

import Glibc

/// Read by the signal handler, written by the only thread before each seed.
nonisolated(unsafe) private var currentSeed: UInt64 = 0
/// What is counted, read and written likewise.
nonisolated(unsafe) private var counted: StaticString = "seed"

private func say(_ text: StaticString) { _ = write(2, text.utf8Start, text.utf8CodeUnitCount) }

struct TrapNotice {
    init(_ what: StaticString = "seed") {
        counted = what
        for number in [SIGILL, SIGTRAP, SIGSEGV, SIGABRT] {
            signal(number) { number in
                // Only calls that are safe in a handler: digits by hand, and write.
                var digits: (UInt8, UInt8) = (0, 10)
                var scale: UInt64 = 1
                while currentSeed / scale >= 10 { scale *= 10 }
                say("martlet-sim: trapped in ")
                say(counted)
                say(" ")
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
