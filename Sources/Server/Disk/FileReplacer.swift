// Replacing whole files atomically, one after another for each path.

import CPosix
import Glibc
import NIOConcurrencyHelpers
import NIOCore
import Storage

/// Two replacements of one file on two threads could end in the wrong order, and the older contents win. So those of
/// one path run in the order they were asked for, while different paths run in parallel.
final class FileReplacer: Sendable {
    private typealias Job = @Sendable () -> Void

    private let pool: FlusherPool
    private let reserve: SpaceReserve?
    /// Paths with a replacement under way, and the jobs that wait behind it.
    private let busy = NIOLockedValueBox<[String: [Job]]>([:])

    init(pool: FlusherPool, reserve: SpaceReserve?) {
        self.pool = pool
        self.reserve = reserve
    }

    func replace(path: String, contents: ByteBuffer, completed: @escaping @Sendable (FlushResult) -> Void) {
        let reserve = reserve
        let job: Job = {
            do throws(DiskError) {
                try reserve.retrying { () throws(DiskError) in try writeAndRename(path: path, contents: contents) }
                completed(.done)
            } catch {
                completed(.failed(error))
            }
        }
        let mustWait = busy.withLockedValue { busy in
            if busy[path] != nil {
                busy[path]?.append(job)
                return true
            }
            busy[path] = []
            return false
        }
        if !mustWait { pool.run { self.runAll(of: path, from: job) } }
    }

    /// The same, waited for, behind whatever is under way for the path.
    func replaceNow(path: String, contents: ByteBuffer) throws(DiskError) {
        let outcome = ConditionLock<Int>(value: 0)
        let result = NIOLockedValueBox<FlushResult>(.done)
        replace(path: path, contents: contents) { reported in
            result.withLockedValue { $0 = reported }
            outcome.lock()
            outcome.unlock(withValue: 1)
        }
        outcome.lock(whenValue: 1)
        outcome.unlock()
        if case .failed(let error) = result.withLockedValue({ $0 }) { throw error }
    }

    private func runAll(of path: String, from first: @escaping Job) {
        var next: Job? = first
        while let job = next {
            job()
            next = busy.withLockedValue { busy in
                if let waiting = busy[path], !waiting.isEmpty { return busy[path]?.removeFirst() }
                busy[path] = nil
                return nil
            }
        }
    }
}

/// Temporary file, sync, rename, sync of the directory: after a loss of power the path holds the old contents or the
/// new.
private func writeAndRename(path: String, contents: ByteBuffer) throws(DiskError) {
    let temporary = path + ".tmp"
    let descriptor = posix_open_file(temporary, 1, 1)
    try check(descriptor, temporary)
    let file = OpenFile(descriptor: descriptor)
    do throws(DiskError) {
        let written = contents.withUnsafeReadableBytes {
            posix_write_both(file.descriptor, nil, 0, $0.baseAddress, $0.count, 0)
        }
        try check(written, temporary)
        try check(posix_sync_directory(file.descriptor), temporary)
        if rename(temporary, path) != 0 { throw DiskError(path: path, status: -errno) }
        try check(syncDirectory(parentDirectory(of: path)), path)
    } catch {
        unlink(temporary)
        throw error
    }
}

func parentDirectory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}
