// Ctrl-C as a flag that loops look at, so that a command ends between two records and not inside one.

import Glibc
import Synchronization

enum Interrupt {
    private static let seen = Atomic<Bool>(false)

    static var isSeen: Bool { seen.load(ordering: .relaxed) }

    /// The first Ctrl-C (or TERM) sets the flag; the second ends the process the usual way.
    static func watch() {
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                Interrupt.seen.store(true, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }
}
