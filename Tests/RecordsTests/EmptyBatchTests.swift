// Batches without records, and batches that lost some: how they are made, and that readers take them.

import Model
import NIOCore
import Records
import Testing

@Suite struct EmptyBatchTests {
    private func joined(_ parts: [ByteBuffer]) -> ByteBuffer {
        var all = ByteBuffer()
        for part in parts { all.writeImmutableBuffer(part) }
        return all
    }

    private func filler(_ offsets: Range<Offset>) -> ByteBuffer {
        BatchHeader.filler(for: offsets, leaderEpoch: 5, maxTimestamp: 77).sealedWithoutRecords().batch
    }

    private func glances(_ contents: BatchContents) throws -> [(offset: Offset, key: String?, isTombstone: Bool)] {
        var seen: [(offset: Offset, key: String?, isTombstone: Bool)] = []
        try contents.forEachRecord {
            seen.append(($0.offset, $0.key.map { String(decoding: $0, as: UTF8.self) }, $0.isTombstone))
        }
        return seen
    }

    @Test func anEmptyBatchIsAHeaderWithAChecksum() throws {
        let (bytes, header) = BatchHeader.filler(for: 10..<40, leaderEpoch: 3, maxTimestamp: 900).sealedWithoutRecords()
        #expect(bytes.readableBytes == 61 && verifyCRC(of: bytes) && BatchHeader(reading: bytes, at: 0) == header)
        #expect(header.isFiller && header.nextOffset == 40 && header.partitionLeaderEpoch == 3)
        #expect(header.maxTimestamp == 900 && !header.hasProducer && header.attributes == 0)
        #expect(try decodeRecords(bytes).isEmpty)
        let most = BatchHeader.filler(for: 5..<5 + (1 << 31), leaderEpoch: 0, maxTimestamp: -1)
        #expect(most.lastOffsetDelta == .max && most.nextOffset == 5 + (1 << 31))
    }

    @Test func anEmptiedBatchKeepsWhatDuplicatesAreToldBy() throws {
        for compression in Compression.allCases {
            let whole = batch(
                count: 4, baseOffset: 20, compression: compression, producerID: 9, producerEpoch: 2, baseSequence: 31)
            let header = try #require(BatchHeader(reading: whole, at: 0))
            let (bytes, empty) = header.emptied.sealedWithoutRecords()
            #expect(verifyCRC(of: bytes) && bytes.readableBytes == 61 && !empty.isFiller)
            #expect(empty.baseOffset == 20 && empty.lastOffset == 23 && empty.recordsCount == 0)
            #expect(empty.producerID == 9 && empty.producerEpoch == 2 && empty.baseSequence == 31)
            #expect(empty.lastSequence == 34 && empty.maxTimestamp == header.maxTimestamp)
            #expect(empty.compression == Compression.none)
            #expect(try decodeRecords(bytes).isEmpty)
        }
    }

    @Test func aFollowerTakesEmptyAndThinnedBatches() throws {
        let thinned = try BatchContents(
            batch(count: 3, baseOffset: 40),
            header: #require(BatchHeader(reading: batch(count: 3, baseOffset: 40), at: 0))
        ).rewritten(keeping: [false, true, false], deleteHorizonMs: nil).batch
        let all = joined([filler(10..<40), thinned, filler(43..<44), batch(count: 1, baseOffset: 44)])
        let checked = try checkReplicated(all, expectedOffset: 10)
        #expect(checked.headers.map(\.baseOffset) == [10, 40, 43, 44] && checked.sizeBytes == all.readableBytes)
        #expect(checked.headers.map(\.recordsCount) == [0, 1, 0, 1])
    }

    @Test func aForeignEmptyBatchIsCutToFollowOn() throws {
        let rest = batch(count: 2, baseOffset: 40)
        let all = joined([filler(10..<40), rest])
        for offset in [11, 25, 39] as [Offset] {
            let cut = cutToFollowOn(all, at: offset)
            let checked = try checkReplicated(cut, expectedOffset: offset)
            #expect(checked.headers.map(\.baseOffset) == [offset, 40])
            let first = try #require(checked.headers.first)
            #expect(first.isFiller && first.nextOffset == 40 && first.partitionLeaderEpoch == 5)
            #expect(first.maxTimestamp == 77)
        }
        // What follows on, or does not hold the offset, or is no empty batch, or is not sound, stays as it is.
        #expect(cutToFollowOn(all, at: 10) == all)
        #expect(cutToFollowOn(all, at: 40) == all)
        #expect(cutToFollowOn(all, at: 9) == all)
        #expect(cutToFollowOn(rest, at: 41) == rest)
        let empty = try #require(
            BatchHeader(reading: batch(baseOffset: 40, producerID: 4, producerEpoch: 0, baseSequence: 0), at: 0)
        )
        .emptied.sealedWithoutRecords().batch
        #expect(cutToFollowOn(empty, at: 41) == empty)
        var flipped = all
        flipped.setInteger(UInt8(1), at: 60)
        #expect(cutToFollowOn(flipped, at: 25) == flipped)
        #expect(cutToFollowOn(ByteBuffer(), at: 3) == ByteBuffer())
        for length in 0..<61 {
            let partial = ByteBuffer(all.readableBytesView[..<length])
            #expect(cutToFollowOn(partial, at: 25) == partial)
        }
    }

    @Test(arguments: Compression.allCases) func aThinnedBatchKeepsEverythingElse(_ compression: Compression) throws {
        var builder = RecordBatchBuilder(
            baseOffset: 100, leaderEpoch: 6, compression: compression, producerID: 8, producerEpoch: 1, baseSequence: 3)
        for index in 0..<9 {
            builder.append(
                timestamp: 5_000 - Int64(index) * 700, key: index == 4 ? nil : bytes("key \(index)"),
                value: index % 3 == 1 ? nil : ByteBuffer(bytes: noise(200, seed: UInt64(index))),
                headers: [RecordHeader(name: "h\(index)", value: bytes("x"))])
        }
        let whole = builder.build()
        let header = try #require(BatchHeader(reading: whole, at: 0))
        let contents = try BatchContents(whole, header: header)
        let seen = try glances(contents)
        #expect(seen.map(\.offset) == Array(100..<109))
        #expect(seen[4].key == nil && seen[5].key == "key 5")
        #expect(seen.map(\.isTombstone) == (0..<9).map { $0 % 3 == 1 })
        let isKept = (0..<9).map { $0 % 2 == 0 || $0 == 7 }
        let records = try decodeRecords(whole)
        let expected = zip(records, isKept).filter(\.1).map(\.0)
        for horizon in [nil, 1_900_000_000_000, 0] as [Int64?] {
            let (thinned, thinnedHeader) = try contents.rewritten(keeping: isKept, deleteHorizonMs: horizon)
            #expect(verifyCRC(of: thinned) && BatchHeader(reading: thinned, at: 0) == thinnedHeader)
            #expect(try decodeRecords(thinned) == expected)
            var same = thinnedHeader
            (same.batchLength, same.crc, same.recordsCount) = (header.batchLength, header.crc, header.recordsCount)
            if let horizon {
                #expect(thinnedHeader.hasDeleteHorizon && thinnedHeader.baseTimestamp == horizon)
                (same.attributes, same.baseTimestamp) = (header.attributes, header.baseTimestamp)
            }
            #expect(same == header)
            // And once more: what was thinned can be thinned.
            let again = try BatchContents(thinned, header: thinnedHeader)
            let last = try again.rewritten(
                keeping: expected.indices.map { $0 == expected.count - 1 }, deleteHorizonMs: nil)
            #expect(try decodeRecords(last.batch) == [expected[expected.count - 1]])
        }
    }

    @Test func logAppendTimeAndNoTimeSurviveADeleteHorizon() throws {
        var builder = RecordBatchBuilder(baseOffset: 4, logAppendTime: 12_345)
        builder.append(timestamp: 1, key: bytes("a"), value: nil)
        builder.append(timestamp: 2, key: bytes("b"), value: nil)
        var plain = RecordBatchBuilder(baseOffset: 4)
        plain.append(timestamp: -1, key: bytes("a"), value: nil)
        plain.append(timestamp: .max, key: bytes("b"), value: nil)
        for whole in [builder.build(), plain.build()] {
            let contents = try BatchContents(whole, header: #require(BatchHeader(reading: whole, at: 0)))
            let stamped = try contents.rewritten(keeping: [true, true], deleteHorizonMs: .max).batch
            #expect(try decodeRecords(stamped) == decodeRecords(whole))
        }
    }

    /// Checksums are right, and what is inside is not: refused, never a trap.
    @Test func brokenRecordsAreRefused() throws {
        let good = batch(count: 3, baseOffset: 10)
        let payload = Array(good.readableBytesView.dropFirst(61))
        for index in payload.indices {
            for mask in [1, 0x80, 0xFF] as [UInt8] {
                var broken = payload
                broken[index] ^= mask
                let made = batch(payload: broken, count: 3)
                let header = try #require(BatchHeader(reading: made, at: 0))
                guard let contents = try? BatchContents(made, header: header) else { continue }
                let isRead = (try? contents.forEachRecord { _ in }) != nil
                #expect(isRead == ((try? decodeRecords(made)) != nil))
            }
        }
        for (count, delta) in [(4, 3), (2, 2), (3, 1), (-1, 2)] as [(Int32, Int32)] {
            let made = batch(payload: payload, count: count, lastOffsetDelta: delta)
            let contents = try BatchContents(made, header: #require(BatchHeader(reading: made, at: 0)))
            #expect(refusal { () throws(BatchError) in try contents.forEachRecord { _ in } } != nil)
        }
        let unknown = changed(good, at: 21, to: Int16(6))
        let header = try #require(BatchHeader(reading: unknown, at: 0))
        #expect(refusal { () throws(BatchError) in try BatchContents(unknown, header: header) } != nil)
    }
}
