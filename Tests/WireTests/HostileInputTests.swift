// Bytes from outside never trap and never reserve more memory than they pay for; they throw a WireError or decode.

import Model
import NIOCore
import Testing
import Wire

@Suite struct HostileInputTests {
    @Test(arguments: everyMessage) func everyTruncationThrows(_ message: MessageCase) {
        func check<M: WireMessage>(_: M.Type) {
            for version in M.versions {
                for seed in 0..<6 {
                    var whole = ByteBuffer()
                    let filled = WireFiller.message(M.self, version: version, seed: UInt64(seed))
                    wireEncode(filled, version: version, into: &whole)
                    for length in 0..<min(whole.readableBytes, 700) {
                        var part = whole.getSlice(at: 0, length: length) ?? ByteBuffer()
                        #expect(throws: WireError.self, "\(M.self) v\(version) cut to \(length)") {
                            try wireDecode(M.self, from: &part, version: version)
                        }
                    }
                }
            }
        }
        check(message.type)
    }

    @Test(arguments: everyMessage) func randomBytesDoNotTrap(_ message: MessageCase) {
        func check<M: WireMessage>(_: M.Type) {
            var random = SeededRandom(seed: 17)
            for version in M.versions {
                for _ in 0..<200 {
                    let size = Int(random.below(120))
                    let small = random.oneIn(2)
                    var bytes = ByteBuffer(
                        bytes: (0..<size).map { _ in small ? UInt8(random.below(6)) : UInt8(random.below(256)) })
                    _ = try? wireDecode(M.self, from: &bytes, version: version)
                }
            }
        }
        check(message.type)
    }

    @Test(arguments: everyMessage) func flippedBytesDoNotTrap(_ message: MessageCase) {
        func check<M: WireMessage>(_: M.Type) {
            var random = SeededRandom(seed: 23)
            for version in M.versions {
                for seed in 0..<40 {
                    var bytes = ByteBuffer()
                    let filled = WireFiller.message(M.self, version: version, seed: UInt64(seed))
                    wireEncode(filled, version: version, into: &bytes)
                    guard bytes.readableBytes > 0 else { continue }
                    for _ in 0..<4 {
                        let at = Int(random.below(Int64(bytes.readableBytes)))
                        bytes.setInteger(UInt8(random.below(256)), at: at)
                    }
                    _ = try? wireDecode(M.self, from: &bytes, version: version)
                }
            }
        }
        check(message.type)
    }

    @Test func aHugeCountIsRefusedBeforeMemoryIsReserved() {
        // 2³¹ − 1 topics declared in a frame of a few bytes, and as many as there are bytes in a frame of a megabyte:
        // each topic takes at least four bytes in v12, so a quarter of that is the most that may be reserved.
        for (count, size) in [(Int(Int32.max) - 1, 8), (1 << 20, 1 << 20), (1 << 19, 1 << 20)] {
            var frame = ByteBuffer(bytes: varint(UInt32(count + 1)))
            frame.writeRepeatingByte(0, count: size)
            #expect(throws: WireError.truncated) {
                try wireDecode(MetadataRequest.self, from: &frame, version: 12)
            }
        }
        var classic = ByteBuffer(integer: Int32.max)
        classic.writeRepeatingByte(0, count: 64)
        #expect(throws: WireError.truncated) { try wireDecode(MetadataRequest.self, from: &classic, version: 4) }
    }

    @Test func hugeTagCountsAndSizesAreRefused() {
        for tail in [[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], [1, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]] as [[UInt8]] {
            // Produce v9 with no transactional id, acks 1, timeout 1, no topics.
            var frame = ByteBuffer(bytes: [0, 0, 1, 0, 0, 0, 1, 1] + tail)
            #expect(throws: WireError.truncated) { try wireDecode(ProduceRequest.self, from: &frame, version: 9) }
        }
    }

    @Test func invalidUTF8IsRefused() {
        for bad in [[0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xE8, 0xAA]] as [[UInt8]] {
            var frame = ByteBuffer(bytes: [2] + [UInt8](repeating: 0, count: 16) + [UInt8(bad.count + 1)] + bad)
            frame.writeBytes([0, 0, 0, 0, 0])
            #expect(throws: WireError.invalidUTF8) { try wireDecode(MetadataRequest.self, from: &frame, version: 12) }
        }
    }

    @Test func nullIsRefusedWhereTheVersionHasNone() {
        var topics = ByteBuffer(integer: Int32(-1))
        #expect(throws: WireError.unexpectedNull) { try wireDecode(MetadataRequest.self, from: &topics, version: 0) }
        var name = ByteBuffer(bytes: [2, 0, 0, 0])
        #expect(throws: WireError.unexpectedNull) { try wireDecode(MetadataRequest.self, from: &name, version: 9) }
    }

    @Test func malformedLengthsAreRefused() {
        var negative = ByteBuffer(bytes: [0xFF, 0xFF, 0xFF, 0xFE])
        #expect(throws: WireError.invalidLength) { try wireDecode(MetadataRequest.self, from: &negative, version: 1) }
        var varint = ByteBuffer(bytes: [0xFF, 0xFF, 0xFF, 0xFF, 0x1F])
        #expect(throws: WireError.invalidVarint) { try wireDecode(MetadataRequest.self, from: &varint, version: 9) }
        // A compact string of 32,768 bytes: Kafka's limit is one less.
        var string = ByteBuffer(bytes: self.varint(32_769))
        string.writeRepeatingByte(0x61, count: 40_000)
        #expect(throws: WireError.invalidLength) {
            try wireDecode(InitProducerIDRequest.self, from: &string, version: 2)
        }
    }

    private func varint(_ value: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }
}
