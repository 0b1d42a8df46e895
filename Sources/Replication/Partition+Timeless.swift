// A replica without a clock, for the exhaustive search: what time could bring may come at any moment.

import Model

/// What time does to a leader.
package enum PartitionTimer: Hashable, Sendable {
    /// That follower was behind for longer than `replica.lag.time.max.ms`.
    case lagging(NodeID)
    /// A proposal that failed is sent again.
    case proposalRetry
}

extension Partition {
    /// The one moment at which the search steps every replica.
    package static let searchMoment = Instant(nanoseconds: 1 << 50)
    private static let later = Instant(nanoseconds: 1 << 60)

    /// Reduces every time to "just now", "long ago" or "at some moment". A pause before the next proposal is over at
    /// once: the metadata that it waits for may come first or not.
    package mutating func forgetTimes() {
        let now = Self.searchMoment
        nextDeadline = .distantFuture
        proposalsHeldUntil = .zero
        if pending?.retryAt != nil { pending?.retryAt = Self.later }
        for id in followers.keys {
            guard var progress = followers[id] else { continue }
            if progress.lastFetchAt != nil { progress.lastFetchAt = now }
            if let at = progress.lastCaughtUpAt { progress.lastCaughtUpAt = at >= now ? now : .zero }
            followers[id] = progress
        }
    }

    /// Which timers run, in a fixed order.
    package func timers(log: LogView) -> [PartitionTimer] {
        guard role == .leader else { return [] }
        var timers: [PartitionTimer] = pending?.retryAt == nil ? [] : [.proposalRetry]
        for (id, progress) in followers {
            if progress.lastCaughtUpAt == Self.searchMoment, progress.endOffset != log.endOffset {
                timers.append(.lagging(id))
            }
        }
        return timers
    }

    /// Lets one timer run out; `ticked` does what follows.
    package mutating func expire(_ timer: PartitionTimer) {
        switch timer {
        case .lagging(let id): followers[id]?.lastCaughtUpAt = .zero
        case .proposalRetry: pending?.retryAt = Self.searchMoment
        }
    }
}
