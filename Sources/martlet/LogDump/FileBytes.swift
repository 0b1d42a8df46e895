// A file that is read and never written, so that it can be looked at beside a running node.

import Glibc
import NIOCore

final class FileBytes {
    let path: String
    private let descriptor: Int32
    private var window = ByteBuffer()
    private var windowStart: Int64 = 0

    private static let windowBytes = 1 << 20

    /// - Throws: `CommandFailure`.
    init(_ path: String) throws {
        self.path = path
        // A FIFO without a writer would hold up a plain open for ever.
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw CommandFailure("cannot read \(path): \(String(cString: strerror(errno)))") }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw CommandFailure("\(path) is no file: name a segment, or a directory of them")
        }
    }

    deinit { close(descriptor) }

    /// As it is now; a running node appends.
    var sizeBytes: Int64 {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int64(status.st_size) : 0
    }

    /// `count` bytes from `position` on; nil where the file ends before, or cannot be read.
    func bytes(at position: Int64, count: Int) -> ByteBuffer? {
        guard position >= 0, count >= 0 else { return nil }
        let skipped = position - windowStart
        if skipped < 0 || skipped + Int64(count) > Int64(window.readableBytes) {
            fill(from: position, atLeast: count)
        }
        return window.getSlice(at: window.readerIndex + Int(position - windowStart), length: count)
    }

    private func fill(from position: Int64, atLeast count: Int) {
        windowStart = position
        window = ByteBuffer()
        let wanted = max(count, Self.windowBytes)
        window.reserveCapacity(min(wanted, Int(clamping: max(0, sizeBytes - position))))
        while window.readableBytes < wanted {
            let at = position + Int64(window.readableBytes)
            let rest = wanted - window.readableBytes
            let got = window.writeWithUnsafeMutableBytes(minimumWritableBytes: 1) { room in
                max(0, pread(descriptor, room.baseAddress, min(room.count, rest), off_t(at)))
            }
            if got == 0 { return }
        }
    }
}
