// CRC-32C against its definition, bit by bit.

import CChecksum
import NIOCore
import Records
import Testing

@Suite struct ChecksumTests {
    @Test func knowsThePublishedVectors() {
        #expect(crc32c(bytes("123456789")) == 0xE306_9283)
        #expect(crc32c(ByteBuffer()) == 0)
        // RFC 3720, appendix B.4.
        #expect(crc32c(ByteBuffer(repeating: 0x00, count: 32)) == 0x8A91_36AA)
        #expect(crc32c(ByteBuffer(repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(crc32c(ByteBuffer(bytes: 0..<32)) == 0x46DD_794E)
        #expect(crc32c(ByteBuffer(bytes: (0..<32).reversed())) == 0x113F_DB5C)
    }

    @Test func bothWaysAgreeWithTheDefinitionAtEveryLengthAndAlignment() {
        let data = noise(26_000, seed: 7).map { $0 &* 37 }
        data.withUnsafeBytes { all in
            for start in 0..<8 {
                // The running CRC of every prefix, so that each length costs one byte.
                var state: UInt32 = ~0
                var length = 0
                for byte in all[start..<(start + 25_000)] {
                    // Every length near the short and long joints, a sample elsewhere.
                    if length < 900 || (12_200..<12_400).contains(length) || length % 97 == start {
                        let piece = UnsafeRawBufferPointer(rebasing: all[start..<start + length])
                        let fast = crc32c(piece)
                        let portable = martlet_crc32c_portable(0, piece.baseAddress, piece.count)
                        if fast != ~state || portable != ~state {
                            Issue.record("length \(length) at \(start): \(fast), \(portable), not \(~state)")
                            return
                        }
                    }
                    state = oneByte(state, byte)
                    length += 1
                }
            }
        }
    }

    @Test func continuesFromASeed() {
        let data = ByteBuffer(bytes: noise(5_000))
        for cut in [0, 1, 7, 8, 800, 4_999, 5_000] {
            let head = ByteBuffer(data.readableBytesView[..<cut])
            let tail = ByteBuffer(data.readableBytesView[cut...])
            #expect(crc32c(tail, seed: crc32c(head)) == crc32c(data))
        }
    }

    @Test func everyBitFlipInTheCoveredRangeIsSeenAndNoneBeforeIt() {
        let whole = batch()
        #expect(verifyCRC(of: whole))
        for position in 0..<whole.readableBytes {
            for bit in 0..<8 {
                var flipped = whole
                flipped.setInteger(whole.readableBytesView[position] ^ UInt8(1 << bit), at: position)
                // The base offset and the leader epoch are the leader's to set; length and magic fail on their own.
                let mayPass = position < 8 || (12..<16).contains(position)
                #expect(verifyCRC(of: flipped) == mayPass, "byte \(position) bit \(bit)")
            }
        }
    }

    @Test func aCutBatchHasNoRightCRC() {
        let whole = batch()
        for length in 0..<whole.readableBytes {
            #expect(!verifyCRC(of: ByteBuffer(whole.readableBytesView[..<length])))
        }
    }

    private func oneByte(_ state: UInt32, _ byte: UInt8) -> UInt32 {
        var crc = state ^ UInt32(byte)
        for _ in 0..<8 { crc = (crc >> 1) ^ (crc & 1 == 1 ? 0x82F6_3B78 : 0) }
        return crc
    }
}
