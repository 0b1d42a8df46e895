// One member of the metadata quorum with its disk: what the production shell does for the machine, in the small.

import Model
import Raft

/// One batch of the metadata log: the epoch it was written in, and what it is.
package struct QuorumEntry: Hashable, Sendable, CustomStringConvertible {
    var epoch: UInt8
    /// 0: LeaderChange, 1: Voters, from 2 on a client's entry.
    var kind: UInt8

    package var description: String {
        switch kind {
        case 0: "change/\(epoch)"
        case 1: "voters/\(epoch)"
        default: "entry\(kind - 1)/\(epoch)"
        }
    }
}

typealias QuorumLog = [QuorumEntry]

struct QuorumMember: Hashable {
    var raft: RaftNode
    /// What a loss of power may leave of the log: the first is behind a barrier, each further one has one write more,
    /// the last is what the process sees.
    var images: [QuorumLog]
    /// The image that the barrier under way will make the first.
    var barrier: Int?
    /// The quorum-state file as it is durable, and the replacements under way and wanted after it.
    var stateOnDisk: QuorumState
    var saveUnderWay: QuorumState?
    var saveNext: QuorumState?

    var log: QuorumLog { images[images.count - 1] }

    /// Whether no crash can take these entries from this disk.
    func holdsDurably(_ prefix: QuorumLog) -> Bool {
        images.allSatisfy { $0.starts(with: prefix) }
    }
}

/// What happens to one member.
enum MemberInput: Hashable {
    case timer(RaftTimer)
    case saved
    case flushed
    case appended(UInt8)
    /// Power is lost and the process starts again, with that image of the log, with or without the save under way, and
    /// perhaps without the leader's name, which is saved without anybody waiting for it.
    case restarted(image: Int, saved: Bool, forgetsLeader: Bool)
    case asked(QuorumAsk, RequestID)
    case answered(QuorumReply, from: NodeID)
    case failed([RaftRequest], to: NodeID)
    case cancelled(RequestID)
}

enum QuorumAsk: Hashable {
    case vote(VoteRequest)
    case begin(leader: NodeID, epoch: LeaderEpoch, voter: ReplicaKey)
    case end(leader: NodeID, epoch: LeaderEpoch, preferred: [ReplicaKey])
    case fetch(QuorumFetch)

    /// How its failure is told.
    var request: RaftRequest? {
        switch self {
        case .vote(let vote): .vote(epoch: vote.epoch, preVote: vote.preVote)
        case .begin(_, let epoch, _): .beginQuorumEpoch(epoch: epoch)
        case .end: nil
        case .fetch: .fetch
        }
    }
}

enum QuorumReply: Hashable {
    case vote(VoteResponse)
    case begin(error: ErrorCode, epoch: LeaderEpoch, leaderID: NodeID?)
    case fetch(FetchVerdict, QuorumLog, highWatermark: Offset, epoch: LeaderEpoch, leaderID: NodeID?)
}

enum MemberOutput: Hashable {
    case ask(QuorumAsk, to: NodeID)
    case reply(RequestID, QuorumReply?)
}

/// What the whole world must judge; what one member can be judged by alone is a violation at once.
enum MemberFact: Hashable {
    case violated(String)
    case elected(LeaderEpoch)
    /// Takes that member for the leader of its epoch.
    case followed(leader: NodeID, LeaderEpoch)
    case committed(Offset)
    /// A follower's high watermark.
    case learned(Offset)
    case voteTold
}

struct MemberStep {
    var member: QuorumMember
    var outputs: [MemberOutput] = []
    var facts: [MemberFact] = []
}
