// Logs over the simulated disk: recovery from arbitrary bytes, index files and epoch checkpoints beside sound batches.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage

private let directory = "d/t-0"
private let settings = LogSettings(segmentBytes: 700, indexIntervalBytes: 100)

/// Opening reads the segments once or twice and keeps an index entry and perhaps an epoch for a batch of 61 bytes; the
/// constant is names, the objects of two segments, and sentences about damage.
private let recovering = Bound(perByte: 64, constant: 64 * 1024)
/// The same, with the sound log of some 3 KiB in the constant.
private let indexing = Bound(perByte: 32, constant: 96 * 1024)

extension Fuzz {
    /// First byte: 1 mends lengths and CRCs, 2 the base offsets, 4 cuts into two segments, 8 a recovery point, 16 a log
    /// start; then one byte each for the place of the cut (in 64ths), the recovery point and the start.
    static let logRecoveryEntry = Entry(
        name: "log-recovery", run: { feed in recover(feed) },
        seeds: {
            batchSeeds(flags: [0, 1, 3, 7, 15, 31]).map { ($0.name, [$0.bytes[0], 30, 2, 1] + $0.bytes.dropFirst()) }
        })

    /// First byte: 1 a time index, else an offset index; 2 lets the numbers rise; 4 the second segment. The rest is the
    /// file.
    static let indexFilesEntry = Entry(
        name: "index-files", run: { feed in misindexed(feed) },
        seeds: {
            soundFiles().compactMap { path, bytes in
                if path.hasSuffix(".timeindex") { return ("time", [1] + bytes) }
                return path.hasSuffix(".index") ? ("offset", [0] + bytes) : nil
            } + [("rising", [2] + [UInt8](repeating: 40, count: 24)), ("empty", [0])]
        })

    /// The file beside a sound log.
    static let epochCheckpointEntry = Entry(
        name: "epoch-checkpoint", run: { feed in checkpointed(feed) },
        seeds: {
            ["0\n2\n0 0\n3 12\n", "0\n0\n", "0\n-1\n", "0\n1\n5 9223372036854775807\n", "1\n1\n0 0\n", "0\n1\n0 0"]
                .enumerated().map { ("\($0.offset)", Array($0.element.utf8)) }
        })
}

// MARK: Recovery

private func recover(_ feed: Feed) {
    var feed = feed
    let flags = feed.byte()
    let (place, point, start) = (feed.byte(), feed.byte(), feed.byte())
    var bytes = feed.slice(16 * 1024)
    if flags & 1 != 0 { bytes = mended(bytes, offsets: flags & 2 != 0) }
    let recoveryPoint = flags & 8 != 0 ? Offset(point) : 0
    let startOffset = flags & 16 != 0 ? Offset(start) : nil
    let disk = laid(bytes, cutAt: flags & 4 != 0 ? bytes.readableBytes * (place & 63) / 64 : nil)
    let recovered = feed.within(recovering, of: bytes.readableBytes) { opened(disk, recoveryPoint, startOffset) }
    guard let log = recovered else { broken("a disk without faults does not open") }
    check(log.startOffset <= log.endOffset || log.recovery.damage != nil, "the log begins behind its end")
    guard let again = opened(disk, recoveryPoint, startOffset) else { broken("it does not open again") }
    check(again.endOffset == log.endOffset, "a second recovery ends at \(again.endOffset), not \(log.endOffset)")
    check(again.startOffset == log.startOffset, "a second recovery begins elsewhere")
    check(again.recovery.tornBytes == 0, "a second recovery cuts again: \(again.recovery.tornBytes)")
    check(again.damages == log.damages, "a second recovery sees other damage: \(log.damages) \(again.damages)")
    check(written(again) == written(log), "a second recovery sees other epochs: \(log.epochs) \(again.epochs)")
    let sound = log.damages.isEmpty ? contents(of: again, foundDamagedBelow: recoveryPoint) : nil
    if let sound { useSound(again, sound) } else { useDamaged(again) }
}

/// What is left of a log is read whole, searched and appended to.
private func useSound(_ log: SegmentedLog, _ bytes: ByteBuffer) {
    var epochs = EpochHistory()
    for (header, batch) in BatchSequence(bytes) where header.nextOffset > log.startOffset {
        check(verifyCRC(of: batch), "a batch with a wrong CRC is served")
        epochs.assign(header.partitionLeaderEpoch, startOffset: max(header.baseOffset, log.startOffset))
    }
    let known = written(log)
    let told = epochs.entries.filter { $0.epoch >= 0 }
    check(known == told, "the epochs are \(log.epochs), in the batches \(epochs)")
    lookUp(log)
    append(to: log)
}

/// The epochs of which the log has a record. One whose last record was deleted may be remembered at the end, or not.
private func written(_ log: SegmentedLog) -> [EpochHistory.Entry] {
    log.epochs.entries.filter { $0.startOffset < log.endOffset }
}

private func lookUp(_ log: SegmentedLog) {
    for timestamp in [Int64(0), 1_700_000_000_000, .max] { _ = try? log.offset(forTimestamp: timestamp, below: .max) }
    _ = try? log.header(at: log.startOffset)
    _ = try? log.header(at: log.endOffset - 1)
}

private func append(to log: SegmentedLog) {
    let end = log.endOffset
    // Nobody lives to see an offset near the last one.
    guard end < Offset(1) << 60, log.epochs.latestEpoch ?? 0 < Int32.max else { return }
    var builder = RecordBatchBuilder()
    builder.append(timestamp: 5, key: nil, value: ByteBuffer(string: "appended"))
    let batch = builder.build()
    guard let header = BatchHeader(reading: batch, at: batch.readerIndex) else { broken("a batch of our own") }
    do throws(LogError) {
        let base = try log.append(batch, header: header, leaderEpoch: (log.epochs.latestEpoch ?? 0) + 1, wallMs: 9)
        check(base == end && log.endOffset == end + 1, "an append took offset \(base), the end was \(end)")
        let found = try log.header(at: base)
        check(found?.baseOffset == base, "what was appended is not found")
        _ = try log.truncate(to: max(log.startOffset, end))
        check(log.endOffset == max(log.startOffset, end), "a truncation left the end at \(log.endOffset)")
    } catch {
        broken("a sound log refuses: \(error)")
    }
}

/// A damaged log answers errors and keeps what it has.
private func useDamaged(_ log: SegmentedLog) {
    var next = log.startOffset
    for _ in 0..<64 where next < log.endOffset {
        do throws(LogError) {
            guard let slice = try log.read(from: next, maxBytes: 300, below: .max, atLeastOne: true) else { return }
            for (header, _) in BatchSequence(try log.bytes(of: slice)) {
                check(
                    !log.damages.contains { $0.offsets.contains(header.baseOffset) },
                    "offset \(header.baseOffset) is damaged and served")
            }
            check(slice.nextOffset > next, "reading at \(next) leads back to \(slice.nextOffset)")
            next = slice.nextOffset
        } catch {
            break
        }
    }
    lookUp(log)
}

private func opened(_ disk: SimulatedDisk, _ recoveryPoint: Offset, _ startOffset: Offset?) -> SegmentedLog? {
    do throws(LogError) {
        return try SegmentedLog.open(
            disk: disk, directory: directory, owner: 1, settings: settings, recoveryPoint: recoveryPoint,
            startOffset: startOffset, wallMs: 0)
    } catch {
        return nil
    }
}

/// The bytes as one segment, or as two: the second is named by the offset of the first batch behind the cut, or 7.
private func laid(_ bytes: ByteBuffer, cutAt cut: Int?) -> SimulatedDisk {
    let disk = SimulatedDisk(seed: 1)
    makeDirectory(directory, on: disk)
    guard let cut else {
        disk.overwrite(SegmentFiles.path(directory, 0, ".log"), with: bytes.array)
        return disk
    }
    var walk = BatchSequence(bytes).makeIterator()
    var (position, base) = (cut, Offset(7))
    while let (header, batch) = walk.next() {
        let start = walk.index - batch.readableBytes - bytes.readerIndex
        guard start >= cut else { continue }
        if header.baseOffset > 0 { (position, base) = (start, header.baseOffset) }
        break
    }
    let all = bytes.array
    disk.overwrite(SegmentFiles.path(directory, 0, ".log"), with: Array(all[..<position]))
    disk.overwrite(SegmentFiles.path(directory, base, ".log"), with: Array(all[position...]))
    return disk
}

func makeDirectory(_ path: String, on disk: SimulatedDisk) {
    do throws(DiskError) { try disk.createDirectory(path) } catch { broken("no directory: \(error)") }
}

// MARK: Indexes and checkpoints

/// A log of three segments and its files, made once. Timestamps rise, so that every entry that names a batch rightly is
/// one that an index could hold.
private let sound: (files: [(String, [UInt8])], end: Offset, epochs: EpochHistory) = {
    let disk = SimulatedDisk(seed: 1)
    guard let log = opened(disk, 0, nil) else { broken("an empty log does not open") }
    for number in 0..<24 {
        var builder = RecordBatchBuilder()
        for record in 0...(number % 3) {
            builder.append(
                timestamp: Int64(1_000 + number * 10 + record), key: nil, value: ByteBuffer(repeating: 7, count: 20))
        }
        let batch = builder.build()
        guard let header = BatchHeader(reading: batch, at: batch.readerIndex) else { broken("a batch of our own") }
        do throws(LogError) {
            _ = try log.append(batch, header: header, leaderEpoch: Int32(number / 7), wallMs: 0)
        } catch {
            broken("an append to a new log: \(error)")
        }
    }
    do throws(LogError) { try log.close(flushing: true) } catch { broken("a new log does not close: \(error)") }
    let files = disk.filePaths.map { ($0, disk.contents(of: $0) ?? []) }
    return (files, log.endOffset, log.epochs)
}()

private func soundFiles() -> [(String, [UInt8])] { sound.files }

private func soundDisk(but path: String, _ bytes: [UInt8]) -> SimulatedDisk {
    let disk = SimulatedDisk(seed: 1)
    makeDirectory(directory, on: disk)
    for (name, contents) in sound.files { disk.overwrite(name, with: contents) }
    disk.overwrite(path, with: bytes)
    return disk
}

private func misindexed(_ feed: Feed) {
    var feed = feed
    let flags = feed.byte()
    let logs = sound.files.map(\.0).filter { $0.hasSuffix(".log") }
    let stem = String(logs[flags & 4 != 0 ? 1 : 0].dropLast(4))
    let isTime = flags & 1 != 0
    let bytes = flags & 2 != 0 ? rising(feed.slice(4_096), isTime) : feed.slice(4_096).array
    let disk = soundDisk(but: stem + (isTime ? ".timeindex" : ".index"), bytes)
    let beside = feed.within(indexing, of: bytes.count) { opened(disk, sound.end, 0) }
    guard let log = beside else { broken("a log with a wrong index does not open") }
    check(log.damages.isEmpty, "a wrong index is taken for damage: \(log.damages)")
    checkSound(log)
}

/// Every offset and every timestamp is found where it is.
private func checkSound(_ log: SegmentedLog) {
    check(log.endOffset == sound.end && log.epochs == sound.epochs, "the log is another: \(log.epochs)")
    do throws(LogError) {
        for (header, _) in BatchSequence(contents(of: log)) {
            for offset in header.baseOffset...header.lastOffset {
                let slice = try log.read(from: offset, maxBytes: 1, below: .max, atLeastOne: true)
                check(slice?.firstOffset == header.baseOffset, "offset \(offset) is found at another batch")
            }
            let found = try log.offset(forTimestamp: header.baseTimestamp, below: .max)
            check(found?.offset == header.baseOffset, "timestamp \(header.baseTimestamp) is found elsewhere")
        }
    } catch {
        broken("a sound log answers \(error)")
    }
}

/// The bytes as steps from entry to entry, so that the file passes as an index.
private func rising(_ steps: ByteBuffer, _ isTime: Bool) -> [UInt8] {
    var (a, b): (Int64, Int64) = isTime ? (1_000, 0) : (0, 0)
    var file = ByteBuffer()
    var steps = steps
    while let (first, second) = steps.readMultipleIntegers(as: (UInt8, UInt8).self) {
        (a, b) = (a + Int64(first), b + Int64(second))
        if isTime { file.writeMultipleIntegers(a, Int32(b)) } else { file.writeMultipleIntegers(Int32(a), Int32(b)) }
    }
    return file.array
}

private func checkpointed(_ feed: Feed) {
    let text = feed.rest
    let history = feed.within(Bound(perByte: 64, constant: 8 * 1024), of: text.readableBytes) {
        EpochCheckpoint.parse(text)
    }
    if let history {
        let lines = history.entries.map { "\($0.epoch) \($0.startOffset)\n" }
        let again = EpochCheckpoint.parse(ByteBuffer(string: "0\n\(lines.count)\n" + lines.joined()))
        check(again == history, "a checkpoint changed: \(history)")
    }
    let bytes = text.getSlice(at: text.readerIndex, length: min(4_096, text.readableBytes))?.array ?? []
    for recoveryPoint in [0, sound.end] {
        let disk = soundDisk(but: "\(directory)/\(SegmentFiles.epochCheckpoint)", bytes)
        guard let log = opened(disk, recoveryPoint, 0) else { broken("a wrong checkpoint keeps the log shut") }
        check(log.damages.isEmpty && log.endOffset == sound.end, "a wrong checkpoint is taken for damage")
        check(log.epochs == sound.epochs, "a wrong checkpoint is believed: \(log.epochs), really \(sound.epochs)")
    }
}
