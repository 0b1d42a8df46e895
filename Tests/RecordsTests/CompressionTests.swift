// Every codec: there and back, broken input, and bombs.

import Model
import NIOCore
import Records
import Testing

@Suite struct CompressionTests {
    static let codecs = Compression.allCases.filter { $0 != .none }

    private func refusalOf(_ codec: Compression, _ packed: ByteBuffer, maxBytes: Int) -> BatchError? {
        refusal { () throws(BatchError) in try codec.decompress(packed, maxBytes: maxBytes) }
    }

    @Test(arguments: Compression.allCases) func roundTripsAtManySizes(_ codec: Compression) throws {
        for count in [0, 1, 60, 1_000, 32 * 1024, 65_536, 65_537, 1 << 20, (4 << 20) + 3] {
            for data in [ByteBuffer(bytes: noise(count)), ByteBuffer(repeating: 9, count: count)] {
                let packed = codec.compress(data)
                // The limit is exact: not a byte less would do.
                #expect(try codec.decompress(packed, maxBytes: count) == data, "\(count)")
                if count > 0 {
                    #expect(refusalOf(codec, packed, maxBytes: count - 1) == .decompressionTooLarge(limit: count - 1))
                }
            }
        }
    }

    @Test(arguments: codecs) func aBombIsRefusedWithinItsBound(_ codec: Compression) {
        let bomb = codec.compress(ByteBuffer(repeating: 0, count: 64 << 20))
        for limit in [0, 1, 1_000, 1 << 20, 10 << 20] {
            #expect(refusalOf(codec, bomb, maxBytes: limit) == .decompressionTooLarge(limit: limit))
        }
    }

    @Test(arguments: codecs) func everyCutIsRefused(_ codec: Compression) {
        let packed = codec.compress(ByteBuffer(bytes: noise(3_000)))
        for length in 0..<packed.readableBytes {
            let cut = ByteBuffer(packed.readableBytesView[..<length])
            // The snappy framing's head alone is a whole, empty stream.
            if codec == .snappy, length == 16 { continue }
            guard case .corrupt = refusalOf(codec, cut, maxBytes: 1 << 20) else {
                Issue.record("\(codec) took \(length) bytes of \(packed.readableBytes)")
                return
            }
        }
    }

    @Test(arguments: codecs) func flippedBitsNeverTrapNorPassTheLimit(_ codec: Compression) {
        let packed = codec.compress(ByteBuffer(bytes: noise(700)))
        for position in 0..<packed.readableBytes {
            for bit in 0..<8 {
                var flipped = packed
                flipped.setInteger(packed.readableBytesView[position] ^ UInt8(1 << bit), at: position)
                let output = try? codec.decompress(flipped, maxBytes: 5_000)
                #expect((output?.readableBytes ?? 0) <= 5_000)
            }
        }
    }

    @Test func gzipMembersMayFollowOneAnother() throws {
        var packed = Compression.gzip.compress(bytes("one "))
        packed.writeImmutableBuffer(Compression.gzip.compress(bytes("two")))
        #expect(try Compression.gzip.decompress(packed, maxBytes: 7) == bytes("one two"))
        #expect(refusalOf(.gzip, packed, maxBytes: 6) == .decompressionTooLarge(limit: 6))
        packed.writeInteger(UInt8(0))
        #expect(refusalOf(.gzip, packed, maxBytes: 100)?.errorCode == .corruptMessage)
    }

    @Test func zstdFramesMayFollowOneAnother() throws {
        var packed = Compression.zstd.compress(bytes("one "))
        packed.writeImmutableBuffer(Compression.zstd.compress(bytes("two")))
        #expect(try Compression.zstd.decompress(packed, maxBytes: 7) == bytes("one two"))
        #expect(refusalOf(.zstd, packed, maxBytes: 6) == .decompressionTooLarge(limit: 6))
    }

    @Test func bytesAfterAnLz4FrameAreRefused() {
        var packed = Compression.lz4.compress(bytes("one"))
        packed.writeImmutableBuffer(Compression.lz4.compress(bytes("two")))
        #expect(refusalOf(.lz4, packed, maxBytes: 100)?.errorCode == .corruptMessage)
    }

    @Test func zstdFramesOfUnknownSizeAreRead() throws {
        // No content size, a 128 KiB window; one RLE block of 100,000 times "z", the last.
        let frame = unhex("28b52ffd 00 38") + rle(100_000)
        #expect(
            try Compression.zstd.decompress(frame, maxBytes: 100_000) == ByteBuffer(repeating: 0x7A, count: 100_000))
        #expect(refusalOf(.zstd, frame, maxBytes: 99_999) == .decompressionTooLarge(limit: 99_999))
    }

    @Test func zstdWindowsAbove2To27AreRefused() throws {
        // The window descriptor's exponent 17 is 2^27; 18 is one too many, and so is 17 with any mantissa.
        #expect(try Compression.zstd.decompress(unhex("28b52ffd 00 88") + rle(10), maxBytes: 100).readableBytes == 10)
        for descriptor in ["89", "90", "f8"] {
            let frame = unhex("28b52ffd 00 \(descriptor)") + rle(10)
            #expect(refusalOf(.zstd, frame, maxBytes: 100)?.errorCode == .corruptMessage)
        }
    }

    @Test func aBrokenZstdFrameTakesNoMoreThanItsBlocksCouldHold() {
        // Of this one zstd says that the output is too small, whatever room it gets (found by the fuzzer).
        let frame = unhex(
            "28b52ffd 00 00 950100 acfdc3ffffff9bcb742d302f30303030303030303030303030303030303030382e74696d0269"
                + "0276040040ff5f41af7eb181")
        #expect(refusalOf(.zstd, frame, maxBytes: 1 << 30) == .corrupt("the zstd frame is broken"))
        // A gigabyte in ten bytes of a block.
        let boast = unhex("28b52ffd a0 00000040") + rle(10)
        #expect(refusalOf(.zstd, boast, maxBytes: 1 << 30)?.errorCode == .corruptMessage)
    }

    @Test func aDeclaredSizeTakesNoMemoryBeforeItIsChecked() {
        // zstd, single segment, 8-byte content size of 2^62.
        let zstd = unhex("28b52ffd e0 0000000000000040") + rle(10)
        #expect(refusalOf(.zstd, zstd, maxBytes: 1 << 20) == .decompressionTooLarge(limit: 1 << 20))
        // A raw snappy block that claims 2^31 bytes, and one that claims what its length cannot hold.
        // The exact reason tells that the length was refused, not the failure after memory was taken for it.
        let refused = BatchError.corrupt("a snappy block has a wrong length")
        #expect(refusalOf(.snappy, unhex("8080808008 00"), maxBytes: .max) == refused)
        #expect(refusalOf(.snappy, unhex("80808001 00"), maxBytes: 1 << 30) == refused)
    }

    @Test func snappyIsReadRawAndFramed() throws {
        // Raw: length 5, a literal of 5 bytes.
        let raw = unhex("05 10") + bytes("hello")
        #expect(try Compression.snappy.decompress(raw, maxBytes: 5) == bytes("hello"))
        let head = unhex("82534e4150505900 00000001 00000001")
        let framed = head + unhex("00000007") + raw
        #expect(try Compression.snappy.decompress(framed + framed, maxBytes: 10) == bytes("hellohello"))
        #expect(refusalOf(.snappy, framed + framed, maxBytes: 9) == .decompressionTooLarge(limit: 9))
        for length in ["00000000", "ffffffff", "7fffffff", "00000008", "00000006"] {
            #expect(refusalOf(.snappy, head + unhex(length) + raw, maxBytes: 100)?.errorCode == .corruptMessage)
        }
        #expect(refusalOf(.snappy, ByteBuffer(), maxBytes: 100)?.errorCode == .corruptMessage)
    }

    /// A last zstd block: `count` times "z".
    private func rle(_ count: Int) -> ByteBuffer {
        let head = 1 | 1 << 1 | count << 3
        return ByteBuffer(bytes: [
            UInt8(truncatingIfNeeded: head), UInt8(truncatingIfNeeded: head >> 8),
            UInt8(truncatingIfNeeded: head >> 16), 0x7A,
        ])
    }
}

private func + (a: ByteBuffer, b: ByteBuffer) -> ByteBuffer {
    var joined = a
    joined.writeImmutableBuffer(b)
    return joined
}
