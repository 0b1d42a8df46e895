// The walker that prints: a message's values as one line of stable text, or a version's field table in the notation
// `name:type; topics:[]{…}; x:int32 #tag0=-1`.

import NIOCore

package struct WirePrinter: Walker {
    package let version: Int16
    /// Prints types and defaults instead of values.
    let isTable: Bool
    private let isFlexible: Bool
    private var text = ""
    private var fieldsSoFar = 0
    private var lastTag: UInt32?

    private init(version: Int16, isFlexible: Bool, isTable: Bool) {
        self.version = version
        self.isFlexible = isFlexible
        self.isTable = isTable
    }

    /// The message's values on one line, for traces and `log dump`. Bytes are shown by their length.
    package static func text<M: WireMessage>(_ message: M, version: Int16) -> String {
        var printer = WirePrinter(version: version, isFlexible: version >= M.flexibleSince, isTable: false)
        var copy = message
        copy.show(in: &printer)
        return printer.text
    }

    /// The fields that a version of the message has, in wire order.
    package static func table<M: WireMessage>(_: M.Type, version: Int16) -> String {
        var printer = WirePrinter(version: version, isFlexible: version >= M.flexibleSince, isTable: true)
        M.showType(in: &printer)
        return printer.text
    }

    mutating func put(_ part: String) { text += part }

    mutating func showStruct<S: WireStruct>(_ value: inout S) {
        let outer = (fieldsSoFar, lastTag)
        (fieldsSoFar, lastTag) = (0, nil)
        put("{")
        do { try value.walk(&self) } catch { preconditionFailure("a printer never throws: \(error)") }
        put("}")
        (fieldsSoFar, lastTag) = outer
    }

    private mutating func begin(_ name: StaticString) {
        if fieldsSoFar > 0 { put(isTable ? "; " : ", ") }
        fieldsSoFar += 1
        put("\(name)\(isTable ? ":" : "=")")
    }

    /// Shows a default only where it is not the type's zero.
    private mutating func showDefault<V: WireField>(_ value: inout V) {
        guard value != V.blank else { return }
        put("=")
        value.show(in: &self)
    }

    private mutating func showTag(_ tag: UInt32) {
        precondition(lastTag.map { $0 < tag } ?? true, "tags stand in ascending order in a walk")
        lastTag = tag
        if isTable { put(" #tag\(tag)") }
    }

    package mutating func visit<V: WireField>(_ value: inout V, _ name: StaticString) throws(WireError) {
        begin(name)
        guard isTable else { return value.show(in: &self) }
        V.showType(in: &self)
        showDefault(&value)
    }

    package mutating func visit<V: WireNullable>(
        _ value: inout V?, _ name: StaticString, nullable: Bool
    ) throws(WireError) {
        begin(name)
        showOptional(&value, nullable: nullable)
    }

    package mutating func visitRecords(
        _ value: inout ByteBuffer?, _ name: StaticString, apartLength: Int?
    ) throws(WireError) {
        begin(name)
        if isTable {
            put("records?")
        } else if let apartLength {
            put("<\(apartLength) bytes>")
        } else {
            showOptional(&value, nullable: true)
        }
    }

    package mutating func visitTag<V: WireField>(
        _ tag: UInt32, _ value: inout V, _ name: StaticString, isDefault: (V) -> Bool
    ) throws(WireError) {
        guard isFlexible, isTable || !isDefault(value) else { return }
        precondition(!isTable || isDefault(value), "a tag's default is the field's initial value")
        begin(name)
        if isTable { V.showType(in: &self) } else { value.show(in: &self) }
        showTag(tag)
        if isTable { showDefault(&value) }
    }

    package mutating func visitTag<V: WireNullable>(
        _ tag: UInt32, _ value: inout V?, _ name: StaticString
    ) throws(WireError) {
        guard isFlexible, isTable || value != nil else { return }
        begin(name)
        showOptional(&value, nullable: true)
        showTag(tag)
    }

    package mutating func end() throws(WireError) {}

    private mutating func showOptional<V: WireNullable>(_ value: inout V?, nullable: Bool) {
        if isTable {
            V.showType(in: &self)
            if nullable { put("?") }
        } else if var present = value {
            present.show(in: &self)
        } else {
            put("null")
        }
    }
}
