// The coordinator of one led partition of `__consumer_offsets`, beside its log in the same shard (decision 0025).

import Groups
import Metadata
import Model
import Wire

/// A class, as `Replica` is: its value changes in place at every request.
final class Coordinator {
    let key: TopicPartition
    /// The term that it coordinates in: of another one nothing is known here.
    let leaderEpoch: LeaderEpoch
    var groups: GroupCoordinator
    let beganAt: Instant

    /// The next record to read, and the end of the log when this term began. What lies behind this node writes itself.
    var loadAt: Offset
    let loadEnd: Offset
    var recordsLoaded = 0

    var timer: Timers<ShardTimer>.ID?
    var timerAt = Instant.distantFuture

    init(_ replica: Replica, groups: GroupCoordinator, at now: Instant) {
        key = replica.topicPartition
        leaderEpoch = replica.partition.leaderEpoch
        self.groups = groups
        beganAt = now
        loadAt = replica.log.startOffset
        loadEnd =
            groups.settings.plantedBug == .loadsToHighWatermark
            ? replica.partition.highWatermark : replica.log.endOffset
    }
}

/// Where the answer to a coordinator's ticket goes.
struct GroupOrigin {
    var part: PartID
    /// Among the pieces of the request.
    var piece: Int
    var coordinator: TopicPartition
}

/// What one coordinator is asked.
struct GroupPiece: Sendable {
    /// Its place among the pieces of the request.
    var index: Int
    /// Of `__consumer_offsets`.
    var partition: PartitionIndex
    var request: GroupRequest
    var clientHost: String
}

/// A request about groups, until every coordinator that it needs has answered.
struct PendingGroupRequest {
    var context: RequestContext
    var request: GroupRequest
    var pieces: [GroupPiece]
    var answers: [GroupResponse?]
    var waiting: Int
}

/// The image as groups look at it.
struct ImageTopics: TopicLookup {
    let image: MetadataImage

    func topic(named name: String) -> KnownTopic? { image.topic(named: name).map(KnownTopic.init) }
    func topic(_ id: UUID128) -> KnownTopic? { image.topic(id: id).map(KnownTopic.init) }
    /// For expressions, which as with Kafka's clients never mean the cluster's own topics: who reads all there is would
    /// read its own commits.
    var topicNames: [String] { image.topicNames.filter { $0 != GroupTopic.name } }
}

extension KnownTopic {
    init(_ topic: TopicImage) {
        self.init(name: topic.name, id: topic.id, partitions: Int32(topic.partitions.count))
    }
}
