// Which records are too old or too many: Kafka's retention.ms and retention.bytes, segment by segment from the front.

import Model

package struct RetentionSettings: Hashable, Sendable {
    /// `retention.ms`; negative: for ever.
    package var retentionMs: Int64
    /// `retention.bytes`; negative: without limit.
    package var retentionBytes: Int64

    package init(retentionMs: Int64, retentionBytes: Int64) {
        self.retentionMs = retentionMs
        self.retentionBytes = retentionBytes
    }
}

package struct RetainedSegment: Hashable, Sendable {
    package var baseOffset: Offset
    package var nextOffset: Offset
    package var sizeBytes: Int64

    package init(baseOffset: Offset, nextOffset: Offset, sizeBytes: Int64) {
        self.baseOffset = baseOffset
        self.nextOffset = nextOffset
        self.sizeBytes = sizeBytes
    }
}

extension RetentionSettings {
    /// Where the log should start, as the wall clock stands; nil: where it does. Only whole segments at or below the
    /// high watermark go. As in Kafka, a segment is too old when its largest timestamp is; the active one goes too when
    /// it is too old, and by size only where nothing else is left to go.
    ///
    /// A timestamp in the future keeps its segment, and with it those behind it, until the clock has passed it by
    /// `retention.ms`: Kafka's behaviour. How far ahead that can be is bounded by `message.timestamp.after.max.ms`.
    /// - Parameter timestamp: the largest timestamp of the segment with that base offset. Asked for the first segments
    ///   only.
    package func start(
        segments: [RetainedSegment], highWatermark: Offset, wallMs: Int64,
        timestamp: (Offset) throws -> Int64
    ) rethrows -> Offset? {
        var start: Offset?
        var first = 0
        var excessBytes = retentionBytes < 0 ? 0 : segments.reduce(0) { $0 + $1.sizeBytes } - retentionBytes
        while first < segments.count {
            let segment = segments[first]
            guard segment.nextOffset <= highWatermark, segment.nextOffset > segment.baseOffset else { break }
            let isTooMuch = retentionBytes >= 0 && excessBytes >= segment.sizeBytes
            if !isTooMuch {
                guard retentionMs >= 0, isTooOld(try timestamp(segment.baseOffset), wallMs) else { break }
            }
            excessBytes -= segment.sizeBytes
            start = segment.nextOffset
            first += 1
        }
        return start
    }

    private func isTooOld(_ timestamp: Int64, _ wallMs: Int64) -> Bool {
        let (age, overflow) = wallMs.subtractingReportingOverflow(timestamp)
        return !overflow && age > retentionMs
    }
}
