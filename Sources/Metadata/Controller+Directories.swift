// AssignReplicasToDirs (KIP-858): a broker says in which directory a replica of its own lies. LOST takes a damaged copy
// out of service until the broker assigns it to its own directory again.

import Model
import Wire

extension Controller {
    package mutating func assignReplicasToDirs(
        _ request: AssignReplicasToDirsRequest, nextOffset: Offset, at now: Instant
    ) -> Decision<AssignReplicasToDirsResponse> {
        var response = AssignReplicasToDirsResponse()
        guard let broker = image.brokers[request.brokerID], broker.epoch == request.brokerEpoch else {
            response.errorCode = .staleBrokerEpoch
            return Decision(records: [], response: response)
        }
        var batch = MetadataBatch(firstOffset: nextOffset)
        for directory in request.directories {
            var answeredDirectory = AssignReplicasToDirsResponse.Directory()
            answeredDirectory.id = directory.id
            for topic in directory.topics {
                var answeredTopic = AssignReplicasToDirsResponse.Topic()
                answeredTopic.topicID = topic.topicID
                for partition in topic.partitions {
                    let key = TopicPartition(topic.topicID, partition.partitionIndex)
                    var answer = AssignReplicasToDirsResponse.Partition()
                    answer.partitionIndex = key.partition
                    answer.errorCode = assign(key, of: broker, to: directory.id, &batch)
                    answeredTopic.partitions.append(answer)
                }
                answeredDirectory.topics.append(answeredTopic)
            }
            response.directories.append(answeredDirectory)
        }
        return Decision(records: batch.records, response: response)
    }

    private mutating func assign(
        _ key: TopicPartition, of broker: BrokerRegistration, to directoryID: UUID128, _ batch: inout MetadataBatch
    ) -> ErrorCode {
        guard let topic = image.topic(id: key.topicID) else { return .unknownTopicId }
        guard let partition = image.partition(key) else { return .unknownTopicOrPartition }
        guard partition.replicas.contains(broker.id) else { return .notLeaderOrFollower }
        // A broker has one directory, so there is no other than its own and the lost one.
        guard directoryID == DirectoryID.lost || directoryID == broker.directoryID else { return .logDirNotFound }
        guard partition.directory(of: broker.id) != directoryID else { return .none }
        var transition = PartitionTransition(key, partition, config: config(of: topic), bug: settings.plantedBug)
        transition.targetDirectories = partition.directories(with: directoryID, of: [broker.id])
        if let record = transition.record(image: image) { write(.partitionChange(record), &batch) }
        return .none
    }
}
