// Lines for standard output, gathered so that a million of them are not a million system calls.

import NIOCore

struct LineOutput {
    private var pending = ByteBuffer()

    private static let flushBytes = 1 << 16

    mutating func add(_ line: String) {
        pending.writeString(line)
        pending.writeInteger(UInt8(ascii: "\n"))
    }

    /// - Throws: `OutputClosed`.
    mutating func flushIfLarge() throws {
        if pending.readableBytes >= Self.flushBytes { try flush() }
    }

    /// - Throws: `OutputClosed`.
    mutating func flush() throws {
        let isRead = writeToStandardOutput(pending)
        pending.clear()
        guard isRead else { throw OutputClosed() }
    }
}
