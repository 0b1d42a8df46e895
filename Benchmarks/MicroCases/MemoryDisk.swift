// A disk in memory that costs next to nothing, so that what is counted is what stands above it. (DiskSimulation's keeps
// every change until a barrier, and copies whole files.) A write copies once, a read copies into a buffer of its own,
// as the real disk's does.

import NIOCore
import Storage

final class MemoryDisk: Disk {
    /// Without them a write only moves the file's end: the memory of a benchmark that appends for long is bounded, and
    /// a copy that somebody adds above is not lost beside the disk's own.
    private let keepsBytes: Bool
    private var files: [String: MemoryFile] = [:]
    private var directories: Set<String> = []
    /// By the number of their handle. What was removed stays: nobody removes many.
    private var numbered: [MemoryFile] = []
    private var barriers: [FlushTicket] = []

    init(keepsBytes: Bool = true) { self.keepsBytes = keepsBytes }

    // MARK: Names

    func createDirectory(_ path: String) throws(DiskError) {
        var path = Substring(path)
        while !path.isEmpty {
            directories.insert(String(path))
            path = path.lastIndex(of: "/").map { path[..<$0] } ?? ""
        }
    }

    func list(_ directory: String) throws(DiskError) -> [String] {
        let prefix = directory + "/"
        let names = (Array(files.keys) + directories).filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.count) }
        return names.filter { !$0.isEmpty && !$0.contains("/") }.map(String.init).sorted()
    }

    func rename(_ path: String, to newPath: String) throws(DiskError) {
        guard files[path] != nil || directories.contains(path) else { throw .notFound(path) }
        for old in files.keys.filter({ isUnder($0, path) }) {
            files[newPath + old.dropFirst(path.count)] = files.removeValue(forKey: old)
        }
        for old in directories.filter({ isUnder($0, path) }) {
            directories.remove(old)
            directories.insert(newPath + old.dropFirst(path.count))
        }
    }

    func remove(_ path: String) throws(DiskError) {
        for old in files.keys.filter({ isUnder($0, path) }) { files[old] = nil }
        directories = directories.filter { !isUnder($0, path) }
    }

    private func isUnder(_ name: String, _ path: String) -> Bool { name == path || name.hasPrefix(path + "/") }

    // MARK: Files

    func open(_ path: String, create: Bool) throws(DiskError) -> FileHandle {
        if let known = files[path] { return known.handle }
        guard create else { throw .notFound(path) }
        return make(path).handle
    }

    private func make(_ path: String) -> MemoryFile {
        let file = MemoryFile(FileHandle(number: UInt64(numbered.count)))
        numbered.append(file)
        files[path] = file
        return file
    }

    func close(_ file: FileHandle) {}

    func sizeBytes(of file: FileHandle) throws(DiskError) -> Int64 { Int64(self.file(file).sizeBytes) }

    func write(
        _ head: ByteBuffer, _ body: ByteBuffer, to file: FileHandle, at position: Int64
    ) throws(DiskError) {
        let file = self.file(file)
        guard keepsBytes else {
            file.sizeBytes = max(file.sizeBytes, Int(position) + head.readableBytes + body.readableBytes)
            return
        }
        head.withUnsafeReadableBytes { file.put($0, at: Int(position)) }
        body.withUnsafeReadableBytes { file.put($0, at: Int(position) + head.readableBytes) }
    }

    func read(_ file: FileHandle, at position: Int64, length: Int) throws(DiskError) -> ByteBuffer {
        let file = self.file(file)
        precondition(keepsBytes, "what was written is gone")
        guard position >= 0, length >= 0, Int(position) + length <= file.sizeBytes else {
            throw .pastEnd("\(position)+\(length) of \(file.sizeBytes)")
        }
        var bytes = ByteBufferAllocator().buffer(capacity: length)
        bytes.writeBytes(file.bytes(at: Int(position), length: length))
        return bytes
    }

    func truncate(_ file: FileHandle, to sizeBytes: Int64) throws(DiskError) {
        self.file(file).truncate(to: Int(sizeBytes))
    }

    private func file(_ handle: FileHandle) -> MemoryFile { numbered[Int(handle.number)] }

    // MARK: Barriers

    func flush(_ ticket: FlushTicket, files: [FileHandle], directories: [String]) { barriers.append(ticket) }

    func replace(_ ticket: FlushTicket, path: String, contents: ByteBuffer) {
        sure { () throws(DiskError) in try replaceNow(path: path, contents: contents) }
        barriers.append(ticket)
    }

    func flushNow(files: [FileHandle], directories: [String]) throws(DiskError) {}

    func replaceNow(path: String, contents: ByteBuffer) throws(DiskError) {
        contents.withUnsafeReadableBytes { make(path).put($0, at: 0) }
    }

    /// The oldest barrier that was asked for and not reported yet.
    func takeBarrier() -> FlushTicket? { barriers.isEmpty ? nil : barriers.removeFirst() }
}

private final class MemoryFile {
    let handle: FileHandle
    var sizeBytes = 0
    private var memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 0, alignment: 16)

    init(_ handle: FileHandle) { self.handle = handle }

    deinit { memory.deallocate() }

    func put(_ bytes: UnsafeRawBufferPointer, at position: Int) {
        precondition(position <= sizeBytes, "no file has holes")
        let end = position + bytes.count
        if end > memory.count { grow(to: end) }
        UnsafeMutableRawBufferPointer(rebasing: memory[position..<end]).copyMemory(from: bytes)
        sizeBytes = max(sizeBytes, end)
    }

    func bytes(at position: Int, length: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: memory[position..<position + length])
    }

    func truncate(to count: Int) {
        precondition(count <= sizeBytes, "no file is made longer but by writing")
        sizeBytes = count
    }

    private func grow(to count: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1 << 16, 2 * count), alignment: 16)
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[..<sizeBytes]))
        memory.deallocate()
        memory = larger
    }
}
