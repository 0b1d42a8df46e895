// Bytes in and out of a command: whole lines of stdin as they come, and records to stdout without a copy through
// String.

import Glibc
import NIOCore

/// Reads fd 0 and hands out whole lines. One read gives one batch, so that typed lines go out at once and files in
/// bulk.
struct LineReader {
    private var rest = ByteBuffer()
    private var isAtEnd = false

    /// The next lines, without their line ends; nil at the end of the input.
    mutating func next() -> [ByteBuffer]? {
        while !isAtEnd {
            let count = rest.writeWithUnsafeMutableBytes(minimumWritableBytes: 262_144) { room in
                max(0, read(0, room.baseAddress, room.count))
            }
            isAtEnd = count == 0
            let lines = takeLines()
            if !lines.isEmpty { return lines }
        }
        return nil
    }

    private mutating func takeLines() -> [ByteBuffer] {
        var lines: [ByteBuffer] = []
        while let end = rest.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
            guard var line = rest.readSlice(length: end - rest.readerIndex) else { break }
            rest.moveReaderIndex(forwardBy: 1)
            if line.readableBytesView.last == UInt8(ascii: "\r") { line.moveWriterIndex(to: line.writerIndex - 1) }
            lines.append(line)
        }
        if isAtEnd, rest.readableBytes > 0 {
            lines.append(rest)
            rest = ByteBuffer()
        }
        return lines
    }
}

/// Writes all of `buffer` to stdout. False when nobody reads any more, as after `| head`.
func writeToStandardOutput(_ buffer: ByteBuffer) -> Bool { writeAll(buffer, to: 1) }

func printToStandardError(_ text: String) { _ = writeAll(ByteBuffer(string: text + "\n"), to: 2) }

private func writeAll(_ buffer: ByteBuffer, to descriptor: Int32) -> Bool {
    buffer.withUnsafeReadableBytes { bytes in
        var sent = 0
        while sent < bytes.count {
            let count = write(descriptor, bytes.baseAddress?.advanced(by: sent), bytes.count - sent)
            if count < 0 {
                guard errno == EINTR else { return false }
                continue
            }
            sent += count
        }
        return true
    }
}
