// The cluster itself: who is in it, who controls it, and how it fares.

import Model
import Wire

extension ClusterClient {
    /// The members of the cluster, as one node knows them now. One attempt, without waiting for a better time.
    ///
    /// A node that does not serve DescribeCluster (before Kafka 2.8) is asked for its metadata instead.
    /// - Throws: `ClientError`.
    public func describeCluster() async throws -> ClusterDescription {
        let metadata = try await refreshMetadata(of: [])
        var request = DescribeClusterRequest()
        request.includeFencedBrokers = true
        let answer: DescribeClusterResponse
        do {
            answer = try await ask(request)
        } catch let error as ClientError where error.isUnsupported {
            return ClusterDescription(
                clusterID: metadata.clusterID,
                nodes: metadata.brokers.map { broker in
                    ClusterDescription.Node(
                        id: broker.nodeID, address: Endpoint(host: broker.host, port: UInt16(clamping: broker.port)),
                        rack: broker.rack)
                }.sorted { $0.id < $1.id },
                controller: metadata.controllerID.unlessNegative)
        }
        guard answer.errorCode == .none else {
            throw ClientError.refused(what: "describe the cluster", answer.errorCode, message: answer.errorMessage)
        }
        return ClusterDescription(
            clusterID: answer.clusterID.isEmpty ? nil : answer.clusterID,
            nodes: answer.brokers.map { broker in
                ClusterDescription.Node(
                    id: broker.brokerID, address: Endpoint(host: broker.host, port: UInt16(clamping: broker.port)),
                    rack: broker.rack, isFenced: broker.isFenced)
            }.sorted { $0.id < $1.id },
            controller: answer.controllerID.unlessNegative)
    }

    /// The metadata quorum as its leader sees it; nil while it has none. One attempt, without waiting for a better
    /// time.
    /// - Throws: `ClientError`; `unsupported` from a cluster that has no quorum of its own (ZooKeeper).
    public func describeQuorum() async throws -> QuorumDescription? {
        var topic = DescribeQuorumRequest.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [DescribeQuorumRequest.Partition()]
        var request = DescribeQuorumRequest()
        request.topics = [topic]
        let response: DescribeQuorumResponse
        do {
            response = try await askController(request)
        } catch let error as ClientError where error.isRetriable {
            // The controller that was named may have just died; any node forwards to the next one.
            response = try await ask(request)
        }
        let answer = response.topics.first?.partitions.first
        let code = response.errorCode == .none ? answer?.errorCode ?? .unknownServerError : response.errorCode
        if code == .none { return answer.flatMap { QuorumDescription($0) } }
        if code.isRetriable { return nil }
        throw ClientError.refused(what: "describe the quorum", code, message: response.errorMessage)
    }

    /// How the cluster fares now: what is offline, below `min.insync.replicas`, under-replicated or led from elsewhere,
    /// and which nodes are away. One look, without waiting for a better time.
    /// - Throws: `ClientError` when no node can be asked.
    public func health() async throws -> ClusterHealth {
        let cluster = try await describeCluster()
        var quorum: QuorumDescription?
        var hasQuorum = true
        do {
            quorum = try await describeQuorum()
        } catch let error as ClientError where error.isUnsupported {
            hasQuorum = false
        }
        let topics = try await refreshMetadata(of: nil).topics.compactMap { TopicDescription($0) }
        return ClusterHealth(
            cluster: cluster, quorum: quorum, hasQuorum: hasQuorum, topics: topics.sorted { $0.name < $1.name },
            minInSyncReplicas: await minInSyncReplicas(of: topics))
    }

    /// `min.insync.replicas` by topic, for those that tell it. Topics come and go, so what fails is left out.
    private func minInSyncReplicas(of topics: [TopicDescription]) async -> [String: Int] {
        // Where every replica is in sync nothing can be missing.
        let asked = topics.filter { $0.partitions.contains(where: \.isUnderReplicated) }
        guard !asked.isEmpty else { return [:] }
        let key = "min.insync.replicas"
        var found: [String: Int] = [:]
        let answers = try? await configs(of: asked.map { .topic($0.name) }, named: [key])
        for (resource, entries) in answers ?? [:] {
            guard case .topic(let name) = resource, let text = entries.first(where: { $0.name == key })?.value else {
                continue
            }
            found[name] = Int(text)
        }
        return found
    }
}

extension ClientError {
    var isUnsupported: Bool {
        switch self {
        case .unsupported: true
        default: false
        }
    }
}
