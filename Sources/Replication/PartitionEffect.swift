// What a replica wants done, in this order. The shell runs the effects of one input before it gives the next.

import Model

package enum PartitionEffect: Hashable, Sendable {
    /// Leader: complete the acks=all waiters below it and wake consumers. Follower: wake consumers.
    case advanceHighWatermark(to: Offset)
    /// Send AlterPartition and report `isrAnswered`, always: a lost answer is REQUEST_TIMED_OUT.
    case proposeISR(ISRProposal)
    /// Cut the log to end at `to` and drop the epochs that begin at or behind it. Also where `to` is the log's end
    /// already: an epoch without records may still begin there.
    case truncate(to: Offset)
    /// Drop everything and begin anew, empty, at this offset.
    case truncateFully(startingAt: Offset)
    /// Records below are to go, here as on all who count: put this start on disk, then raise the log's to it. It may
    /// be asked for again before that is done, or when the log is there already: then clients may be told now.
    case advanceStart(to: Offset)
    /// Write the batches of the answer just given, then report `appended`.
    case appendFetched
    /// Leader: note in the epoch history that this epoch begins at the log's end, now.
    case assignEpoch(LeaderEpoch)
    /// Make the log durable, then report `flushed`. A flush that is already under way and covers the end is enough.
    case flush
    /// Fetch from this leader in this epoch; replaces an earlier fetching, whose outstanding answers are void.
    case startFetching(leader: NodeID, epoch: LeaderEpoch)
    case stopFetching
    /// Leadership is lost: parked produces and fetches answer this.
    case failWaiters(ErrorCode)
    /// Parked replica fetches look again: the log end moved, or their epoch is old now.
    case wakeFetches
}
