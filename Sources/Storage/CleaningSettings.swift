// When a compacted log is cleaned, and what a cleaning is told and tells.

import Model

/// The part of a topic's configuration that compaction obeys, under Kafka's meanings.
package struct CleaningSettings: Equatable, Sendable {
    /// `min.cleanable.dirty.ratio`: a log is cleaned when this share of what could be cleaned never was.
    package var minCleanableDirtyRatio: Double
    /// `min.compaction.lag.ms`: younger records stay as they are.
    package var minCompactionLagMs: Int64
    /// `max.compaction.lag.ms`: a log with an older record that was never cleaned is cleaned whatever its ratio.
    package var maxCompactionLagMs: Int64
    /// `delete.retention.ms`: how long a tombstone can be read after everything before it is clean.
    package var deleteRetentionMs: Int64
    /// What the map of keys may take.
    package var mapBytesMax: Int

    package init(
        minCleanableDirtyRatio: Double = 0.5, minCompactionLagMs: Int64 = 0, maxCompactionLagMs: Int64 = .max,
        deleteRetentionMs: Int64 = 86_400_000, mapBytesMax: Int = Limits.cleanerMapBytesMax
    ) {
        self.minCleanableDirtyRatio = minCleanableDirtyRatio
        self.minCompactionLagMs = minCompactionLagMs
        self.maxCompactionLagMs = maxCompactionLagMs
        self.deleteRetentionMs = deleteRetentionMs
        self.mapBytesMax = mapBytesMax
    }
}

/// What of a log could be cleaned as it stands: whole closed segments.
package struct CleanablePart: Equatable, Sendable {
    /// Never cleaned before.
    package var dirty: Range<Offset>
    package var dirtyBytes: Int64
    /// What lies before it and is gone through again.
    package var cleanBytes: Int64
    /// Some record of it is older than `max.compaction.lag.ms`.
    package var isOverdue: Bool
    /// There is more behind it that was not looked at.
    package var isCutShort = false

    package var dirtyRatio: Double { Double(dirtyBytes) / Double(max(1, dirtyBytes + cleanBytes)) }

    package func isDue(_ settings: CleaningSettings) -> Bool {
        isOverdue || dirtyRatio >= settings.minCleanableDirtyRatio
    }
}

/// What the owner of a log adds to a cleaning.
package struct CleaningOrder: Sendable {
    package var part: CleanablePart
    package var settings: CleaningSettings
    /// The wall clock: for delete horizons.
    package var wallMs: Int64
    package var hasher: KeyHasher
    /// The base offset of the oldest batch by which duplicates of a producer are told, from what the log says of
    /// producers below `part.dirty.upperBound`. From there on that producer's batches stay, if need be without records,
    /// so that a replay of the log remembers the same (I3, I4).
    package var producers: [ProducerID: Offset]
    /// Tombstones at or above this stay, whatever their horizon. Copies of a log are cleaned at different times: once a
    /// tombstone is gone from one copy, an older record of its key in another that was never cleaned would live again
    /// where the two are mixed, by a repair or a follower that was away. The end of what *all* copies have cleaned
    /// keeps that from happening; `.max` is Kafka's rule, by time alone.
    package var tombstonesRemovableBelow: Offset

    package init(
        part: CleanablePart, settings: CleaningSettings, wallMs: Int64, hasher: KeyHasher,
        producers: [ProducerID: Offset] = [:], tombstonesRemovableBelow: Offset = .max
    ) {
        self.part = part
        self.settings = settings
        self.wallMs = wallMs
        self.hasher = hasher
        self.producers = producers
        self.tombstonesRemovableBelow = tombstonesRemovableBelow
    }
}

package enum CleaningProgress: Equatable, Sendable {
    /// Nothing was begun.
    case idle
    /// Call `stepCleaning` again.
    case working
    /// A barrier is under way; its report goes to `flushed`, as any other's.
    case waiting
    case finished(CleaningSummary)
    /// It ended early. Segments that were swapped in are clean, the others are as they were; it may be begun again.
    case abandoned(CleaningStop)
}

package enum CleaningStop: Equatable, Sendable {
    /// What was being cleaned was cut off, removed or repaired meanwhile.
    case overtaken
    /// The disk failed, or bytes are not what they were (`damaged`): that is for the owner to have repaired.
    case failed(LogError)
    /// A batch that is what was written, and yet its records cannot be read. It will not get better by itself.
    case unreadable(Offset, String)
}

package struct CleaningSummary: Equatable, Sendable {
    /// Everything below is clean from now on: the owner's checkpoint.
    package var cleanedEnd: Offset = 0
    /// Of the segments that were gone through.
    package var bytesBefore: Int64 = 0
    package var bytesAfter: Int64 = 0
    package var segmentsBefore = 0
    package var segmentsAfter = 0
    package var recordsRemoved = 0
    package var keys = 0

    package init() {}
}
