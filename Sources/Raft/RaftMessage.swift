// What quorum members say to each other, without the wire's packing. Positions only; record bytes never come here.

import Model

/// The last epoch and the end offset of a log or snapshot: what up-to-date-ness is compared by.
package struct LogEnd: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var offset: Offset
    package var epoch: LeaderEpoch

    package init(offset: Offset, epoch: LeaderEpoch) {
        self.offset = offset
        self.epoch = epoch
    }

    package static func < (a: Self, b: Self) -> Bool { a.epoch == b.epoch ? a.offset < b.offset : a.epoch < b.epoch }

    package var description: String { "\(offset)/\(epoch)" }
}

/// What must be durable before a vote or a higher epoch is told to anyone: Kafka's quorum-state file.
package struct QuorumState: Hashable, Sendable {
    package var epoch: LeaderEpoch
    package var leaderID: NodeID?
    package var voted: ReplicaKey?

    package init(epoch: LeaderEpoch = 0, leaderID: NodeID? = nil, voted: ReplicaKey? = nil) {
        self.epoch = epoch
        self.leaderID = leaderID
        self.voted = voted
    }
}

package struct VoteRequest: Hashable, Sendable {
    package var candidate: ReplicaKey
    /// The voter it is meant for; another disk under the same id refuses.
    package var voter: ReplicaKey
    package var epoch: LeaderEpoch
    package var logEnd: LogEnd
    package var preVote: Bool

    package init(candidate: ReplicaKey, voter: ReplicaKey, epoch: LeaderEpoch, logEnd: LogEnd, preVote: Bool) {
        self.candidate = candidate
        self.voter = voter
        self.epoch = epoch
        self.logEnd = logEnd
        self.preVote = preVote
    }
}

package struct VoteResponse: Hashable, Sendable {
    package var error: ErrorCode
    package var granted: Bool
    package var epoch: LeaderEpoch
    package var leaderID: NodeID?
    /// Echoed by the shell from its request, because Kafka's answer does not say.
    package var preVote: Bool
    /// The epoch that the request named, echoed likewise: an answer to an old request is ignored.
    package var requestEpoch: LeaderEpoch

    package init(
        error: ErrorCode = .none, granted: Bool, epoch: LeaderEpoch, leaderID: NodeID?, preVote: Bool,
        requestEpoch: LeaderEpoch
    ) {
        self.error = error
        self.granted = granted
        self.epoch = epoch
        self.leaderID = leaderID
        self.preVote = preVote
        self.requestEpoch = requestEpoch
    }
}

/// A replica's Fetch of the metadata log. Its offset says: everything below is durable here.
package struct QuorumFetch: Hashable, Sendable {
    package var replica: ReplicaKey
    package var fetchOffset: Offset
    package var lastFetchedEpoch: LeaderEpoch
    package var currentLeaderEpoch: LeaderEpoch
    /// The high watermark that the replica knows (Fetch v18): the leader answers at once when its own is beyond.
    package var highWatermark: Offset
    package var maxWaitMs: Int64

    package init(
        replica: ReplicaKey, fetchOffset: Offset, lastFetchedEpoch: LeaderEpoch, currentLeaderEpoch: LeaderEpoch,
        highWatermark: Offset, maxWaitMs: Int64
    ) {
        self.replica = replica
        self.fetchOffset = fetchOffset
        self.lastFetchedEpoch = lastFetchedEpoch
        self.currentLeaderEpoch = currentLeaderEpoch
        self.highWatermark = highWatermark
        self.maxWaitMs = maxWaitMs
    }
}

package enum FetchVerdict: Hashable, Sendable {
    /// Not from here, or not with that epoch: the answer carries who leads.
    case error(ErrorCode)
    /// The replica's log left ours: Kafka's DivergingEpoch.
    case diverging(epoch: LeaderEpoch, endOffset: Offset)
    /// What it asks for is gone from the log: Kafka's SnapshotId.
    case snapshot(LogEnd)
    /// Records from this offset to the log's end; none when only the high watermark moved or the wait ran out.
    case read(from: Offset)
}

/// The answer to a Fetch of ours, records left with the shell.
package struct QuorumFetchAnswer: Hashable, Sendable {
    package var from: NodeID
    package var verdict: FetchVerdict
    package var leaderID: NodeID?
    package var epoch: LeaderEpoch
    package var highWatermark: Offset
    /// With `.read`: the answer holds whole batches, which the shell keeps until `.appendFetched` or the next input for
    /// this node.
    package var hasRecords: Bool

    package init(
        from: NodeID, verdict: FetchVerdict, leaderID: NodeID?, epoch: LeaderEpoch, highWatermark: Offset,
        hasRecords: Bool
    ) {
        self.from = from
        self.verdict = verdict
        self.leaderID = leaderID
        self.epoch = epoch
        self.highWatermark = highWatermark
        self.hasRecords = hasRecords
    }
}
