// A request that Control answers, and the way its answer goes back: to a connection, through another node's Envelope,
// or to this node itself.

import Model
import NIOCore
import Raft
import Replication
import Wire

indirect enum AnswerRoute {
    case connection(shard: Int, ConnectionID, slot: UInt64)
    /// The request came inside an Envelope; the answer goes into that one's answer.
    case envelope(header: RequestHeader, AnswerRoute)
    /// This node asked itself, being the controller.
    case own

    var connection: (shard: Int, id: ConnectionID)? {
        switch self {
        case .connection(let shard, let id, _): (shard, id)
        case .envelope(_, let outer): outer.connection
        case .own: nil
        }
    }
}

struct ControlRequest {
    var header: RequestHeader
    var body: ByteBuffer
    var route: AnswerRoute
    var client: String
    /// Who said NodeHello on the connection it came by.
    var node: NodeIdentity?

    /// Whether it comes from that node, as far as can be known without authentication, or from this one itself.
    func comes(from id: NodeID, incarnation: UUID128?) -> Bool {
        if case .own = route { return true }
        return node?.id == id && (incarnation == nil || node?.incarnationID == incarnation)
    }

    func read<M: WireRequest>(_ type: M.Type) throws(WireError) -> M {
        var body = body
        return try wireDecode(type, from: &body, version: header.version)
    }

    func frame<M: WireRequest>(_ response: M.Response, to request: M.Type) -> ByteBuffer {
        encodeResponseFrame(response, to: request, version: header.version, correlationID: header.correlationID)
    }
}

/// Why this node asked another one, and so what to do with the answer.
enum ControlPurpose {
    case hello(NodeID)
    /// A hello that only says who speaks on a link.
    case introduction
    case formCluster(NodeID)
    case vote(NodeID, epoch: LeaderEpoch, preVote: Bool)
    case beginQuorumEpoch(NodeID, epoch: LeaderEpoch)
    case endQuorumEpoch(NodeID)
    case quorumFetch(NodeID)
    case fetchSnapshot(NodeID)
    case registration
    case heartbeat
    case alterPartition(ISRRequest)
    case assignReplicasToDirs(SortedMap<TopicPartition, DirectoryAssignment>)
    case allocateProducerIDs
    case forwarded(ControlRequest, deadline: Instant)
    case autoCreation([String])
}

/// A decision whose answer waits for its records to be committed.
struct CommitWaiter {
    /// Answered when the high watermark reaches this.
    var endOffset: Offset
    var frame: ByteBuffer
    /// Told instead when the leadership goes first: the outcome is unknown.
    var failure: ByteBuffer?
    var route: AnswerRoute
    /// CreateTopics and the like: answered once every live node has applied the records, or at this time.
    var servingDeadline: Instant?
}
