// What the shards say of where their replicas lie, told to the controller by AssignReplicasToDirs: LOST for a damaged
// copy, the node's own directory when it is whole again (KIP-858).

import Model
import Wire

struct DirectoryAssignment {
    var shard: Int
    var directory: UUID128
}

struct DirectoryAssignments {
    /// Not sent yet. One request is under way at a time, so that two words about one replica come in their order; what
    /// is said meanwhile goes together in the next.
    var waiting = SortedMap<TopicPartition, DirectoryAssignment>()
    var isAsking = false
}

extension Control {
    func assignDirectory(_ topicPartition: TopicPartition, _ directory: UUID128, _ shard: Int) {
        let older = directoryAssignments.waiting[topicPartition]
        directoryAssignments.waiting[topicPartition] = DirectoryAssignment(shard: shard, directory: directory)
        // Overtaken before it was sent.
        if let older, older.directory != directory { tellShard(topicPartition, older, .requestTimedOut) }
        sendDirectoryAssignments()
    }

    private func sendDirectoryAssignments() {
        guard !directoryAssignments.isAsking, !directoryAssignments.waiting.isEmpty else { return }
        let assignments = directoryAssignments.waiting
        directoryAssignments.waiting = SortedMap()
        directoryAssignments.isAsking = true
        let request = AssignReplicasToDirsRequest(assignments, brokerID: me, brokerEpoch: broker.epoch)
        guard broker.epoch >= 0, askController(request, for: .assignReplicasToDirs(assignments)) else {
            return directoriesFailed(assignments)
        }
    }

    func directoriesAnswered(
        _ answer: AssignReplicasToDirsResponse, _ assignments: SortedMap<TopicPartition, DirectoryAssignment>
    ) {
        // An error of the whole request speaks of this node, its epoch or the controller, not of the replicas.
        guard answer.errorCode == .none else { return directoriesFailed(assignments) }
        var errors = SortedMap<TopicPartition, ErrorCode>()
        for topic in answer.directories.flatMap(\.topics) {
            for partition in topic.partitions {
                errors[TopicPartition(topic.topicID, partition.partitionIndex)] = partition.errorCode
            }
        }
        directoryAssignments.isAsking = false
        for (topicPartition, assignment) in assignments {
            tellShard(topicPartition, assignment, errors[topicPartition] ?? .unknownServerError)
        }
        sendDirectoryAssignments()
    }

    /// No answer, or none that can be used: whether it is assigned is unknown, and the shard asks again.
    func directoriesFailed(_ assignments: SortedMap<TopicPartition, DirectoryAssignment>) {
        directoryAssignments.isAsking = false
        for (topicPartition, assignment) in assignments { tellShard(topicPartition, assignment, .requestTimedOut) }
        sendDirectoryAssignments()
    }

    private func tellShard(_ topicPartition: TopicPartition, _ assignment: DirectoryAssignment, _ error: ErrorCode) {
        effects.append(
            .mail(
                .directoryAnswered(topicPartition, directory: assignment.directory, error), toShard: assignment.shard))
    }
}

extension AssignReplicasToDirsRequest {
    /// By directory, then by topic, each in order. A replica is in one directory only.
    fileprivate init(
        _ assignments: SortedMap<TopicPartition, DirectoryAssignment>, brokerID: NodeID, brokerEpoch: BrokerEpoch
    ) {
        self.init()
        self.brokerID = brokerID
        self.brokerEpoch = brokerEpoch
        var byDirectory = SortedMap<UUID128, [Topic]>()
        for (topicPartition, assignment) in assignments {
            var partition = Partition()
            partition.partitionIndex = topicPartition.partition
            byDirectory[assignment.directory, default: []].add(partition, of: topicPartition.topicID)
        }
        directories = byDirectory.map { id, topics in
            var directory = Directory()
            directory.id = id
            directory.topics = topics
            return directory
        }
    }
}

extension [AssignReplicasToDirsRequest.Topic] {
    /// Partitions come in order, so a topic's stand together.
    fileprivate mutating func add(_ partition: AssignReplicasToDirsRequest.Partition, of topicID: UUID128) {
        if last?.topicID == topicID {
            self[count - 1].partitions.append(partition)
        } else {
            var topic = AssignReplicasToDirsRequest.Topic()
            topic.topicID = topicID
            topic.partitions = [partition]
            append(topic)
        }
    }
}
