// Bytes in and out of a command: whole lines as they come, and records to stdout without a copy through String.

import Glibc
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// Lines of standard input or of a file, read on a thread that may block.
final class LineSource: Sendable {
    /// A person types: nothing else may be drawn between the lines.
    let isTerminal: Bool
    /// Of a file; nil for a pipe.
    let sizeBytes: Int?
    private let reader: NIOLockedValueBox<LineReader>
    /// As large as a request may be by default.
    static let lineBytesMax = 100 << 20

    /// - Parameter path: nil or "-" is standard input.
    init(path: String?) throws {
        var descriptor: Int32 = 0
        if let path, path != "-" {
            descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else {
                throw CommandFailure("cannot read \(path): \(String(cString: strerror(errno)))")
            }
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, fcntl(descriptor, F_GETFL) & O_ACCMODE != O_WRONLY else {
            throw CommandFailure("there is no input to read: standard input is closed")
        }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw CommandFailure("\(path ?? "-") is a directory") }
        sizeBytes = status.st_mode & S_IFMT == S_IFREG ? Int(status.st_size) : nil
        isTerminal = isatty(descriptor) == 1
        reader = NIOLockedValueBox(LineReader(descriptor: descriptor))
    }

    /// The next lines, without their line ends; nil at the end of the input, after Ctrl-C, and when nobody wants more.
    /// Throws `CommandFailure` for a line that no record can hold.
    func next(while isWanted: @escaping @Sendable () -> Bool) async throws -> [ByteBuffer]? {
        try await NIOSingletons.posixBlockingThreadPool.runIfActive { [reader] in
            try reader.withLockedValue { try $0.next(while: isWanted) }
        }
    }
}

/// One read gives one batch of lines, so that typed lines go out at once and files in bulk.
private struct LineReader {
    let descriptor: Int32
    private var rest = ByteBuffer()
    private var isAtEnd = false
    private static let chunkBytes = 262_144
    /// How often Ctrl-C is looked for while nothing comes.
    private static let lookMs: Int32 = 100

    init(descriptor: Int32) { self.descriptor = descriptor }

    mutating func next(while isWanted: () -> Bool) throws -> [ByteBuffer]? {
        while !isAtEnd {
            if Interrupt.isSeen || !isWanted() { return nil }
            guard rest.readableBytes <= LineSource.lineBytesMax else {
                throw CommandFailure(
                    "a line is longer than \(LineSource.lineBytesMax) bytes, more than any record may have")
            }
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&waiting, 1, Self.lookMs) == 0 { continue }
            let searchFrom = rest.writerIndex
            let count = rest.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.chunkBytes) { room in
                max(0, read(descriptor, room.baseAddress, room.count))
            }
            isAtEnd = count == 0
            let lines = takeLines(searchFrom: searchFrom)
            if !lines.isEmpty { return lines }
        }
        return nil
    }

    /// No line ends before `searchFrom`.
    private mutating func takeLines(searchFrom: Int) -> [ByteBuffer] {
        var lines: [ByteBuffer] = []
        var from = searchFrom
        while let end = rest.indexOfNewline(from: from) {
            guard let line = rest.readSlice(length: end - rest.readerIndex) else { break }
            rest.moveReaderIndex(forwardBy: 1)
            from = rest.readerIndex
            lines.append(line)
        }
        if isAtEnd, rest.readableBytes > 0 {
            lines.append(rest)
            rest = ByteBuffer()
        }
        return lines
    }
}

extension ByteBuffer {
    fileprivate func indexOfNewline(from index: Int) -> Int? {
        withUnsafeReadableBytes { bytes in
            let start = index - readerIndex
            guard let base = bytes.baseAddress, start < bytes.count,
                let found = memchr(base + start, Int32(UInt8(ascii: "\n")), bytes.count - start)
            else { return nil }
            return readerIndex + (UnsafeRawPointer(found) - base)
        }
    }
}

/// Gives a standard stream that the caller closed a descriptor of its own, which can only fail. Without it the first
/// socket or file of the process would have its number, and get what is printed.
func reserveStandardStreams() {
    for (descriptor, mode) in [(Int32(0), O_WRONLY), (1, O_RDONLY), (2, O_RDWR)] {
        // The lowest free number is given, and those below are taken by now.
        if fcntl(descriptor, F_GETFD) < 0 { _ = open("/dev/null", mode) }
    }
}

/// Writes all of `buffer` to stdout.
/// - Throws: `OutputClosed` when nobody reads any more, as after `| head`; `CommandFailure` when it cannot be written.
func writeToStandardOutput(_ buffer: ByteBuffer) throws {
    switch writeAll(buffer, to: 1) {
    case 0: return
    case EPIPE: throw OutputClosed()
    case let number: throw CommandFailure("cannot write the output: \(String(cString: strerror(number)))")
    }
}

/// Whether whoever read stdout has gone away. A pipe tells so without being written to.
func isStandardOutputClosed() -> Bool {
    var output = pollfd(fd: 1, events: 0, revents: 0)
    return poll(&output, 1, 0) > 0 && output.revents & Int16(POLLERR) != 0
}

func printToStandardError(_ text: String) { writeToStandardError(text + "\n") }

func writeToStandardError(_ text: String) { _ = writeAll(ByteBuffer(string: text), to: 2) }

/// 0, or the error number of the write that failed.
private func writeAll(_ buffer: ByteBuffer, to descriptor: Int32) -> Int32 {
    buffer.withUnsafeReadableBytes { bytes in
        var sent = 0
        while sent < bytes.count {
            let count = write(descriptor, bytes.baseAddress?.advanced(by: sent), bytes.count - sent)
            if count < 0 {
                guard errno == EINTR else { return errno }
                continue
            }
            sent += count
        }
        return 0
    }
}
