// A disk of which the k-th call of one kind fails, once or from then on.

import DiskSimulation
import NIOCore
import Storage

final class FailingDisk: Disk {
    enum Call: String, CaseIterable {
        case write, flush, truncate, rename, open, read, list, remove, replace, createDirectory, size
    }

    struct Fault {
        var call: Call
        /// Counted from 0.
        var index: Int
        var isLasting: Bool
        var error: DiskError
    }

    let disk: SimulatedDisk
    /// Nil: nothing fails any more.
    var fault: Fault?
    /// The test itself looks: its calls are not counted, and none fails.
    var isPaused = false
    private(set) var counts: [Call: Int] = [:]
    /// How many calls failed.
    private(set) var failures = 0

    init(_ disk: SimulatedDisk, _ fault: Fault?) {
        self.disk = disk
        self.fault = fault
    }

    /// Counts the call; the error that it must end with.
    private func error(of call: Call) -> DiskError? {
        if isPaused { return nil }
        let index = counts[call, default: 0]
        counts[call] = index + 1
        guard let fault, fault.call == call, fault.isLasting ? index >= fault.index : index == fault.index else {
            return nil
        }
        failures += 1
        return fault.error
    }

    private func check(_ call: Call) throws(DiskError) {
        if let error = error(of: call) { throw error }
    }

    func createDirectory(_ path: String) throws(DiskError) {
        try check(.createDirectory)
        try disk.createDirectory(path)
    }

    func list(_ directory: String) throws(DiskError) -> [String] {
        try check(.list)
        return try disk.list(directory)
    }

    func rename(_ path: String, to newPath: String) throws(DiskError) {
        try check(.rename)
        try disk.rename(path, to: newPath)
    }

    func remove(_ path: String) throws(DiskError) {
        try check(.remove)
        try disk.remove(path)
    }

    func open(_ path: String, create: Bool) throws(DiskError) -> FileHandle {
        try check(.open)
        return try disk.open(path, create: create)
    }

    func close(_ file: FileHandle) { disk.close(file) }

    func sizeBytes(of file: FileHandle) throws(DiskError) -> Int64 {
        try check(.size)
        return try disk.sizeBytes(of: file)
    }

    /// A failed write leaves its first part, as long as the disk's lot says.
    func write(
        _ head: ByteBuffer, _ body: ByteBuffer, to file: FileHandle, at position: Int64
    ) throws(DiskError) {
        if let error = error(of: .write) { disk.failNextWrite = error }
        try disk.write(head, body, to: file, at: position)
    }

    func read(_ file: FileHandle, at position: Int64, length: Int) throws(DiskError) -> ByteBuffer {
        try check(.read)
        return try disk.read(file, at: position, length: length)
    }

    func truncate(_ file: FileHandle, to sizeBytes: Int64) throws(DiskError) {
        try check(.truncate)
        try disk.truncate(file, to: sizeBytes)
    }

    func flush(_ ticket: FlushTicket, files: [FileHandle], directories: [String]) {
        disk.flush(ticket, files: files, directories: directories)
    }

    func replace(_ ticket: FlushTicket, path: String, contents: ByteBuffer) {
        disk.replace(ticket, path: path, contents: contents)
    }

    /// Before a barrier completes: makes it fail when its time has come.
    func armBarrier(isReplacement: Bool) {
        if let error = error(of: isReplacement ? .replace : .flush) { disk.failNextFlush = error }
    }

    func flushNow(files: [FileHandle], directories: [String]) throws(DiskError) {
        armBarrier(isReplacement: false)
        try disk.flushNow(files: files, directories: directories)
    }

    func replaceNow(path: String, contents: ByteBuffer) throws(DiskError) {
        armBarrier(isReplacement: true)
        try disk.replaceNow(path: path, contents: contents)
    }
}
