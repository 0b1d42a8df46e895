// How far all copies of a log were clean some time ago.

import Model

/// A tombstone may go once every copy has been without what it covers for `delete.retention.ms`: whoever read that from
/// the last copy that had it has so long to come to the tombstone. So it is not enough to know how far all copies are
/// clean; it counts since when. That they are is never undone: whatever a copy gets later, it gets from one that was
/// clean.
package struct AgedEnds {
    private struct Seen {
        var end: Offset
        var since: Instant
    }

    /// Rising in both, and at least an eighth of the age apart, so that they are few.
    private var filed: [Seen] = []
    private var latest: Seen?
    private var ripe: Offset = 0

    private static let partsOfAge: Int64 = 8

    package init() {}

    /// All copies are clean below `end` now.
    package mutating func note(_ end: Offset, at now: Instant, ageMs: Int64) {
        ripen(at: now, ageMs: ageMs)
        guard end > latest?.end ?? filed.last?.end ?? ripe else { return }
        if let latest, filed.last.map({ now.milliseconds(since: $0.since) >= ageMs / Self.partsOfAge }) ?? true {
            filed.append(latest)
        }
        latest = Seen(end: end, since: now)
    }

    /// Below this all copies have been clean for `ageMs`.
    package mutating func end(at now: Instant, ageMs: Int64) -> Offset {
        ripen(at: now, ageMs: ageMs)
        return ripe
    }

    /// What lies at or above `offset` is not what it was.
    package mutating func lower(to offset: Offset) {
        ripe = min(ripe, offset)
        filed.removeAll { $0.end > offset }
        if let seen = latest, seen.end > offset { latest = nil }
    }

    private mutating func ripen(at now: Instant, ageMs: Int64) {
        while let oldest = filed.first, now.milliseconds(since: oldest.since) >= ageMs {
            ripe = oldest.end
            filed.removeFirst()
        }
        if filed.isEmpty, let seen = latest, now.milliseconds(since: seen.since) >= ageMs {
            ripe = seen.end
            latest = nil
        }
    }
}
