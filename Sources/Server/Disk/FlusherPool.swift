// The threads that wait for the disk, so that no event loop does.

import CPosix
import Glibc
import NIOConcurrencyHelpers
import NIOPosix
import Storage

/// Syncs files in parallel: one slow file holds up one thread, not the others' tickets. Control has a pool of its own,
/// because the quorum's vote must not stand in a queue behind the partitions' data.
package final class FlusherPool: Sendable {
    private let threads: NIOThreadPool

    package init(threadCount: Int) {
        threads = NIOThreadPool(numberOfThreads: max(1, threadCount))
        threads.start()
    }

    /// Ends the threads when what was submitted is done. Blocking.
    package func shutdown() {
        try? threads.syncShutdownGracefully()
    }

    deinit {
        // What was submitted still runs; the threads end behind it.
        threads.shutdownGracefully { _ in }
    }

    /// Makes files and directories durable; `completed` is called once, on one of the threads.
    func flush(files: [OpenFile], directories: [String], completed: @escaping @Sendable (FlushResult) -> Void) {
        let partCount = files.count + directories.count
        if partCount == 0 { return run { completed(.done) } }
        let barrier = Barrier(partCount: partCount, completed: completed)
        for file in files {
            run { barrier.finish(posix_sync_file(file.descriptor), "a log file") }
        }
        for directory in directories {
            run { barrier.finish(syncDirectory(directory), directory) }
        }
    }

    /// Starts writing a file's dirty pages, so that the next sync finds little to do and dirty memory stays bounded.
    func beginWriteBack(_ file: OpenFile, from position: Int64, sizeBytes: Int64) {
        // A failure is of no account here: the same pages' sync will report it.
        run { _ = posix_begin_write_back(file.descriptor, position, sizeBytes) }
    }

    /// Closes the last descriptors of files without a name: only then does the kernel free what they hold, which takes
    /// it a millisecond for each two or three megabytes.
    func close(_ descriptors: [Int32]) {
        if descriptors.isEmpty { return }
        // Also when the pool is being shut down.
        threads.submit { _ in
            for descriptor in descriptors { Glibc.close(descriptor) }
        }
    }

    func run(_ work: @escaping @Sendable () -> Void) {
        threads.submit { state in
            if case .active = state { work() }
        }
    }

    /// Counts the parts of one ticket down and keeps the first failure.
    private final class Barrier: Sendable {
        private struct State {
            var remaining: Int
            var failure: DiskError?
        }

        private let state: NIOLockedValueBox<State>
        private let completed: @Sendable (FlushResult) -> Void

        init(partCount: Int, completed: @escaping @Sendable (FlushResult) -> Void) {
            state = NIOLockedValueBox(State(remaining: partCount))
            self.completed = completed
        }

        func finish(_ status: Int32, _ name: String) {
            let result: FlushResult? = state.withLockedValue { state in
                if status < 0, state.failure == nil { state.failure = DiskError(path: name, status: status) }
                state.remaining -= 1
                guard state.remaining == 0 else { return nil }
                return state.failure.map { .failed($0) } ?? .done
            }
            if let result { completed(result) }
        }
    }
}

/// 0, or a negative errno.
func syncDirectory(_ path: String) -> Int32 {
    let descriptor = posix_open_directory(path)
    guard descriptor >= 0 else { return descriptor }
    let directory = OpenFile(descriptor: descriptor)
    return withExtendedLifetime(directory) { posix_sync_directory(descriptor) }
}
