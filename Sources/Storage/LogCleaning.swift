// One cleaning of a compacted log: first a map of the newest offset of each key in the dirty part, then every segment
// from the first one on is written anew without the records that have a newer one of their key.
//
// Each step does bounded work, because a shard has other things to do. Segments are swapped in one at a time, from the
// front: when a tombstone goes, everything that it covered is gone before. How a swap survives a crash is told in
// `SegmentedLog+Cleaning.swift`.

import Model
import NIOCore
import Records

extension CleaningStop: Error {}

final class LogCleaning {
    private enum Phase {
        case mapping
        case rewriting
        /// The new segment's bytes are on their way to the medium.
        case flushing(UInt64)
        /// So is its name.
        case naming(UInt64)
        /// It is in the log; the names of the old ones are on their way out.
        case settling
        case over
    }

    private unowned let log: SegmentedLog
    private let order: CleaningOrder
    private var phase = Phase.mapping
    private var map: OffsetMap
    /// Below this the map knows the newest offset of each key. From here on nothing is touched.
    private var mapEnd: Offset
    private var batches: CheckedBatches?
    /// Where the next source begins.
    private var nextSource: Offset = 0
    private var cleaned: CleanedSegment?
    private var summary = CleaningSummary()
    /// What is left of the step's budget; below zero, what the next steps must make up for.
    private var left = 0
    /// Packing costs some times what unpacking and walking through the same bytes does.
    private static let packingFactor = 4

    /// What lies at or behind this is not gone through.
    var limit: Offset { order.part.dirty.upperBound }

    init(_ log: SegmentedLog, _ order: CleaningOrder) {
        self.log = log
        self.order = order
        map = OffsetMap(bytesMax: order.settings.mapBytesMax)
        mapEnd = order.part.dirty.upperBound
    }

    /// Whether it has the segment open, or has gone through it without having swapped the outcome in.
    func uses(_ segment: Segment) -> Bool {
        if case .settling = phase { return false }
        return batches?.segment === segment || cleaned?.sources.contains { $0 === segment } ?? false
    }

    func step(budgetBytes: Int) throws(CleaningStop) -> CleaningProgress {
        left = min(left, 0) + budgetBytes
        switch phase {
        case .mapping: try mapKeys()
        case .rewriting: try rewrite()
        case .flushing, .naming, .settling, .over: break
        }
        switch phase {
        case .mapping, .rewriting: return .working
        case .flushing, .naming, .settling: return .waiting
        case .over: return .finished(summary)
        }
    }

    // MARK: The map

    private func mapKeys() throws(CleaningStop) {
        while left > 0 {
            if batches == nil {
                let from = max(order.part.dirty.lowerBound, log.segments[0].baseOffset)
                batches = try stopping { () throws(LogError) in
                    let segment = log.segments[log.segmentIndex(holding: from)]
                    return CheckedBatches(
                        segment, from: try segment.locate(from, intervalBytes: log.settings.indexIntervalBytes))
                }
            }
            guard let (header, bytes) = try nextBatch() else {
                guard let end = batches?.segment.nextOffset, end < mapEnd,
                    let next = log.firstSegment(from: end), next !== log.active
                else { return endMap() }
                batches = CheckedBatches(next, from: Boundary(position: 0, offset: next.baseOffset))
                continue
            }
            left -= header.sizeBytes
            // Whether a transaction was aborted is not known here: what it wrote hides nothing.
            if header.isTransactional, !header.isControl { mapEnd = header.baseOffset }
            if !header.isControl, header.recordsCount > 0, header.baseOffset < mapEnd {
                try noteKeys(of: header, bytes)
            }
            if header.nextOffset >= mapEnd { return endMap() }
        }
    }

    private func noteKeys(of header: BatchHeader, _ bytes: ByteBuffer) throws(CleaningStop) {
        let from = order.part.dirty.lowerBound
        do throws(BatchError) {
            try unpack(header, bytes).forEachRecord { record in
                guard record.offset >= from, record.offset < mapEnd, let key = record.key else { return }
                // No room for one more key: the next cleaning goes on from here.
                if !map.put(order.hasher.hash(key), record.offset) { mapEnd = record.offset }
            }
        } catch {
            throw .unreadable(header.baseOffset, error.message)
        }
    }

    /// However small a batch was packed, it may be ten times the largest message: that is what has to be walked
    /// through.
    private func unpack(_ header: BatchHeader, _ bytes: ByteBuffer) throws(BatchError) -> BatchContents {
        let contents = try BatchContents(bytes, header: header)
        left -= max(0, contents.unpackedBytes - header.sizeBytes)
        return contents
    }

    private func endMap() {
        batches = nil
        summary.keys = map.count
        nextSource = log.segments[0].baseOffset
        phase = .rewriting
    }

    private func nextBatch() throws(CleaningStop) -> (header: BatchHeader, bytes: ByteBuffer)? {
        try stopping { () throws(LogError) in try batches?.next(in: log) }
    }

    private func stopping<T>(_ body: () throws(LogError) -> T) throws(CleaningStop) -> T {
        do {
            return try body()
        } catch {
            throw .failed(error)
        }
    }

    // MARK: Writing anew

    private func rewrite() throws(CleaningStop) {
        while left > 0 {
            if batches == nil, try !beginSource() {
                guard let cleaned else {
                    phase = .over
                    summary.cleanedEnd = mapEnd
                    return
                }
                if try end(cleaned) { return }
                continue
            }
            guard let (header, bytes) = try nextBatch() else {
                batches = nil
                continue
            }
            left -= header.sizeBytes
            try take(header, bytes)
        }
        try stopping { () throws(LogError) in try cleaned?.write() }
    }

    /// Opens the next source: as a further part of the segment at hand, or as the first of another. False where the one
    /// at hand must be ended first, or nothing is left.
    private func beginSource() throws(CleaningStop) -> Bool {
        guard mapEnd > order.part.dirty.lowerBound,
            let source = log.firstSegment(from: nextSource), source.baseOffset < mapEnd,
            source !== log.active
        else { return false }
        if let cleaned {
            guard cleaned.hasRoom(for: source) else { return false }
            cleaned.add(source)
        } else {
            cleaned = try stopping { () throws(LogError) in
                try CleanedSegment(for: source, settings: log.settings)
            }
        }
        batches = CheckedBatches(source, from: Boundary(position: 0, offset: source.baseOffset))
        nextSource = source.nextOffset
        return true
    }

    /// All sources of a segment are gone through. Answers whether a barrier is awaited.
    private func end(_ ended: CleanedSegment) throws(CleaningStop) -> Bool {
        try stopping { () throws(LogError) in try ended.finish() }
        summary.segmentsBefore += ended.sources.count
        summary.segmentsAfter += 1
        summary.bytesBefore += ended.sourceBytes
        summary.bytesAfter += ended.output.sizeBytes
        guard ended.isChanged else {
            _ = ended.discard()
            cleaned = nil
            return false
        }
        // Mutant: the old segments go while the new one is in memory only (S1).
        let isFlushed = log.settings.plantedBug != .cleanedSegmentNotFlushed
        phase = .flushing(log.requestCleaningBarrier(files: isFlushed ? [ended.output.file] : [], directories: []))
        return true
    }

    private func take(_ header: BatchHeader, _ bytes: ByteBuffer) throws(CleaningStop) {
        let outcome = try judge(header, bytes)
        try stopping { () throws(LogError) in
            switch outcome {
            case .stays: try cleaned?.keep(header, bytes)
            case .becomes(let batch, let header): try cleaned?.replace(with: header, batch)
            case .goes: try cleaned?.absorb(header)
            }
        }
    }

    // MARK: What stays

    private enum Outcome {
        case stays
        case becomes(ByteBuffer, BatchHeader)
        case goes
    }

    private func judge(_ header: BatchHeader, _ bytes: ByteBuffer) throws(CleaningStop) -> Outcome {
        if header.isControl || header.isTransactional || header.baseOffset >= mapEnd { return .stays }
        let tellsDuplicates = order.producers[header.producerID].map { header.baseOffset >= $0 } ?? false
        if header.recordsCount == 0 { return header.hasProducer && tellsDuplicates ? .stays : .goes }
        do throws(BatchError) {
            let contents = try unpack(header, bytes)
            var isKept: [Bool] = []
            isKept.reserveCapacity(Int(header.recordsCount))
            var (kept, tombstones) = (0, 0)
            try contents.forEachRecord { record in
                let stays = stays(record, in: header)
                isKept.append(stays)
                guard stays else { return }
                kept += 1
                if record.isTombstone { tombstones += 1 }
            }
            summary.recordsRemoved += isKept.count - kept
            guard kept > 0 else {
                guard header.hasProducer, tellsDuplicates else { return .goes }
                let empty = header.emptied.sealedWithoutRecords()
                return .becomes(empty.batch, empty.header)
            }
            // Everything before a tombstone is clean only where the map reaches past it.
            let begins = tombstones > 0 && !header.hasDeleteHorizon && header.lastOffset < mapEnd
            guard kept < isKept.count || begins else { return .stays }
            if contents.isPacked { left -= contents.unpackedBytes * Self.packingFactor }
            let rewritten = try contents.rewritten(keeping: isKept, deleteHorizonMs: begins ? deleteHorizonMs : nil)
            return .becomes(rewritten.batch, rewritten.header)
        } catch {
            throw .unreadable(header.baseOffset, error.message)
        }
    }

    private func stays(_ record: RecordGlance, in header: BatchHeader) -> Bool {
        if record.offset >= mapEnd { return true }
        guard record.offset >= log.startOffset, let key = record.key else { return false }
        if let newest = map.offset(of: order.hasher.hash(key)), newest > record.offset { return false }
        // Mutant: who reads on from an older record of the key never hears that it went (C1).
        if log.settings.plantedBug == .tombstoneGoesAtOnce, record.isTombstone { return false }
        let mayGo =
            record.isTombstone && header.hasDeleteHorizon && header.baseTimestamp <= order.wallMs
            && record.offset < order.tombstonesRemovableBelow
        return !mayGo
    }

    private var deleteHorizonMs: Int64 {
        let (sum, overflow) = order.wallMs.addingReportingOverflow(max(0, order.settings.deleteRetentionMs))
        return overflow ? .max : sum
    }

    // MARK: Barriers

    /// Answers why it must end, if it must. Throws where the log itself cannot go on.
    func flushed(_ sequence: UInt64, _ result: FlushResult) throws(LogError) -> CleaningStop? {
        guard let cleaned else { return nil }
        switch (phase, result) {
        case (.flushing(sequence), .failed(let error)): return .failed(.disk(error))
        case (.flushing(sequence), .done):
            let (disk, from) = (log.disk, cleaned.output.path)
            let to = SegmentFiles.path(log.directory, cleaned.output.baseOffset, SegmentFiles.swap)
            do throws(DiskError) { try disk.rename(from, to: to) } catch { return .failed(.disk(error)) }
            cleaned.output.fileSuffix = SegmentFiles.swap
            phase = .naming(log.requestCleaningBarrier(files: [], directories: [log.directory]))
        case (.naming(sequence), .failed(let error)):
            // Whether the name is there nobody knows, and the next opening goes by it.
            log.isFenced = true
            throw .disk(error)
        case (.naming(sequence), .done):
            try log.swapIn(cleaned.output, for: cleaned.sources)
            self.cleaned = nil
            phase = .settling
        default: break
        }
        return nil
    }

    /// The segment that was swapped in has its own name.
    func settled() {
        if case .settling = phase { phase = .rewriting }
    }

    // MARK: Its end

    /// What was not swapped in is taken back.
    func abandon() {
        guard let cleaned else { return }
        self.cleaned = nil
        if case .naming = phase {
            guard !log.isFenced else { return cleaned.close() }
            // A later cut and what is written behind it must not be undone by this name.
            log.flushing.markDirectoryDirty(log.directory)
            if !cleaned.discard() { log.isFenced = true }
        } else {
            _ = cleaned.discard()
        }
    }

    func close() { cleaned?.close() }
}
