// What stands for a record's key in the cleaner's map: SipHash-2-4 of 128 bits under a secret key (Aumasson and
// Bernstein, 2012).

/// Two keys with one hash would be one key to the cleaner, and the older one's live record would go. Nobody who does
/// not know the secret can make such a pair, and by chance it takes about 10¹⁵ keys in one log for one in a billion.
package struct KeyHash: Hashable, Sendable {
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) { (self.high, self.low) = (high, low) }
}

/// The secret of one cleaning. Drawn anew for each, from the node's randomness.
package struct KeyHasher: Hashable, Sendable {
    private let k0: UInt64
    private let k1: UInt64

    package init(_ k0: UInt64, _ k1: UInt64) { (self.k0, self.k1) = (k0, k1) }

    package func hash(_ bytes: UnsafeRawBufferPointer) -> KeyHash {
        var state = SipState(k0, k1)
        let whole = bytes.count & ~7
        var index = 0
        while index < whole {
            state.take(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)))
            index += 8
        }
        var last = UInt64(truncatingIfNeeded: bytes.count) << 56
        for (place, byte) in bytes[whole...].enumerated() { last |= UInt64(byte) << UInt64(8 * place) }
        state.take(last)
        return state.finish()
    }
}

private struct SipState {
    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64

    init(_ k0: UInt64, _ k1: UInt64) {
        v0 = k0 ^ 0x736f_6d65_7073_6575
        v1 = k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee
        v2 = k0 ^ 0x6c79_6765_6e65_7261
        v3 = k1 ^ 0x7465_6462_7974_6573
    }

    mutating func take(_ word: UInt64) {
        v3 ^= word
        round()
        round()
        v0 ^= word
    }

    mutating func finish() -> KeyHash {
        v2 ^= 0xee
        for _ in 0..<4 { round() }
        let high = v0 ^ v1 ^ v2 ^ v3
        v1 ^= 0xdd
        for _ in 0..<4 { round() }
        return KeyHash(high: high, low: v0 ^ v1 ^ v2 ^ v3)
    }

    @inline(__always)
    private mutating func round() {
        v0 &+= v1
        v1 = rotate(v1, 13) ^ v0
        v0 = rotate(v0, 32)
        v2 &+= v3
        v3 = rotate(v3, 16) ^ v2
        v0 &+= v3
        v3 = rotate(v3, 21) ^ v0
        v2 &+= v1
        v1 = rotate(v1, 17) ^ v2
        v2 = rotate(v2, 32)
    }

    @inline(__always)
    private func rotate(_ word: UInt64, _ count: UInt64) -> UInt64 { word << count | word >> (64 - count) }
}
