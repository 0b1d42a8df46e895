// Names the input under way when it traps: the handler only writes bytes that stand ready.

import Foundation

enum TrapNotice {
    // Written by the one test that runs (the suite is serialized), read by the handler after it has stopped.
    nonisolated(unsafe) private static let text = UnsafeMutablePointer<UInt8>.allocate(capacity: 400)
    nonisolated(unsafe) private static var count = 0

    static func set(_ name: String) {
        let line = Array("\nthe input that trapped: \(name)\n".utf8.prefix(400))
        text.update(from: line, count: line.count)
        count = line.count
    }

    static func write() { _ = Foundation.write(2, text, count) }
}

func installTrapNotice() {
    for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
        signal(number) { number in
            TrapNotice.write()
            signal(number, SIG_DFL)
            raise(number)
        }
    }
}
