// The log start moves up: whole segments below it get another name at once, and go for good after a delay.
//
// The order that keeps what was deleted from coming back (S7): the owner puts the new start on disk, then calls
// `advanceStart`. From then on nothing below it can be read. Segments that lie whole below it are renamed to
// `….deleted`, but only once a barrier has covered the name of the segment that then comes first, so that no crash can
// leave the directory empty. A name that comes back with the power is below the start on disk, and goes at the next
// opening.

import Model
import NIOCore

/// Segments that have lost their names. Their bytes stay readable to whoever holds a slice of them.
struct RemovedSegments {
    struct Entry {
        var segment: Segment
        /// When the delay began; nil until the owner has told the time.
        var since: Instant?
    }

    var entries: [Entry] = []
}

extension SegmentedLog {
    /// Moves the log start up; records below cannot be read from now on. With `emptying`, when nothing is left above it
    /// the active segment is closed as well, so that its bytes can go too.
    package func advanceStart(to offset: Offset, emptying: Bool = false, wallMs: Int64 = 0) throws(LogError) {
        guard offset <= endOffset else {
            throw .offsetOutOfRange(offset, startOffset: startOffset, endOffset: endOffset)
        }
        guard offset > startOffset else { return }
        if isFenced { throw .fenced }
        if emptying, offset == active.nextOffset, active.sizeBytes > 0, damages.isEmpty { try roll(wallMs: wallMs) }
        startOffset = offset
        epochs.truncateStart(to: offset)
        try removeSegmentsBelowStart()
    }

    func removeSegmentsBelowStart() throws(LogError) {
        var count = 0
        while count + 1 < segments.count, segments[count + 1].baseOffset <= startOffset,
            segments[count + 1].baseOffset <= durableNames
        {
            count += 1
        }
        guard count > 0 else { return }
        if let cleaning, segments[..<count].contains(where: { cleaning.uses($0) }) { abandonCleaning() }
        flushing.markDirectoryDirty(directory)
        for _ in 0..<count {
            let first = segments[0]
            if settings.delaysRemoval { try first.markDeleted() } else { try first.remove() }
            segments.removeFirst()
            loadedIndexes.removeAll { $0 == first.baseOffset }
            if settings.delaysRemoval {
                removed.entries.append(RemovedSegments.Entry(segment: first, since: nil))
            }
        }
        damages.removeAll { $0.offsets.upperBound <= startOffset }
    }

    /// Whether removed segments still wait for `purgeRemoved`.
    package var hasRemovedSegments: Bool { !removed.entries.isEmpty }
    /// The files that slices may be of: those of all segments, also of the removed ones.
    package var files: [FileHandle] { segments.map(\.file) + removed.entries.map(\.segment.file) }
    /// How many do, each with an open file.
    package var removedSegmentCount: Int { removed.entries.count }

    /// Deletes the files of segments that were removed at least `delayMs` ago, Kafka's `file.delete.delay.ms`. What the
    /// disk refuses is tried again at the next call, and at the next opening.
    /// - Returns: the files that it closed.
    @discardableResult package func purgeRemoved(at now: Instant, delayMs: Int64) -> [FileHandle] {
        var left: [RemovedSegments.Entry] = []
        var closed: [FileHandle] = []
        for var entry in removed.entries {
            let since = entry.since ?? now
            entry.since = since
            let isDue = now >= since.advanced(byMs: delayMs)
            if isDue, entry.segment.removeDeleted() { closed.append(entry.segment.file) } else { left.append(entry) }
        }
        removed.entries = left
        return closed
    }

    func closeRemoved() {
        for entry in removed.entries { entry.segment.close() }
        removed.entries = []
    }
}

extension Segment {
    static let deletedSuffix = ".deleted"

    private static let removedSuffixes = [".index", ".timeindex"] + SegmentFiles.companions + [SegmentFiles.log]

    /// Gives all files of the segment their last name. The indexes first: without its `.log` an index is litter,
    /// without its indexes a segment is still whole. The log stays open for slices that are on their way out.
    func markDeleted(withCompanions: Bool = true) throws(LogError) {
        closeIndexes()
        let disk = disk
        for suffix in Self.removedSuffixes where withCompanions || !SegmentFiles.companions.contains(suffix) {
            let newPath = SegmentFiles.path(directory, baseOffset, suffix) + Self.deletedSuffix
            let path = suffix == SegmentFiles.log ? path : SegmentFiles.path(directory, baseOffset, suffix)
            do {
                try disk.rename(path, to: newPath)
            } catch .notFound {
                continue
            } catch {
                throw .disk(error)
            }
        }
    }

    /// Answers whether everything is gone.
    func removeDeleted() -> Bool {
        do throws(DiskError) {
            for suffix in Self.removedSuffixes {
                try disk.remove(SegmentFiles.path(directory, baseOffset, suffix) + Self.deletedSuffix)
            }
        } catch {
            return false
        }
        disk.close(file)
        return true
    }
}
