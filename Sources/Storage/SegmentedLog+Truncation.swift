// Taking away from the end, and altogether.

import Model
import NIOCore

extension SegmentedLog {
    /// Drops the batch that holds `offset` and all behind it; cuts at the end of a batch at or below `offset`. Raises
    /// the generation. An epoch that began at or behind the new end is forgotten even where no batch is dropped.
    package func truncate(to offset: Offset) throws(LogError) {
        if isFenced { throw .fenced }
        forgetCleaning(from: offset)
        if isFenced { throw .fenced }
        guard offset >= startOffset, offset > segments[0].baseOffset || offset >= endOffset else {
            return try truncateFully(startingAt: offset)
        }
        guard offset < endOffset else {
            epochs.truncate(to: endOffset)
            return
        }
        let index = segmentIndex(holding: offset)
        let segment = segments[index]
        let readable = min(offset, segment.nextOffset)
        let boundary = try segment.locate(readable, intervalBytes: settings.indexIntervalBytes)
        // The log start lies inside the batch that goes: nothing that can be read is left.
        if boundary.offset < startOffset { return try truncateFully(startingAt: startOffset) }
        beginTruncation()
        do {
            // From the last one on, so that a crash in between leaves a log that is longer, not one with a hole.
            try removeSegments(index + 1..<segments.count)
            let (disk, file) = (disk, segment.file)
            try onDisk { () throws(DiskError) in try disk.truncate(file, to: boundary.position) }
        } catch {
            isFenced = true
            throw error
        }
        durableNames = min(durableNames, segment.baseOffset)
        segment.sizeBytes = boundary.position
        segment.nextOffset = boundary.offset
        segment.loadIndexes(intervalBytes: settings.indexIntervalBytes)
        segment.startIndexes(keepingBelow: boundary)
        segment.saveIndexes()
        // Mutant: the power brings back what was cut (S7).
        if settings.plantedBug != .truncationNotFlushed { flushing.markDirty(segment.baseOffset) }
        finishTruncation(at: boundary.offset)
        // The active segment's running maximum; where it cannot be had, only the time index grows sparser.
        _ = try? segment.largestTimestamp(intervalBytes: settings.indexIntervalBytes)
    }

    /// Where a copy that nobody counts on can be cut at or below `offset`: where the way to it is damaged, all of its
    /// segment goes.
    package func cutPoint(at offset: Offset) throws(LogError) -> Offset {
        guard offset < endOffset, offset > segments[0].baseOffset else { return offset }
        let segment = segments[segmentIndex(holding: offset)]
        do throws(LogError) {
            return try segment.locate(min(offset, segment.nextOffset), intervalBytes: settings.indexIntervalBytes)
                .offset
        } catch {
            guard case .damaged = error else { throw error }
            return segment.baseOffset
        }
    }

    /// Drops everything and begins again, empty, at `offset`.
    package func truncateFully(startingAt offset: Offset) throws(LogError) {
        precondition(offset >= 0, "offsets are not negative")
        if isFenced { throw .fenced }
        forgetCleaning(from: 0)
        if isFenced { throw .fenced }
        let createdMs = active.createdMs
        beginTruncation()
        do {
            try removeSegments(0..<segments.count)
            segments = [
                try Segment(disk: disk, directory: directory, baseOffset: offset, create: true, wallMs: createdMs)
            ]
        } catch {
            isFenced = true
            throw error
        }
        startOffset = offset
        damages = []
        durableNames = -1
        flushing.markDirty(offset)
        flushing.markDirectoryDirty(directory)
        finishTruncation(at: offset)
        // Nothing is known of the epoch that the record before `offset` was of, where there was one.
        if settings.plantedBug != .epochsNotTruncated { epochs = EpochHistory() }
        flushedEnd = offset
    }

    private func beginTruncation() {
        generation += 1
        flushing.forgetBarrier()
    }

    private func finishTruncation(at end: Offset) {
        isEndLost = false
        if let torn = tornBehindDamage, end <= torn { tornBehindDamage = nil }
        cleanedEnd = min(cleanedEnd, end)
        damages = damages.compactMap { damage in
            guard damage.offsets.lowerBound < end else { return nil }
            var damage = damage
            damage.offsets = damage.offsets.lowerBound..<min(damage.offsets.upperBound, end)
            return damage
        }
        // Mutant: epochs of records that are gone (P10).
        if settings.plantedBug != .epochsNotTruncated { epochs.truncate(to: end) }
        flushedEnd = min(flushedEnd, end)
        if let damage = damages.first { flushedEnd = min(flushedEnd, damage.offsets.lowerBound) }
    }

    /// Removes segments from the highest to the lowest. The list keeps what is still there when one cannot be removed.
    private func removeSegments(_ range: Range<Int>) throws(LogError) {
        guard !range.isEmpty else { return }
        // Mutant: the power brings back what was cut (S7).
        if settings.plantedBug != .truncationNotFlushed { flushing.markDirectoryDirty(directory) }
        for index in range.reversed() {
            try segments[index].remove()
            if segments.count > 1 { segments.remove(at: index) }
        }
    }
}
