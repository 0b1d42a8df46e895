// The index of what this node serves: one row per API. ApiVersions is computed from it, so nothing is advertised that
// is not here.

import Wire

struct Route {
    enum Scope {
        /// Anybody may ask; advertised in ApiVersions.
        case client
        /// Only nodes of the cluster: not advertised, and the handler demands a registered identity.
        case node
        /// Clients and nodes alike, by what the request says of its sender.
        case both
    }

    enum Place { case shard, control }

    let api: APIKey
    /// What is accepted.
    let versions: ClosedRange<Int16>
    /// The lowest version told to clients, where it differs (protocol.md §3.2 rule 7).
    let advertisedFrom: Int16
    let scope: Scope
    let place: Place

    init<M: WireRequest>(
        _ request: M.Type, _ scope: Scope, _ place: Place, versions: ClosedRange<Int16>? = nil,
        advertisedFrom: Int16? = nil
    ) {
        self.api = request.api
        self.versions = versions ?? request.versions
        self.advertisedFrom = advertisedFrom ?? self.versions.lowerBound
        self.scope = scope
        self.place = place
    }
}

enum Routes {
    static let all: [Route] = [
        Route(ProduceRequest.self, .client, .shard, advertisedFrom: 0),
        Route(FetchRequest.self, .both, .shard),
        Route(ListOffsetsRequest.self, .client, .shard),
        Route(MetadataRequest.self, .client, .shard),
        Route(OffsetCommitRequest.self, .client, .shard),
        Route(OffsetFetchRequest.self, .client, .shard),
        Route(FindCoordinatorRequest.self, .client, .shard),
        Route(JoinGroupRequest.self, .client, .shard),
        Route(HeartbeatRequest.self, .client, .shard),
        Route(LeaveGroupRequest.self, .client, .shard),
        Route(SyncGroupRequest.self, .client, .shard),
        Route(DescribeGroupsRequest.self, .client, .shard),
        Route(ListGroupsRequest.self, .client, .shard),
        Route(DeleteGroupsRequest.self, .client, .shard),
        Route(OffsetDeleteRequest.self, .client, .shard),
        Route(ConsumerGroupHeartbeatRequest.self, .client, .shard),
        Route(ConsumerGroupDescribeRequest.self, .client, .shard),
        Route(ApiVersionsRequest.self, .client, .shard),
        Route(CreateTopicsRequest.self, .client, .control),
        Route(DeleteTopicsRequest.self, .client, .control),
        Route(DeleteRecordsRequest.self, .client, .shard),
        Route(InitProducerIDRequest.self, .client, .control),
        Route(OffsetForLeaderEpochRequest.self, .client, .shard),
        Route(DescribeConfigsRequest.self, .client, .control),
        Route(CreatePartitionsRequest.self, .client, .control),
        Route(IncrementalAlterConfigsRequest.self, .client, .control),
        Route(DescribeQuorumRequest.self, .client, .control),
        Route(DescribeClusterRequest.self, .client, .shard),
        Route(DescribeTopicPartitionsRequest.self, .client, .shard),
        Route(VoteRequest.self, .node, .control),
        Route(BeginQuorumEpochRequest.self, .node, .control),
        Route(EndQuorumEpochRequest.self, .node, .control),
        Route(AlterPartitionRequest.self, .node, .control),
        Route(EnvelopeRequest.self, .node, .control),
        Route(FetchSnapshotRequest.self, .node, .control),
        Route(BrokerRegistrationRequest.self, .node, .control),
        Route(BrokerHeartbeatRequest.self, .node, .control),
        Route(AllocateProducerIDsRequest.self, .node, .control),
        Route(AssignReplicasToDirsRequest.self, .node, .control),
        Route(NodeHelloRequest.self, .node, .control),
        Route(FormClusterRequest.self, .node, .control),
    ]

    private static let byKey: [APIKey: Route] = Dictionary(uniqueKeysWithValues: all.map { ($0.api, $0) })

    static func route(_ api: APIKey) -> Route? { byKey[api] }

    /// What clients are told, by key.
    static func advertised() -> [ApiVersionsResponse.ApiVersion] {
        all.filter { $0.scope != .node }
            .sorted { $0.api < $1.api }
            .map { route in
                var version = ApiVersionsResponse.ApiVersion()
                version.apiKey = route.api
                version.minVersion = route.advertisedFrom
                version.maxVersion = route.versions.upperBound
                return version
            }
    }
}
