// Lines for standard output, gathered so that a million of them are not a million system calls.

import NIOCore

struct LineOutput {
    private var pending = ByteBuffer()

    private static let flushBytes = 1 << 16

    mutating func add(_ line: String) {
        pending.writeString(line)
        pending.writeInteger(UInt8(ascii: "\n"))
    }

    /// - Throws: as `writeToStandardOutput`.
    mutating func flushIfLarge() throws {
        if pending.readableBytes >= Self.flushBytes { try flush() }
    }

    /// - Throws: as `writeToStandardOutput`.
    mutating func flush() throws {
        defer { pending.clear() }
        try writeToStandardOutput(pending)
    }
}
