// A follower's question to the leader, and what the leader decides on a fetch.

import Model

/// One partition of a replica's Fetch.
package struct ReplicaFetch: Hashable, Sendable {
    package var replica: NodeID
    /// The incarnation that asks (KIP-903).
    package var brokerEpoch: BrokerEpoch
    /// The follower's end; on a synchronous topic, its durable end.
    package var fetchOffset: Offset
    /// The epoch of the follower's last record; −1: it holds none.
    package var lastFetchedEpoch: LeaderEpoch
    /// The epoch the follower believes in. A replica always says it: −1 is answered as an old epoch.
    package var currentLeaderEpoch: LeaderEpoch
    package var logStartOffset: Offset

    package init(
        replica: NodeID, brokerEpoch: BrokerEpoch, fetchOffset: Offset, lastFetchedEpoch: LeaderEpoch,
        currentLeaderEpoch: LeaderEpoch, logStartOffset: Offset
    ) {
        self.replica = replica
        self.brokerEpoch = brokerEpoch
        self.fetchOffset = fetchOffset
        self.lastFetchedEpoch = lastFetchedEpoch
        self.currentLeaderEpoch = currentLeaderEpoch
        self.logStartOffset = logStartOffset
    }
}

package enum FetchDecision: Hashable, Sendable {
    /// On OFFSET_OUT_OF_RANGE the answer must still carry the log start offset: the follower decides by it.
    case error(ErrorCode)
    /// The asker's log forks from ours: no records, no error (KIP-595's DivergingEpoch). The answer carries the log
    /// start offset here too: below it nothing is shared.
    case diverging(epoch: LeaderEpoch, endOffset: Offset)
    /// Records from the asked offset up to `below`; none, when the asked offset is not under it: then the fetch waits.
    case read(below: Offset, highWatermark: Offset)
}

/// The newest offset a client may be told, or why none.
package enum OffsetDecision: Hashable, Sendable {
    case error(ErrorCode)
    case offset(Offset)
}

/// The answer of OffsetForLeaderEpoch. −1 and −1: nothing is known of that epoch.
package struct EpochEndAnswer: Hashable, Sendable {
    package var error: ErrorCode
    package var epoch: LeaderEpoch
    package var endOffset: Offset

    package init(error: ErrorCode = .none, epoch: LeaderEpoch = -1, endOffset: Offset = -1) {
        self.error = error
        self.epoch = epoch
        self.endOffset = endOffset
    }
}
