// Metadata (key 3), versions 0–13, with DescribeCluster (60) and DescribeTopicPartitions (75): what the shard's image
// says, told three ways.

import Metadata
import Model
import Wire

extension Shard {
    func metadata(_ request: MetadataRequest, _ context: RequestContext) {
        // Until this start of the node is unfenced its image is empty or an old snapshot's, and clients believe what
        // they are told: librdkafka lets go of every broker that is not named. Without an answer they ask another node,
        // or again. A node that never belonged to a cluster may say so.
        let isUnformed = directory.identity.clusterID == nil && view.clusterID.isEmpty
        guard isServing || isUnformed else { return close(context.connection, because: nil) }
        let version = context.header.version
        var response = MetadataResponse()
        response.brokers = liveBrokers.map { broker in
            var answer = MetadataResponse.Broker()
            answer.nodeID = broker.id
            answer.host = broker.endpoint.host
            answer.port = Int32(broker.endpoint.port)
            answer.rack = broker.rack
            return answer
        }
        response.clusterID = view.clusterID
        response.controllerID = controllerForClients
        // v0: an empty list means all topics; later null does, and an empty list means none.
        if let asked = request.topics, !(version == 0 && asked.isEmpty) {
            var missed: [String] = []
            response.topics = asked.map { described($0, version, mayCreate: request.allowAutoTopicCreation, &missed) }
            if let wrong = response.topics.first(where: { $0.errorCode == .invalidTopicException }) {
                complain(context.connection, "a topic named \(wrong.name?.prefix(64) ?? "")")
            }
            if !missed.isEmpty { effects.append(.mail(.topicsMissed(missed))) }
        } else {
            response.topics = view.image.topicNames.compactMap { view.image.topic(named: $0).map(described) }
        }
        respond(response, to: MetadataRequest.self, context)
    }

    private func described(
        _ asked: MetadataRequest.Topic, _ version: Int16, mayCreate: Bool, _ missed: inout [String]
    ) -> MetadataResponse.Topic {
        if version >= 12, asked.name == nil {
            if let topic = view.image.topic(id: asked.topicID) { return described(topic) }
            var answer = MetadataResponse.Topic()
            answer.errorCode = .unknownTopicId
            answer.topicID = asked.topicID
            return answer
        }
        let name = asked.name ?? ""
        if let topic = view.image.topic(named: name) { return described(topic) }
        var answer = MetadataResponse.Topic()
        answer.name = name
        if !isValidTopicName(name) {
            answer.errorCode = .invalidTopicException
        } else if mayCreate, configuration.autoCreateTopics, name != MetadataTopic.name {
            // The client asks again every 100 ms, and finds it made.
            answer.errorCode = .leaderNotAvailable
            missed.append(name)
        } else {
            answer.errorCode = .unknownTopicOrPartition
        }
        return answer
    }

    private func described(_ topic: TopicImage) -> MetadataResponse.Topic {
        var answer = MetadataResponse.Topic()
        answer.name = topic.name
        answer.topicID = topic.id
        answer.isInternal = topic.name == GroupTopic.name
        answer.partitions = topic.partitions.enumerated().map { index, registration in
            var partition = MetadataResponse.Partition()
            partition.partitionIndex = Int32(index)
            partition.leaderID = registration.leader ?? -1
            partition.errorCode = registration.leader == nil ? .leaderNotAvailable : .none
            partition.leaderEpoch = registration.leaderEpoch
            partition.replicaNodes = registration.replicas
            partition.isrNodes = registration.isr
            partition.offlineReplicas = registration.replicas.filter { !isLive($0) || registration.isLost($0) }
            return partition
        }
        return answer
    }

    func describeCluster(_ request: DescribeClusterRequest, _ context: RequestContext) {
        var response = DescribeClusterResponse()
        response.endpointType = request.endpointType
        response.clusterID = view.clusterID
        response.controllerID = controllerForClients
        guard request.endpointType == 1 else {
            response.errorCode = request.endpointType == 2 ? .mismatchedEndpointType : .unsupportedEndpointType
            response.errorMessage = "every Martlet node is a broker endpoint (type 1)"
            return respond(response, to: DescribeClusterRequest.self, context)
        }
        let brokers = request.includeFencedBrokers ? view.image.brokers.map(\.value) : liveBrokers
        response.brokers = brokers.map { broker in
            var answer = DescribeClusterResponse.Broker()
            answer.brokerID = broker.id
            answer.host = broker.endpoint.host
            answer.port = Int32(broker.endpoint.port)
            answer.rack = broker.rack
            answer.isFenced = broker.fenced
            return answer
        }
        respond(response, to: DescribeClusterRequest.self, context)
    }

    func describeTopicPartitions(_ request: DescribeTopicPartitionsRequest, _ context: RequestContext) {
        var response = DescribeTopicPartitionsResponse()
        let names = request.topics.isEmpty ? view.image.topicNames : request.topics.map(\.name).sorted()
        var room = Int(min(max(1, request.responsePartitionLimit), 2_000))
        let cursorName = request.cursor?.topicName ?? ""
        for name in names where name >= cursorName {
            var answer = DescribeTopicPartitionsResponse.Topic()
            answer.name = name
            guard let topic = view.image.topic(named: name) else {
                answer.errorCode = isValidTopicName(name) ? .unknownTopicOrPartition : .invalidTopicException
                response.topics.append(answer)
                continue
            }
            answer.topicID = topic.id
            answer.isInternal = topic.name == GroupTopic.name
            let first = name == cursorName ? Int(max(0, request.cursor?.partitionIndex ?? 0)) : 0
            guard first < topic.partitions.count else { continue }
            let last = min(topic.partitions.count, first + room)
            answer.partitions = (first..<last).map { described($0, topic.partitions[$0]) }
            response.topics.append(answer)
            room -= last - first
            if last < topic.partitions.count || room == 0 {
                var cursor = DescribeTopicPartitionsResponse.Cursor()
                cursor.topicName = name
                cursor.partitionIndex = Int32(last)
                if last < topic.partitions.count || name != names.last { response.nextCursor = cursor }
                break
            }
        }
        respond(response, to: DescribeTopicPartitionsRequest.self, context)
    }

    private func described(_ index: Int, _ registration: PartitionRegistration)
        -> DescribeTopicPartitionsResponse.Partition
    {
        var partition = DescribeTopicPartitionsResponse.Partition()
        partition.partitionIndex = Int32(index)
        partition.leaderID = registration.leader ?? -1
        partition.errorCode = registration.leader == nil ? .leaderNotAvailable : .none
        partition.leaderEpoch = registration.leaderEpoch
        partition.replicaNodes = registration.replicas
        partition.isrNodes = registration.isr
        partition.eligibleLeaderReplicas = registration.eligibleLeaderReplicas
        partition.lastKnownElr = registration.lastKnownELR
        partition.offlineReplicas = registration.replicas.filter { !isLive($0) || registration.isLost($0) }
        return partition
    }

    private var liveBrokers: [BrokerRegistration] { view.image.brokers.map(\.value).filter { !$0.fenced } }

    func isLive(_ id: NodeID) -> Bool { view.image.brokers[id].map { !$0.fenced } ?? false }

    /// Any node forwards admin calls, so any live node will do; the controller saves the hop.
    private var controllerForClients: NodeID {
        if let id = view.controllerID, isLive(id) { return id }
        return isLive(configuration.nodeID) ? configuration.nodeID : liveBrokers.first?.id ?? -1
    }
}
