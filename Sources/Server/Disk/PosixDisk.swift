// The disk of a running node: the file system, as Storage's contract wants it.

import CPosix
import Glibc
import NIOCore
import Storage

/// Owned by one event loop. Paths are relative to the root, or as they stand when the root is empty. Barriers run on a
/// `FlusherPool`, whose threads call `deliver` with each ticket's outcome. Temporary files of replacements end in
/// `.tmp` and may be left by a crash.
package final class PosixDisk: Disk {
    /// Unsynced bytes of one file after which their write-back begins, also where nobody asks for a sync.
    private static let writeBackBytes = 8 << 20

    /// A file of this size is freed by another thread.
    private static let freedElsewhereBytes: Int64 = 1 << 20
    /// Of one directory: each needs a descriptor until then.
    private static let freedElsewhereMax = 64

    /// A file that has grown to this size has blocks taken ahead of its end: a quarter of its size, within bounds. A
    /// block at a time, the file system takes them for half as much CPU again as the copying of the bytes costs.
    private static let roomFromBytes: Int64 = 1 << 20
    private static let roomBytes: ClosedRange<Int64> = 1 << 20...16 << 20
    /// Of a disk that has less than so many times the room, none is taken: somebody may need it now.
    private static let roomsLeftFree: Int64 = 64

    private let root: String
    private let flushers: FlusherPool
    private let readers: FlusherPool
    private let replacer: FileReplacer
    private let remover: TreeRemover
    private let deliver: @Sendable (FlushTicket, FlushResult) -> Void
    private var table: FileTable
    private let reserve: SpaceReserve?
    private let holdsRecords: Bool

    /// Told before a file gets shorter, so that connections that still send from behind the cut can be closed.
    package var willTruncate: ((FileHandle, Int64) -> Void)?

    /// With a `reserve` a full disk still takes what is not records: names, replacements, and all contents of a disk
    /// that does not hold records.
    package init(
        root: String, flushers: FlusherPool, readers: FlusherPool? = nil, openFilesMax: Int,
        reserve: SpaceReserve? = nil, holdsRecords: Bool = true,
        deliver: @escaping @Sendable (FlushTicket, FlushResult) -> Void
    ) {
        self.reserve = reserve
        self.holdsRecords = holdsRecords
        self.root = root
        self.flushers = flushers
        self.readers = readers ?? flushers
        self.deliver = deliver
        remover = TreeRemover(pool: flushers)
        replacer = FileReplacer(pool: flushers, reserve: reserve)
        table = FileTable(root: root, descriptorsMax: openFilesMax)
    }

    /// Descriptors held for files that are not in use at this moment. For tests and metrics.
    package var cachedDescriptorCount: Int { table.descriptorCount }

    // MARK: Names

    /// Among records a new directory is a new partition. It can wait for space; all of a topic's could take what the
    /// metadata must live on.
    package func createDirectory(_ path: String) throws(DiskError) {
        if holdsRecords, let reserve {
            guard access(absolute(path), F_OK) != 0 else { return }
            guard reserve.isWhole() else { throw .noSpace(path) }
            return try makeDirectories(absolute(path))
        }
        try reserve.retrying { () throws(DiskError) in try makeDirectories(absolute(path)) }
    }

    package func list(_ directory: String) throws(DiskError) -> [String] {
        do {
            return try namesIn(absolute(directory)).sorted()
        } catch .notFound {
            return []
        }
    }

    package func rename(_ path: String, to newPath: String) throws(DiskError) {
        if Glibc.rename(absolute(path), absolute(newPath)) != 0 { throw DiskError(path: path, status: -errno) }
        table.renamed(path, to: newPath)
    }

    package func remove(_ path: String) throws(DiskError) {
        var held: [Int32] = []
        // Only the names go here.
        defer { flushers.close(held) }
        try removeTree(absolute(path)) { path in
            guard held.count < Self.freedElsewhereMax else { return }
            let descriptor = posix_open_file(path, 0, 0)
            guard descriptor >= 0 else { return }
            if posix_size(descriptor) >= Self.freedElsewhereBytes {
                held.append(descriptor)
            } else {
                Glibc.close(descriptor)
            }
        }
        table.removed(path)
    }

    /// Its name goes here. To free what lies in it costs the kernel a millisecond or more for each file where the file
    /// system tells the device of freed blocks, and a topic has thousands.
    package func discard(_ directory: String, as newPath: String) throws(DiskError) {
        let status = Glibc.rename(absolute(directory), absolute(newPath))
        if status != 0 { throw DiskError(path: directory, status: -errno) }
        remover.remove(absolute(newPath))
    }

    // MARK: Files

    package func open(_ path: String, create: Bool) throws(DiskError) -> FileHandle {
        let descriptor = try reserve.retrying { () throws(DiskError) in
            let descriptor = posix_open_file(absolute(path), create ? 1 : 0, 0)
            try check(descriptor, path)
            return descriptor
        }
        return table.insert(path: path, file: OpenFile(descriptor: descriptor))
    }

    package func close(_ file: FileHandle) {
        if table.roomEnd(of: file) > 0, table.unlinkedFile(of: file) == nil { releaseRoom(of: file) }
        // The last descriptor of a removed file is closed by another thread.
        var last: Int32 = -1
        if let open = table.unlinkedFile(of: file), posix_size(open.descriptor) >= Self.freedElsewhereBytes {
            last = dup(open.descriptor)
        }
        table.close(file)
        if last >= 0 { flushers.close([last]) }
    }

    package func sizeBytes(of file: FileHandle) throws(DiskError) -> Int64 {
        let size = posix_size(try table.use(file).descriptor)
        if size < 0 { throw DiskError(path: table.path(of: file), status: Int32(size)) }
        return size
    }

    package func write(_ head: ByteBuffer, _ body: ByteBuffer, to file: FileHandle, at position: Int64)
        throws(DiskError)
    {
        let open = try table.use(file)
        let path = table.path(of: file)
        if holdsRecords, let reserve, !reserve.isWhole() { throw .noSpace(path) }
        try (holdsRecords ? nil : reserve).retrying { () throws(DiskError) in
            let status = head.withUnsafeReadableBytes { head in
                body.withUnsafeReadableBytes { body in
                    posix_write_both(
                        open.descriptor, head.baseAddress, head.count, body.baseAddress, body.count, position)
                }
            }
            try check(status, path)
        }
        let byteCount = head.readableBytes + body.readableBytes
        makeRoom(in: file, open, end: position + Int64(byteCount))
        if table.countWritten(byteCount, to: file, limit: Self.writeBackBytes) {
            // From the start of the file: pages that are clean already cost nothing.
            flushers.beginWriteBack(open, from: 0, sizeBytes: position + Int64(byteCount))
        }
    }

    private func makeRoom(in file: FileHandle, _ open: OpenFile, end: Int64) {
        guard end >= Self.roomFromBytes, end > table.roomEnd(of: file) else { return }
        let room = min(max(end / 4, Self.roomBytes.lowerBound), Self.roomBytes.upperBound)
        // Where there is none, or the file system cannot, the next bytes take their blocks themselves.
        _ = posix_make_room(open.descriptor, end, room, room * Self.roomsLeftFree)
        table.setRoomEnd(of: file, end + room)
    }

    package func releaseRoom(of file: FileHandle) {
        guard let open = try? table.use(file) else { return }
        let size = posix_size(open.descriptor)
        // Also where this process took none: one before it may have. A cut to the size that it has frees what lies
        // behind, and no byte.
        if size >= Self.roomFromBytes { _ = posix_truncate(open.descriptor, size) }
        table.setRoomEnd(of: file, 0)
    }

    package func read(_ file: FileHandle, at position: Int64, length: Int) throws(DiskError) -> ByteBuffer {
        let open = try table.use(file)
        var buffer = ByteBufferAllocator().buffer(capacity: length)
        var outcome: Int64 = 0
        _ = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { space in
            outcome = posix_read_at(open.descriptor, space.baseAddress, length, position)
            return max(0, Int(outcome))
        }
        if outcome < 0 { throw DiskError(path: table.path(of: file), status: Int32(outcome)) }
        if outcome < Int64(length) { throw .pastEnd(table.path(of: file)) }
        return buffer
    }

    package func isCached(_ file: FileHandle, at position: Int64, length: Int) -> Bool {
        // Where it cannot be opened, the reading says so.
        guard let open = try? table.use(file) else { return true }
        return posix_is_cached(open.descriptor, position, Int64(length)) != 0
    }

    package func bringIn(_ ticket: FlushTicket, _ ranges: [FileRange]) {
        let deliver = deliver
        let ranges = ranges.map { FileRange(path: absolute($0.path), position: $0.position, length: $0.length) }
        readers.run {
            for range in ranges { posix_bring_in(range.path, range.position, Int64(range.length)) }
            deliver(ticket, .done)
        }
    }

    package func truncate(_ file: FileHandle, to sizeBytes: Int64) throws(DiskError) {
        let open = try table.use(file)
        willTruncate?(file, sizeBytes)
        table.setRoomEnd(of: file, 0)
        try check(posix_truncate(open.descriptor, sizeBytes), table.path(of: file))
    }

    package func forgetCached(_ file: FileHandle, at position: Int64, length: Int) {
        guard let open = try? table.use(file) else { return }
        // Advice only: where it fails, the scrub reads what is in memory.
        _ = posix_fadvise(open.descriptor, off_t(position), off_t(length), POSIX_FADV_DONTNEED)
    }

    // MARK: Barriers

    package func flush(_ ticket: FlushTicket, files: [FileHandle], directories: [String]) {
        let deliver = deliver
        do throws(DiskError) {
            let open = try use(files)
            flushers.flush(files: open, directories: directories.map(absolute)) { deliver(ticket, $0) }
        } catch {
            deliver(ticket, .failed(error))
        }
    }

    package func replace(_ ticket: FlushTicket, path: String, contents: ByteBuffer) {
        let deliver = deliver
        replacer.replace(path: absolute(path), contents: contents) { deliver(ticket, $0) }
    }

    package func flushNow(files: [FileHandle], directories: [String]) throws(DiskError) {
        for (file, open) in zip(files, try use(files)) {
            try check(posix_sync_file(open.descriptor), table.path(of: file))
        }
        for directory in directories {
            try check(syncDirectory(absolute(directory)), directory)
        }
    }

    package func replaceNow(path: String, contents: ByteBuffer) throws(DiskError) {
        try replacer.replaceNow(path: absolute(path), contents: contents)
    }

    // MARK: Slices on their way out

    /// The descriptor behind a slice's file, to be held until the slice has left. Effects are carried out after their
    /// step: when the same step removed the file, that is an error here and not the step's fault.
    func openFile(for slice: LogSlice) throws(DiskError) -> OpenFile {
        guard table.isOpen(slice.file) else { throw .notFound("a log file that was just removed") }
        return try table.use(slice.file)
    }

    private func use(_ files: [FileHandle]) throws(DiskError) -> [OpenFile] {
        var open: [OpenFile] = []
        open.reserveCapacity(files.count)
        for file in files {
            open.append(try table.use(file))
            table.resetWritten(file)
        }
        return open
    }

    private func absolute(_ path: String) -> String { absolutePath(path, in: root) }
}
