// What can go wrong between a client and a cluster, each as one sentence and the next step.

import Model

public enum ClientError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Every address that the client knows was tried.
    case noNodeAnswered([Endpoint], reason: String)
    case unreachable(Endpoint, reason: String)
    case connectionLost(Endpoint)
    case requestTimedOut(String, Endpoint, afterMs: Int64)
    /// The peer does not speak Kafka, or speaks it in a way that this build cannot read.
    case malformedAnswer(String, Endpoint, reason: String)
    case unsupported(String, Endpoint)
    /// The cluster answered with an error code; `message` is its own text, where the API carries one.
    case refused(what: String, ErrorCode, message: String?)
    case noSuchTopic(String)
    case noSuchPartition(topic: String, PartitionIndex, count: Int)
    case noLeader(topic: String, PartitionIndex)
    /// A batch is damaged, of a format that this build does not read, or too large when unpacked. A `seek` to
    /// `nextOffset` goes on behind it.
    case unreadableRecords(topic: String, PartitionIndex, offset: Offset, nextOffset: Offset, reason: String)
    /// A producer could not take a record because its buffer stayed full.
    case bufferFull(limitBytes: Int, afterMs: Int64)
    /// A record that no batch of this producer can hold.
    case recordTooLarge(sizeBytes: Int, limitBytes: Int)
    /// A record was not acknowledged in time. It may have been written all the same.
    case deliveryTimedOut(topic: String, PartitionIndex, afterMs: Int64, last: String?)
    /// The position of a consumer lies outside of the log, by the answer of its leader.
    case positionOutOfRange(topic: String, PartitionIndex, position: Offset)
    /// The log that the consumer had read was cut off before its position: what it read from `divergedAt` on is gone,
    /// and other records may stand there (KIP-320).
    case logTruncated(topic: String, PartitionIndex, position: Offset, divergedAt: Offset)
    /// The group has no offset for the partition, and `OffsetReset.none` says that this is an error.
    case noCommittedOffset(group: String, topic: String, PartitionIndex)
    /// The producer or consumer was closed.
    case closed
    /// Tried again and again until the client's patience ended.
    case gaveUp(what: String, afterMs: Int64, last: String)

    /// Whether the same request may be sent again, perhaps to another node.
    public var isRetriable: Bool {
        switch self {
        case .noNodeAnswered, .unreachable, .connectionLost, .requestTimedOut, .noLeader, .noSuchTopic: true
        // The client's own word for a connection that has just gone; of the protocol's, Kafka does not try it again.
        case .refused(_, let code, _): code.isRetriable || code == .brokerNotAvailable
        case .malformedAnswer, .unsupported, .noSuchPartition, .unreadableRecords, .gaveUp, .bufferFull,
            .recordTooLarge,
            .deliveryTimedOut, .positionOutOfRange, .logTruncated, .noCommittedOffset, .closed:
            false
        }
    }

    /// Why, for a sentence that says already what did not work.
    var reason: String {
        if case .unreachable(_, let reason) = self { return reason }
        return description
    }

    public var description: String {
        switch self {
        case .noNodeAnswered(let endpoints, let reason):
            "no node answered at \(endpoints.map(\.description).joined(separator: ", ")) (\(reason)): "
                + "is the cluster started? make cluster"
        case .unreachable(let endpoint, let reason): "cannot connect to \(endpoint): \(reason)"
        case .connectionLost(let endpoint): "\(endpoint) closed the connection before it answered"
        case .requestTimedOut(let api, let endpoint, let ms):
            "\(endpoint) did not answer \(api) within \(ms) ms: see its log, or ask another node with --bootstrap"
        case .malformedAnswer(let api, let endpoint, let reason):
            "the answer of \(endpoint) to \(api) cannot be read (\(reason)): is that a Kafka port?"
        case .unsupported(let api, let endpoint):
            "\(endpoint) does not serve \(api) in a version that this client speaks: update the older of the two"
        case .refused(let what, let code, let message):
            "cannot \(what): \(code)" + ((message ?? Self.meaning(of: code)).map { " (\($0))" } ?? "")
        case .noSuchTopic(let topic):
            "there is no topic \(topic): martlet topics list, or martlet topics create \(topic)"
        case .noSuchPartition(let topic, let partition, let count):
            "topic \(topic) has no partition \(partition), only 0 to \(count - 1)"
        case .noLeader(let topic, let partition):
            "partition \(topic)-\(partition) has no leader now: martlet topics describe \(topic)"
        case .unreadableRecords(let topic, let partition, let offset, let nextOffset, let reason):
            "the records of \(topic)-\(partition) cannot be read at offset \(offset): \(reason). The next batch begins "
                + "at offset \(nextOffset)"
        case .bufferFull(let limit, let ms):
            "no room for the record in the producer's buffer of \(limit) bytes after \(ms) ms: "
                + "the cluster takes records more slowly than they come"
        case .recordTooLarge(let size, let limit):
            "a record of \(size) bytes is larger than the \(limit) bytes that a batch may have"
        case .deliveryTimedOut(let topic, let partition, let ms, let last):
            "a record for \(topic)-\(partition) was not acknowledged within \(ms) ms"
                + (last.map { "; the last answer was: \($0)" } ?? "")
        case .positionOutOfRange(let topic, let partition, let position):
            "\(topic)-\(partition) does not hold offset \(position): --from-beginning starts at the oldest record"
        case .logTruncated(let topic, let partition, let position, let divergedAt):
            "\(topic)-\(partition) was truncated to offset \(divergedAt) after offset \(position) had been reached: "
                + "seek to \(divergedAt) to go on"
        case .noCommittedOffset(let group, let topic, let partition):
            "group \(group) has no committed offset for \(topic)-\(partition): seek to where reading shall begin, or "
                + "set offsetReset"
        case .closed: "it was closed already"
        case .gaveUp(let what, let ms, let last): "gave up to \(what) after \(ms) ms: \(last)"
        }
    }

    /// What a code means and what to do about it, for codes that come without a text of their own.
    private static func meaning(of code: ErrorCode) -> String? {
        switch code {
        case .topicAlreadyExists: "a topic of this name exists: martlet topics describe"
        case .invalidReplicationFactor: "there are not so many nodes: martlet cluster"
        case .offsetOutOfRange: "the log does not hold this offset: --from-beginning starts at the oldest"
        case .notEnoughReplicas, .notEnoughReplicasAfterAppend:
            "fewer replicas are in sync than min.insync.replicas: martlet cluster"
        case .messageTooLarge: "a record is larger than max.message.bytes"
        case .fencedInstanceId: "another process has joined under the same group instance id"
        case .unreleasedInstanceId:
            "another process is a member under this group instance id; if it died, its session must end first"
        case .groupMaxSizeReached: "the group has as many members as it may have"
        case .inconsistentGroupProtocol:
            "the members of the group use assignors, or a protocol type, that this one does not offer"
        case .invalidSessionTimeout:
            "the session timeout is not between group.min.session.timeout.ms and group.max.session.timeout.ms"
        case .illegalGeneration, .unknownMemberId, .fencedMemberEpoch:
            "the group has gone on without this member: what was not committed is read again by others"
        case .rebalanceInProgress: "the group rebalances"
        case .nonEmptyGroup: "it has members: stop them first"
        case .groupIdNotFound: "there is no such group: martlet groups list"
        case .groupSubscribedToTopic: "its members read the topic"
        case .offsetMetadataTooLarge: "the metadata is longer than offset.metadata.max.bytes"
        case .unsupportedAssignor: "the coordinator does not have this assignor (group.consumer.assignors)"
        case .invalidGroupId: "no group can have this name"
        default: nil
        }
    }
}
