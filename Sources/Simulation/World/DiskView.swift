// One half's view of its node's disk: control and shard share the files, and their barriers must be told apart.

import Model
import NIOCore
import DiskSimulation
import Storage

/// Forwards everything; barriers carry the half in the top bit of their owner.
final class DiskView: Disk {
    static let controlBit: UInt32 = 1 << 31

    private let disk: SimulatedDisk
    private let mark: UInt32

    init(_ disk: SimulatedDisk, of half: Half) {
        self.disk = disk
        mark = half == .control ? Self.controlBit : 0
    }

    func createDirectory(_ path: String) throws(DiskError) { try disk.createDirectory(path) }
    func list(_ directory: String) throws(DiskError) -> [String] { try disk.list(directory) }
    func rename(_ path: String, to newPath: String) throws(DiskError) { try disk.rename(path, to: newPath) }
    func remove(_ path: String) throws(DiskError) { try disk.remove(path) }
    func open(_ path: String, create: Bool) throws(DiskError) -> FileHandle { try disk.open(path, create: create) }
    func close(_ file: FileHandle) { disk.close(file) }
    func sizeBytes(of file: FileHandle) throws(DiskError) -> Int64 { try disk.sizeBytes(of: file) }

    func write(_ head: ByteBuffer, _ body: ByteBuffer, to file: FileHandle, at position: Int64) throws(DiskError) {
        try disk.write(head, body, to: file, at: position)
    }

    func read(_ file: FileHandle, at position: Int64, length: Int) throws(DiskError) -> ByteBuffer {
        try disk.read(file, at: position, length: length)
    }

    func truncate(_ file: FileHandle, to sizeBytes: Int64) throws(DiskError) { try disk.truncate(file, to: sizeBytes) }

    func flush(_ ticket: FlushTicket, files: [FileHandle], directories: [String]) {
        disk.flush(marked(ticket), files: files, directories: directories)
    }

    func replace(_ ticket: FlushTicket, path: String, contents: ByteBuffer) {
        disk.replace(marked(ticket), path: path, contents: contents)
    }

    func flushNow(files: [FileHandle], directories: [String]) throws(DiskError) {
        try disk.flushNow(files: files, directories: directories)
    }

    func replaceNow(path: String, contents: ByteBuffer) throws(DiskError) {
        try disk.replaceNow(path: path, contents: contents)
    }

    private func marked(_ ticket: FlushTicket) -> FlushTicket {
        var ticket = ticket
        precondition(ticket.owner & Self.controlBit == 0, "owners are small numbers")
        ticket.owner |= mark
        return ticket
    }

    /// Whose barrier it is, and the ticket as that half knows it.
    static func unmarked(_ ticket: FlushTicket) -> (Half, FlushTicket) {
        var own = ticket
        own.owner &= ~controlBit
        return (ticket.owner & controlBit == 0 ? .shard : .control, own)
    }
}
