// What a quorum member wants done. Every effect may be run the moment it is emitted: the machine itself waits for
// `.saved` and `.flushed`.

import Model

package enum RaftEffect: Hashable, Sendable {
    // Disk
    /// Make durable, then report `.saved`. A later `.save` replaces an earlier one.
    case save(QuorumState)
    /// Append a control batch of the new epoch (LeaderChange; with the voters when the log has none yet), then report
    /// `.appended`.
    case appendLeaderChange(epoch: LeaderEpoch, voters: VoterSet, granting: [ReplicaKey])
    /// Append a Voters control batch, then report `.appended`.
    case appendVoters(VoterSet, epoch: LeaderEpoch)
    /// Write the records of the fetch answer just given, then report `.appended`.
    case appendFetched
    /// Cut the log to end here; nothing follows until it is done. Truncation reports nothing: its durability is that of
    /// the next flush.
    case truncate(to: Offset)
    /// Make the log durable, then report `.flushed`.
    case flush
    /// Fetch this snapshot from that node, chunk by chunk, install it, report `.snapshotInstalled`; or
    /// `.requestFailed(.fetchSnapshot)`.
    case fetchSnapshot(LogEnd, from: NodeID)

    // To peers
    case sendVote(VoteRequest, to: NodeID)
    case sendBeginQuorumEpoch(epoch: LeaderEpoch, to: ReplicaKey)
    case sendEndQuorumEpoch(epoch: LeaderEpoch, preferredCandidates: [ReplicaKey], to: NodeID)
    case sendFetch(QuorumFetch, to: NodeID)

    // Answers
    case answerVote(RequestID, VoteResponse)
    case answerBeginQuorumEpoch(RequestID, error: ErrorCode, epoch: LeaderEpoch, leaderID: NodeID?)
    case answerEndQuorumEpoch(RequestID, error: ErrorCode, epoch: LeaderEpoch, leaderID: NodeID?)
    case answerFetch(RequestID, FetchVerdict, highWatermark: Offset, epoch: LeaderEpoch, leaderID: NodeID?)
    /// The change is committed, or refused with the reason.
    case answerVoterChange(RequestID, ErrorCode)

    // For the node
    case advanceHighWatermark(to: Offset)
    case changeRole(RaftRole, epoch: LeaderEpoch, leaderID: NodeID?)
}

package enum RaftRole: Hashable, Sendable {
    case unattached, follower, prospective, candidate, leader, resigned
    /// Fetches but does not vote.
    case observer
}
