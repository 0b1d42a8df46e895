// Walks the records inside a batch, trusting nothing.

/// One record as it lies in the payload. Ranges are byte positions in the cursor's bytes, checked to lie inside.
struct RecordView {
    var timestampDelta: Int64
    var offsetDelta: Int32
    /// Nil: a null key or value.
    var key: Range<Int>?
    var value: Range<Int>?
    var headersCount: Int
    /// Where the first header starts.
    var headersStart: Int
}

/// Reads records from the uncompressed payload of a batch. Every read is checked against the end, so broken bytes
/// throw `invalidRecord` and never trap.
struct RecordCursor {
    /// A record's length field, attributes, two deltas, two lengths and the header count, one byte each.
    static let recordBytesMin = 7

    private let bytes: UnsafeRawBufferPointer
    private(set) var position: Int
    private var end: Int

    init(_ bytes: UnsafeRawBufferPointer, from position: Int = 0) {
        self.bytes = bytes
        self.position = position
        end = bytes.count
    }

    var isAtEnd: Bool { position == end }

    /// The next record; its headers are walked too, and it must end exactly where its length says.
    mutating func next() throws(BatchError) -> RecordView {
        let lengthBytes = Int(try varint())
        guard lengthBytes >= 0, lengthBytes <= end - position else {
            throw .invalidRecord("a record's length does not fit in its batch")
        }
        let payloadEnd = end
        end = position + lengthBytes
        guard position < end else { throw .invalidRecord("a record is empty") }
        position += 1  // attributes, which have no meaning yet
        let timestampDelta = try varlong()
        let offsetDelta = try varint()
        let key = try nullableRange()
        let value = try nullableRange()
        let headersCount = Int(try varint())
        let headersStart = position
        // Two bytes are the least a header takes: refuses a lying count before anyone reserves room for it.
        guard headersCount >= 0, headersCount <= (end - position) / 2 else {
            throw .invalidRecord("a record's header count does not fit in the record")
        }
        for _ in 0..<headersCount { _ = try nextHeader() }
        guard position == end else { throw .invalidRecord("a record is longer than its fields") }
        end = payloadEnd
        return RecordView(
            timestampDelta: timestampDelta, offsetDelta: offsetDelta, key: key, value: value,
            headersCount: headersCount, headersStart: headersStart)
    }

    /// The first fields of the next record; then `position` is that of its offset delta.
    mutating func nextHead() throws(BatchError) -> (attributes: Int8, timestampDelta: Int64) {
        _ = try varint()
        guard position < end else { throw .invalidRecord("a record is empty") }
        let attributes = Int8(bitPattern: bytes[position])
        position += 1
        return (attributes, try varlong())
    }

    mutating func nextHeader() throws(BatchError) -> (name: Range<Int>, value: Range<Int>?) {
        guard let name = try nullableRange() else { throw .invalidRecord("a record header has no name") }
        return (name, try nullableRange())
    }

    @inline(__always)
    private mutating func nullableRange() throws(BatchError) -> Range<Int>? {
        let lengthBytes = Int(try varint())
        if lengthBytes == -1 { return nil }
        guard lengthBytes >= 0, lengthBytes <= end - position else {
            throw .invalidRecord("a key, value or header does not fit in its record")
        }
        let start = position
        position += lengthBytes
        return start..<position
    }

    /// Zig-zag, at most five bytes, and no bits beyond the 32nd.
    @inline(__always)
    mutating func varint() throws(BatchError) -> Int32 {
        let raw: UInt32
        if let short = shortVarint() {
            raw = short
        } else {
            raw = UInt32(truncatingIfNeeded: try unsignedVarint(bytesMax: 5, lastByteMax: 0x0F))
        }
        return Int32(bitPattern: (raw >> 1) ^ (0 &- (raw & 1)))
    }

    /// Zig-zag, at most ten bytes, and no bits beyond the 64th.
    @inline(__always)
    mutating func varlong() throws(BatchError) -> Int64 {
        let raw: UInt64
        if let short = shortVarint() {
            raw = UInt64(short)
        } else {
            raw = try unsignedVarint(bytesMax: 10, lastByteMax: 0x01)
        }
        return Int64(bitPattern: (raw >> 1) ^ (0 &- (raw & 1)))
    }

    /// A number of one or two bytes, as nearly all are; nil, and nothing read, if it is longer or ends early.
    @inline(__always)
    private mutating func shortVarint() -> UInt32? {
        guard position < end else { return nil }
        let first = UInt32(bytes[position])
        if first < 0x80 {
            position += 1
            return first
        }
        guard position + 1 < end, bytes[position + 1] < 0x80 else { return nil }
        let second = UInt32(bytes[position + 1])
        position += 2
        return (first & 0x7F) | second << 7
    }

    @inline(never)
    private mutating func unsignedVarint(bytesMax: Int, lastByteMax: UInt8) throws(BatchError) -> UInt64 {
        var result: UInt64 = 0
        for index in 0..<bytesMax {
            guard position < end else { throw .invalidRecord("a record ends within a number") }
            let byte = bytes[position]
            position += 1
            result |= UInt64(byte & 0x7F) << UInt64(7 * index)
            if byte < 0x80 {
                guard index < bytesMax - 1 || byte <= lastByteMax else { break }
                return result
            }
        }
        throw .invalidRecord("a number in a record is too long")
    }
}
