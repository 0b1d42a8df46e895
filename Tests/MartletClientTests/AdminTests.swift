// The admin half of the client: what it asks of whom, what it makes of the answers, and the verdict on a cluster.

import MartletClient
import Model
import NIOConcurrencyHelpers
import NIOCore
import Testing
import Wire

private func impatient(patienceMs: Int64 = 600_000) -> ClientConfiguration {
    var configuration = ClientConfiguration()
    configuration.patienceMs = patienceMs
    configuration.newTopicPatienceMs = 0
    configuration.retryPauseMs = 1...5
    return configuration
}

/// ApiVersions of a node that serves Metadata and `keys`, all versions of this build.
private func serves(_ keys: [(APIKey, ClosedRange<Int16>)], _ header: RequestHeader) -> FakeBroker.Answer {
    var response = ApiVersionsResponse()
    response.apiKeys = (keys + [(.metadata, MetadataRequest.versions)]).map { key, versions in
        var entry = ApiVersionsResponse.ApiVersion()
        entry.apiKey = key
        entry.minVersion = versions.lowerBound
        entry.maxVersion = versions.upperBound
        return entry
    }
    return answer(response, to: ApiVersionsRequest.self, header)
}

/// A node that answers ApiVersions, Metadata that names itself as node 1, and one more API by `reply`.
private func node<R: WireRequest>(
    serving _: R.Type, topic: String = "t", reply: @escaping @Sendable (R) -> R.Response?
) async throws -> FakeBroker {
    let own = NIOLockedValueBox<Endpoint?>(nil)
    let broker = try await FakeBroker { header, body in
        var body = body
        switch header.api {
        case .apiVersions: return serves([(R.api, R.versions)], header)
        case .metadata:
            let endpoints = own.withLockedValue { $0 }.map { [$0] } ?? []
            return answer(metadata(endpoints, topic: topic, leader: 1), to: MetadataRequest.self, header)
        default:
            guard let request = try? wireDecode(R.self, from: &body, version: header.version),
                let response = reply(request)
            else { return .hangUp }
            return answer(response, to: R.self, header)
        }
    }
    own.withLockedValue { $0 = broker.endpoint }
    return broker
}

@Suite struct AdminTests {
    @Test func describesAClusterByItsMetadataWhereDescribeClusterIsNotServed() async throws {
        let broker = try await node(serving: CreateTopicsRequest.self) { _ in nil }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        let cluster = try await client.describeCluster()
        #expect(cluster.nodes == [ClusterDescription.Node(id: 1, address: broker.endpoint)])
        #expect(cluster.controller == 1)
        await #expect(throws: ClientError.unsupported("DescribeQuorum", broker.endpoint)) {
            _ = try await client.describeQuorum()
        }
        // The controller that such a cluster names is believed.
        let health = try await client.health()
        #expect(health.hasController && health.isHealthy)
        await client.close()
        try await broker.stop()
    }

    @Test func tellsTheLagOfEachVoterAndLeavesOutWhatIsNotKnown() async throws {
        let broker = try await node(serving: DescribeQuorumRequest.self) { request in
            #expect(request.topics.map(\.name) == ["__cluster_metadata"])
            var partition = DescribeQuorumResponse.Partition()
            (partition.leaderID, partition.leaderEpoch, partition.highWatermark) = (2, 7, 90)
            partition.currentVoters = [(Int32(3), Int64(-1)), (2, 100), (1, 60)].map { id, end in
                var replica = DescribeQuorumResponse.Replica()
                (replica.replicaID, replica.logEndOffset) = (id, end)
                return replica
            }
            var topic = DescribeQuorumResponse.Topic()
            topic.partitions = [partition]
            var response = DescribeQuorumResponse()
            response.topics = [topic]
            return response
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        let quorum = try #require(try await client.describeQuorum())
        #expect((quorum.leader, quorum.leaderEpoch, quorum.highWatermark) == (2, 7, 90))
        #expect(quorum.voters.map(\.nodeID) == [1, 2, 3])
        #expect(quorum.voters.map(\.lag) == [40, 0, nil])
        #expect(quorum.voters.allSatisfy { $0.lastFetchTimestampMs == nil && $0.directoryID == nil })
        await client.close()
        try await broker.stop()
    }

    @Test func aQuorumWithoutALeaderIsNil() async throws {
        let broker = try await node(serving: DescribeQuorumRequest.self) { _ in
            var response = DescribeQuorumResponse()
            response.errorCode = .notLeaderOrFollower
            return response
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        #expect(try await client.describeQuorum() == nil)
        await client.close()
        try await broker.stop()
    }

    @Test func aTopicThatTheControllerDoesNotKnowIsToldAtOnce() async throws {
        let asked = NIOLockedValueBox(0)
        let broker = try await node(serving: DeleteTopicsRequest.self) { request in
            asked.withLockedValue { $0 += 1 }
            var topic = DeleteTopicsResponse.Topic()
            topic.name = request.topicNames.first
            topic.errorCode = .unknownTopicOrPartition
            var response = DeleteTopicsResponse()
            response.topics = [topic]
            return response
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        await #expect(throws: ClientError.noSuchTopic("gone")) { try await client.deleteTopic("gone") }
        #expect(asked.withLockedValue { $0 } == 1)
        await client.close()
        try await broker.stop()
    }

    @Test func createPartitionsIsTriedAgainWhileTheControllerMoves() async throws {
        let counts = NIOLockedValueBox<[Int32]>([])
        let broker = try await node(serving: CreatePartitionsRequest.self) { request in
            let attempt = counts.withLockedValue { counts in
                counts.append(request.topics.first?.count ?? 0)
                return counts.count
            }
            var result = CreatePartitionsResponse.TopicResult()
            result.name = "t"
            result.errorCode = attempt < 3 ? .notController : .none
            var response = CreatePartitionsResponse()
            response.results = [result]
            return response
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        try await client.createPartitions(of: "t", total: 5)
        #expect(counts.withLockedValue { $0 } == [5, 5, 5])
        await client.close()
        try await broker.stop()
    }

    @Test func configsCarryTheirSource() async throws {
        let broker = try await node(serving: DescribeConfigsRequest.self) { request in
            var response = DescribeConfigsResponse()
            response.results = request.resources.map { resource in
                var result = DescribeConfigsResponse.ResourceResult()
                (result.resourceType, result.resourceName) = (resource.resourceType, resource.resourceName)
                result.configs = [("z", Int8(5)), ("a", 1), ("m", 3), ("n", 4), ("o", 42)].map { name, source in
                    var config = DescribeConfigsResponse.Config()
                    (config.name, config.value, config.configSource) = (name, "v", source)
                    config.isSensitive = name == "n"
                    return config
                }
                return result
            }
            return response
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        let entries = try await client.configs(of: .topic("t"))
        #expect(entries.map(\.name) == ["a", "m", "n", "o", "z"])
        #expect(entries.map(\.source) == [.topic, .dynamicDefault, .staticBroker, .other(42), .builtIn])
        #expect(entries.map(\.value) == ["v", "v", nil, "v", "v"])
        let both = try await client.configs(of: [.broker(1), .topic("t"), .brokerDefaults])
        #expect(Set(both.keys) == [.broker(1), .topic("t"), .brokerDefaults])
        await client.close()
        try await broker.stop()
    }

    @Test func changesOfConfigsAreSentAsTheyAreMeantAndRefusalsComeWithTheirSentence() async throws {
        let seen = NIOLockedValueBox<[String]>([])
        let broker = try await node(serving: IncrementalAlterConfigsRequest.self) { request in
            let resource = request.resources.first
            seen.withLockedValue { seen in
                for config in resource?.configs ?? [] {
                    seen.append("\(config.name) \(config.configOperation) \(config.value ?? "-")")
                }
            }
            var answer = IncrementalAlterConfigsResponse.ResourceResponse()
            answer.errorCode = request.validateOnly ? .invalidConfig : .none
            answer.errorMessage = request.validateOnly ? "soon is no number" : nil
            var response = IncrementalAlterConfigsResponse()
            response.responses = [answer]
            return response
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        try await client.alterConfigs(of: .topic("t"), [.set("segment.ms", to: "5"), .delete("flush.ms")])
        #expect(seen.withLockedValue { $0 } == ["segment.ms 0 5", "flush.ms 1 -"])
        await #expect {
            try await client.alterConfigs(of: .topic("t"), [.set("segment.ms", to: "soon")], validateOnly: true)
        } throws: {
            "\($0)" == "cannot change the configs of topic t: INVALID_CONFIG (soon is no number)"
        }
        await client.close()
        try await broker.stop()
    }

    @Test func offsetsAreAskedOfTheLeaderUntilItIsOne() async throws {
        let timestamps = NIOLockedValueBox<[Int64]>([])
        let broker = try await node(serving: ListOffsetsRequest.self) { request in
            let entry = request.topics.first?.partitions.first ?? ListOffsetsRequest.Partition()
            let attempt = timestamps.withLockedValue { timestamps in
                timestamps.append(entry.timestamp)
                return timestamps.count
            }
            var partition = ListOffsetsResponse.Partition()
            partition.errorCode = attempt == 1 ? .notLeaderOrFollower : .none
            partition.offset = entry.timestamp == -2 ? 12 : -1
            var topic = ListOffsetsResponse.Topic()
            topic.name = "t"
            topic.partitions = [partition]
            var response = ListOffsetsResponse()
            response.topics = [topic]
            return response
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient())
        let earliest = try await client.offsets(of: "t", at: .earliest)
        #expect(earliest.map(\.partition) == [0])
        #expect(earliest.map(\.offset) == [12])
        // Nothing is that young.
        let young = try await client.offsets(of: "t", at: .timestamp(ms: 99), partitions: [0])
        #expect(young.map(\.offset) == [nil])
        #expect(timestamps.withLockedValue { $0 } == [-2, -2, 99])
        await #expect(throws: ClientError.noSuchPartition(topic: "t", 4, count: 1)) {
            _ = try await client.offsets(of: "t", partitions: [4])
        }
        await client.close()
        try await broker.stop()
    }
}

@Suite struct ClusterHealthTests {
    private let three = ClusterDescription(
        clusterID: "c",
        nodes: [1, 2, 3].map {
            ClusterDescription.Node(id: $0, address: BrokerAddress(host: "h\($0)", port: 9092), isFenced: $0 == 3)
        }, controller: 1)

    private func partition(_ index: Int32, leader: Int32?, isr: [Int32]) -> PartitionDescription {
        PartitionDescription(index: index, leader: leader, replicas: [1, 2, 3], inSyncReplicas: isr)
    }

    @Test func namesTheWorstFirst() {
        let topics = [
            TopicDescription(
                name: "a",
                partitions: [
                    partition(0, leader: 2, isr: [1, 2, 3]), partition(1, leader: 1, isr: [1, 2]),
                    partition(2, leader: 1, isr: [1]), partition(3, leader: 1, isr: [1, 2, 3]),
                ]),
            TopicDescription(name: "b", partitions: [partition(0, leader: nil, isr: [])]),
        ]
        let health = ClusterHealth(
            cluster: three, quorum: nil, hasQuorum: false, topics: topics, minInSyncReplicas: ["a": 2])
        #expect(health.findings.map { "\($0.topic)-\($0.partition.index)" } == ["b-0", "a-2", "a-1", "a-0"])
        #expect(health.findings.map { $0.troubles[0] } == [.offline, .belowMinInSync, .underReplicated, .leaderAway])
        #expect(health.count(of: .underReplicated) == 3 && health.partitionCount == 5)
        #expect(health.fencedNodes == [3] && !health.isHealthy && !health.isBalanced)
    }

    @Test func aLeaderAwayIsNoIllness() {
        var cluster = three
        cluster.nodes[2].isFenced = false
        let topics = [TopicDescription(name: "a", partitions: [partition(0, leader: 2, isr: [1, 2, 3])])]
        let health = ClusterHealth(
            cluster: cluster, quorum: nil, hasQuorum: false, topics: topics, minInSyncReplicas: [:])
        #expect(health.isHealthy && !health.isBalanced)
        #expect(
            !ClusterHealth(
                cluster: cluster, quorum: nil, hasQuorum: true, topics: topics, minInSyncReplicas: [:]
            ).isHealthy)
    }

    @Test func aNodeThatHoldsReplicasAndIsNotListedIsMissing() {
        var cluster = three
        cluster.nodes = [cluster.nodes[0]]
        let topics = [TopicDescription(name: "a", partitions: [partition(0, leader: 1, isr: [1, 2, 3])])]
        let health = ClusterHealth(
            cluster: cluster, quorum: nil, hasQuorum: false, topics: topics, minInSyncReplicas: [:])
        #expect(health.missingNodes == [2, 3] && !health.isHealthy)
    }
}
