// Each rule of "Checks on produce", broken alone.

import Model
import NIOCore
import Records
import Testing

@Suite struct ProduceChecksTests {
    @Test(arguments: Compression.allCases) func takesAGoodBatch(_ compression: Compression) throws {
        let whole = batch(count: 100, compression: compression, producerID: 7, producerEpoch: 0, baseSequence: 0)
        let header = try validateProduced(whole, checks: ProduceChecks(requiresKeys: true), wallMs: 1_000)
        #expect(header == BatchHeader(reading: whole, at: 0))
        #expect(header.recordsCount == 100 && header.maxTimestamp == 1_099 && header.lastSequence == 99)
    }

    @Test func everyFlippedBitIsRefusedUnlessTheFieldIsTheLeaders() {
        let whole = batch(count: 2)
        for position in 0..<whole.readableBytes {
            for bit in 0..<8 {
                var flipped = whole
                flipped.setInteger(whole.readableBytesView[position] ^ UInt8(1 << bit), at: position)
                let code = produceRefusal(flipped)?.errorCode
                switch position {
                case 0..<8: #expect(code == .invalidRecord)
                case 8..<12: #expect(code == .corruptMessage || code == .invalidRecord)
                case 12..<16: #expect(code == nil)
                case 16: #expect(code == (bit == 1 ? .invalidRecord : .corruptMessage))
                default: #expect(code == .corruptMessage)
                }
            }
        }
    }

    @Test func aCutOrEmptyEntryIsRefused() {
        let whole = batch()
        #expect(produceRefusal(ByteBuffer())?.errorCode == .invalidRecord)
        for length in 1..<whole.readableBytes {
            #expect(produceRefusal(ByteBuffer(whole.readableBytesView[..<length]))?.errorCode == .corruptMessage)
        }
    }

    @Test func exactlyOneBatch() {
        var two = batch()
        two.writeImmutableBuffer(batch())
        #expect(produceRefusal(two) == .moreThanOneBatch)
        var tail = batch()
        tail.writeInteger(UInt8(0))
        #expect(produceRefusal(tail) == .moreThanOneBatch)
        #expect(BatchError.moreThanOneBatch.errorCode == .invalidRecord)
    }

    @Test func theSizeLimitIsOfTheWholeBatch() {
        let whole = batch()
        let size = whole.readableBytes
        #expect(produceRefusal(whole, ProduceChecks(maxMessageBytes: size)) == nil)
        #expect(
            produceRefusal(whole, ProduceChecks(maxMessageBytes: size - 1))
                == .tooLarge(sizeBytes: size, limit: size - 1))
    }

    @Test func headerRulesWithARightCRC() {
        let whole = batch(count: 3)
        let wrong: [(ByteBuffer, ErrorCode)] = [
            (changed(whole, at: 0, to: Int64(1)), .invalidRecord),
            (changed(whole, at: 0, to: Int64(-1)), .invalidRecord),
            (changed(whole, at: 21, to: Int16(5)), .unsupportedCompressionType),
            (changed(whole, at: 21, to: Int16(7)), .unsupportedCompressionType),
            (changed(whole, at: 21, to: Int16(1 << 3)), .invalidTimestamp),
            (changed(whole, at: 21, to: Int16(1 << 4)), .invalidRecord),
            (changed(whole, at: 21, to: Int16(1 << 5)), .invalidRecord),
            (changed(whole, at: 21, to: Int16(1 << 6)), .invalidRecord),
            (changed(whole, at: 23, to: Int32(1)), .invalidRecord),
            (changed(whole, at: 23, to: Int32(3)), .invalidRecord),
            (changed(whole, at: 23, to: Int32(-1)), .invalidRecord),
            (changed(whole, at: 43, to: Int64(7)), .invalidRecord),
            (changed(whole, at: 57, to: Int32(2)), .invalidRecord),
            (changed(whole, at: 57, to: Int32(4)), .invalidRecord),
            (changed(whole, at: 57, to: Int32(0)), .invalidRecord),
            (changed(whole, at: 57, to: Int32.min), .invalidRecord),
        ]
        for (index, (records, code)) in wrong.enumerated() {
            #expect(produceRefusal(records)?.errorCode == code, "case \(index)")
        }
        #expect(produceRefusal(batch(producerID: 1, producerEpoch: 0, baseSequence: -1))?.errorCode == .invalidRecord)
        #expect(produceRefusal(batch(producerID: 1, producerEpoch: -1, baseSequence: 0))?.errorCode == .invalidRecord)
        #expect(produceRefusal(batch(producerID: 1, producerEpoch: 0, baseSequence: 0, isTransactional: true)) == nil)
    }

    @Test func countsThatAgreeWithEachOtherButNotWithTheRecords() {
        for count in [2, 4, Int32.max] {
            let lie = changed(changed(batch(count: 3), at: 23, to: Int32(count - 1)), at: 57, to: Int32(count))
            #expect(produceRefusal(lie)?.errorCode == .invalidRecord)
        }
    }

    /// Length 6 (zig-zag 12), attributes, timestamp delta, offset delta, null key, null value, no headers.
    private func record(delta: UInt8) -> [UInt8] { [12, 0, 0, delta << 1, 1, 1, 0] }

    @Test func offsetDeltasMustRunFromZeroWithoutGaps() {
        #expect(produceRefusal(batch(payload: record(delta: 0) + record(delta: 1), count: 2)) == nil)
        for deltas in [[0, 2], [1, 2], [1, 0], [0, 0]] as [[UInt8]] {
            let records = batch(payload: deltas.flatMap(record), count: 2)
            #expect(produceRefusal(records)?.errorCode == .invalidRecord, "\(deltas)")
        }
    }

    @Test func brokenRecordsAreRefused() {
        let broken: [[UInt8]] = [
            [],
            [0],  // an empty record
            [1],  // length −1
            [14, 0, 0, 0, 1, 1, 0],  // longer than the payload
            [10, 0, 0, 0, 1, 1, 0],  // shorter than its fields
            [14, 0, 0, 0, 1, 1, 0, 0],  // longer than its fields
            [12, 0, 0, 0, 3, 1, 0],  // key length −2
            [12, 0, 0, 0, 40, 1, 0],  // key past the end
            [12, 0, 0, 0, 1, 40, 0],  // value past the end
            [12, 0, 0, 0, 1, 1, 1],  // header count −1
            [12, 0, 0, 0, 1, 1, 2],  // one header, no room
            [16, 0, 0, 0, 1, 1, 2, 1, 1],  // a header without a name
            [20, 0, 0, 0, 1, 1, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F],  // two thousand million headers
            [0x8C, 0x80, 0x80, 0x80, 0x80, 0x00, 0, 0, 0, 1, 1, 0],  // a six-byte length
            [0x8C, 0x80, 0x80, 0x80, 0x10, 0, 0, 0, 1, 1, 0],  // a 33rd bit
            [12, 0, 0x80, 0x80, 0x80, 0x80, 0x80],  // a number without an end
            [12, 0, 0, 0, 1, 1, 0, 0],  // a byte after the last record
        ]
        for payload in broken {
            let code = produceRefusal(batch(payload: payload, count: 1))?.errorCode
            #expect(code == .invalidRecord, "\(payload)")
        }
        // A long way to write a small number is allowed, as in Kafka.
        #expect(produceRefusal(batch(payload: [0x8C, 0x00, 0, 0, 0, 1, 1, 0], count: 1)) == nil)
    }

    @Test func compactedTopicsDemandKeysAndTakeEmptyOnes() {
        var builder = RecordBatchBuilder()
        builder.append(timestamp: 1_000, key: ByteBuffer(), value: nil)
        #expect(produceRefusal(builder.build(), ProduceChecks(requiresKeys: true)) == nil)
        builder.append(timestamp: 1_000, key: nil, value: bytes("v"))
        #expect(produceRefusal(builder.build(), ProduceChecks(requiresKeys: true))?.errorCode == .invalidRecord)
        #expect(produceRefusal(builder.build()) == nil)
    }

    @Test func timestampBoundsHoldToTheMillisecond() {
        let checks = ProduceChecks(timestampBeforeMaxMs: 50, timestampAfterMaxMs: 20)
        func code(_ timestamp: Int64, _ checks: ProduceChecks) -> ErrorCode? {
            produceRefusal(batch(count: 1, timestamp: timestamp), checks, wallMs: 1_000)?.errorCode
        }
        #expect(code(950, checks) == nil)
        #expect(code(949, checks) == .invalidTimestamp)
        #expect(code(1_020, checks) == nil)
        #expect(code(1_021, checks) == .invalidTimestamp)
        #expect(code(-1, checks) == nil)
        #expect(code(.min, checks) == .invalidTimestamp)
        #expect(code(.max, checks) == .invalidTimestamp)
        #expect(code(0, ProduceChecks()) == nil)
        #expect(code(1_000 + 3_600_001, ProduceChecks()) == .invalidTimestamp)
        let logAppend = ProduceChecks(timestampAfterMaxMs: 20, timestampTypeIsLogAppend: true)
        #expect(code(5_000, logAppend) == nil)
    }

    @Test func aWrongMaxTimestampIsPutRight() throws {
        let whole = batch(count: 3, timestamp: 1_000)
        let lie = changed(whole, at: 35, to: Int64(9_999_999_999))
        let header = try validateProduced(lie, checks: ProduceChecks(), wallMs: 1_000)
        #expect(header.maxTimestamp == 1_002)
        #expect(withMaxTimestamp(lie, timeMs: header.maxTimestamp) == whole)
    }

    @Test func unpackedSizeIsLimited() {
        var builder = RecordBatchBuilder(compression: .zstd)
        builder.append(timestamp: 1_000, key: nil, value: ByteBuffer(repeating: 0, count: 20_000_000))
        let bomb = builder.build()
        #expect(bomb.readableBytes < 10_000)
        #expect(produceRefusal(bomb) == .decompressionTooLarge(limit: 10 * 1_048_588))
        #expect(produceRefusal(bomb)?.errorCode == .messageTooLarge)
        #expect(produceRefusal(bomb, ProduceChecks(maxDecompressedBytes: 30_000_000)) == nil)
    }
}
