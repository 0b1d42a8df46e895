// What a reader gets of the batches that one Fetch answer brought: from its position on, whole batches only, and
// without what a transaction took back.

import Model
import NIOCore
import Records
import Testing

import MartletClient

/// A batch of records whose values are `values`.
func batch(
    at offset: Offset, _ values: [String], epoch: LeaderEpoch = 1, compression: Compression = .none,
    transactionOf producer: ProducerID? = nil
) -> ByteBuffer {
    var builder = RecordBatchBuilder(
        baseOffset: offset, leaderEpoch: epoch, compression: compression, producerID: producer ?? -1,
        producerEpoch: producer == nil ? -1 : 0, baseSequence: producer == nil ? -1 : 0,
        isTransactional: producer != nil)
    for value in values { builder.append(timestamp: 1_000, key: nil, value: ByteBuffer(string: value)) }
    return builder.build()
}

/// The control batch with which `producer` ends its transaction.
func marker(at offset: Offset, of producer: ProducerID, commits: Bool, epoch: LeaderEpoch = 1) -> ByteBuffer {
    var builder = RecordBatchBuilder(
        baseOffset: offset, leaderEpoch: epoch, producerID: producer, producerEpoch: 0, isTransactional: true,
        isControl: true)
    var key = ByteBuffer()
    key.writeInteger(Int16(0))
    key.writeInteger(Int16(commits ? 1 : 0))
    builder.append(timestamp: 1_000, key: key, value: ByteBuffer(repeating: 0, count: 6))
    return builder.build()
}

func joined(_ batches: [ByteBuffer]) -> ByteBuffer {
    var bytes = ByteBuffer()
    for batch in batches { bytes.writeImmutableBuffer(batch) }
    return bytes
}

private func chunk(
    _ batches: [ByteBuffer], from position: Offset = 0, aborted: [(ProducerID, Offset)]? = nil
) -> FetchedChunk {
    let bytes = joined(batches)
    return FetchedChunk(
        partition: TopicPartition("t", 0), generation: 1, bytes: bytes, position: position,
        nextOffset: FetchedChunk.end(of: bytes)?.nextOffset ?? position, lastEpoch: 1,
        aborted: aborted.map { $0.map { .init(producerID: $0.0, firstOffset: $0.1) } })
}

extension [ConsumerRecord] {
    var texts: [String] { map { $0.value.map(String.init(buffer:)) ?? "nil" } }
}

@Suite struct FetchedChunkTests {
    @Test func givesAllThatARecordHolds() throws {
        var builder = RecordBatchBuilder(baseOffset: 7, leaderEpoch: 3)
        builder.append(
            timestamp: 50, key: ByteBuffer(string: "k"), value: nil,
            headers: [Header(name: "h", value: ByteBuffer(string: "v")), Header(name: "n", value: nil)])
        builder.append(timestamp: 60, key: nil, value: ByteBuffer())
        let records = try chunk([builder.build()]).records()
        let expected = [
            ConsumerRecord(
                topic: "t", partition: 0, offset: 7, leaderEpoch: 3, timestampMs: 50, key: ByteBuffer(string: "k"),
                value: nil,
                headers: [Header(name: "h", value: ByteBuffer(string: "v")), Header(name: "n", value: nil)]),
            ConsumerRecord(
                topic: "t", partition: 0, offset: 8, leaderEpoch: 3, timestampMs: 60, key: nil, value: ByteBuffer(),
                headers: []),
        ]
        #expect(records == expected)
    }

    @Test(arguments: [Offset(4), 5, 6, 7])
    func beginsInsideABatch(position: Offset) throws {
        let records = try chunk([batch(at: 4, ["a", "b", "c"])], from: position).records()
        #expect(records.texts == Array(["a", "b", "c"][Int(position - 4)...]))
        #expect(records.first.map { $0.offset == position } ?? true)
    }

    @Test func severalBatchesComeInOrderWithTheGapsBetweenThem() throws {
        let found = try chunk([
            batch(at: 0, ["a", "b"], epoch: 1), batch(at: 5, ["c"], epoch: 2), batch(at: 6, ["d"], epoch: 4),
        ]).records()
        #expect(found.texts == ["a", "b", "c", "d"])
        #expect(found.map(\.offset) == [0, 1, 5, 6])
        #expect(found.map(\.leaderEpoch) == [1, 1, 2, 4])
    }

    @Test func theEndIsThatOfTheLastWholeBatch() throws {
        let whole = joined([batch(at: 10, ["a", "b"], epoch: 2), batch(at: 12, ["c"], epoch: 3)])
        let last = batch(at: 13, ["d"], epoch: 4)
        // Cut before the length, inside the header, one byte before the end.
        for kept in [0, 5, 40, last.readableBytes - 1] {
            let bytes = joined([whole, try #require(last.getSlice(at: 0, length: kept))])
            let end = try #require(FetchedChunk.end(of: bytes))
            #expect(end.nextOffset == 13 && end.epoch == 3 && end.sizeBytes == whole.readableBytes)
            #expect(try chunk([bytes]).records().texts == ["a", "b", "c"])
        }
        let all = try #require(FetchedChunk.end(of: joined([whole, last])))
        #expect(all.nextOffset == 14 && all.epoch == 4)
    }

    @Test func thereIsNoEndWithoutAWholeBatch() throws {
        #expect(FetchedChunk.end(of: ByteBuffer()) == nil)
        let one = batch(at: 0, ["a"])
        #expect(FetchedChunk.end(of: try #require(one.getSlice(at: 0, length: one.readableBytes - 1))) == nil)
    }

    @Test func theEndCountsFromWhereTheBytesBegin() throws {
        var bytes = joined([ByteBuffer(repeating: 9, count: 11), batch(at: 3, ["a"])])
        bytes.moveReaderIndex(forwardBy: 11)
        #expect(try #require(FetchedChunk.end(of: bytes)).sizeBytes == bytes.readableBytes)
    }

    @Test(arguments: Compression.allCases)
    func unpacksEveryCodec(codec: Compression) throws {
        let values = (0..<50).map { "value \($0 % 5)" }
        let found = try chunk([batch(at: 100, values, compression: codec)], from: 110).records()
        #expect(found.texts == Array(values[10...]))
        #expect(found.first?.offset == 110)
    }

    @Test func aCorruptBatchIsNamedByItsOffset() throws {
        var broken = batch(at: 2, ["b"])
        let last = broken.writerIndex - 2
        broken.setInteger(try #require(broken.getInteger(at: last, as: UInt8.self)) ^ 1, at: last)
        #expect {
            _ = try chunk([batch(at: 0, ["a", "x"]), broken]).records()
        } throws: { error in
            guard case ClientError.unreadableRecords(topic: "t", 0, let offset, let next, _) = error else {
                return false
            }
            return (offset, next) == (2, 3)
        }
        // What lies before the position is not looked at.
        #expect(try chunk([broken, batch(at: 3, ["c"])], from: 3).records().texts == ["c"])
    }

    // MARK: Transactions

    private static let mixed = [
        batch(at: 0, ["a0"], transactionOf: 7), batch(at: 1, ["b0"], transactionOf: 8), batch(at: 2, ["plain"]),
        batch(at: 3, ["a1"], transactionOf: 7), marker(at: 4, of: 7, commits: false),
        batch(at: 5, ["b1"], transactionOf: 8), marker(at: 6, of: 8, commits: true),
        batch(at: 7, ["a2"], transactionOf: 7), marker(at: 8, of: 7, commits: true),
    ]

    @Test func markersAreNeverGivenOut() throws {
        let found = try chunk(Self.mixed).records()
        #expect(found.texts == ["a0", "b0", "plain", "a1", "b1", "a2"])
        #expect(found.map(\.offset) == [0, 1, 2, 3, 5, 7])
    }

    @Test func abortedRecordsAreLeftOutAndTheRestOfEveryoneStays() throws {
        let found = try chunk(Self.mixed, aborted: [(7, 0)]).records()
        // Producer 7 aborted, then committed; 8 committed in between; one record belongs to nobody.
        #expect(found.texts == ["b0", "plain", "b1", "a2"])
    }

    @Test func withNothingAbortedEverythingIsCommitted() throws {
        #expect(try chunk(Self.mixed, aborted: []).records().texts == ["a0", "b0", "plain", "a1", "b1", "a2"])
    }

    @Test func aTransactionThatBeganBeforeThePositionIsStillAborted() throws {
        #expect(try chunk(Self.mixed, from: 3, aborted: [(7, 0)]).records().texts == ["b1", "a2"])
    }

    @Test func oneProducerAbortsTwiceAndCommitsInBetween() throws {
        let batches = [
            batch(at: 0, ["x"], transactionOf: 7), marker(at: 1, of: 7, commits: false),
            batch(at: 2, ["y"], transactionOf: 7), marker(at: 3, of: 7, commits: true),
            batch(at: 4, ["z", "zz"], transactionOf: 7), marker(at: 6, of: 7, commits: false),
            batch(at: 7, ["end"], transactionOf: 7),
        ]
        // The order of the list is the node's, not promised.
        #expect(try chunk(batches, aborted: [(7, 4), (7, 0)]).records().texts == ["y", "end"])
    }

    @Test func anAbortedTransactionMayBeginInsideAnswersLastBatch() throws {
        let batches = [batch(at: 0, ["a"], transactionOf: 7), batch(at: 1, ["b", "c"], transactionOf: 9)]
        #expect(try chunk(batches, aborted: [(9, 1), (7, 40)]).records().texts == ["a"])
    }

    @Test func onlyTransactionalBatchesCanBeAborted() throws {
        var builder = RecordBatchBuilder(
            baseOffset: 1, leaderEpoch: 1, producerID: 7, producerEpoch: 0, baseSequence: 0)
        builder.append(timestamp: 0, key: nil, value: ByteBuffer(string: "idempotent"))
        let batches = [batch(at: 0, ["a"], transactionOf: 7), builder.build()]
        #expect(try chunk(batches, aborted: [(7, 0)]).records().texts == ["idempotent"])
    }
}
