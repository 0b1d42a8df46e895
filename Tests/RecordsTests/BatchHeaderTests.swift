// The header's fields, and walking batches by it.

import Model
import NIOCore
import Records
import Testing

@Suite struct BatchHeaderTests {
    private let full = BatchHeader(
        baseOffset: 0x0102_0304_0506_0708, batchLength: 49, partitionLeaderEpoch: 0x1112_1314, magic: 2,
        crc: 0x2122_2324, attributes: 0x003B, lastOffsetDelta: 9, baseTimestamp: 0x3132_3334_3536_3738,
        maxTimestamp: 0x4142_4344_4546_4748, producerID: 0x5152_5354_5556_5758, producerEpoch: 0x6162,
        baseSequence: 0x7172_7374, recordsCount: 10)

    @Test func liesOnTheWireAsTheProtocolSays() {
        var buffer = ByteBuffer()
        full.write(into: &buffer)
        let expected = unhex(
            "0102030405060708 00000031 11121314 02 21222324 003b 00000009 3132333435363738 4142434445464748"
                + "5152535455565758 6162 71727374 0000000a")
        #expect(buffer == expected)
        #expect(BatchHeader(reading: expected, at: 0) == full)
        #expect(full.compression == .lz4)
        #expect(full.timestampTypeIsLogAppend && full.isTransactional && full.isControl && full.hasProducer)
        #expect(!full.hasDeleteHorizon)
        #expect(full.sizeBytes == 61)
        #expect(full.nextOffset == full.baseOffset + 10)
    }

    @Test func isNilForFewBytesAnotherMagicOrAShortLength() {
        var buffer = ByteBuffer()
        full.write(into: &buffer)
        #expect(BatchHeader(reading: buffer, at: 1) == nil)
        #expect(BatchHeader(reading: buffer, at: -1) == nil)
        #expect(BatchHeader(reading: buffer, at: 62) == nil)
        for magic in [0, 1, 3, -1] as [Int8] {
            var other = buffer
            other.setInteger(magic, at: 16)
            #expect(BatchHeader(reading: other, at: 0) == nil)
        }
        for length in [48, 0, -1, .min] as [Int32] {
            var other = buffer
            other.setInteger(length, at: 8)
            #expect(BatchHeader(reading: other, at: 0) == nil)
        }
    }

    @Test func sequencesWrapToZero() {
        var header = BatchHeader(lastOffsetDelta: 2, baseSequence: .max - 1)
        #expect(header.lastSequence == 0)
        header.lastOffsetDelta = 1
        #expect(header.lastSequence == .max)
        header.baseSequence = -1
        #expect(header.lastSequence == -1)
    }

    @Test func extremeFieldsDoNotTrap() {
        let header = BatchHeader(
            baseOffset: .max, batchLength: .max, lastOffsetDelta: .max, baseSequence: .max, recordsCount: .max)
        #expect(header.nextOffset < 0)
        #expect(header.lastSequence >= 0)
        #expect(header.sizeBytes == Int(Int32.max) + 12)
        #expect(BatchHeader(attributes: 5).compression == nil)
    }

    @Test func aSequenceWalksWholeBatchesAndStopsAtThePartialOne() {
        let parts = [batch(count: 1), batch(count: 4, baseOffset: 1), batch(count: 2, baseOffset: 5)]
        var all = bytes("before")
        all.moveReaderIndex(forwardBy: 6)
        for part in parts { all.writeImmutableBuffer(part) }
        let wholeEnd = all.writerIndex
        #expect(BatchSequence(all).map(\.bytes) == parts)
        #expect(BatchSequence(all).map(\.header.baseOffset) == [0, 1, 5])
        #expect(BatchSequence(all).endIndex == wholeEnd)
        for cut in 1...parts[2].readableBytes {
            let partial = all.getSlice(at: 6, length: wholeEnd - 6 - cut) ?? ByteBuffer()
            #expect(BatchSequence(partial).map(\.bytes) == Array(parts[..<2]))
            #expect(BatchSequence(partial).endIndex == wholeEnd - 6 - parts[2].readableBytes)
        }
        #expect(BatchSequence(ByteBuffer()).endIndex == 0)
    }
}
