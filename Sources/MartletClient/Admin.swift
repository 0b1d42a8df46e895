// What an operator asks of a cluster: topics made, listed, described and deleted; nodes, controller, quorum and health.

import Model
import Wire

package struct NewTopic: Equatable, Sendable {
    package var name: String
    /// −1: the cluster's default.
    package var partitions: Int32 = -1
    package var replicationFactor: Int16 = -1
    package var configs: [(name: String, value: String)] = []

    package init(name: String) { self.name = name }

    package static func == (a: Self, b: Self) -> Bool {
        a.name == b.name && a.partitions == b.partitions && a.replicationFactor == b.replicationFactor
            && a.configs.elementsEqual(b.configs) { $0 == $1 }
    }
}

/// A config of a topic that differs from the cluster's default.
package struct TopicConfig: Equatable, Sendable {
    package var name: String
    package var value: String?
}

package struct ClusterDescription: Equatable, Sendable {
    package struct Node: Equatable, Sendable {
        package var id: NodeID
        package var endpoint: Endpoint
        package var rack: String?
        package var isFenced: Bool
    }

    package struct QuorumReplica: Equatable, Sendable {
        package var id: NodeID
        package var directoryID: UUID128
        package var logEndOffset: Offset
        package var isVoter: Bool
    }

    package var clusterID: String
    package var nodes: [Node]
    /// The leader of the metadata quorum.
    package var controller: NodeID?
    package var controllerEpoch: LeaderEpoch
    package var metadataHighWatermark: Offset
    package var quorum: [QuorumReplica]
    package var topicCount: Int
    package var partitionCount: Int
    package var underReplicatedCount: Int
    package var offlineCount: Int

    package var registeredCount: Int { nodes.filter { !$0.isFenced }.count }

    /// There is a controller, no node is fenced, every partition has a leader and all its replicas in sync.
    package var isHealthy: Bool {
        controller != nil && !nodes.isEmpty && registeredCount == nodes.count && underReplicatedCount == 0
            && offlineCount == 0
    }
}

extension ClusterClient {
    /// Creates a topic. Returns its partition count and replication factor, −1 where the node does not say.
    @discardableResult
    package func createTopic(_ new: NewTopic) async throws -> (partitions: Int32, replicationFactor: Int16) {
        var topic = CreateTopicsRequest.Topic()
        topic.name = new.name
        topic.numPartitions = new.partitions
        topic.replicationFactor = new.replicationFactor
        topic.configs = new.configs.map { pair in
            var config = CreateTopicsRequest.Config()
            config.name = pair.name
            config.value = pair.value
            return config
        }
        var request = CreateTopicsRequest()
        request.topics = [topic]
        request.timeoutMs = Int32(clamping: configuration.requestTimeoutMs)
        let (what, sent) = ("create topic \(new.name)", request)
        return try await retrying(what) {
            let response = try await askController(sent)
            let answer = response.topics.first
            let code = answer?.errorCode ?? .unknownServerError
            guard let answer, code == .none else { throw await refused(what, code, answer?.errorMessage) }
            return (answer.numPartitions, answer.replicationFactor)
        }
    }

    package func deleteTopic(_ name: String) async throws {
        var request = DeleteTopicsRequest()
        request.topicNames = [name]
        request.timeoutMs = Int32(clamping: configuration.requestTimeoutMs)
        let (what, sent) = ("delete topic \(name)", request)
        try await retrying(what) {
            let answer = try await askController(sent, maxVersion: 5).topics.first
            let code = answer?.errorCode ?? .unknownServerError
            if code == .unknownTopicOrPartition { throw ClientError.noSuchTopic(name) }
            guard code == .none else { throw await refused(what, code, answer?.errorMessage) }
        }
    }

    /// All topics by name.
    package func topics() async throws -> [ClusterView.Topic] {
        try await retrying("list topics") {
            let names = try await refreshMetadata(of: nil).topics.compactMap(\.name)
            return names.sorted().compactMap { view.topics[$0] }
        }
    }

    /// The configs of a topic that were set on it.
    package func configs(ofTopic name: String) async throws -> [TopicConfig] {
        var resource = DescribeConfigsRequest.Resource()
        resource.resourceType = 2
        resource.resourceName = name
        var request = DescribeConfigsRequest()
        request.resources = [resource]
        let (what, sent) = ("describe the configs of \(name)", request)
        return try await retrying(what) {
            let answer = try await ask(sent).results.first
            let code = answer?.errorCode ?? .unknownServerError
            guard let answer, code == .none else {
                throw ClientError.refused(what: what, code, message: answer?.errorMessage)
            }
            // Source 1: set on the topic itself.
            return answer.configs.filter { $0.configSource == 1 }.map { TopicConfig(name: $0.name, value: $0.value) }
        }
    }

    /// One look at the whole cluster. Throws the first error rather than waiting for a better time.
    package func describeCluster() async throws -> ClusterDescription {
        let metadata = try await refreshMetadata(of: nil)
        var request = DescribeClusterRequest()
        request.includeFencedBrokers = true
        let cluster = try await ask(request)
        guard cluster.errorCode == .none else {
            throw ClientError.refused(what: "describe the cluster", cluster.errorCode, message: cluster.errorMessage)
        }
        let quorum = try await describeQuorum()
        let partitions = metadata.topics.flatMap(\.partitions)
        return ClusterDescription(
            clusterID: cluster.clusterID,
            nodes: cluster.brokers.map { broker in
                ClusterDescription.Node(
                    id: broker.brokerID, endpoint: Endpoint(host: broker.host, port: UInt16(clamping: broker.port)),
                    rack: broker.rack, isFenced: broker.isFenced)
            }.sorted { $0.id < $1.id },
            controller: quorum.map(\.leaderID).flatMap { $0 >= 0 ? $0 : nil },
            controllerEpoch: quorum?.leaderEpoch ?? -1, metadataHighWatermark: quorum?.highWatermark ?? -1,
            quorum: (quorum?.currentVoters ?? []).map { Self.replica($0, isVoter: true) }
                + (quorum?.observers ?? []).map { Self.replica($0, isVoter: false) },
            topicCount: metadata.topics.count, partitionCount: partitions.count,
            underReplicatedCount: partitions.filter { $0.isrNodes.count < $0.replicaNodes.count }.count,
            offlineCount: partitions.filter { $0.leaderID < 0 }.count)
    }

    /// The quorum as its leader sees it; nil while there is none.
    private func describeQuorum() async throws -> DescribeQuorumResponse.Partition? {
        var topic = DescribeQuorumRequest.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [DescribeQuorumRequest.Partition()]
        var request = DescribeQuorumRequest()
        request.topics = [topic]
        let response = try await askController(request)
        let answer = response.topics.first?.partitions.first
        let code = response.errorCode == .none ? answer?.errorCode ?? .unknownServerError : response.errorCode
        if code == .none { return answer }
        if code.isRetriable { return nil }
        throw ClientError.refused(what: "describe the quorum", code, message: response.errorMessage)
    }

    private static func replica(
        _ replica: DescribeQuorumResponse.Replica, isVoter: Bool
    ) -> ClusterDescription.QuorumReplica {
        ClusterDescription.QuorumReplica(
            id: replica.replicaID, directoryID: replica.replicaDirectoryID, logEndOffset: replica.logEndOffset,
            isVoter: isVoter)
    }

    /// To the node that metadata names as controller, which Kafka lets be any node that forwards; to any when unknown.
    private func askController<R: WireRequest>(_ request: R, maxVersion: Int16 = .max) async throws -> R.Response {
        if view.controllerID == nil { try await refreshMetadata(of: []) }
        do {
            return try await ask(request, of: view.controllerID, maxVersion: maxVersion)
        } catch let error as ClientError where error.isRetriable {
            try await refreshMetadata(of: [])
            throw error
        }
    }

    private func refused(_ what: String, _ code: ErrorCode, _ message: String?) async -> ClientError {
        if code == .notController { _ = try? await refreshMetadata(of: []) }
        return .refused(what: what, code, message: message)
    }
}
