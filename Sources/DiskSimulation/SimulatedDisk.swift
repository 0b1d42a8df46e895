// A disk in memory that forgets what it may forget, for StorageTests and the Simulation.

import Model
import NIOCore
import Storage

/// Keeps for each file and each name what is visible and what is on the medium; only a completed barrier moves the one
/// to the other, and then only what was written before the barrier was asked for. Barriers complete when the simulator
/// says so. All lots are drawn from seeds.
package final class SimulatedDisk: Disk {
    struct Barrier {
        enum Kind {
            case flush(files: [SimulatedFile], directories: [String])
            /// With the number of the directory that had this path when it was asked for.
            case replace(path: String, contents: [UInt8], directory: Int?)
            case bringIn
        }

        var ticket: FlushTicket
        /// The barrier covers operations up to this one.
        var sequence: UInt64
        var kind: Kind
    }

    /// Operations that change something, counted from the start: the points at which a crash can happen.
    package private(set) var operationCount = 0
    /// After so many more changes every further one is ignored without a word, and `isCrashed` is true. Reads still
    /// answer.
    package var operationsUntilCrash: Int?
    package private(set) var isCrashed = false

    /// The next write throws this and leaves any part of itself.
    package var failNextWrite: DiskError?
    /// The next barrier to complete fails: what it covered stays readable and is lost with the power.
    package var failNextFlush: DiskError?
    package var failNextRead: DiskError?
    /// Of so many looks whether bytes are in memory, one says that they are not; 0: none does.
    package var coldOneIn: Int64 = 0
    /// Its memory forgets what it likes.
    package var trustedTailBytes: Int64 = 0
    /// All files together hold at most this much; nil: no limit.
    package var capacityBytes: Int64?
    /// New files whose path ends so cannot be made, nor replaced: there is no space for their names.
    package var noSpaceForNamesEndingIn: String?

    private var names = SimulatedNames()
    private var files: [SimulatedFile] = []
    private var handles: [UInt64: SimulatedFile] = [:]
    private var nextHandle: UInt64 = 1
    private var sequence: UInt64 = 0
    private var barriers: [Barrier] = []
    private var unannounced: [FlushTicket] = []
    /// The youngest replacement that took effect, by path.
    private var replaced: [String: UInt64] = [:]
    private var random: SeededRandom
    private var coldRandom: SeededRandom

    package init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        coldRandom = SeededRandom(seed: seed ^ 0x43_4F4C_44)
    }

    // MARK: Names

    package func createDirectory(_ path: String) throws(DiskError) {
        var path = path
        var missing: [String] = []
        while !path.isEmpty, names[path] == nil {
            missing.append(path)
            path = SimulatedNames.directory(of: path)
        }
        guard !missing.isEmpty, begin() else { return }
        for path in missing.reversed() { names.makeDirectory(path, sequence) }
    }

    package func list(_ directory: String) throws(DiskError) -> [String] {
        names.names(in: directory)
    }

    package func rename(_ path: String, to newPath: String) throws(DiskError) {
        guard names[path] != nil else { throw .notFound(path) }
        guard !names.isDirectory(newPath) || names.names(in: newPath).isEmpty else {
            throw .failed("\(newPath) is not empty", errno: 39)
        }
        guard begin() else { return }
        names.rename(path, to: newPath, sequence)
    }

    package func remove(_ path: String) throws(DiskError) {
        guard names[path] != nil, begin() else { return }
        names.remove(path, sequence)
    }

    // MARK: Files

    package func open(_ path: String, create: Bool) throws(DiskError) -> FileHandle {
        if case .file(let number) = names[path] { return handle(files[number]) }
        guard create else { throw .notFound(path) }
        guard names.isDirectory(SimulatedNames.directory(of: path)) || isCrashed else {
            throw .notFound(path)
        }
        if let ending = noSpaceForNamesEndingIn, path.hasSuffix(ending), !isCrashed { throw .noSpace(path) }
        let file = SimulatedFile(number: files.count)
        files.append(file)
        if begin() { names.add(path, .file(file.number), sequence) }
        return handle(file)
    }

    package func close(_ file: FileHandle) {
        // The real one does not forgive it either. A crash takes all handles.
        precondition(handles.removeValue(forKey: file.number) != nil || isCrashed, "a handle is closed once")
    }

    package func sizeBytes(of file: FileHandle) throws(DiskError) -> Int64 {
        Int64(try self.file(file).contents.count)
    }

    package func write(
        _ head: ByteBuffer, _ body: ByteBuffer, to file: FileHandle, at position: Int64
    ) throws(DiskError) {
        let file = try self.file(file)
        guard begin() else { return }
        var bytes = Array(head.readableBytesView)
        bytes.append(contentsOf: body.readableBytesView)
        var error = failNextWrite
        failNextWrite = nil
        if error == nil, let capacityBytes, case let growth = Int(position) + bytes.count - file.contents.count,
            growth > 0,
            usedBytes + Int64(growth) > capacityBytes
        {
            error = .noSpace("the simulated disk is full")
        }
        if let error {
            let written = Int(random.below(Int64(bytes.count + 1)))
            file.write(Array(bytes.prefix(written)), at: Int(position), sequence: sequence)
            throw error
        }
        file.write(bytes, at: Int(position), sequence: sequence)
    }

    package func read(_ file: FileHandle, at position: Int64, length: Int) throws(DiskError) -> ByteBuffer {
        let file = try self.file(file)
        if let error = failNextRead {
            failNextRead = nil
            throw error
        }
        guard position >= 0, length >= 0, Int(position) + length <= file.contents.count else {
            throw .pastEnd("\(position)+\(length) of \(file.contents.count)")
        }
        guard !file.isUnreadable(Int(position)..<Int(position) + length) else {
            throw .failed("a bad sector within \(position)+\(length)", errno: 5)
        }
        return ByteBuffer(bytes: file.contents[Int(position)..<Int(position) + length])
    }

    package func isCached(_ file: FileHandle, at position: Int64, length: Int) -> Bool {
        coldOneIn == 0 || !coldRandom.oneIn(coldOneIn)
    }

    package func bringIn(_ ticket: FlushTicket, _ ranges: [FileRange]) {
        // It changes nothing, so a crash does not happen at it.
        guard !isCrashed else { return }
        barriers.append(Barrier(ticket: ticket, sequence: sequence, kind: .bringIn))
        unannounced.append(ticket)
    }

    package func truncate(_ file: FileHandle, to sizeBytes: Int64) throws(DiskError) {
        let file = try self.file(file)
        guard Int64(file.contents.count) != sizeBytes, begin() else { return }
        file.truncate(to: Int(sizeBytes), sequence: sequence)
    }

    // MARK: Barriers

    package func flush(_ ticket: FlushTicket, files: [FileHandle], directories: [String]) {
        let files = files.compactMap { handles[$0.number] }
        enqueue(ticket, .flush(files: files, directories: directories))
    }

    package func replace(_ ticket: FlushTicket, path: String, contents: ByteBuffer) {
        let directory = names.number(of: SimulatedNames.directory(of: path))
        enqueue(ticket, .replace(path: path, contents: Array(contents.readableBytesView), directory: directory))
    }

    package func flushNow(files: [FileHandle], directories: [String]) throws(DiskError) {
        let files = files.compactMap { handles[$0.number] }
        guard begin() else { return }
        try finish(.flush(files: files, directories: directories), upTo: sequence)
    }

    package func replaceNow(path: String, contents: ByteBuffer) throws(DiskError) {
        guard begin() else { return }
        let contents = Array(contents.readableBytesView)
        try finish(.replace(path: path, contents: contents, directory: nil), upTo: sequence)
    }

    /// The barriers asked for and not completed, oldest first.
    package var pendingBarriers: [FlushTicket] { barriers.map(\.ticket) }

    /// The barriers asked for since the last call, so that the simulator can decide when each completes.
    package func takeRequestedBarriers() -> [FlushTicket] {
        defer { unannounced = [] }
        return unannounced
    }

    /// Completes one barrier: what it covers is on the medium from now on, or, when failing, never. Nil when it is not
    /// pending: a crash took it.
    package func completeBarrier(_ ticket: FlushTicket) -> (ticket: FlushTicket, result: FlushResult)? {
        guard !isCrashed, let index = barriers.firstIndex(where: { $0.ticket == ticket }) else { return nil }
        let barrier = barriers.remove(at: index)
        unannounced.removeAll { $0 == ticket }
        do {
            try finish(barrier.kind, upTo: barrier.sequence)
            return (ticket, .done)
        } catch {
            return (ticket, .failed(error))
        }
    }

    private func enqueue(_ ticket: FlushTicket, _ kind: Barrier.Kind) {
        guard begin() else { return }
        barriers.append(Barrier(ticket: ticket, sequence: sequence, kind: kind))
        unannounced.append(ticket)
    }

    private func finish(_ kind: Barrier.Kind, upTo sequence: UInt64) throws(DiskError) {
        if case .bringIn = kind { return }
        let error = failNextFlush
        failNextFlush = nil
        switch kind {
        case .bringIn: break
        case .flush(let files, let directories):
            for file in files { if error == nil { file.sync(upTo: sequence) } else { file.lose(upTo: sequence) } }
            for directory in directories {
                // Names have a journal: they stay dirty, unlike pages, which a failed fsync leaves clean.
                if error == nil { names.sync(directory, upTo: sequence) }
            }
        case .replace(let path, _, _) where noSpaceForNamesEndingIn.map(path.hasSuffix) ?? false: throw .noSpace(path)
        case .replace(let path, let contents, _):
            // Of two replacements the one asked for last stays, whichever completes last; and a directory that went
            // takes it along.
            guard error == nil, replaced[path] ?? 0 < sequence,
                names.isDirectory(SimulatedNames.directory(of: path))
            else { break }
            replaced[path] = sequence
            // A replacement ends with a barrier on its directory.
            names.sync(SimulatedNames.directory(of: path), upTo: sequence)
            put(contents, at: path)
        }
        if let error { throw error }
    }

    private func put(_ contents: [UInt8], at path: String) {
        names.number(of: SimulatedNames.directory(of: path)).map { put(contents, at: path, in: $0) }
    }

    private func put(_ contents: [UInt8], at path: String, in directory: Int) {
        let name = SimulatedNames.name(of: path)
        if case .file(let number) = names.entry(name, in: directory) { files[number] = SimulatedFile(number: number) }
        let file = SimulatedFile(number: files.count)
        files.append(file)
        file.replace(with: contents)
        names.put(.file(file.number), as: name, in: directory)
    }

    // MARK: Crashes

    /// The power fails. What was not behind a completed barrier is kept or lost as `policy` says; pending barriers and
    /// open handles are gone.
    package func powerLoss(policy: PowerLossPolicy) {
        var random = SeededRandom(seed: policy.seed ^ 0x5EED)
        for barrier in barriers {
            // A replacement under way happened or did not: it is never torn.
            guard case .replace(let path, let contents, let directory) = barrier.kind else { continue }
            let happened =
                switch policy {
                case .keepNothing, .contentsOnly, .namesOnly, .olderFiles: false
                case .keepEverything, .allButFirst, .onlyLast, .youngerFiles: true
                default: random.oneIn(2)
                }
            guard happened else { continue }
            // It may have been before its directory got another name.
            let now = names.number(of: SimulatedNames.directory(of: path))
            let isBefore = directory != now && random.oneIn(2)
            if let directory = isBefore ? directory : now { put(contents, at: path, in: directory) }
        }
        let dirty = files.filter { !$0.changes.isEmpty }
        let younger = dirty.isEmpty ? 0 : dirty[dirty.count / 2].number
        for file in files { file.losePower(policy, isYounger: file.number >= younger, random: &random) }
        names.losePower(policy, random: &random)
        restart()
        // What no name leads to any more is free.
        let live = Set(names.files().map(\.number))
        for number in files.indices where !live.contains(number) { files[number] = SimulatedFile(number: number) }
    }

    /// A disk as this one would be after a crash: a loss of power, or without a policy the end of the process. This one
    /// stays as it is.
    package func afterCrash(_ policy: PowerLossPolicy?) -> SimulatedDisk {
        let copy = SimulatedDisk(seed: policy?.seed ?? 0)
        copy.names = names
        copy.files = files.map(SimulatedFile.init(copying:))
        (copy.sequence, copy.nextHandle) = (sequence, nextHandle)
        // Barriers under way end with the process; of the disk's own doing only a replacement may still happen.
        copy.barriers = barriers.filter { if case .replace = $0.kind { true } else { false } }
        if let policy { copy.powerLoss(policy: policy) } else { copy.processCrash() }
        return copy
    }

    /// The process is killed: the page cache stays, pending barriers and open handles are gone.
    package func processCrash() {
        restart()
    }

    private func restart() {
        barriers = []
        unannounced = []
        handles = [:]
        replaced = [:]
        isCrashed = false
        operationsUntilCrash = nil
        (failNextWrite, failNextFlush, failNextRead) = (nil, nil, nil)
    }

    /// An empty disk, as after a replacement.
    package func wipe() {
        restart()
        names.wipe()
        files = []
    }

    // MARK: For checks and faults

    /// All files there are, by path, in order.
    package var filePaths: [String] {
        names.files().map(\.path)
    }

    /// What is read at `path`; nil when there is no such file.
    package func contents(of path: String) -> [UInt8]? {
        guard case .file(let number) = names[path] else { return nil }
        return files[number].contents
    }

    /// What the medium holds of the file that is now at `path`.
    package func durableContents(of path: String) -> [UInt8]? {
        guard case .file(let number) = names[path] else { return nil }
        return files[number].durable
    }

    /// Whether a loss of power leaves that file, and the directories it lies in, under their names.
    package func isNameDurable(_ path: String) -> Bool {
        names.isDurable(path)
    }

    /// Bit rot: flips the bits of `mask` in the byte at `position`, in the cache and on the medium.
    package func corrupt(_ path: String, at position: Int, flipping mask: UInt8 = 1) {
        guard case .file(let number) = names[path] else { return }
        files[number].flip(mask, at: position)
    }

    /// The sector that holds `position` cannot be read until it is written again.
    package func spoilSector(_ path: String, at position: Int) {
        guard case .file(let number) = names[path] else { return }
        files[number].spoilSector(at: position)
    }

    /// Makes the file hold exactly `contents`, on the medium and all: a stale copy, a short file, garbage.
    package func overwrite(_ path: String, with contents: [UInt8]) {
        guard case .file(let number) = names[path] else { return put(contents, at: path) }
        files[number].tamper { $0 = contents }
    }

    /// The file is gone from the medium, as if it had never been.
    package func lose(_ path: String) {
        let directory = SimulatedNames.directory(of: path)
        sequence += 1
        names.remove(path, sequence)
        names.sync(directory, upTo: sequence)
    }

    package var usedBytes: Int64 {
        names.files().reduce(0) { $0 + Int64(files[$1.number].contents.count) }
    }

    package var openHandleCount: Int { handles.count }

    /// Counts a change; false when it must not happen.
    private func begin() -> Bool {
        if isCrashed { return false }
        if let left = operationsUntilCrash {
            if left <= 0 {
                isCrashed = true
                return false
            }
            operationsUntilCrash = left - 1
        }
        operationCount += 1
        sequence += 1
        return true
    }

    private func handle(_ file: SimulatedFile) -> FileHandle {
        defer { nextHandle += 1 }
        handles[nextHandle] = file
        return FileHandle(number: nextHandle)
    }

    private func file(_ handle: FileHandle) throws(DiskError) -> SimulatedFile {
        guard let file = handles[handle.number] else { throw .notFound("closed handle \(handle.number)") }
        return file
    }
}
