// A request whose partitions lie on several shards of a node: each shard's share of it, and what the shards of one node
// mail each other about it.

import Groups
import Model
import NIOCore
import Wire

/// Names a request that was divided: the shard whose connection it came by, and that shard's number for it.
package struct PartID: Hashable, Comparable, Sendable, CustomStringConvertible {
    let gateway: Int
    let number: UInt64

    package static func < (a: Self, b: Self) -> Bool {
        a.gateway == b.gateway ? a.number < b.number : a.gateway < b.gateway
    }

    package var description: String { "\(number) of shard \(gateway)" }
}

/// One shard's share of a request.
package struct RequestPart: Sendable, CustomStringConvertible {
    let id: PartID
    /// For log lines; the connection is the gateway's.
    let connection: ConnectionID
    let header: RequestHeader
    let request: PartRequest

    package var description: String { "\(header.api) \(id)" }
}

enum PartRequest: Sendable {
    case produce(ProduceRequest)
    case fetch(FetchPart)
    case listOffsets(ListOffsetsRequest)
    case offsetForLeaderEpoch(OffsetForLeaderEpochRequest)
    case deleteRecords(DeleteRecordsRequest)
    case group(GroupPiece)
}

/// What a shard answers to its share.
package struct PartAnswer: Sendable, CustomStringConvertible {
    let id: PartID
    let shard: Int
    let content: PartContent

    package var description: String { "shard \(shard) answers \(id)" }
}

enum PartContent: Sendable {
    /// Each partition of the share, in its order.
    case whole(any WireMessage)
    case fetched([FetchedPartition])
    case group(piece: Int, GroupResponse)
}

/// A request whose answer speaks of each partition that it names, in its order.
protocol PartitionedRequest: WireRequest where Response: PartitionedResponse {
    associatedtype Topic: PartitionedTopic where Topic.Partition: PartitionEntry
    var topics: [Topic] { get set }
    var asPart: PartRequest { get }
    static func name(of topic: Topic) -> (name: String, id: UUID128)
    /// The answer's entry of that topic, still without partitions.
    static func head(of topic: Topic) -> Response.Topic
}

protocol PartitionedResponse: WireMessage {
    associatedtype Topic: PartitionedTopic where Topic.Partition: WireStruct
    var topics: [Topic] { get set }
}

protocol PartitionedTopic {
    associatedtype Partition
    var partitions: [Partition] { get set }
}

/// A topic that its name alone tells, in every version.
protocol NamedTopic: PartitionedTopic {
    var name: String { get set }
    init()
}

extension PartitionedRequest where Topic: NamedTopic, Response.Topic: NamedTopic {
    static func name(of topic: Topic) -> (name: String, id: UUID128) { (topic.name, .zero) }

    static func head(of topic: Topic) -> Response.Topic {
        var head = Response.Topic()
        head.name = topic.name
        return head
    }
}

protocol PartitionEntry { var partitionIndex: PartitionIndex { get } }

extension ProduceRequest.Topic: PartitionedTopic {}
extension ProduceRequest.Partition: PartitionEntry {}
extension ProduceResponse: PartitionedResponse {}
extension ProduceResponse.Topic: PartitionedTopic {}
extension ProduceRequest: PartitionedRequest {
    var asPart: PartRequest { .produce(self) }
    static func name(of topic: Topic) -> (name: String, id: UUID128) { (topic.name, topic.topicID) }
    static func head(of topic: Topic) -> ProduceResponse.Topic {
        var head = ProduceResponse.Topic()
        head.name = topic.name
        head.topicID = topic.topicID
        return head
    }
}

extension ListOffsetsRequest.Topic: NamedTopic {}
extension ListOffsetsRequest.Partition: PartitionEntry {}
extension ListOffsetsResponse: PartitionedResponse {}
extension ListOffsetsResponse.Topic: NamedTopic {}
extension ListOffsetsRequest: PartitionedRequest {
    var asPart: PartRequest { .listOffsets(self) }
}

extension OffsetForLeaderEpochRequest.Topic: NamedTopic {}
extension OffsetForLeaderEpochRequest.Partition: PartitionEntry {}
extension OffsetForLeaderEpochResponse: PartitionedResponse {}
extension OffsetForLeaderEpochResponse.Topic: NamedTopic {}
extension OffsetForLeaderEpochRequest: PartitionedRequest {
    var asPart: PartRequest { .offsetForLeaderEpoch(self) }
}

extension DeleteRecordsRequest.Topic: NamedTopic {}
extension DeleteRecordsRequest.Partition: PartitionEntry {}
extension DeleteRecordsResponse: PartitionedResponse {}
extension DeleteRecordsResponse.Topic: NamedTopic {}
extension DeleteRecordsRequest: PartitionedRequest {
    var asPart: PartRequest { .deleteRecords(self) }
}
