// Kafka's 128-bit ids: topic ids, directory ids, incarnations. Printed in URL-safe base64 without padding, as Kafka
// prints them.

public struct UUID128: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var high: UInt64
    public var low: UInt64

    public static let zero = UUID128()

    public init(high: UInt64 = 0, low: UInt64 = 0) {
        self.high = high
        self.low = low
    }

    /// A random version-4 id. Ids whose text would begin with "-" are drawn again, as Kafka does, because command lines
    /// choke on them; so are the reserved ids below 100.
    public static func random(using generator: inout SeededRandom) -> UUID128 {
        while true {
            let id = UUID128(
                high: (generator.next() & ~0xF000) | 0x4000, low: (generator.next() & ~(0b11 << 62)) | (0b10 << 62))
            if !id.description.hasPrefix("-") { return id }
        }
    }

    /// Reads Kafka's 22-character form. Nil when the text is anything else.
    public init?(_ text: some StringProtocol) {
        guard text.utf8.count == 22 else { return nil }
        var bits: UInt64 = 0
        var words: [UInt64] = []
        var filled = 0
        for character in text.utf8 {
            guard let value = Self.alphabet.firstIndex(of: character) else { return nil }
            for shift in stride(from: 5, through: 0, by: -1) {
                if words.count == 2 { break }
                bits = (bits << 1) | UInt64((value >> shift) & 1)
                filled += 1
                if filled == 64 {
                    words.append(bits)
                    bits = 0
                    filled = 0
                }
            }
        }
        self.init(high: words[0], low: words[1])
        guard self.description == text else { return nil }
    }

    public var description: String {
        var text: [UInt8] = []
        text.reserveCapacity(22)
        for index in 0..<22 {
            var value = 0
            for bit in 0..<6 {
                let position = index * 6 + bit
                let word = position < 64 ? high : low
                let set = position < 128 ? (word >> UInt64(63 - position % 64)) & 1 : 0
                value = (value << 1) | Int(set)
            }
            text.append(Self.alphabet[value])
        }
        return String(decoding: text, as: UTF8.self)
    }

    public static func < (a: Self, b: Self) -> Bool { a.high == b.high ? a.low < b.low : a.high < b.high }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
}
