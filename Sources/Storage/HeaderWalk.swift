// Walks the batch headers of one segment without reading the records between them.

import Model
import NIOCore
import Records

/// Where a batch begins.
struct Boundary: Equatable {
    var position: Int64
    var offset: Offset
}

struct HeaderWalk {
    private let segment: Segment
    private(set) var position: Int64
    /// The base offset that the next batch must have; nil while the first one may say.
    private(set) var expectedOffset: Offset?
    private var window = ByteBuffer()
    private var windowStart: Int64 = 0
    private var windowBytes: Int64 = 4096

    /// What a header costs at most where each has to be read for itself: a page.
    static let headerCostBytes = 4096

    init(_ segment: Segment, from position: Int64, expecting offset: Offset?) {
        self.segment = segment
        self.position = position
        self.expectedOffset = offset
    }

    /// The next batch's header and position; nil at the end of the segment. Throws `damaged` where no batch stands that
    /// fits.
    mutating func next() throws(LogError) -> (header: BatchHeader, position: Int64)? {
        let remaining = segment.sizeBytes - position
        guard remaining > 0 else { return nil }
        guard remaining >= Int64(BatchHeader.sizeBytes) else { throw damaged("part of a batch header at its end") }
        let header = try headerHere(remaining: remaining)
        guard let header else { throw damaged("no batch header at position \(position)") }
        guard header.lastOffsetDelta >= 0, header.baseOffset >= segment.baseOffset,
            header.baseOffset == expectedOffset ?? header.baseOffset, header.nextOffset > header.baseOffset
        else { throw damaged("batch at position \(position) does not follow on") }
        guard Int64(header.sizeBytes) <= remaining else { throw damaged("batch at position \(position) is cut short") }
        defer {
            position += Int64(header.sizeBytes)
            expectedOffset = header.nextOffset
            windowBytes = header.sizeBytes > 4096 ? Int64(BatchHeader.sizeBytes) : 16_384
        }
        return (header, position)
    }

    private mutating func headerHere(remaining: Int64) throws(LogError) -> BatchHeader? {
        let size = Int64(BatchHeader.sizeBytes)
        if position < windowStart || position + size > windowStart + Int64(window.readableBytes) {
            let (disk, file, at) = (segment.disk, segment.file, position)
            let length = Int(min(max(windowBytes, size), remaining))
            do throws(DiskError) {
                window = try disk.read(file, at: at, length: length)
            } catch {
                guard error.isUnreadable else { throw .disk(error) }
                window = try readable(Int(size))
            }
            windowStart = position
        }
        return BatchHeader(reading: window, at: window.readerIndex + Int(position - windowStart))
    }

    /// Without the bytes behind it, among which one may be that the disk does not give.
    private func readable(_ length: Int) throws(LogError) -> ByteBuffer {
        do throws(DiskError) {
            return try segment.disk.read(segment.file, at: position, length: length)
        } catch {
            throw error.isUnreadable ? damaged("position \(position) cannot be read: \(error)") : .disk(error)
        }
    }

    private func damaged(_ reason: String) -> LogError {
        .damaged("\(segment.path): \(reason)", from: expectedOffset ?? segment.baseOffset)
    }
}
