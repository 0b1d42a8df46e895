// Every request of this module, for what must be true of all: the header's version, ApiVersions' rows, the tests.

package struct RequestList: Sendable {
    package let types: [any WireRequest.Type]
    private let flexible: [Int16: Int16]

    fileprivate init(_ types: [any WireRequest.Type]) {
        self.types = types
        self.flexible = Dictionary(uniqueKeysWithValues: types.map { ($0.api.rawValue, $0.flexibleSince) })
    }

    /// The first flexible version of an API; nil for one that has no message here.
    package func flexibleSince(_ api: APIKey) -> Int16? { flexible[api.rawValue] }
}

/// In the order of their keys.
package let allRequests = RequestList([
    ProduceRequest.self,
    FetchRequest.self,
    ListOffsetsRequest.self,
    MetadataRequest.self,
    OffsetCommitRequest.self,
    OffsetFetchRequest.self,
    FindCoordinatorRequest.self,
    JoinGroupRequest.self,
    HeartbeatRequest.self,
    LeaveGroupRequest.self,
    SyncGroupRequest.self,
    DescribeGroupsRequest.self,
    ListGroupsRequest.self,
    ApiVersionsRequest.self,
    CreateTopicsRequest.self,
    DeleteTopicsRequest.self,
    DeleteRecordsRequest.self,
    InitProducerIDRequest.self,
    OffsetForLeaderEpochRequest.self,
    DescribeConfigsRequest.self,
    CreatePartitionsRequest.self,
    DeleteGroupsRequest.self,
    IncrementalAlterConfigsRequest.self,
    OffsetDeleteRequest.self,
    VoteRequest.self,
    BeginQuorumEpochRequest.self,
    EndQuorumEpochRequest.self,
    DescribeQuorumRequest.self,
    AlterPartitionRequest.self,
    EnvelopeRequest.self,
    FetchSnapshotRequest.self,
    DescribeClusterRequest.self,
    BrokerRegistrationRequest.self,
    BrokerHeartbeatRequest.self,
    AllocateProducerIDsRequest.self,
    ConsumerGroupHeartbeatRequest.self,
    ConsumerGroupDescribeRequest.self,
    AssignReplicasToDirsRequest.self,
    DescribeTopicPartitionsRequest.self,
    AddRaftVoterRequest.self,
    RemoveRaftVoterRequest.self,
    NodeHelloRequest.self,
    FormClusterRequest.self,
])
