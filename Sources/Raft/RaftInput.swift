// Everything that can happen to a quorum member, in the past tense.

import Model

/// Correlates an answer with the request that the shell keeps.
package typealias RequestID = UInt64

package enum RaftInput: Hashable, Sendable {
    case ticked

    // Disk
    /// `.save` is durable.
    case saved(QuorumState)
    /// The shell wrote records at the log's end: ours as leader, or fetched ones. `epochs` are those that begin in what
    /// was written, `voters` the Voters records in it, each with its offset.
    case appended(endOffset: Offset, epochs: [EpochHistory.Entry], voters: [VotersAt])
    /// Everything below is durable here.
    case flushed(through: Offset)
    /// A snapshot took the place of the log: it begins and ends at `end`.
    case snapshotInstalled(end: LogEnd, voters: VoterSet)
    /// Our own snapshot lets the log begin later.
    case logStartAdvanced(to: Offset)

    // Requests of peers
    case voteRequested(VoteRequest, RequestID)
    case beginQuorumEpochReceived(leader: NodeID, epoch: LeaderEpoch, voter: ReplicaKey, RequestID)
    case endQuorumEpochReceived(leader: NodeID, epoch: LeaderEpoch, preferredCandidates: [ReplicaKey], RequestID)
    case fetchReceived(QuorumFetch, RequestID)
    /// The connection of a parked Fetch is gone.
    case fetchCancelled(RequestID)
    /// That replica took a chunk of a snapshot from us, naming this epoch: a sign of life while it cannot Fetch.
    case snapshotChunkFetched(by: ReplicaKey, epoch: LeaderEpoch)

    // Answers to ours
    case voteAnswered(VoteResponse, from: NodeID)
    case beginQuorumEpochAnswered(from: NodeID, error: ErrorCode, epoch: LeaderEpoch, leaderID: NodeID?)
    case fetchAnswered(QuorumFetchAnswer)
    /// No answer will come: the link broke or the request timed out.
    case requestFailed(RaftRequest, to: NodeID)

    // Proof
    /// That process is gone, by a refused reconnect or another incarnation answering (DESIGN.md §2).
    case peerDied(NodeID)

    // Orders
    case voterAdditionRequested(Voter, RequestID)
    case voterRemovalRequested(ReplicaKey, RequestID)
    /// An orderly stop: hand over if leading.
    case resignationRequested
}

package enum RaftRequest: Hashable, Sendable {
    case vote(epoch: LeaderEpoch, preVote: Bool)
    case beginQuorumEpoch(epoch: LeaderEpoch)
    case fetch
    case fetchSnapshot
}

package struct VotersAt: Hashable, Sendable {
    package var offset: Offset
    package var voters: VoterSet

    package init(offset: Offset, voters: VoterSet) {
        self.offset = offset
        self.voters = voters
    }
}
