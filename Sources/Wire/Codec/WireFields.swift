// How each field type is read, written, filled and shown. Messages never do this themselves.

import Model
import NIOCore

// MARK: Numbers

package protocol WireInteger: WireField, FixedWidthInteger {
    static var schemaName: StaticString { get }
}

extension WireInteger {
    package static var blank: Self { 0 }
    package static func showType(in printer: inout WirePrinter) { printer.put("\(schemaName)") }
    package mutating func read(from reader: inout WireReader) throws(WireError) {
        self = try reader.readInteger(Self.self)
    }
    package func write(to writer: inout WireWriter) { writer.writeInteger(self) }
    package mutating func fill(from filler: inout WireFiller) { self = filler.integer() }
    package func show(in printer: inout WirePrinter) { printer.put("\(self)") }
}

extension Int8: WireInteger { package static var schemaName: StaticString { "int8" } }
extension Int16: WireInteger { package static var schemaName: StaticString { "int16" } }
extension Int32: WireInteger { package static var schemaName: StaticString { "int32" } }
extension Int64: WireInteger { package static var schemaName: StaticString { "int64" } }
extension UInt16: WireInteger { package static var schemaName: StaticString { "uint16" } }

extension Bool: WireField {
    package static var blank: Bool { false }
    package static func showType(in printer: inout WirePrinter) { printer.put("bool") }
    package mutating func read(from reader: inout WireReader) throws(WireError) {
        self = try reader.readInteger(UInt8.self) != 0
    }
    package func write(to writer: inout WireWriter) { writer.writeInteger(UInt8(self ? 1 : 0)) }
    package mutating func fill(from filler: inout WireFiller) { self = filler.coin() }
    package func show(in printer: inout WirePrinter) { printer.put("\(self)") }
}

extension ErrorCode: WireField {
    package static var blank: ErrorCode { .none }
    package static func showType(in printer: inout WirePrinter) { printer.put("int16") }
    package mutating func read(from reader: inout WireReader) throws(WireError) {
        self = ErrorCode(rawValue: try reader.readInteger(Int16.self))
    }
    package func write(to writer: inout WireWriter) { writer.writeInteger(rawValue) }
    package mutating func fill(from filler: inout WireFiller) { self = ErrorCode(rawValue: filler.integer()) }
    package func show(in printer: inout WirePrinter) {
        if printer.isTable { printer.put("\(rawValue)") } else { printer.put(description) }
    }
}

extension APIKey: WireField {
    package static var blank: APIKey { APIKey(rawValue: 0) }
    package static func showType(in printer: inout WirePrinter) { printer.put("int16") }
    package mutating func read(from reader: inout WireReader) throws(WireError) {
        self = APIKey(rawValue: try reader.readInteger(Int16.self))
    }
    package func write(to writer: inout WireWriter) { writer.writeInteger(rawValue) }
    package mutating func fill(from filler: inout WireFiller) { self = APIKey(rawValue: filler.integer()) }
    package func show(in printer: inout WirePrinter) {
        if printer.isTable { printer.put("\(rawValue)") } else { printer.put(description) }
    }
}

extension UUID128: WireField {
    package static var blank: UUID128 { UUID128(high: 0, low: 0) }
    package static func showType(in printer: inout WirePrinter) { printer.put("uuid") }
    package mutating func read(from reader: inout WireReader) throws(WireError) {
        high = try reader.readInteger(UInt64.self)
        low = try reader.readInteger(UInt64.self)
    }
    package func write(to writer: inout WireWriter) {
        writer.writeInteger(high)
        writer.writeInteger(low)
    }
    package mutating func fill(from filler: inout WireFiller) {
        self = UUID128(high: filler.integer(), low: filler.integer())
    }
    package func show(in printer: inout WirePrinter) { printer.put(description) }
}

// MARK: Strings and bytes

extension String: WireNullable {
    package static var blank: String { "" }
    package static func showType(in printer: inout WirePrinter) { printer.put("string") }
    package mutating func read(from reader: inout WireReader) throws(WireError) {
        let length = try reader.readStringLength()
        guard length >= 0 else { throw .unexpectedNull }
        self = try reader.readString(length: length)
    }
    package static func readNullable(from reader: inout WireReader) throws(WireError) -> String? {
        let length = try reader.readStringLength()
        return length < 0 ? nil : try reader.readString(length: length)
    }
    package func write(to writer: inout WireWriter) { writer.writeString(self) }
    package func writePresent(to writer: inout WireWriter) { writer.writeString(self) }
    package static func writeNull(to writer: inout WireWriter) { writer.writeStringLength(-1) }
    package mutating func fill(from filler: inout WireFiller) { self = filler.string() }
    package func show(in printer: inout WirePrinter) { printer.put(debugDescription) }
}

extension ByteBuffer: WireNullable {
    package static var blank: ByteBuffer { ByteBuffer() }
    package static func showType(in printer: inout WirePrinter) { printer.put("bytes") }
    package mutating func read(from reader: inout WireReader) throws(WireError) {
        let length = try reader.readLength()
        guard length >= 0 else { throw .unexpectedNull }
        self = try reader.readSlice(length: length)
    }
    package static func readNullable(from reader: inout WireReader) throws(WireError) -> ByteBuffer? {
        let length = try reader.readLength()
        return length < 0 ? nil : try reader.readSlice(length: length)
    }
    package func write(to writer: inout WireWriter) {
        writer.writeLength(readableBytes)
        withUnsafeReadableBytes { writer.writeRaw($0) }
    }
    package func writePresent(to writer: inout WireWriter) { write(to: &writer) }
    package static func writeNull(to writer: inout WireWriter) { writer.writeLength(-1) }
    package mutating func fill(from filler: inout WireFiller) { self = filler.bytes() }
    package func show(in printer: inout WirePrinter) {
        printer.put(printer.isTable ? "" : "<\(readableBytes) bytes>")
    }
}

// MARK: Arrays

extension WireField {
    package static func readElements(count: Int, from reader: inout WireReader) throws(WireError) -> [Self] {
        guard count > 0 else { return [] }
        try reader.checkCount(count, of: Self.self)
        var elements: [Self] = []
        elements.reserveCapacity(count)
        for _ in 0..<count { elements.append(.blank) }
        // Read in place: a finished element would be copied into the array once more.
        try elements.withUnsafeMutableBufferPointer { memory throws(WireError) in
            for index in memory.indices { try memory[index].read(from: &reader) }
        }
        return elements
    }
}

extension WireField {
    /// Each is copied, which costs a number nothing: arrays of numbers and ids are shared with other threads (a
    /// partition's replicas), and to be reached as something that could change is an access of its own.
    package static func writeElements(_ elements: UnsafeBufferPointer<Self>, to writer: inout WireWriter) {
        for index in elements.indices {
            var element = elements[index]
            element.write(to: &writer)
        }
    }
}

extension WireStruct {
    /// Walking is `mutating`, so the elements are reached through a mutable pointer; to copy each would retain all of
    /// its fields. A message's structs are its own: no other thread has them, and no writer stores into what it walks.
    package static func writeElements(_ elements: UnsafeBufferPointer<Self>, to writer: inout WireWriter) {
        guard let first = elements.baseAddress else { return }
        let pointer = UnsafeMutablePointer(mutating: first)
        for index in 0..<elements.count { pointer[index].write(to: &writer) }
    }
}

extension WireInteger {
    /// One check of the bytes left for all.
    package static func readElements(count: Int, from reader: inout WireReader) throws(WireError) -> [Self] {
        guard count > 0 else { return [] }
        let bytes = try reader.readRaw(count: count, sizeBytes: MemoryLayout<Self>.size)
        var elements: [Self] = []
        elements.reserveCapacity(count)
        for index in 0..<count {
            elements.append(
                Self(bigEndian: bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<Self>.size, as: Self.self)))
        }
        return elements
    }

    package static func writeElements(_ elements: UnsafeBufferPointer<Self>, to writer: inout WireWriter) {
        writer.writeIntegers(elements)
    }
}

extension Array: WireField where Element: WireField {
    package static var blank: [Element] { [] }

    package static func showType(in printer: inout WirePrinter) {
        printer.put("[]")
        Element.showType(in: &printer)
    }

    package mutating func read(from reader: inout WireReader) throws(WireError) {
        let count = try reader.readLength()
        guard count >= 0 else { throw .unexpectedNull }
        self = try Element.readElements(count: count, from: &reader)
    }

    package func write(to writer: inout WireWriter) {
        writer.writeLength(count)
        withUnsafeBufferPointer { Element.writeElements($0, to: &writer) }
    }

    package mutating func fill(from filler: inout WireFiller) {
        self = []
        for _ in 0..<filler.count() {
            var element = Element.blank
            element.fill(from: &filler)
            append(element)
        }
    }

    package mutating func show(in printer: inout WirePrinter) {
        guard !printer.isTable else { return }
        printer.put("[")
        for index in indices {
            if index > 0 { printer.put(", ") }
            self[index].show(in: &printer)
        }
        printer.put("]")
    }
}

extension Array: WireNullable where Element: WireField {
    package static func readNullable(from reader: inout WireReader) throws(WireError) -> [Element]? {
        let count = try reader.readLength()
        guard count >= 0 else { return nil }
        return try Element.readElements(count: count, from: &reader)
    }
    package func writePresent(to writer: inout WireWriter) { write(to: &writer) }
    package static func writeNull(to writer: inout WireWriter) { writer.writeLength(-1) }
}
