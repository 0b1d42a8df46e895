// The walker that fills a message with seeded random values, within what its version can carry. For tests.

import Model
import NIOCore

package struct WireFiller: Walker {
    package let version: Int16
    private let isFlexible: Bool
    private var random: SeededRandom

    package init(version: Int16, isFlexible: Bool, random: SeededRandom) {
        self.version = version
        self.isFlexible = isFlexible
        self.random = random
    }

    /// A message with random fields, the same for the same seed.
    package static func message<M: WireMessage>(_: M.Type, version: Int16, seed: UInt64) -> M {
        var filler = WireFiller(
            version: version, isFlexible: version >= M.flexibleSince, random: SeededRandom(seed: seed))
        var message = M()
        message.fill(from: &filler)
        return message
    }

    mutating func coin() -> Bool { random.oneIn(2) }

    /// Any bit pattern; one in four is 0, −1 or an extreme, where codecs go wrong.
    mutating func integer<T: FixedWidthInteger>() -> T {
        switch random.below(16) {
        case 0: 0
        case 1: ~0
        case 2: .max
        case 3: .min
        default: T(truncatingIfNeeded: random.next())
        }
    }

    mutating func count() -> Int { Int(random.below(4)) }

    /// Short, empty, or past 127 bytes, where varints grow; sometimes beyond ASCII.
    mutating func string() -> String {
        let length = random.oneIn(8) ? 130 : Int(random.below(12))
        let letters: [Character] = random.oneIn(4) ? ["ä", "語", "🪶", "a"] : ["a", "b", "-", "7"]
        return String((0..<length).map { _ in letters[Int(random.below(4))] })
    }

    mutating func bytes() -> ByteBuffer {
        let length = random.oneIn(8) ? 300 : Int(random.below(20))
        return ByteBuffer(bytes: (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) })
    }

    package mutating func visit<V: WireField>(_ value: inout V, _ name: StaticString) throws(WireError) {
        value.fill(from: &self)
    }

    package mutating func visit<V: WireNullable>(
        _ value: inout V?, _ name: StaticString, nullable: Bool
    ) throws(WireError) {
        value = nil
        if nullable && random.oneIn(3) { return }
        var present = V.blank
        present.fill(from: &self)
        value = present
    }

    package mutating func visitRecords(
        _ value: inout ByteBuffer?, _ name: StaticString, apartLength: Int?
    ) throws(WireError) {
        value = random.oneIn(3) ? nil : bytes()
    }

    package mutating func visitTag<V: WireField>(
        _ tag: UInt32, _ value: inout V, _ name: StaticString, isDefault: (V) -> Bool
    ) throws(WireError) {
        if isFlexible && coin() { value.fill(from: &self) }
    }

    package mutating func visitTag<V: WireNullable>(
        _ tag: UInt32, _ value: inout V?, _ name: StaticString
    ) throws(WireError) {
        if isFlexible && coin() { try visit(&value, name, nullable: true) }
    }

    package mutating func end() throws(WireError) {}
}
