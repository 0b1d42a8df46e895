// Damage in a log that is open: taking note of it, finding out how far it goes, and swapping a rebuilt segment in.
//
// A replica with damage takes no appends and is not read past it. Its owner takes it out of the ISR, has each damaged
// piece surveyed and rebuilt from what a peer sends, installs that, and lets it rejoin. Nothing that is sound is ever
// cut away (reliability.md S5).

import Model
import NIOCore

/// What to do about the first damage.
package enum RepairPlan {
    /// Find out what of a segment's file is sound.
    case survey(SegmentSurvey)
    /// No file is there: these offsets are all missing. The log ends behind them where `isLast`.
    case create(Range<Offset>, isLast: Bool)
}

extension SegmentedLog {
    /// Takes note that the batch at `offset` cannot be read as it was written; until a survey everything behind it in
    /// its segment is doubted. Answers false where that is known already.
    package func noteDamage(at offset: Offset, _ reason: String) -> Bool {
        abandonCleaning()
        guard offset < endOffset else {
            guard damages.isEmpty else { return false }
            // A walk came to an offset that no batch has: any header before may be the one that lies.
            doubtAll("a batch header leads to offset \(offset), and the log ends at \(endOffset)")
            return !damages.isEmpty
        }
        let offset = max(offset, segments[0].baseOffset)
        let index = segmentIndex(holding: offset)
        let end = max(index + 1 < segments.count ? segments[index + 1].baseOffset : endOffset, offset + 1)
        guard !damages.contains(where: { $0.offsets.contains(offset) }) else { return false }
        damages.removeAll { $0.offsets.lowerBound >= offset && $0.offsets.upperBound <= end }
        let damage = Damage(offsets: offset..<end, file: segments[index].path, reason: reason)
        damages.insert(damage, at: damages.firstIndex { $0.offsets.lowerBound > offset } ?? damages.count)
        return true
    }

    /// The segments between the start that the owner remembers and the first one there is are lost: they are missing
    /// like any other damaged range.
    package func noteMissingStart() {
        guard let missing = recovery.missingStart, missing.upperBound == startOffset else { return }
        startOffset = missing.lowerBound
        damages.insert(
            Damage(
                offsets: missing, file: SegmentFiles.path(directory, missing.lowerBound, ".log"),
                reason: "it is missing"), at: 0)
        flushedEnd = min(flushedEnd, missing.lowerBound)
    }

    /// Doubts every segment: each is surveyed before the log is believed again. What is known to be missing in front of
    /// the first one stays so; what is missing behind one, its survey finds.
    package func doubtAll(_ reason: String) {
        abandonCleaning()
        let end = endOffset
        var doubts = damages.filter { $0.offsets.lowerBound < segments[0].baseOffset }
        for (index, segment) in segments.enumerated() {
            let lower = max(segment.baseOffset, startOffset)
            let upper = index + 1 < segments.count ? segments[index + 1].baseOffset : end
            guard lower < upper else { continue }
            doubts.append(Damage(offsets: lower..<upper, file: segment.path, reason: reason))
        }
        damages = doubts
    }

    /// Opening it found that something is missing.
    package var isDamagedOrCutOff: Bool { recovery.damage != nil || recovery.missingStart != nil }

    /// Nil when nothing is damaged.
    package func repairPlan() throws(LogError) -> RepairPlan? {
        guard let damage = damages.first else { return nil }
        guard let index = segments.lastIndex(where: { $0.baseOffset <= damage.offsets.lowerBound }) else {
            return .create(
                damage.offsets.lowerBound..<min(damage.offsets.upperBound, segments[0].baseOffset), isLast: false)
        }
        let segment = segments[index]
        let isLast = index + 1 == segments.count
        let trustsEpochs =
            recovery.damages.isEmpty && recovery.missingStart == nil && epochs.latestEpoch ?? -1 <= epochMax
        return .survey(
            try SegmentSurvey(
                disk: disk, file: segment.file, baseOffset: segment.baseOffset,
                endOffset: isLast ? nil : segments[index + 1].baseOffset, leastEnd: endOffset,
                history: trustsEpochs ? epochs : nil, epochMax: epochMax))
    }

    /// Whether this log, once rebuilt after the survey, may end before it did: behind what was known to be durable all
    /// was damaged too, and acknowledged records may have been there.
    package func mayLackItsEnd(after survey: SegmentSurvey, trustsRuns: Bool) -> Bool {
        isEndLost && survey.endOffset == nil && !(trustsRuns && survey.reachesEnd)
    }

    /// What a finished survey asks for; nil: everything is there after all, and the doubt is taken back.
    ///
    /// - Parameter trustsRuns: false: what was found sound did not fit what the peers have, so all of the segment is
    ///   had from them.
    package func rebuild(after survey: SegmentSurvey, trustsRuns: Bool) throws(LogError) -> SegmentRebuild? {
        guard let index = segments.firstIndex(where: { $0.baseOffset == survey.baseOffset }) else { return nil }
        let segment = segments[index]
        let isLast = index + 1 == segments.count
        if trustsRuns, survey.isFileSound {
            // The file is whole as far as it goes; what is missing behind it becomes a segment of its own.
            let end = survey.runs.last?.offsets.upperBound ?? survey.baseOffset
            guard let gap = survey.gaps.first else {
                settle(segment, at: Boundary(position: survey.fileBytes, offset: end), isLast: isLast)
                takeBack(survey.baseOffset..<max(end, survey.baseOffset + 1))
                return nil
            }
            settle(segment, at: Boundary(position: survey.fileBytes, offset: end), isLast: isLast)
            if survey.fileBytes > 0 { return try rebuild(missing: gap, isLast: isLast) }
        }
        let whole = survey.baseOffset..<(survey.endOffset ?? max(survey.leastEnd, survey.baseOffset))
        return try SegmentRebuild(
            disk: disk, directory: directory, baseOffset: survey.baseOffset, survey: trustsRuns ? survey : nil,
            oldFile: segment.file, gaps: trustsRuns ? survey.gaps : [whole], isLast: isLast,
            wholeBytesMax: settings.segmentBytes,
            epochBefore: epoch(before: survey.baseOffset))
    }

    /// Offsets of which no file is left.
    package func rebuild(missing gap: Range<Offset>, isLast: Bool) throws(LogError) -> SegmentRebuild {
        try SegmentRebuild(
            disk: disk, directory: directory, baseOffset: gap.lowerBound, survey: nil, oldFile: nil, gaps: [gap],
            isLast: isLast, wholeBytesMax: settings.segmentBytes,
            epochBefore: epoch(before: gap.lowerBound))
    }

    /// Of the batch in front of `offset`, by which a peer tells whether the logs fork; −1: there is none, or it cannot
    /// be read.
    private func epoch(before offset: Offset) -> LeaderEpoch {
        guard offset > startOffset else { return -1 }
        return (try? header(at: offset - 1))?.partitionLeaderEpoch ?? -1
    }

    private func settle(_ segment: Segment, at end: Boundary, isLast: Bool) {
        if isLast { isEndLost = false }
        segment.sizeBytes = end.position
        segment.nextOffset = end.offset
        segment.forgetProof()
        segment.rebuildIndexes(intervalBytes: settings.indexIntervalBytes)
        if !isLast { segment.unloadIndexes() }
    }

    private func takeBack(_ offsets: Range<Offset>) {
        var left: [Damage] = []
        for damage in damages {
            guard damage.offsets.overlaps(offsets) else {
                left.append(damage)
                continue
            }
            // What lies before has a file of its own that was not looked at.
            if damage.offsets.lowerBound < offsets.lowerBound {
                var before = damage
                before.offsets = damage.offsets.lowerBound..<offsets.lowerBound
                left.append(before)
            }
            if damage.offsets.upperBound > offsets.upperBound {
                var behind = damage
                behind.offsets = offsets.upperBound..<damage.offsets.upperBound
                left.append(behind)
            }
        }
        damages = left
        if left.isEmpty { tornBehindDamage = nil }
        // A barrier says anew how far everything is durable.
        flushing.markDirty(active.baseOffset)
        flushing.markDirectoryDirty(directory)
    }

    /// Swaps a whole rebuilt segment in for the damaged one. The new name is durable with the next barrier, which the
    /// owner asks for; until then a crash brings back what was there before, and the repair begins anew.
    package func install(_ rebuild: SegmentRebuild) throws(LogError) {
        precondition(rebuild.want == .whole, "a rebuilt segment is swapped in when it is on disk and was read back")
        if isFenced { throw .fenced }
        let base = rebuild.baseOffset
        let (disk, from, to) = (disk, rebuild.path, SegmentFiles.path(directory, base, ".log"))
        let old = segments.firstIndex { $0.baseOffset == base }
        let createdMs = old.map { segments[$0].createdMs } ?? active.createdMs
        try onDisk { () throws(DiskError) in try disk.rename(from, to: to) }
        let segment = try Segment(disk: disk, directory: directory, baseOffset: base, create: false, wallMs: createdMs)
        rebuild.close()
        segment.noteProven(0..<Int64.max)
        segment.sizeBytes = rebuild.writtenBytes
        segment.nextOffset = rebuild.nextOffset
        if let old {
            // Else an opening would take it for what was decided last.
            if segments[old].fileSuffix != SegmentFiles.log { try? disk.remove(segments[old].path) }
            segments[old].close()
            segments[old] = segment
        } else {
            let index = segments.firstIndex { $0.baseOffset > base } ?? segments.count
            if index > 0, index == segments.count { segments[index - 1].seal() }
            segments.insert(segment, at: index)
            durableNames = min(durableNames, base - 1)
        }
        loadedIndexes.removeAll { $0 == base }
        // What peers have may never have been cleaned.
        cleanedEnd = min(cleanedEnd, base)
        if rebuild.holdsEmptyBatches { holdsEmptyBatches = true }
        swaps &+= 1
        segment.rebuildIndexes(intervalBytes: settings.indexIntervalBytes)
        if segment !== active { segment.unloadIndexes() }
        if segment === active { isEndLost = false }
        let isCutShort = segment === active && rebuild.nextOffset < endOffset
        noteEpochs(of: rebuild)
        takeBack(base..<max(rebuild.nextOffset, base + 1))
        flushing.markDirty(base)
        // What is still missing behind a full segment begins the next one.
        if isCutShort, segment.sizeBytes >= settings.segmentBytes { try roll(wallMs: createdMs) }
    }

    /// The epochs that the rebuilt batches are of, in place of what was known of these offsets.
    private func noteEpochs(of rebuild: SegmentRebuild) {
        let offsets = rebuild.baseOffset..<rebuild.nextOffset
        let known = epochs.entries.filter { !offsets.contains($0.startOffset) }
        let all =
            known.filter { $0.startOffset < offsets.lowerBound } + rebuild.epochs
            + known.filter { $0.startOffset >= offsets.upperBound }
        var history = EpochHistory()
        for entry in all { history.assign(entry.epoch, startOffset: max(entry.startOffset, startOffset)) }
        epochs = history
    }
}
