// One process per data directory.

import CPosix
import Glibc
import Storage

/// Held for the life of the process. The kernel lets go of it however the process ends, so a stale lock cannot be.
package final class DirectoryLock: Sendable {
    private let file: OpenFile

    /// Makes the directory where it is missing and takes its lock, or throws one sentence for the operator.
    package init(dataDirectory: String) throws(StartError) {
        let path = dataDirectory + "/.lock"
        do throws(DiskError) {
            try makeDirectories(dataDirectory)
            // The name of the directory itself must survive what is later made durable in it.
            try check(syncDirectory(parentDirectory(of: dataDirectory)), dataDirectory)
            let descriptor = posix_open_file(path, 1, 0)
            try check(descriptor, path)
            file = OpenFile(descriptor: descriptor)
        } catch {
            throw StartError("cannot use the data directory \(dataDirectory): \(error.sentence)")
        }
        let status = posix_lock_exclusive(file.descriptor)
        guard status == 0 else {
            guard status == -EWOULDBLOCK else {
                throw StartError("cannot lock \(path): \(reason(errno: -status))")
            }
            throw StartError(
                "another process uses the data directory \(dataDirectory)\(Self.holder(of: file)): "
                    + "stop it, or start this node with another directory")
        }
        // For people only: who holds it.
        let text = "\(getpid())\n"
        _ = posix_truncate(file.descriptor, 0)
        _ = Array(text.utf8).withUnsafeBytes { posix_write_both(file.descriptor, nil, 0, $0.baseAddress, $0.count, 0) }
    }

    private static func holder(of file: OpenFile) -> String {
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = bytes.withUnsafeMutableBytes { posix_read_at(file.descriptor, $0.baseAddress, $0.count, 0) }
        guard count > 0,
            let process = Int32(String(decoding: bytes.prefix(Int(count)).prefix { $0 != 10 }, as: UTF8.self))
        else { return "" }
        return " (process \(process))"
    }
}

/// Why a node does not start, in one sentence for the operator.
package struct StartError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ sentence: String) { description = sentence }
}

extension DiskError {
    /// In words, with the path.
    var sentence: String {
        switch self {
        case .notFound(let path): "\(path) is not there"
        case .noSpace(let path): "no space is left on the disk of \(path)"
        case .readOnly(let path): "\(path) lies on a read-only file system"
        case .pastEnd(let path): "\(path) ends too early"
        case .failed(let path, let number): "\(path): \(reason(errno: number))"
        }
    }
}
