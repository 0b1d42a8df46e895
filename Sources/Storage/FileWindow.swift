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
            bytes = try onDisk { () throws(DiskError) in try disk.read(file, at: position, length: count) }
            start = position
        }
        return bytes.getSlice(at: bytes.readerIndex + Int(position - start), length: Int(length))
    }

    /// The batch at `position`, whole and sound by itself: its shape, its length and its checksum. Whether it belongs
    /// there is for the caller to say.
    mutating func batch(at position: Int64, isChecked: Bool = true) throws(LogError) -> (
        header: BatchHeader, bytes: ByteBuffer
    )? {
        guard let head = try slice(at: position, length: Int64(BatchHeader.sizeBytes)),
            let header = BatchHeader(reading: head, at: head.readerIndex), header.baseOffset >= 0,
            header.lastOffsetDelta >= 0, header.nextOffset > header.baseOffset,
            let batch = try slice(at: position, length: Int64(header.sizeBytes)), !isChecked || verifyCRC(of: batch)
        else { return nil }
        return (header, batch)
    }
}
