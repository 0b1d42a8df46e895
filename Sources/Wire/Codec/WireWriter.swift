// The walker that encodes. It writes into the memory it is given and only counts what does not fit, so that one walk
// is enough when the buffer is large enough, and a second one into a grown buffer when it is not.

import NIOCore

package struct WireWriter: Walker {
    package let version: Int16
    let isFlexible: Bool
    private let base: UnsafeMutableRawPointer
    private let capacity: Int
    /// Bytes written, or that would have been.
    private(set) var position = 0
    private(set) var gaps = WireGaps()
    /// Where the tag count of the struct being written stands; −1 while it has no tag.
    private var tagCountAt = -1

    init(memory: UnsafeMutableRawBufferPointer, version: Int16, isFlexible: Bool) {
        // No memory may have no address; then nothing is ever stored, and any address does.
        self.base = memory.baseAddress ?? UnsafeMutableRawPointer(mutating: Self.nowhere.utf8Start)
        self.capacity = memory.count
        self.version = version
        self.isFlexible = isFlexible
    }

    private static var nowhere: StaticString { "" }

    var overflowed: Bool { position > capacity }

    /// The fewest bytes that a value of the type takes.
    static func shortestSize<E: WireField>(of: E.Type, version: Int16, isFlexible: Bool) -> Int {
        var writer = WireWriter(
            memory: UnsafeMutableRawBufferPointer(start: nil, count: 0), version: version, isFlexible: isFlexible)
        var blank = E.blank
        blank.write(to: &writer)
        return writer.position
    }

    // MARK: Primitives

    mutating func writeInteger<T: FixedWidthInteger>(_ value: T) {
        let next = position &+ MemoryLayout<T>.size
        if next <= capacity { base.storeBytes(of: value.bigEndian, toByteOffset: position, as: T.self) }
        position = next
    }

    /// One look at the room left for all.
    mutating func writeIntegers<T: FixedWidthInteger>(_ values: UnsafeBufferPointer<T>) {
        var at = position
        position &+= values.count &* MemoryLayout<T>.size
        guard position <= capacity else { return }
        for value in values {
            base.storeBytes(of: value.bigEndian, toByteOffset: at, as: T.self)
            at &+= MemoryLayout<T>.size
        }
    }

    /// Nearly all are one byte, so that case stands apart to be inlined.
    mutating func writeUVarint(_ value: UInt32) {
        if value < 0x80 { writeInteger(UInt8(truncatingIfNeeded: value)) } else { writeLongUVarint(value) }
    }

    @inline(never)
    private mutating func writeLongUVarint(_ value: UInt32) {
        var rest = value
        while rest >= 0x80 {
            writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        writeInteger(UInt8(truncatingIfNeeded: rest))
    }

    /// A length or count of bytes or elements; −1 for null.
    mutating func writeLength(_ length: Int) {
        precondition(length <= Int(Int32.max) - 1, "a length above int32")
        if isFlexible { writeUVarint(UInt32(length + 1)) } else { writeInteger(Int32(length)) }
    }

    mutating func writeStringLength(_ length: Int) {
        if isFlexible { writeUVarint(UInt32(length + 1)) } else { writeInteger(Int16(length)) }
    }

    mutating func writeRaw(_ source: UnsafeRawBufferPointer) {
        let next = position + source.count
        if next <= capacity, let from = source.baseAddress {
            (base + position).copyMemory(from: from, byteCount: source.count)
        }
        position = next
    }

    /// Kafka's strings end at 32,767 bytes; a longer one (an error message of ours) is cut at a character.
    mutating func writeString(_ value: String) {
        guard value.utf8.count <= Int(Int16.max) else { return writeString(Self.cut(value)) }
        writeStringLength(value.utf8.count)
        let done: Void? = value.utf8.withContiguousStorageIfAvailable { writeRaw(UnsafeRawBufferPointer($0)) }
        if done == nil {
            for byte in value.utf8 { writeInteger(byte) }
        }
    }

    private static func cut(_ value: String) -> String {
        var end = value.utf8.index(value.utf8.startIndex, offsetBy: Int(Int16.max))
        while end.samePosition(in: value.unicodeScalars) == nil { end = value.utf8.index(before: end) }
        return String(value.unicodeScalars[..<end])
    }

    // MARK: Walker

    package mutating func visit<V: WireField>(_ value: inout V, _ name: StaticString) throws(WireError) {
        value.write(to: &self)
    }

    package mutating func visit<V: WireNullable>(
        _ value: inout V?, _ name: StaticString, nullable: Bool
    ) throws(WireError) {
        writeOptional(&value, nullable: nullable)
    }

    package mutating func visitRecords(
        _ value: inout ByteBuffer?, _ name: StaticString, apartLength: Int?
    ) throws(WireError) {
        guard let apartLength else { return writeOptional(&value, nullable: true) }
        writeLength(apartLength)
        guard apartLength > 0 else { return }
        if gaps.positions.isEmpty { gaps.positions.reserveCapacity(16) }
        gaps.positions.append(position)
        gaps.sizeBytes += apartLength
    }

    package mutating func visitTag<V: WireField>(
        _ tag: UInt32, _ value: inout V, _ name: StaticString, isDefault: (V) -> Bool
    ) throws(WireError) {
        guard isFlexible, !isDefault(value) else { return }
        let opened = openTag(tag)
        value.write(to: &self)
        closeTag(opened)
    }

    package mutating func visitTag<V: WireNullable>(
        _ tag: UInt32, _ value: inout V?, _ name: StaticString
    ) throws(WireError) {
        guard isFlexible, value != nil else { return }
        let opened = openTag(tag)
        writeOptional(&value, nullable: true)
        closeTag(opened)
    }

    package mutating func end() throws(WireError) {
        guard isFlexible else { return }
        if tagCountAt < 0 { writeInteger(UInt8(0)) }
        tagCountAt = -1
    }

    /// In place: a copy of what is present would be retained and released.
    private mutating func writeOptional<V: WireNullable>(_ value: inout V?, nullable: Bool) {
        if value != nil {
            if nullable { value?.writePresent(to: &self) } else { value?.write(to: &self) }
        } else if nullable {
            V.writeNull(to: &self)
        } else {
            var blank = V.blank
            blank.write(to: &self)
        }
    }

    // MARK: Tags

    /// Where an open tagged value stands, and the tag state of the struct around it.
    private struct OpenTag {
        var countAt: Int
        var sizeAt: Int
    }

    /// Writes the tag and leaves one byte for its size. A struct has fewer than 128 tags, so its count is one byte.
    private mutating func openTag(_ tag: UInt32) -> OpenTag {
        if tagCountAt < 0 {
            tagCountAt = position
            writeInteger(UInt8(0))
        }
        if tagCountAt < capacity {
            let count = base.load(fromByteOffset: tagCountAt, as: UInt8.self)
            base.storeBytes(of: count + 1, toByteOffset: tagCountAt, as: UInt8.self)
        }
        writeUVarint(tag)
        let opened = OpenTag(countAt: tagCountAt, sizeAt: position)
        writeInteger(UInt8(0))
        tagCountAt = -1
        return opened
    }

    /// Fills in the size, moving the value up when its size takes more than one byte.
    private mutating func closeTag(_ opened: OpenTag) {
        let valueAt = opened.sizeAt + 1
        let valueEnd = position
        let size = UInt32(valueEnd - valueAt)
        position = opened.sizeAt
        let extra = Self.varintSize(size) - 1
        if extra > 0 && valueEnd + extra <= capacity {
            // The two overlap; `copyMemory` allows it.
            (base + valueAt + extra).copyMemory(from: base + valueAt, byteCount: Int(size))
        }
        writeUVarint(size)
        position = valueEnd + extra
        tagCountAt = opened.countAt
    }

    private static func varintSize(_ value: UInt32) -> Int {
        var size = 1
        var rest = value >> 7
        while rest > 0 {
            size += 1
            rest >>= 7
        }
        return size
    }
}
