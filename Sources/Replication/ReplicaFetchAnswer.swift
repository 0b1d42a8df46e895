// The leader's answer to a follower, by positions; the shell holds the bytes.

import Model

/// An epoch and where it ended.
package struct EpochEnd: Hashable, Sendable {
    package var epoch: LeaderEpoch
    package var endOffset: Offset

    package init(epoch: LeaderEpoch, endOffset: Offset) {
        self.epoch = epoch
        self.endOffset = endOffset
    }
}

/// The received batches: the first's base offset and the offset behind the last.
package struct BatchSpan: Hashable, Sendable {
    package var baseOffset: Offset
    package var nextOffset: Offset

    package init(baseOffset: Offset, nextOffset: Offset) {
        self.baseOffset = baseOffset
        self.nextOffset = nextOffset
    }
}

package struct ReplicaFetchAnswer: Hashable, Sendable {
    package var error: ErrorCode
    /// The epoch the fetch was sent under: an answer to an older one is dropped.
    package var leaderEpoch: LeaderEpoch
    package var highWatermark: Offset
    package var logStartOffset: Offset
    package var diverging: EpochEnd?
    package var batches: BatchSpan?

    package init(
        error: ErrorCode = .none, leaderEpoch: LeaderEpoch, highWatermark: Offset, logStartOffset: Offset,
        diverging: EpochEnd? = nil, batches: BatchSpan? = nil
    ) {
        self.error = error
        self.leaderEpoch = leaderEpoch
        self.highWatermark = highWatermark
        self.logStartOffset = logStartOffset
        self.diverging = diverging
        self.batches = batches
    }
}

/// What a follower asks next.
package struct FollowerFetch: Hashable, Sendable {
    package var offset: Offset
    package var lastFetchedEpoch: LeaderEpoch
    package var currentLeaderEpoch: LeaderEpoch

    package init(offset: Offset, lastFetchedEpoch: LeaderEpoch, currentLeaderEpoch: LeaderEpoch) {
        self.offset = offset
        self.lastFetchedEpoch = lastFetchedEpoch
        self.currentLeaderEpoch = currentLeaderEpoch
    }
}
