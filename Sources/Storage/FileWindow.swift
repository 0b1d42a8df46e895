// Reads a file front to back through one piece of it at a time.

import Model
import NIOCore
import Records

struct FileWindow {
    let disk: any Disk
    let file: FileHandle
    let fileBytes: Int64
    private var bytes = ByteBuffer()
    private var start: Int64 = 0
    /// Whether some batch was none because the disk did not give its bytes.
    private(set) var metUnreadable = false

    static let windowBytes: Int64 = 1 << 20

    init(disk: any Disk, file: FileHandle, fileBytes: Int64) {
        self.disk = disk
        self.file = file
        self.fileBytes = fileBytes
    }

    /// `length` bytes at `position`; nil when the file ends before.
    mutating func slice(at position: Int64, length: Int64) throws(LogError) -> ByteBuffer? {
        guard position >= 0, length <= fileBytes - position else { return nil }
        if position < start || position + length > start + Int64(bytes.readableBytes) {
            let (disk, file) = (disk, file)
            let count = Int(min(max(length, Self.windowBytes), fileBytes - position))
            do throws(DiskError) {
                bytes = try disk.read(file, at: position, length: count)
            } catch {
                guard error.isUnreadable, count > length else { throw .disk(error) }
                // The bad sector may lie behind what is wanted.
                bytes = try onDisk { () throws(DiskError) in try disk.read(file, at: position, length: Int(length)) }
            }
            start = position
        }
        return bytes.getSlice(at: bytes.readerIndex + Int(position - start), length: Int(length))
    }

    /// The next position from `position` on and below `end` at which the byte that tells a batch's version says 2.
    mutating func nextMagic(from position: Int64, below end: Int64) throws(LogError) -> Int64? {
        let ahead = BatchHeader.magicPosition
        let length = min(end, fileBytes - Int64(ahead)) - position
        guard length > 0, let bytes = try slice(at: position + Int64(ahead), length: length) else { return nil }
        return bytes.withUnsafeReadableBytes { $0.firstIndex(of: 2) }.map { position + Int64($0) }
    }

    /// The batch at `position`, whole and sound by itself: its shape, its length and its checksum. Whether it belongs
    /// there is for the caller to say. What the disk cannot read is no batch.
    mutating func batch(at position: Int64, isChecked: Bool = true) throws(LogError) -> (
        header: BatchHeader, bytes: ByteBuffer
    )? {
        do throws(LogError) {
            return try readableBatch(at: position, isChecked: isChecked)
        } catch {
            guard error.isUnreadable else { throw error }
            metUnreadable = true
            return nil
        }
    }

    private mutating func readableBatch(at position: Int64, isChecked: Bool) throws(LogError) -> (
        header: BatchHeader, bytes: ByteBuffer
    )? {
        guard let head = try slice(at: position, length: Int64(BatchHeader.sizeBytes)),
            let header = BatchHeader(reading: head, at: head.readerIndex), header.baseOffset >= 0,
            header.lastOffsetDelta >= 0, header.nextOffset > header.baseOffset,
            // Or a lying length would have half a segment read and summed up.
            header.sizeBytes <= Limits.frameBytesMax,
            let batch = try slice(at: position, length: Int64(header.sizeBytes)), !isChecked || verifyCRC(of: batch)
        else { return nil }
        return (header, batch)
    }
}
