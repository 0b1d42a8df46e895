// What control and the shards of one node, and these among themselves, tell each other: messages and immutable images,
// never references.

import Metadata
import Model
import NIOCore
import Replication
import Wire

/// A request that came in on a shard's connection and is Control's to answer.
package struct MailedRequest: Sendable {
    package var shard: Int
    package var connection: ConnectionID
    package var slot: UInt64
    package var header: RequestHeader
    package var body: ByteBuffer
    /// The client's address, for log lines and forwarded calls.
    package var client: String
    /// Who said NodeHello on that connection.
    package var node: NodeIdentity?
}

/// An ISR that a leader proposes.
package struct ISRChange: Sendable {
    package var topicPartition: TopicPartition
    package var proposal: ISRProposal
}

/// What became of it.
package struct ISRDecision: Sendable {
    package var change: ISRChange
    package var error: ErrorCode
    package var answer: ISRAnswer?
}

package enum ControlMail: Sendable {
    case request(MailedRequest)
    /// Whatever that connection still waits for needs no answer any more.
    case connectionClosed(shard: Int, ConnectionID)
    /// All that one step of the shard brought up.
    case isrsProposed(shard: Int, [ISRChange])
    /// The controller shall know where this node's replica lies: `DirectoryID.lost` when it is damaged, the node's own
    /// directory when it is whole again. Answered by `directoryAnswered`; the same word twice may be answered once.
    case directoryAssigned(shard: Int, TopicPartition, directory: UUID128)
    /// A client asked for topics that are not there, and auto-creation is on.
    case topicsMissed([String])
    case shardStopped(shard: Int, clean: Bool)
}

/// What a shard knows of the cluster: replaced as a whole with every committed stretch of the metadata log.
package struct ClusterView: Sendable {
    package var image: MetadataImage
    package var clusterID: String
    /// The quorum's leader as this node last heard.
    package var controllerID: NodeID?
    /// This node's own registration; −1 before there is one.
    package var brokerEpoch: BrokerEpoch
    /// This start of this node.
    package var incarnationID: UUID128
}

package enum ShardMail: Sendable {
    /// A whole answer frame with its length prefix, or nil: close the connection.
    case answered(ConnectionID, slot: UInt64, ByteBuffer?)
    /// Input of this connection was refused, with the reason for the log line.
    case complained(ConnectionID, String)
    case viewPublished(ClusterView, ImageChanges)
    /// Control's own facts changed, the image did not.
    case controllerChanged(controllerID: NodeID?, brokerEpoch: BrokerEpoch)
    case isrsAnswered([ISRDecision])
    /// NONE: committed. REQUEST_TIMED_OUT: unknown, ask again. UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION,
    /// NOT_LEADER_OR_FOLLOWER: the replica is not this node's any more. LOG_DIR_NOT_FOUND: not a directory of this
    /// node.
    case directoryAnswered(TopicPartition, directory: UUID128, ErrorCode)
    case stopRequested
    /// A share of a request that came to another shard; answered by `partAnswered`.
    case partAsked(RequestPart)
    case partAnswered(PartAnswer)
    /// Answer now, with what there is; a share that was answered already is meant by nobody.
    case partHurried(PartID)
    /// Its answer is wanted no more.
    case partCancelled(PartID)
    /// A share of what is never answered failed, with the reason: the connection ends.
    case partRefused(ConnectionID, String)
}
