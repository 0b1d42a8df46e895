// The walker that decodes. It reads raw bytes inside one unsafe scope; bytes and records become slices of the frame.

import NIOCore

package struct WireReader: Walker {
    package let version: Int16
    let isFlexible: Bool
    /// The frame as a buffer, only to cut slices from. A pointer, so that the reader holds no reference: what holds
    /// references is retained and released around calls. Valid while the scope that made this reader lasts.
    private let frame: UnsafePointer<ByteBuffer>
    /// The frame's readable bytes; valid as long.
    private let base: UnsafeRawPointer
    /// Never above `limit`; every step forward is checked against it first, so the sums below cannot overflow.
    private(set) var position = 0
    /// Where the readable part ends: the frame's end, or the end of the tagged value being read.
    private var limit: Int
    private var tags: TagSection?

    /// The tag buffer of the struct being read. It is scanned once per known tag, so that tags may come in any order
    /// and no table is built.
    private struct TagSection {
        var start: Int
        var end: Int
        var count: UInt32
    }

    /// Frame and bytes must outlive the reader.
    init(frame: UnsafePointer<ByteBuffer>, bytes: UnsafeRawBufferPointer, version: Int16, isFlexible: Bool) {
        self.frame = frame
        // No bytes may have no address; then nothing is ever loaded, and any address does.
        self.base = bytes.baseAddress ?? UnsafeRawPointer(frame)
        self.limit = bytes.count
        self.version = version
        self.isFlexible = isFlexible
    }

    var bytesLeft: Int { limit &- position }

    // MARK: Primitives

    mutating func readInteger<T: FixedWidthInteger>(_: T.Type) throws(WireError) -> T {
        guard bytesLeft >= MemoryLayout<T>.size else { throw .truncated }
        let value = T(bigEndian: base.loadUnaligned(fromByteOffset: position, as: T.self))
        position &+= MemoryLayout<T>.size
        return value
    }

    /// The bytes of `count` values of one size; valid as long as the reader.
    mutating func readRaw(count: Int, sizeBytes: Int) throws(WireError) -> UnsafeRawPointer {
        guard count <= bytesLeft / sizeBytes else { throw .truncated }
        let start = base + position
        position &+= count &* sizeBytes
        return start
    }

    /// LEB128, unsigned, at most 32 bits. Nearly all are one byte, so that case stands apart to be inlined.
    mutating func readUVarint() throws(WireError) -> UInt32 {
        guard position < limit else { throw .truncated }
        let byte = base.load(fromByteOffset: position, as: UInt8.self)
        guard byte < 0x80 else { return try readLongUVarint() }
        position &+= 1
        return UInt32(byte)
    }

    @inline(never)
    private mutating func readLongUVarint() throws(WireError) -> UInt32 {
        var value: UInt32 = 0
        var shift: UInt32 = 0
        while true {
            guard position < limit else { throw .truncated }
            let byte = base.load(fromByteOffset: position, as: UInt8.self)
            position &+= 1
            if shift == 28 && byte > 0x0F { throw .invalidVarint }
            value |= UInt32(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
    }

    /// A length or count, −1 for null: a varint of length + 1 in flexible versions, else an int32.
    mutating func readLength() throws(WireError) -> Int {
        let length = isFlexible ? Int(try readUVarint()) - 1 : Int(try readInteger(Int32.self))
        guard length >= -1 else { throw .invalidLength }
        return length
    }

    /// A string's length, −1 for null; before flexible versions an int16. Kafka limits both to 32,767.
    mutating func readStringLength() throws(WireError) -> Int {
        let length = isFlexible ? Int(try readUVarint()) - 1 : Int(try readInteger(Int16.self))
        guard length >= -1 && length <= Int(Int16.max) else { throw .invalidLength }
        return length
    }

    mutating func readString(length: Int) throws(WireError) -> String {
        guard bytesLeft >= length else { throw .truncated }
        let text = UnsafeRawBufferPointer(start: base + position, count: length)
        position &+= length
        if text.allSatisfy({ $0 < 0x80 }) { return String(decoding: text, as: UTF8.self) }
        guard let string = String(validating: text, as: UTF8.self) else { throw .invalidUTF8 }
        return string
    }

    /// A slice of the frame, without a copy.
    mutating func readSlice(length: Int) throws(WireError) -> ByteBuffer {
        guard bytesLeft >= length,
            let slice = frame.pointee.getSlice(at: frame.pointee.readerIndex + position, length: length)
        else { throw .truncated }
        position &+= length
        return slice
    }

    /// Refuses a declared element count that the bytes left cannot hold, so that reserving for it is safe. The shortest
    /// encoding of an element is measured, not declared; small counts do not pay for it.
    func checkCount<E: WireField>(_ count: Int, of: E.Type) throws(WireError) {
        guard count <= bytesLeft else { throw .truncated }
        guard count > 16 else { return }
        let smallest = max(1, WireWriter.shortestSize(of: E.self, version: version, isFlexible: isFlexible))
        guard count <= bytesLeft / smallest else { throw .truncated }
    }

    // MARK: Walker

    package mutating func visit<V: WireField>(_ value: inout V, _ name: StaticString) throws(WireError) {
        try value.read(from: &self)
    }

    package mutating func visit<V: WireNullable>(
        _ value: inout V?, _ name: StaticString, nullable: Bool
    ) throws(WireError) {
        if nullable {
            value = try V.readNullable(from: &self)
        } else {
            var present = V.blank
            try present.read(from: &self)
            value = present
        }
    }

    package mutating func visitRecords(
        _ value: inout ByteBuffer?, _ name: StaticString, apartLength: Int?
    ) throws(WireError) {
        value = try ByteBuffer.readNullable(from: &self)
    }

    package mutating func visitTag<V: WireField>(
        _ tag: UInt32, _ value: inout V, _ name: StaticString, isDefault: (V) -> Bool
    ) throws(WireError) {
        guard isFlexible, !seesNoTags, let outer = try enterTag(tag) else { return }
        try value.read(from: &self)
        try leaveTag(outer)
    }

    package mutating func visitTag<V: WireNullable>(
        _ tag: UInt32, _ value: inout V?, _ name: StaticString
    ) throws(WireError) {
        guard isFlexible, !seesNoTags, let outer = try enterTag(tag) else { return }
        value = try V.readNullable(from: &self)
        try leaveTag(outer)
    }

    package mutating func end() throws(WireError) {
        guard isFlexible else { return }
        if seesNoTags { return position &+= 1 }
        let section = try currentTags()
        position = section.end
        tags = nil
    }

    // MARK: Tags

    private struct Outer {
        var section: TagSection
        var limit: Int
    }

    /// A tag buffer begins here and is empty, as nearly all are.
    private var seesNoTags: Bool {
        tags == nil && position < limit && base.load(fromByteOffset: position, as: UInt8.self) == 0
    }

    /// The tag buffer at the current position; its extent is checked when it is first met.
    private mutating func currentTags() throws(WireError) -> TagSection {
        if let tags { return tags }
        let count = try readUVarint()
        let start = position
        for _ in 0..<count {
            _ = try readUVarint()
            let size = Int(try readUVarint())
            guard bytesLeft >= size else { throw .truncated }
            position &+= size
        }
        let section = TagSection(start: start, end: position, count: count)
        tags = section
        return section
    }

    /// Moves to the value of `tag` and narrows the limit to it; nil when the peer did not send it. Of a tag sent twice
    /// the first counts.
    @inline(never)
    private mutating func enterTag(_ tag: UInt32) throws(WireError) -> Outer? {
        let section = try currentTags()
        guard section.count > 0 else { return nil }
        position = section.start
        for _ in 0..<section.count {
            let found = try readUVarint()
            let size = Int(try readUVarint())
            if found == tag {
                let outer = Outer(section: section, limit: limit)
                limit = position &+ size
                tags = nil
                return outer
            }
            position &+= size
        }
        return nil
    }

    private mutating func leaveTag(_ outer: Outer) throws(WireError) {
        guard position == limit else { throw .tagSizeMismatch }
        limit = outer.limit
        tags = outer.section
    }
}
