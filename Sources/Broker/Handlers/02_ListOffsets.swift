// ListOffsets (key 2), versions 1–11, and OffsetForLeaderEpoch (key 23), versions 2–4: where in the log a time, an end
// or an epoch lies.

import Metadata
import Model
import Replication
import Storage
import Wire

/// The named positions of ListOffsets.
private enum NamedTimestamp {
    static let latest: Int64 = -1
    static let earliest: Int64 = -2
    static let maxTimestamp: Int64 = -3
    static let earliestLocal: Int64 = -4
    static let latestTiered: Int64 = -5
    static let earliestPendingUpload: Int64 = -6
}

extension Shard {
    func listOffsets(_ request: ListOffsetsRequest, _ context: RequestContext) {
        var response = ListOffsetsResponse()
        response.topics = request.topics.map { topic in
            var answers = ListOffsetsResponse.Topic()
            answers.name = topic.name
            answers.partitions = topic.partitions.map { offset($0, of: topic.name, context.header.version) }
            return answers
        }
        respond(response, to: ListOffsetsRequest.self, context)
    }

    private func offset(
        _ asked: ListOffsetsRequest.Partition, of topic: String, _ version: Int16
    ) -> ListOffsetsResponse.Partition {
        var answer = ListOffsetsResponse.Partition()
        answer.partitionIndex = asked.partitionIndex
        let replica: Replica
        switch leader(of: topic, asked.partitionIndex, epoch: asked.currentLeaderEpoch) {
        case .failure(let refusal):
            answer.errorCode = refusal.error
            return answer
        case .success(let found): replica = found
        }
        // A new leader's high watermark may lie behind what the one before has shown, and its log start before what is
        // agreed on. With too few replicas in sync that stays so, and what can be read must be found all the same.
        let end = replica.partition.highWatermark
        let isEndKnown = replica.partition.latestVisibleOffset(currentLeaderEpoch: nil) == .offset(end)
        let isStartKnown = replica.visibleStart >= 0
        // Before v5 there was no word for "wait until the new leader knows".
        let notYet: ErrorCode = version < 5 ? .leaderNotAvailable : .offsetNotAvailable
        do throws(LogError) {
            switch asked.timestamp {
            case NamedTimestamp.latest where isEndKnown: answer.set(end, -1, replica.partition.leaderEpoch)
            case NamedTimestamp.earliest where isStartKnown,
                NamedTimestamp.earliestLocal where isStartKnown && version >= 8:
                let start = replica.log.startOffset
                answer.set(start, -1, replica.log.epochs.epoch(at: start) ?? replica.partition.leaderEpoch)
            case NamedTimestamp.maxTimestamp where isEndKnown && version >= 7:
                if let found = try replica.log.offsetOfMaxTimestamp(below: end) {
                    answer.set(found.offset, found.timestamp, found.epoch)
                }
            case 0...:
                if let found = try replica.log.offset(forTimestamp: asked.timestamp, below: end) {
                    answer.set(found.offset, found.timestamp, found.epoch)
                } else if !isEndKnown {
                    answer.errorCode = notYet
                }
            case NamedTimestamp.latest, NamedTimestamp.earliest,
                NamedTimestamp.earliestLocal where version >= 8,
                NamedTimestamp.maxTimestamp where version >= 7:
                answer.errorCode = notYet
            case NamedTimestamp.latestTiered where version >= 9,
                NamedTimestamp.earliestPendingUpload where version >= 11:
                break  // nothing is tiered: offset −1 says so
            default: answer.errorCode = .unsupportedVersion
            }
        } catch {
            answer.errorCode = error.errorCode
            logFailed(replica, error)
        }
        return answer
    }

    func offsetForLeaderEpoch(_ request: OffsetForLeaderEpochRequest, _ context: RequestContext) {
        var response = OffsetForLeaderEpochResponse()
        response.topics = request.topics.map { topic in
            var answers = OffsetForLeaderEpochResponse.Topic()
            answers.name = topic.name
            answers.partitions = topic.partitions.map { asked in
                var answer = OffsetForLeaderEpochResponse.Partition()
                answer.partitionIndex = asked.partitionIndex
                switch leader(of: topic.name, asked.partitionIndex, epoch: asked.currentLeaderEpoch) {
                case .failure(let refusal): answer.errorCode = refusal.error
                case .success(let replica):
                    if let end = replica.log.epochs.end(of: asked.leaderEpoch, logEndOffset: replica.log.endOffset) {
                        answer.leaderEpoch = end.epoch
                        answer.endOffset = end.endOffset
                    }
                }
                return answer
            }
            return answers
        }
        respond(response, to: OffsetForLeaderEpochRequest.self, context)
    }

    struct Refusal: Error { var error: ErrorCode }

    /// The leader's replica of a partition, fenced by what the asker knows of its epoch (KIP-320).
    func leader(
        of topic: String, _ partition: PartitionIndex, epoch: LeaderEpoch
    ) -> Result<Replica, Refusal> {
        guard let image = view.image.topic(named: topic), image.partitions.indices.contains(Int(partition)) else {
            return .failure(Refusal(error: .unknownTopicOrPartition))
        }
        guard let replica = replicas[TopicPartition(image.id, partition)] else {
            return .failure(Refusal(error: .notLeaderOrFollower))
        }
        if epoch >= 0, epoch < replica.partition.leaderEpoch { return .failure(Refusal(error: .fencedLeaderEpoch)) }
        if epoch >= 0, epoch > replica.partition.leaderEpoch { return .failure(Refusal(error: .unknownLeaderEpoch)) }
        guard replica.isLeader else { return .failure(Refusal(error: .notLeaderOrFollower)) }
        return .success(replica)
    }
}

extension ListOffsetsResponse.Partition {
    fileprivate mutating func set(_ offset: Offset, _ timestamp: Int64, _ epoch: LeaderEpoch) {
        self.offset = offset
        self.timestamp = timestamp
        self.leaderEpoch = epoch
    }
}
