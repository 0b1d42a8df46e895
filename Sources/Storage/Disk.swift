// The disk as Storage sees it: calls that return at once, and barriers that are asked for and reported later.

import NIOCore

/// One open file of one `Disk`. The disk may close the descriptor behind it and open it again; the handle stays good
/// until `close`.
package struct FileHandle: Hashable, Sendable {
    package let number: UInt64

    package init(number: UInt64) { self.number = number }
}

/// Names one durability barrier, so that its completion can be told from a stale one. `owner` is the log or file keeper
/// that asked; a truncation raises `generation`, and completions of an older generation are ignored by their owner.
package struct FlushTicket: Hashable, Sendable, CustomStringConvertible {
    /// Owners are below 2 to the power of this: what runs several machines on one disk tells their tickets apart above.
    package static let ownerBits: UInt32 = 28

    package var owner: UInt32
    package var generation: UInt32
    package var sequence: UInt64

    package init(owner: UInt32, generation: UInt32, sequence: UInt64) {
        self.owner = owner
        self.generation = generation
        self.sequence = sequence
    }

    package var description: String { "\(owner).\(generation).\(sequence)" }
}

/// Whether a read would have to wait for the medium.
package enum ColdLook: Equatable, Sendable {
    /// As much is read without waiting, as far as anybody can tell.
    case readable(bytes: Int)
    /// It would wait for these; empty where the look was not to be taken that far.
    case cold([FileRange])
}

/// Bytes of a file, by its name.
package struct FileRange: Hashable, Sendable {
    package var path: String
    package var position: Int64
    package var length: Int

    package init(path: String, position: Int64, length: Int) {
        self.path = path
        self.position = position
        self.length = length
    }
}

package enum DiskError: Error, Equatable, Sendable {
    case notFound(String)
    case noSpace(String)
    case readOnly(String)
    /// The file ends before what was asked for.
    case pastEnd(String)
    /// Any other failure of the operating system, with its number.
    case failed(String, errno: Int32)

    /// What was written there is not given back: a bad sector, or a file system that finds itself damaged. That is a
    /// fact about these bytes, not about the disk, and another copy has them.
    package var isUnreadable: Bool {
        switch self {
        case .pastEnd: true
        // EIO, ENODATA, EBADMSG, EILSEQ, EUCLEAN: what Linux says of a medium error or a checksum that is wrong.
        case .failed(_, let errno): [5, 61, 74, 84, 117].contains(errno)
        default: false
        }
    }
}

/// A log directory's disk. One thread owns one `Disk`; nothing here blocks on a barrier except where its name says so.
///
/// The contract is that of a POSIX file system, no more: written bytes are readable at once by everybody, and survive a
/// crash of the process; they survive a loss of power only behind a completed barrier on that file, and a created,
/// renamed or removed name only behind one on its directory.
package protocol Disk: AnyObject {
    func createDirectory(_ path: String) throws(DiskError)
    /// The names in a directory, sorted. Empty when there is no such directory.
    func list(_ directory: String) throws(DiskError) -> [String]
    func rename(_ path: String, to newPath: String) throws(DiskError)
    /// Removes a file, or a directory with all that is in it. Nothing there is not an error.
    func remove(_ path: String) throws(DiskError)
    /// Renames a directory and removes it with all that is in it, when there is time: until then it lies under its new
    /// name, after a crash as well. No handle of a file in it is open.
    func discard(_ directory: String, as newPath: String) throws(DiskError)

    /// Opens for reading and writing. `create` makes an empty file where there is none; without it that is `notFound`.
    func open(_ path: String, create: Bool) throws(DiskError) -> FileHandle
    func close(_ file: FileHandle)
    func sizeBytes(of file: FileHandle) throws(DiskError) -> Int64
    /// Writes all of `head` followed by all of `body` at `position`, or throws: then any part of it may be there.
    func write(_ head: ByteBuffer, _ body: ByteBuffer, to file: FileHandle, at position: Int64) throws(DiskError)
    /// Exactly `length` bytes, or `pastEnd`.
    func read(_ file: FileHandle, at position: Int64, length: Int) throws(DiskError) -> ByteBuffer
    /// So many bytes that were appended to a file last are not asked for with `isCached`: they are in memory.
    var trustedTailBytes: Int64 { get }
    /// Whether these bytes can be read now without waiting for the medium. A guess: no bytes may be lost by it.
    func isCached(_ file: FileHandle, at position: Int64, length: Int) -> Bool
    /// Asks for bytes to be brought into memory. Reported later with the ticket, and always as done: of a range that
    /// cannot be read, or is not there any more, whoever reads it hears.
    func bringIn(_ ticket: FlushTicket, _ ranges: [FileRange])
    func truncate(_ file: FileHandle, to sizeBytes: Int64) throws(DiskError)
    /// Nothing is appended to the file for now: blocks that were taken ahead of its end are given back. A hint.
    func releaseRoom(of file: FileHandle)
    /// What comes next is to be read from the medium. A hint: bytes not yet written there stay in memory.
    func forgetCached(_ file: FileHandle, at position: Int64, length: Int)

    /// Asks for what is written so far to `files`, and the names in `directories`, to become durable. Reported later
    /// with the ticket, as done or failed.
    func flush(_ ticket: FlushTicket, files: [FileHandle], directories: [String])
    /// Asks for the file at `path` to hold exactly `contents`, durably and atomically (temporary file, fsync, rename,
    /// fsync of the directory). Reported later.
    func replace(_ ticket: FlushTicket, path: String, contents: ByteBuffer)

    /// The same barriers, waited for. Only while a node starts, before it serves, and in an orderly stop.
    func flushNow(files: [FileHandle], directories: [String]) throws(DiskError)
    func replaceNow(path: String, contents: ByteBuffer) throws(DiskError)
}

extension Disk {
    package func discard(_ directory: String, as newPath: String) throws(DiskError) {
        try rename(directory, to: newPath)
        try remove(newPath)
    }

    package var trustedTailBytes: Int64 { 256 << 10 }
    package func isCached(_ file: FileHandle, at position: Int64, length: Int) -> Bool { true }
    package func bringIn(_ ticket: FlushTicket, _ ranges: [FileRange]) {
        preconditionFailure("all is in the memory of this disk")
    }

    package func forgetCached(_ file: FileHandle, at position: Int64, length: Int) {}
    package func releaseRoom(of file: FileHandle) {}
}

/// What became of a barrier.
package enum FlushResult: Equatable, Sendable {
    case done
    /// Never asked for again: after a failed fsync the page cache lies (reliability.md §4 rule 8).
    case failed(DiskError)
}
