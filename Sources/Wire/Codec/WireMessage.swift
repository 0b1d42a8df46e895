// The protocols of the codec: one `walk` per struct is schema, decoder, encoder, printer and filler.
// Messages and walkers live in this one module, because only here the compiler makes a copy of each `walk` per walker.

import Model
import NIOCore

/// A value that can stand in a field: numbers, strings, bytes, ids, arrays and structs.
package protocol WireField: Equatable, Sendable {
    /// The zero of the type: 0, "", no elements, every field at its default. Also its shortest encoding.
    static var blank: Self { get }
    /// The type's name in the notation of Kafka's schemas, for printed tables.
    static func showType(in printer: inout WirePrinter)
    mutating func read(from reader: inout WireReader) throws(WireError)
    /// The elements of an array of this type, whose count was just read and is at least 0.
    static func readElements(count: Int, from reader: inout WireReader) throws(WireError) -> [Self]
    /// `mutating` only because `walk` is; a writer never stores into the value.
    mutating func write(to writer: inout WireWriter)
    /// The elements of an array of this type.
    static func writeElements(_ elements: UnsafeBufferPointer<Self>, to writer: inout WireWriter)
    mutating func fill(from filler: inout WireFiller)
    mutating func show(in printer: inout WirePrinter)
}

/// A field type that has a null on the wire.
package protocol WireNullable: WireField {
    static func readNullable(from reader: inout WireReader) throws(WireError) -> Self?
    static func writeNull(to writer: inout WireWriter)
    /// Writes a value that could have been null.
    mutating func writePresent(to writer: inout WireWriter)
}

/// A struct of a message: its `walk` names its fields in wire order, then its tagged fields in tag order, then `end()`.
package protocol WireStruct: WireNullable {
    init()
    mutating func walk<W: Walker>(_ w: inout W) throws(WireError)
}

/// A whole message. `decodeSelf` and `encodeSelf` are requirements with default bodies on purpose: their witnesses are
/// specialised for the message, while a plain generic method called from another module would not be.
package protocol WireMessage: WireStruct {
    /// The versions this build speaks.
    static var versions: ClosedRange<Int16> { get }
    /// The first version with compact lengths and tagged fields; `Int16.max` for never.
    static var flexibleSince: Int16 { get }
    static func decodeSelf(from buffer: inout ByteBuffer, version: Int16) throws(WireError) -> Self
    func encodeSelf(into buffer: inout ByteBuffer, version: Int16) -> WireGaps
}

/// A request of the Kafka protocol, with the type of its answer.
package protocol WireRequest: WireMessage {
    associatedtype Response: WireMessage
    static var api: APIKey { get }
}

/// Where bytes are still to be spliced into an encoded message (see `FetchResponse.Partition.recordsLength`).
package struct WireGaps: Equatable, Sendable {
    /// Positions in the encoded bytes, relative to where the encoding began, ascending.
    package var positions: [Int] = []
    /// Bytes to be spliced in, all gaps together.
    package var sizeBytes = 0
}

/// One visitor over a message: reader, writer, printer or filler.
package protocol Walker {
    var version: Int16 { get }
    mutating func visit<V: WireField>(_ value: inout V, _ name: StaticString) throws(WireError)
    mutating func visit<V: WireNullable>(_ value: inout V?, _ name: StaticString, nullable: Bool) throws(WireError)
    /// `isDefault` says whether the value may be left out; only a writer asks.
    mutating func visitTag<V: WireField>(
        _ tag: UInt32, _ value: inout V, _ name: StaticString, isDefault: (V) -> Bool) throws(WireError)
    mutating func visitTag<V: WireNullable>(
        _ tag: UInt32, _ value: inout V?, _ name: StaticString) throws(WireError)
    /// Record batches. With `apartLength` a writer writes only the length and notes a gap of so many bytes.
    mutating func visitRecords(_ value: inout ByteBuffer?, _ name: StaticString, apartLength: Int?) throws(WireError)
    /// Closes a struct: the tag buffer of flexible versions.
    mutating func end() throws(WireError)
}

extension Walker {
    /// A field that versions `since...until` of the message have.
    package mutating func field<V: WireField>(
        _ value: inout V, _ name: StaticString, since: Int16 = 0, until: Int16 = .max
    ) throws(WireError) {
        guard version >= since && version <= until else { return }
        try visit(&value, name)
    }

    /// A field that may be null from version `nullableSince` on; before that null is written as empty and never read.
    package mutating func field<V: WireNullable>(
        _ value: inout V?, _ name: StaticString, since: Int16 = 0, until: Int16 = .max, nullableSince: Int16 = 0
    ) throws(WireError) {
        guard version >= since && version <= until else { return }
        try visit(&value, name, nullable: version >= nullableSince)
    }

    /// A tagged field of flexible versions, left out when it equals the default.
    package mutating func tag<V: WireField>(
        _ tag: UInt32, _ value: inout V, _ name: StaticString, default fallback: @autoclosure () -> V, since: Int16 = 0
    ) throws(WireError) {
        guard version >= since else { return }
        try visitTag(tag, &value, name, isDefault: { $0 == fallback() })
    }

    /// A tagged id that is left out when zero. Compared here, because `==` of another module is an unspecialised call.
    package mutating func tag(
        _ tag: UInt32, _ value: inout UUID128, _ name: StaticString, since: Int16 = 0
    ) throws(WireError) {
        guard version >= since else { return }
        try visitTag(tag, &value, name, isDefault: { ($0.high | $0.low) == 0 })
    }

    /// A tagged field that is left out when null.
    package mutating func tag<V: WireNullable>(
        _ tag: UInt32, _ value: inout V?, _ name: StaticString, since: Int16 = 0
    ) throws(WireError) {
        guard version >= since else { return }
        try visitTag(tag, &value, name)
    }

    package mutating func records(
        _ value: inout ByteBuffer?, _ name: StaticString, apartLength: Int? = nil
    ) throws(WireError) {
        try visitRecords(&value, name, apartLength: apartLength)
    }
}

extension WireStruct {
    package static var blank: Self { Self() }

    package mutating func read(from reader: inout WireReader) throws(WireError) { try walk(&reader) }

    package mutating func write(to writer: inout WireWriter) {
        // The error type is shared by all walkers; a writer has no failing path.
        do { try walk(&writer) } catch { preconditionFailure("a writer never throws: \(error)") }
    }

    package mutating func fill(from filler: inout WireFiller) {
        do { try walk(&filler) } catch { preconditionFailure("a filler never throws: \(error)") }
    }

    package mutating func show(in printer: inout WirePrinter) { printer.showStruct(&self) }

    package static func showType(in printer: inout WirePrinter) {
        var empty = Self()
        printer.showStruct(&empty)
    }

    package static func readNullable(from reader: inout WireReader) throws(WireError) -> Self? {
        let marker = try reader.readInteger(Int8.self)
        guard marker >= 0 else { return nil }
        var value = Self()
        try value.walk(&reader)
        return value
    }

    package static func writeNull(to writer: inout WireWriter) { writer.writeInteger(Int8(-1)) }

    package mutating func writePresent(to writer: inout WireWriter) {
        writer.writeInteger(Int8(1))
        write(to: &writer)
    }
}
