// Records through the builder and back, and batches that others wrote.

import Model
import NIOCore
import Records
import Testing

@Suite struct RecordTests {
    @Test(arguments: Compression.allCases) func nullsEmptiesAndHeadersComeBack(_ compression: Compression) throws {
        let headers = [
            RecordHeader(name: "", value: ByteBuffer()), RecordHeader(name: "naïve", value: nil),
            RecordHeader(name: "n", value: bytes("v")),
        ]
        let large = ByteBuffer(bytes: noise(1 << 20))
        let records = [
            Record(offset: 40, timestamp: 5_000, key: nil, value: nil),
            Record(offset: 41, timestamp: 4_000, key: ByteBuffer(), value: ByteBuffer()),
            Record(offset: 42, timestamp: 9_000, key: bytes("key"), value: large, headers: headers),
            Record(offset: 43, timestamp: 5_000, key: bytes("k"), value: nil, headers: [headers[2]]),
        ]
        var builder = RecordBatchBuilder(baseOffset: 40, leaderEpoch: 3, compression: compression)
        for record in records {
            builder.append(
                timestamp: record.timestamp, key: record.key, value: record.value, headers: record.headers)
        }
        let batch = builder.build()
        #expect(try decodeRecords(batch) == records)
        let header = try #require(BatchHeader(reading: batch, at: 0))
        #expect(header.sizeBytes == batch.readableBytes)
        #expect(header.baseTimestamp == 5_000 && header.maxTimestamp == 9_000)
        #expect(header.partitionLeaderEpoch == 3 && header.lastOffset == 43 && header.recordsCount == 4)
        #expect(builder.count == 4)
        if compression == .none { #expect(builder.estimatedSizeBytes == batch.readableBytes) }
    }

    @Test func extremeTimestampsSurvive() throws {
        var builder = RecordBatchBuilder()
        for timestamp in [0, Int64.max, .min, -1] { builder.append(timestamp: timestamp, key: nil, value: nil) }
        #expect(try decodeRecords(builder.build()).map(\.timestamp) == [0, .max, .min, -1])
    }

    @Test func aBatchInTheMiddleOfABufferIsRead() throws {
        var frame = bytes("frame")
        frame.moveReaderIndex(forwardBy: 5)
        frame.writeImmutableBuffer(batch(baseOffset: 7))
        #expect(try decodeRecords(frame).map(\.offset) == [7, 8, 9])
        #expect(try decodeRecords(frame).first?.value == bytes("value 0"))
        #expect(verifyCRC(of: frame))
    }

    @Test func whatKafkaPythonWroteIsReadAndTaken() throws {
        for (compression, hex) in Fixtures.kafkaPython {
            let batch = unhex(hex)
            #expect(try decodeRecords(batch) == Fixtures.kafkaPythonRecords, "\(compression)")
            let header = try validateProduced(batch, checks: ProduceChecks(), wallMs: 1_700_000_000_000)
            #expect(header.compression == compression && header.maxTimestamp == 1_700_000_000_014)
        }
    }

    @Test func weWriteTheBytesThatKafkaPythonWrites() throws {
        var builder = RecordBatchBuilder(leaderEpoch: 0)
        for record in Fixtures.kafkaPythonRecords {
            builder.append(timestamp: record.timestamp, key: record.key, value: record.value, headers: record.headers)
        }
        #expect(builder.build() == unhex(try #require(Fixtures.kafkaPython.first).1))
    }

    @Test func logAppendTimeStandsForEveryRecord() throws {
        let stamped = withLogAppendTime(batch(count: 2, timestamp: 1), timeMs: 777)
        #expect(verifyCRC(of: stamped))
        #expect(try decodeRecords(stamped).map(\.timestamp) == [777, 777])
        var builder = RecordBatchBuilder(logAppendTime: 777)
        builder.append(timestamp: 1, key: nil, value: nil)
        #expect(BatchHeader(reading: builder.build(), at: 0)?.timestampTypeIsLogAppend == true)
        #expect(try decodeRecords(builder.build()).map(\.timestamp) == [777])
    }

    @Test func rewritingLeavesTheOriginalAlone() {
        let original = batch()
        let kept = ByteBuffer(original.readableBytesView)
        _ = withLogAppendTime(original, timeMs: 777)
        #expect(original == kept)
    }

    @Test func compactedBatchesAreReadEvenWhenEmpty() throws {
        let gap: [UInt8] = [12, 0, 0, 4, 1, 1, 0] + [12, 0, 0, 18, 1, 1, 0]
        #expect(try decodeRecords(batch(payload: gap, count: 2, lastOffsetDelta: 11)).map(\.offset) == [2, 9])
        #expect(try decodeRecords(batch(payload: [], count: 0, lastOffsetDelta: 11)).isEmpty)
        let past = batch(payload: gap, count: 2, lastOffsetDelta: 8)
        #expect(refusal { () throws(BatchError) in try decodeRecords(past) }?.errorCode == .invalidRecord)
    }

    @Test func lyingCountsReserveNothing() {
        let lie = batch(payload: [12, 0, 0, 0, 1, 1, 0], count: .max)
        #expect(refusal { () throws(BatchError) in try decodeRecords(lie) }?.errorCode == .invalidRecord)
    }

    @Test func randomPayloadsNeverTrap() {
        var state: UInt64 = 42
        func random() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
        var taken = 0
        for round in 0..<20_000 {
            // A good payload with a few bytes changed reaches deeper than noise does.
            var payload = Array(batch(count: 3).readableBytesView.dropFirst(61))
            for _ in 0...(round % 3) { payload[Int(random()) % payload.count] = UInt8(truncatingIfNeeded: random()) }
            let attributes = round % 4 == 0 ? Int16(random() % 5) : 0
            let records = batch(payload: payload, count: 3, attributes: attributes)
            if produceRefusal(records) == nil {
                taken += 1
                #expect((try? decodeRecords(records))?.count == 3)
            }
        }
        #expect(taken > 100)
    }
}
