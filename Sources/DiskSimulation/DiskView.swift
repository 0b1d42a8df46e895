// One machine's view of its node's disk: control and shards share the files, and their barriers must be told apart.

import Model
import NIOCore
import Storage

/// Forwards everything; barriers carry the machine's number in the top bits of their owner.
package final class DiskView: Disk {
    /// Numbers are below this.
    package static let machinesMax: UInt32 = 16
    private static let shift = FlushTicket.ownerBits

    private let disk: SimulatedDisk
    private let mark: UInt32

    package init(_ disk: SimulatedDisk, machine: UInt32) {
        precondition(machine < Self.machinesMax, "a machine's number has four bits")
        self.disk = disk
        mark = machine << Self.shift
    }

    package func createDirectory(_ path: String) throws(DiskError) { try disk.createDirectory(path) }
    package func list(_ directory: String) throws(DiskError) -> [String] { try disk.list(directory) }
    package func rename(_ path: String, to newPath: String) throws(DiskError) { try disk.rename(path, to: newPath) }
    package func remove(_ path: String) throws(DiskError) { try disk.remove(path) }
    package func open(_ path: String, create: Bool) throws(DiskError) -> FileHandle {
        try disk.open(path, create: create)
    }
    package func close(_ file: FileHandle) { disk.close(file) }
    package func sizeBytes(of file: FileHandle) throws(DiskError) -> Int64 { try disk.sizeBytes(of: file) }

    package func write(_ head: ByteBuffer, _ body: ByteBuffer, to file: FileHandle, at position: Int64)
        throws(DiskError)
    {
        try disk.write(head, body, to: file, at: position)
    }

    package func read(_ file: FileHandle, at position: Int64, length: Int) throws(DiskError) -> ByteBuffer {
        try disk.read(file, at: position, length: length)
    }

    package var trustedTailBytes: Int64 { disk.trustedTailBytes }

    package func isCached(_ file: FileHandle, at position: Int64, length: Int) -> Bool {
        disk.isCached(file, at: position, length: length)
    }

    package func bringIn(_ ticket: FlushTicket, _ ranges: [FileRange]) { disk.bringIn(marked(ticket), ranges) }

    package func truncate(_ file: FileHandle, to sizeBytes: Int64) throws(DiskError) {
        try disk.truncate(file, to: sizeBytes)
    }

    package func flush(_ ticket: FlushTicket, files: [FileHandle], directories: [String]) {
        disk.flush(marked(ticket), files: files, directories: directories)
    }

    package func replace(_ ticket: FlushTicket, path: String, contents: ByteBuffer) {
        disk.replace(marked(ticket), path: path, contents: contents)
    }

    package func flushNow(files: [FileHandle], directories: [String]) throws(DiskError) {
        try disk.flushNow(files: files, directories: directories)
    }

    package func replaceNow(path: String, contents: ByteBuffer) throws(DiskError) {
        try disk.replaceNow(path: path, contents: contents)
    }

    private func marked(_ ticket: FlushTicket) -> FlushTicket {
        var ticket = ticket
        precondition(ticket.owner >> Self.shift == 0, "owners are small numbers")
        ticket.owner |= mark
        return ticket
    }

    /// Whose barrier it is, and the ticket as that machine knows it.
    package static func unmarked(_ ticket: FlushTicket) -> (machine: UInt32, own: FlushTicket) {
        var own = ticket
        own.owner &= (1 << shift) - 1
        return (ticket.owner >> shift, own)
    }
}
