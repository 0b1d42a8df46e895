// What a leader knows of one follower, within one leader epoch and one incarnation of that follower.

import Model

struct FollowerProgress: Hashable, Sendable {
    /// The follower's end as of its last good fetch; nil: it has not fetched in this epoch.
    var endOffset: Offset?
    var logStartOffset: Offset = -1
    /// The incarnation that `endOffset` belongs to.
    var brokerEpoch: BrokerEpoch = -1
    /// When it last fetched, and where the leader's log ended then.
    var lastFetchAt: Instant?
    var leaderEndAtLastFetch: Offset = 0
    /// When it last held all that the leader held. An in-sync follower is granted the moment its leader began.
    var lastCaughtUpAt: Instant?

    /// A fetch at `offset` was good. The rule for a follower that is always one fetch behind, yet keeps up: what it
    /// asks for now covers all there was at its previous fetch, so it was caught up then.
    mutating func fetched(at offset: Offset, leaderEnd: Offset, now: Instant) {
        if offset >= leaderEnd {
            lastCaughtUpAt = max(lastCaughtUpAt ?? now, now)
        } else if let before = lastFetchAt, offset >= leaderEndAtLastFetch {
            lastCaughtUpAt = max(lastCaughtUpAt ?? before, before)
        }
        endOffset = offset
        lastFetchAt = now
        leaderEndAtLastFetch = leaderEnd
    }

    /// When this follower will have been behind for longer than `lagMs`; nil: it holds all, or was never caught up.
    func lagsAt(leaderEnd: Offset, lagMs: Int64) -> Instant? {
        guard endOffset != leaderEnd, let lastCaughtUpAt else { return nil }
        return lastCaughtUpAt.advanced(byMs: lagMs)
    }

    func isCaughtUp(leaderEnd: Offset, lagMs: Int64, now: Instant) -> Bool {
        if endOffset == leaderEnd { return true }
        guard let lagsAt = lagsAt(leaderEnd: leaderEnd, lagMs: lagMs) else { return false }
        return now <= lagsAt
    }
}
