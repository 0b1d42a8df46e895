// Groups from outside over a socket: what the coordinator is asked, and what its answers mean.

import MartletClient
import Model
import NIOConcurrencyHelpers
import NIOCore
import Testing
import Wire

private let t0 = TopicPartition("t", 0)

/// A coordinator whose answers a test makes, by the request.
private func cluster(
    _ answers: @escaping @Sendable (RequestHeader, ByteBuffer) -> FakeBroker.Answer?
) async throws -> FakeCluster {
    try await FakeCluster.start { cluster, _, header, body in
        guard header.api == .findCoordinator else { return answers(header, body) }
        let endpoint = cluster.state.withLockedValue { $0.endpoints[0] }
        var coordinator = FindCoordinatorResponse.Coordinator()
        (coordinator.nodeID, coordinator.host, coordinator.port) = (1, endpoint.host, Int32(endpoint.port))
        var response = FindCoordinatorResponse()
        response.coordinators = [coordinator]
        return answer(response, to: FindCoordinatorRequest.self, header)
    }
}

@Suite(.timeLimit(.minutes(1))) struct GroupAdminTests {
    @Test func theCoordinatorIsFound() async throws {
        let cluster = try await cluster { _, _ in nil }
        let client = cluster.client()
        #expect(try await client.coordinator(of: "g").id == 1)
        await client.close()
        try await cluster.stop()
    }

    @Test(arguments: [ErrorCode.none, .groupSubscribedToTopic]) func offsetsAreForgotten(code: ErrorCode) async throws {
        let asked = NIOLockedValueBox<[OffsetDeleteRequest]>([])
        let cluster = try await cluster { header, body in
            var body = body
            guard header.api == .offsetDelete,
                let request = try? wireDecode(OffsetDeleteRequest.self, from: &body, version: header.version)
            else { return nil }
            asked.withLockedValue { $0.append(request) }
            var partition = OffsetDeleteResponse.Partition()
            partition.errorCode = code
            var topic = OffsetDeleteResponse.Topic()
            (topic.name, topic.partitions) = ("t", [partition])
            var response = OffsetDeleteResponse()
            response.topics = [topic]
            return answer(response, to: OffsetDeleteRequest.self, header)
        }
        let client = cluster.client()
        if code == .none {
            try await client.deleteOffsets(of: "g", [t0])
        } else {
            let refusal = ClientError.refused(what: "delete the offset of t-0 in group g", code, message: nil)
            await #expect(throws: refusal) { try await client.deleteOffsets(of: "g", [t0]) }
        }
        let request = try #require(asked.withLockedValue { $0.last })
        #expect(request.groupID == "g" && request.topics.map(\.name) == ["t"])
        #expect(request.topics.first?.partitions.map(\.partitionIndex) == [0])
        await client.close()
        try await cluster.stop()
    }

    @Test(arguments: [ErrorCode.unknownMemberId, .illegalGeneration])
    func offsetsOfAGroupInUseAreNotSet(code: ErrorCode) async throws {
        let cluster = try await cluster { header, body in
            var body = body
            guard header.api == .offsetCommit,
                let request = try? wireDecode(OffsetCommitRequest.self, from: &body, version: header.version),
                request.generationIDOrMemberEpoch == -1, request.memberID.isEmpty
            else { return nil }
            guard case .commit(let response) = GroupMachine.Call.commit(request).refused(code) else { return nil }
            return answer(response, to: OffsetCommitRequest.self, header)
        }
        let client = cluster.client()
        let refusal = ClientError.refused(what: "set the offset of t-0 in group g", .nonEmptyGroup, message: nil)
        await #expect(throws: refusal) { try await client.setOffsets(of: "g", [t0: OffsetAndMetadata(3)]) }
        await client.close()
        try await cluster.stop()
    }

    /// It decides, and is no coordinator any more when that is written.
    @Test(arguments: [ErrorCode.notCoordinator, .coordinatorLoadInProgress])
    func aGroupThatAnEarlierAttemptMayHaveDeleted(code: ErrorCode) async throws {
        let attempts = NIOLockedValueBox(0)
        let cluster = try await cluster { header, _ in
            guard header.api == .deleteGroups else { return nil }
            let attempt = attempts.withLockedValue { count in
                count += 1
                return count
            }
            var result = DeleteGroupsResponse.Result()
            (result.groupID, result.errorCode) = ("g", attempt == 1 ? code : .groupIdNotFound)
            var response = DeleteGroupsResponse()
            response.results = [result]
            return answer(response, to: DeleteGroupsRequest.self, header)
        }
        let client = cluster.client(patienceMs: 30_000)
        if code == .notCoordinator {
            try await client.deleteGroup("g")
        } else {
            // Who loads has done nothing.
            let refusal = ClientError.refused(what: "delete group g", .groupIdNotFound, message: nil)
            await #expect(throws: refusal) { try await client.deleteGroup("g") }
        }
        #expect(attempts.withLockedValue { $0 } == 2)
        await client.close()
        try await cluster.stop()
    }

    /// Before DescribeGroups 6 a group that is not there is a dead one, and old nodes know no other kind of group.
    @Test(arguments: ["Dead", "Empty"]) func aGroupOfAnOldCluster(state: String) async throws {
        let cluster = try await cluster { header, _ in
            guard header.api == .describeGroups else { return nil }
            var group = DescribeGroupsResponse.Group()
            (group.groupID, group.groupState, group.protocolType) = ("g", state, "consumer")
            var response = DescribeGroupsResponse()
            response.groups = [group]
            return answer(response, to: DescribeGroupsRequest.self, header)
        }
        let client = cluster.client()
        if state == "Dead" {
            let refusal = ClientError.refused(what: "describe group g", .groupIdNotFound, message: nil)
            await #expect(throws: refusal) { try await client.describeGroup("g") }
        } else {
            let group = try await client.describeGroup("g")
            #expect(group.state == state && group.groupProtocol == .classic && group.members.isEmpty)
            #expect(group.coordinator.id == 1)
        }
        await client.close()
        try await cluster.stop()
    }
}
