// Compaction as the log sees it: what could be cleaned, the steps of a cleaning, and how its outcome is swapped in.
//
// A swap takes four moves, each behind a barrier on the one before:
//
//   1. `<base>.log.cleaned` is written, and made durable. An opening sweeps it away.
//   2. It is renamed to `<base>.log.swap`, and that name made durable. Now it is decided: an opening that finds the
//      name removes every segment that begins within this one, and gives it its own name. Before, the old segments are
//      the log; from here on the new one is.
//   3. The old segments lose their names, and that is made durable. Slices of them stay readable as those of segments
//      that retention removes.
//   4. It is renamed to `<base>.log`. Whichever of the two names a crash leaves, it is the same segment.
//
// Between 2 and 4 the log works with the new segment under its odd name: it may be cut, removed and repaired. A cut of
// it that a barrier has covered is in the file, so what an opening removes are only segments that begin before the
// cut; and one that no barrier has covered may be undone, with all that came behind it.

import Model
import NIOCore
import Records

/// A segment that is in the log and has not got its own name yet.
struct SettlingSwap {
    var segment: Segment
    /// Of the barrier on the old names.
    var sequence: UInt64
    /// They are gone for good.
    var isDurable = false
}

extension SegmentedLog {
    /// Tickets of a cleaning's barriers have this bit in their sequence.
    static let cleaningSequenceBit: UInt64 = 1 << 61

    /// Whether that segment is in the log under the name of one that is being swapped in. For whoever watches from
    /// outside.
    package func isSettling(segmentAt baseOffset: Offset) -> Bool {
        segments.contains { $0.baseOffset == baseOffset && $0.fileSuffix == SegmentFiles.swap }
    }

    /// Whether a report tells of a cleaning's barrier.
    package static func isOfCleaning(_ ticket: FlushTicket) -> Bool {
        ticket.sequence >> 61 == 1 && ticket.generation < .max
    }

    /// The owner's checkpoint of an earlier cleaning. One that is lost, or older, only means more work.
    package func restoreCleanedEnd(_ offset: Offset) {
        cleanedEnd = min(max(0, offset), endOffset)
        holdsEmptyBatches = true
    }

    package var isCleaning: Bool { cleaning != nil }

    /// Where their times count: of one look, and of one cleaning.
    private static let segmentsAskedMax = 256

    /// Nil: nothing. Only whole closed segments, below the high watermark and flushed, before the first one with a
    /// record younger than `min.compaction.lag.ms`.
    package func cleanablePart(
        _ settings: CleaningSettings, highWatermark: Offset, wallMs: Int64
    ) throws(LogError) -> CleanablePart? {
        guard damages.isEmpty, !isFenced else { return nil }
        let start = max(startOffset, cleanedEnd <= active.baseOffset ? cleanedEnd : 0)
        var part = CleanablePart(dirty: start..<start, dirtyBytes: 0, cleanBytes: 0, isOverdue: false)
        let asksTimes = settings.minCompactionLagMs > 0 || settings.maxCompactionLagMs < .max
        var asked = 0
        // Mutant: what may yet be cut hides what is acknowledged (C1).
        let committed = self.settings.plantedBug == .cleansAboveHighWatermark ? .max : highWatermark
        for segment in segments.dropLast() where segment.nextOffset <= min(committed, flushedEnd) {
            guard segment.nextOffset > start else {
                part.cleanBytes += segment.sizeBytes
                continue
            }
            // Their times may have to be read: a long backlog is cleaned in parts.
            if asksTimes { asked += 1 }
            guard asked <= Self.segmentsAskedMax else {
                part.isCutShort = true
                part.dirtyBytes += segment.sizeBytes
                continue
            }
            if settings.minCompactionLagMs > 0 {
                noteIndexUse(segment)
                let largest = try segment.largestTimestamp(intervalBytes: self.settings.indexIntervalBytes).timestamp
                let youngest = largest >= 0 ? largest : segment.createdMs
                guard isOlder(youngest, than: settings.minCompactionLagMs, wallMs) else { break }
            }
            if settings.maxCompactionLagMs < .max, !part.isOverdue {
                let rolled = try segment.rollTimestamp()
                part.isOverdue = rolled >= 0 && isOlder(rolled, than: settings.maxCompactionLagMs, wallMs)
            }
            part.dirty = start..<segment.nextOffset
            part.dirtyBytes += segment.sizeBytes
        }
        return part.dirty.isEmpty ? nil : part
    }

    private func isOlder(_ timestamp: Int64, than lagMs: Int64, _ wallMs: Int64) -> Bool {
        let (age, overflow) = wallMs.subtractingReportingOverflow(timestamp)
        return overflow ? timestamp < 0 : age >= lagMs
    }

    /// False: not now. `order.part` is what `cleanablePart` just said.
    package func beginCleaning(_ order: CleaningOrder) -> Bool {
        if settling?.isDurable == true { try? settle() }
        guard cleaning == nil, settling == nil, damages.isEmpty, !isFenced, !order.part.dirty.isEmpty,
            order.part.dirty.upperBound <= active.baseOffset
        else { return false }
        cleaningStop = nil
        cleaning = LogCleaning(self, order)
        return true
    }

    /// Bounded work: reads, unpacks and packs about `budgetBytes`. What one batch takes beyond that is made up for by
    /// the steps behind it.
    package func stepCleaning(budgetBytes: Int) -> CleaningProgress {
        if let stop = cleaningStop {
            cleaningStop = nil
            return .abandoned(stop)
        }
        guard let cleaning else { return .idle }
        do throws(CleaningStop) {
            if isFenced { throw .failed(.fenced) }
            let progress = try cleaning.step(budgetBytes: max(1, budgetBytes))
            if case .finished(let summary) = progress {
                self.cleaning = nil
                cleanedEnd = max(cleanedEnd, summary.cleanedEnd)
                requestFlush()
            }
            return progress
        } catch {
            abandonCleaning(error)
            cleaningStop = nil
            return .abandoned(error)
        }
    }

    /// Ends a cleaning that is under way; what it has swapped in stays. Nothing of it is left in the directory.
    package func abandonCleaning(_ stop: CleaningStop = .overtaken) {
        guard let cleaning else { return }
        self.cleaning = nil
        cleaningStop = stop
        cleaning.abandon()
    }

    // MARK: Barriers

    func requestCleaningBarrier(files: [FileHandle], directories: [String]) -> UInt64 {
        cleaningSequence += 1
        let sequence = Self.cleaningSequenceBit | cleaningSequence
        disk.flush(
            FlushTicket(owner: owner, generation: generation, sequence: sequence), files: files,
            directories: directories)
        return sequence
    }

    func cleaningFlushed(_ sequence: UInt64, _ result: FlushResult) throws(LogError) {
        guard !isFenced else { return }
        if settling?.sequence == sequence {
            if case .failed(let error) = result {
                isFenced = true
                throw .disk(error)
            }
            settling?.isDurable = true
            do throws(LogError) { try settle() } catch { abandonCleaning(.failed(error)) }
            return
        }
        do throws(LogError) {
            if let stop = try cleaning?.flushed(sequence, result) { abandonCleaning(stop) }
        } catch {
            abandonCleaning(.failed(error))
            throw error
        }
    }

    // MARK: The swap

    /// From now on `segment` is the log's, in place of `sources`.
    func swapIn(_ segment: Segment, for sources: [Segment]) throws(LogError) {
        guard let first = segments.firstIndex(where: { $0 === sources[0] }), first + sources.count < segments.count,
            zip(segments[first...], sources).allSatisfy({ $0 === $1 })
        else { preconditionFailure("a cleaning ends when its segments change") }
        do throws(LogError) {
            for source in sources { try dropName(of: source) }
        } catch {
            // It is decided all the same: the next opening goes on from here.
            isFenced = true
            throw error
        }
        segments.replaceSubrange(first..<first + sources.count, with: [segment])
        loadedIndexes.removeAll { base in sources.contains { $0.baseOffset == base } }
        holdsEmptyBatches = true
        swaps &+= 1
        segment.seal()
        segment.unloadIndexes()
        flushing.markDirectoryDirty(directory)
        settling = SettlingSwap(
            segment: segment, sequence: requestCleaningBarrier(files: [], directories: [directory]))
    }

    private func dropName(of segment: Segment) throws(LogError) {
        guard settings.delaysRemoval else { return try segment.remove(withCompanions: false) }
        do throws(LogError) {
            try segment.markDeleted(withCompanions: false)
        } catch {
            // A full disk may refuse a longer name, and never that a name goes.
            let disk = disk
            for suffix in [".index", ".timeindex"] {
                try onDisk { () throws(DiskError) in
                    try disk.remove(SegmentFiles.path(segment.directory, segment.baseOffset, suffix))
                }
            }
            try onDisk { () throws(DiskError) in try disk.remove(segment.path) }
        }
        removed.entries.append(RemovedSegments.Entry(segment: segment, since: nil))
    }

    /// The last move: the segment gets its own name. A failure leaves it as it is, to be tried again.
    func settle() throws(LogError) {
        guard let swap = settling, swap.isDurable else { return }
        let segment = swap.segment
        if segments.contains(where: { $0 === segment }), segment.fileSuffix == SegmentFiles.swap {
            let (disk, from) = (disk, segment.path)
            let to = SegmentFiles.path(directory, segment.baseOffset, SegmentFiles.log)
            try onDisk { () throws(DiskError) in try disk.rename(from, to: to) }
            segment.fileSuffix = SegmentFiles.log
            flushing.markDirectoryDirty(directory)
        }
        settling = nil
        cleaning?.settled()
    }

    /// Before anything at or above `offset` goes: it is not clean any more, whatever comes in its place.
    func forgetCleaning(from offset: Offset) {
        if let cleaning, offset < cleaning.limit { abandonCleaning() }
        cleanedEnd = min(cleanedEnd, offset)
    }
}
