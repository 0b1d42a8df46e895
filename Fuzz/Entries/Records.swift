// Record batches: what the broker checks of a producer's, a follower of its leader's, and what a consumer reads.

import DiskSimulation
import MartletClient
import Model
import NIOCore
import Records
import Storage

/// The cap of the product is ten times `max.message.bytes`, 10 MiB; a tenth of it passes the same code faster.
let unpackedBytesMax = 1 << 20

/// What a decompressor may ask for, however little it was given: the output doubles up to a power of two above the cap
/// and is counted at each step (4 MiB), and lz4 makes room for two blocks of 4 MiB on the word of a frame's head.
let unpacking = Bound(perByte: 16, constant: 16 << 20)
/// Checks read in place; what remains is the sentence of an error.
private let checking = Bound(perByte: 0, constant: 4 * 1024)
/// A header is 72 bytes in memory, 61 on the wire, and its array doubles.
private let checkingReplicated = Bound(perByte: 8, constant: 4 * 1024)
/// The bytes are written and index entries kept; batches of 61 bytes make a segment of 400 bytes each six.
private let appending = Bound(perByte: 64, constant: 64 * 1024)
/// A record is at least 7 bytes on the wire and about 100 in memory, twice: as record and as the consumer's record, in
/// arrays that double.
private let reading = Bound(perByte: 128, constant: 16 * 1024)

extension Fuzz {
    /// First byte: 1 mends lengths and CRC, 2 and 4 the topic's settings, 8 also mends the header's counts.
    static let producedBatchEntry = Entry(
        name: "produced-batch",
        run: { feed in
            var feed = feed
            let flags = feed.byte()
            var batch = feed.rest
            if flags & 1 != 0 { batch = mended(batch, offsets: false, one: true, produced: flags & 8 != 0) }
            produced(batch, flags, feed)
        },
        seeds: { batchSeeds(flags: [0, 1, 7]) + malformedBatches() })

    /// First byte: 1 mends lengths and CRCs, 2 the base offsets.
    static let replicatedBatchesEntry = Entry(
        name: "replicated-batches",
        run: { feed in
            var feed = feed
            let flags = feed.byte()
            var batches = feed.rest
            if flags & 1 != 0 { batches = mended(batches, offsets: flags & 2 != 0) }
            replicated(batches, feed)
        },
        seeds: { batchSeeds(flags: [0, 3]) + malformedBatches() })

    /// First byte as before; second: where reading was, and 128: only what is committed.
    static let fetchedRecordsEntry = Entry(
        name: "fetched-records",
        run: { feed in
            var feed = feed
            let flags = feed.byte()
            let choice = feed.byte()
            var batches = feed.rest
            if flags & 1 != 0 { batches = mended(batches, offsets: flags & 2 != 0) }
            fetched(batches, position: Offset(choice & 127), committed: choice & 128 != 0, feed)
        },
        seeds: {
            batchSeeds(flags: [0, 1, 3]).map { ($0.name, [$0.bytes[0], 128] + $0.bytes.dropFirst()) }
                + [
                    ("tiny", [0, 0] + tinyBatches()),
                    ("offset-max", [0, 128] + sampleBatch(.none, baseOffset: .max, count: 1).array),
                ]
        })
}

private func produced(_ batch: ByteBuffer, _ flags: Int, _ feed: Feed) {
    let wallMs: Int64 = 1_700_000_000_000
    let checks = ProduceChecks(
        timestampAfterMaxMs: flags & 2 != 0 ? 3_600_000 : .max, timestampTypeIsLogAppend: flags & 4 != 0,
        requiresKeys: flags & 4 != 0, maxDecompressedBytes: unpackedBytesMax)
    let compression = BatchHeader(reading: batch, at: batch.readerIndex)?.compression
    let bound = compression == Compression.none || compression == nil ? checking : unpacking
    let checked = feed.within(bound, of: batch.readableBytes) {
        try? validateProduced(batch, checks: checks, wallMs: wallMs)
    }
    guard let header = checked else { return }
    let decoded = try? decodeRecords(batch, maxDecompressedBytes: unpackedBytesMax)
    guard let records = decoded else { broken("a batch was accepted that no consumer can read: \(header)") }
    check(records.map(\.offset) == (0..<Offset(header.recordsCount)).map { $0 }, "accepted offsets have gaps")
    let largest = records.map(\.timestamp).max() ?? -1
    check(max(-1, largest) == header.maxTimestamp, "the largest timestamp is \(largest), not \(header.maxTimestamp)")
    let stamped = withLogAppendTime(batch, timeMs: wallMs)
    let reread = try? decodeRecords(stamped, maxDecompressedBytes: unpackedBytesMax)
    check(reread?.allSatisfy { $0.timestamp == wallMs } ?? false, "stamping broke the batch")
}

private func replicated(_ batches: ByteBuffer, _ feed: Feed) {
    let checked = feed.within(checkingReplicated, of: batches.readableBytes) {
        try? checkReplicated(batches, expectedOffset: 0)
    }
    guard let (headers, sizeBytes) = checked, let whole = batches.getSlice(at: batches.readerIndex, length: sizeBytes)
    else { return }
    let ends = BatchSequence(batches)
    check(ends.endIndex - batches.readerIndex == sizeBytes, "two walks see different batches")
    let disk = SimulatedDisk(seed: 1)
    let settings = LogSettings(segmentBytes: 400, indexIntervalBytes: 100)
    guard
        let log = try? SegmentedLog.open(
            disk: disk, directory: "d/t-0", owner: 1, settings: settings, recoveryPoint: 0, startOffset: 0, wallMs: 0)
    else { broken("an empty log does not open") }
    do throws(LogError) {
        try feed.within(appending, of: sizeBytes) { () throws(LogError) in
            try log.appendReplicated(whole, headers: headers, wallMs: 0)
        }
    } catch {
        check(log.endOffset == 0, "a refused append left something behind: \(error)")
        return
    }
    check(log.endOffset == headers.last?.nextOffset ?? 0, "the log does not end where its batches do")
    check(contents(of: log) == whole, "the log answers other bytes than it was given")
}

/// All batches of a log that has no damage.
func contents(of log: SegmentedLog) -> ByteBuffer {
    guard let found = contents(of: log, foundDamagedBelow: 0) else { broken("a sound log is damaged") }
    return found
}

/// The same of a log that was opened with that recovery point. From there on an opening looks at everything; before that
/// it may go by an index, and the first reader finds what is wrong, and takes note. Nil then.
func contents(of log: SegmentedLog, foundDamagedBelow recoveryPoint: Offset) -> ByteBuffer? {
    var found = ByteBuffer()
    var next = log.startOffset
    while next < log.endOffset {
        do throws(LogError) {
            guard let slice = try log.read(from: next, maxBytes: 300, below: .max, atLeastOne: true) else {
                broken("nothing is read at \(next) of a log up to \(log.endOffset)")
            }
            check(slice.nextOffset > next, "reading at \(next) leads back to \(slice.nextOffset)")
            var bytes = try log.bytes(of: slice)
            found.writeBuffer(&bytes)
            next = slice.nextOffset
        } catch {
            check(
                log.damages.contains { $0.offsets.lowerBound < recoveryPoint },
                "a sound log cannot be read at \(next): \(error)")
            return nil
        }
    }
    return found
}

private func fetched(_ batches: ByteBuffer, position: Offset, committed: Bool, _ feed: Feed) {
    let end = FetchedChunk.end(of: batches)
    let chunk = FetchedChunk(
        partition: MartletClient.TopicPartition("t", 0), generation: 0, bytes: batches, position: position,
        nextOffset: end?.nextOffset ?? position, lastEpoch: end?.epoch ?? -1,
        aborted: committed ? [.init(producerID: 1, firstOffset: 1)] : nil)
    // A compressed batch may unpack to the cap, and each byte of that counts as one of its own.
    let isPacked = BatchSequence(batches).contains { $0.header.compression != Compression.none }
    if isPacked {
        _ = chunk.unpacked(batchBytesMax: unpackedBytesMax)
    } else {
        let unpacked = feed.within(reading, of: batches.readableBytes) {
            chunk.unpacked(batchBytesMax: unpackedBytesMax)
        }
        check(unpacked.records.allSatisfy { $0.offset >= position }, "a record before the position was given out")
    }
}

/// What a fuzzer cannot guess put right: magic, lengths, CRCs; with `offsets` also that each batch follows on the one
/// before; with `produced` what a producer's header says of its records.
func mended(_ bytes: ByteBuffer, offsets: Bool, one: Bool = false, produced: Bool = false) -> ByteBuffer {
    var bytes = ByteBuffer(bytes: bytes.readableBytesView)
    var position = 0
    var expected: Offset = 0
    while bytes.readableBytes - position >= BatchHeader.sizeBytes {
        let left = bytes.readableBytes - position
        bytes.setInteger(Int8(2), at: position + 16)
        var length = Int(bytes.getInteger(at: position + 8, as: Int32.self) ?? 0)
        if one || length < 49 || length + 12 > left { length = left - 12 }
        bytes.setInteger(Int32(length), at: position + 8)
        if produced {
            let count = bytes.getInteger(at: position + 57, as: Int32.self) ?? 1
            bytes.setInteger(Int64(0), at: position)
            bytes.setInteger(count &- 1, at: position + 23)
        }
        if offsets {
            let last = max(0, bytes.getInteger(at: position + 23, as: Int32.self) ?? 0)
            bytes.setInteger(expected, at: position)
            bytes.setInteger(last, at: position + 23)
            expected += Offset(last) + 1
        }
        let crc = bytes.withUnsafeReadableBytes { all in
            batchCRC(UnsafeRawBufferPointer(rebasing: all[position..<position + 12 + length]))
        }
        bytes.setInteger(crc, at: position + 17)
        position += 12 + length
    }
    return bytes
}
