// The group consumer over sockets: what its user gets, what is committed of it and when, and how membership ends.

import MartletClient
import Model
import NIOConcurrencyHelpers
import NIOCore
import Testing
import Wire

private let t0 = TopicPartition("t", 0)

/// A node that holds the log of t-0 and coordinates a group of one member.
private final class FakeCoordinator: Sendable {
    let log = FakeLog(end: 25)
    let state: NIOLockedValueBox<FakeGroup>
    /// What every heartbeat is refused with.
    let refusal = NIOLockedValueBox<ErrorCode?>(nil)

    init() {
        var group = FakeGroup()
        group.topics = [GroupMachine.KnownTopic(name: "t", id: UUID128(high: 7, low: 7), partitions: 1)]
        group.target = [t0]
        group.heartbeatIntervalMs = 10
        state = NIOLockedValueBox(group)
    }

    var group: FakeGroup { state.withLockedValue { $0 } }
    var commits: [Offset] { state.withLockedValue { $0.commits.map(\.offset) } }

    var script: FakeCluster.Script {
        { cluster, node, header, body in
            switch header.api {
            case .findCoordinator:
                let endpoint = cluster.state.withLockedValue { $0.endpoints[0] }
                var coordinator = FindCoordinatorResponse.Coordinator()
                (coordinator.key, coordinator.nodeID) = ("g", 1)
                (coordinator.host, coordinator.port) = (endpoint.host, Int32(endpoint.port))
                var response = FindCoordinatorResponse()
                response.coordinators = [coordinator]
                return answer(response, to: FindCoordinatorRequest.self, header)
            case .joinGroup: return self.answered(JoinGroupRequest.self, header, body) { .join($0) }
            case .syncGroup: return self.answered(SyncGroupRequest.self, header, body) { .sync($0) }
            case .heartbeat: return self.answered(HeartbeatRequest.self, header, body) { .heartbeat($0) }
            case .leaveGroup: return self.answered(LeaveGroupRequest.self, header, body) { .leave($0) }
            case .offsetCommit: return self.answered(OffsetCommitRequest.self, header, body) { .commit($0) }
            case .offsetFetch: return self.answered(OffsetFetchRequest.self, header, body) { .fetchOffsets($0) }
            case .consumerGroupHeartbeat:
                return self.answered(ConsumerGroupHeartbeatRequest.self, header, body) { .consumerHeartbeat($0) }
            default: return self.log.script(cluster, node, header, body)
            }
        }
    }

    private func answered<R: WireRequest>(
        _: R.Type, _ header: RequestHeader, _ body: ByteBuffer, _ call: (R) -> GroupMachine.Call
    ) -> FakeBroker.Answer {
        var body = body
        guard let request = try? wireDecode(R.self, from: &body, version: header.version) else { return .hangUp }
        let asked = call(request)
        var said = state.withLockedValue { $0.answer(asked) }
        if let code = refusal.withLockedValue({ $0 }) {
            switch asked {
            case .heartbeat, .consumerHeartbeat: said = asked.refused(code)
            default: break
            }
        }
        guard let response = said.response as? R.Response else { return .hangUp }
        return answer(response, to: R.self, header)
    }
}

extension GroupMachine.Answer {
    fileprivate var response: any WireMessage {
        switch self {
        case .join(let response): response
        case .sync(let response): response
        case .heartbeat(let response): response
        case .consumerHeartbeat(let response): response
        case .leave(let response): response
        case .commit(let response): response
        case .fetchOffsets(let response): response
        }
    }
}

private struct Member: Sendable {
    let coordinator = FakeCoordinator()
    let cluster: FakeCluster
    let client: ClusterClient
    let consumer: GroupConsumer
    let changes = NIOLockedValueBox<[AssignmentChange]>([])

    init(
        _ groupProtocol: GroupProtocol, _ change: (inout GroupConsumerConfiguration) -> Void = { _ in },
        onChange: @escaping @Sendable (GroupConsumer, AssignmentChange) async -> Void = { _, _ in }
    ) async throws {
        cluster = try await FakeCluster.start(coordinator.script)
        client = cluster.client()
        var configuration = GroupConsumerConfiguration()
        configuration.groupProtocol = groupProtocol
        configuration.offsetReset = .earliest
        configuration.heartbeatIntervalMs = 10
        configuration.autoCommitIntervalMs = 10
        configuration.retryPauseMs = 1...2
        configuration.consumer.retryPauseMs = 1...2
        change(&configuration)
        let made = NIOLockedValueBox<GroupConsumer?>(nil)
        consumer = GroupConsumer(client, group: "g", topics: ["t"], configuration: configuration) { [changes] change in
            // It may be told before it is known here.
            while made.withLockedValue({ $0 == nil }) { await Task.yield() }
            if let consumer = made.withLockedValue({ $0 }) { await onChange(consumer, change) }
            changes.withLockedValue { $0.append(change) }
        }
        made.withLockedValue { $0 = consumer }
    }

    func end() async throws {
        await consumer.close()
        await client.close()
        try await cluster.stop()
    }
}

@Suite(.timeLimit(.minutes(1))) struct GroupSocketTests {
    static let protocols = [GroupProtocol.classic, .nextGeneration]

    @Test(arguments: protocols) func whatTheReaderHoldsIsNotCommittedBeforeItComesBack(by way: GroupProtocol)
        async throws
    {
        let member = try await Member(way)
        #expect(try await member.consumer.next()?.offset == 0)
        #expect(try await member.consumer.next()?.offset == 1)
        try await until { member.coordinator.commits.last == 1 }
        // Commits go on, and do not say more.
        let heartbeats = member.coordinator.group.heartbeats
        try await until { member.coordinator.group.heartbeats > heartbeats + 5 }
        #expect(member.coordinator.commits.last == 1)
        #expect(try await member.consumer.nextBatch().count == 8)
        try await until { member.coordinator.commits.last == 2 }
        await member.consumer.close()
        #expect(member.coordinator.commits.last == 10)
        #expect(member.coordinator.group.left)
        #expect(try await member.consumer.next() == nil)
        #expect(member.changes.withLockedValue { $0 } == [.assigned([t0]), .revoked([t0])])
        try await member.end()
    }

    @Test(arguments: protocols) func whatCouldNotBeDealtWithIsNotCommittedByClosing(by way: GroupProtocol) async throws
    {
        let member = try await Member(way) { $0.autoCommitIntervalMs = 60_000 }
        #expect(try await member.consumer.nextBatch(countMax: 4).count == 4)
        #expect(try await member.consumer.nextBatch(countMax: 4).count == 4)
        await member.consumer.close(dealtWithAll: false)
        #expect(member.coordinator.commits == [4])
        try await member.end()
    }

    @Test(arguments: protocols) func commitsOnDemandSayWhatTheyAreTold(by way: GroupProtocol) async throws {
        let member = try await Member(way) { $0.autoCommitIntervalMs = nil }
        #expect(try await member.consumer.next()?.offset == 0)
        try await member.consumer.commit()
        #expect(member.coordinator.commits == [1])
        try await member.consumer.commit([t0: OffsetAndMetadata(7, leaderEpoch: 1, metadata: "seven")])
        #expect(member.coordinator.commits == [1, 7])
        await member.consumer.close()
        #expect(member.coordinator.commits == [1, 7], "nothing else is committed")
        await #expect(throws: ClientError.closed) { try await member.consumer.commit() }
        try await member.end()
    }

    @Test(arguments: protocols) func aPartitionGoesWhenTheReaderHasComeBack(by way: GroupProtocol) async throws {
        let member = try await Member(way) { $0.assignors = [.range] }
        #expect(try await member.consumer.next()?.offset == 0)
        let before = member.coordinator.group.heartbeats
        member.coordinator.state.withLockedValue { group in
            group.target = []
            group.rebalances = true
        }
        try await until { member.coordinator.group.heartbeats > before + 5 }
        #expect(member.changes.withLockedValue { $0 } == [.assigned([t0])])
        let read = Task { try await member.consumer.next() }
        try await until { member.changes.withLockedValue { $0.contains(.revoked([t0])) } }
        try await until { member.coordinator.commits.last == 1 }
        if way == .nextGeneration { try await until { member.coordinator.group.owned == [] } }
        read.cancel()
        _ = try await read.value
        try await member.end()
    }

    @Test(arguments: protocols) func aFencedInstanceIsToldToTheReader(by way: GroupProtocol) async throws {
        let member = try await Member(way)
        #expect(try await member.consumer.next()?.offset == 0)
        member.coordinator.refusal.withLockedValue { $0 = .fencedInstanceId }
        await #expect(throws: ClientError.self) { while try await member.consumer.nextBatch().count >= 0 {} }
        do {
            _ = try await member.consumer.next()
            Issue.record("no error")
        } catch let error as ClientError {
            #expect("\(error)".contains("FENCED_INSTANCE_ID"))
        }
        try await until { member.changes.withLockedValue { $0.contains(.lost([t0])) } }
        try await member.end()
    }

    @Test func aPartitionWithoutAnOffsetIsAnErrorWhereThatIsWanted() async throws {
        let member = try await Member(.nextGeneration) { $0.offsetReset = .none }
        await #expect(throws: ClientError.noCommittedOffset(group: "g", topic: "t", 0)) {
            try await member.consumer.next()
        }
        member.consumer.seek(t0, to: .offset(3))
        #expect(try await member.consumer.next()?.offset == 3)
        try await member.end()
    }

    @Test(arguments: protocols) func whoSeeksBackInWhatIsGivenUpHasNotDealtWithIt(by way: GroupProtocol) async throws {
        let member = try await Member(way) { $0.assignors = [.range] }
        #expect(try await member.consumer.next()?.offset == 0)
        let before = member.coordinator.group.heartbeats
        member.coordinator.state.withLockedValue { ($0.target, $0.rebalances) = ([], true) }
        try await until { member.coordinator.group.heartbeats > before + 5 }
        #expect(member.consumer.assignment == [])
        member.consumer.seek(t0, to: .offset(0))
        let read = Task { try await member.consumer.next() }
        try await until { member.changes.withLockedValue { $0.contains(.revoked([t0])) } }
        let heartbeats = member.coordinator.group.heartbeats
        try await until { member.coordinator.group.heartbeats > heartbeats + 5 }
        #expect(member.coordinator.commits.allSatisfy { $0 == 0 })
        read.cancel()
        _ = try await read.value
        try await member.end()
    }

    /// A log that is shorter than what is held: what comes instead is not skipped by the next reader.
    @Test(arguments: protocols) func nothingBehindTheReadersPlaceIsCommitted(by way: GroupProtocol) async throws {
        let member = try await Member(way)
        #expect(try await member.consumer.nextBatch().count == 10)
        #expect(try await member.consumer.nextBatch().first?.offset == 10)
        try await until { member.coordinator.commits.last == 10 }
        member.coordinator.log.grow(to: 5)
        try await until { member.coordinator.commits.last == 0 }
        try await member.end()
    }

    @Test(arguments: protocols) func theEpochOfWhatHoldsNoRecordsIsCommitted(by way: GroupProtocol) async throws {
        let member = try await Member(way) { $0.autoCommitIntervalMs = nil }
        member.coordinator.log.endWithMarker(of: 3)
        var read = 0
        while read < 24 { read += try await member.consumer.nextBatch().count }
        try await member.consumer.commit()
        #expect(member.coordinator.commits == [25] && member.coordinator.group.commitEpochs == [3])
        try await member.end()
    }

    @Test(arguments: protocols) func aHandlerMayPauseWhatItIsAssigned(by way: GroupProtocol) async throws {
        let member = try await Member(
            way,
            onChange: { consumer, change in
                if change == .assigned([t0]) { consumer.pause(t0) }
            })
        try await until { member.changes.withLockedValue { $0 == [.assigned([t0])] } }
        let heartbeats = member.coordinator.group.heartbeats
        try await until { member.coordinator.group.heartbeats > heartbeats + 5 }
        #expect(member.coordinator.log.requests.isEmpty)
        member.consumer.resume(t0)
        #expect(try await member.consumer.next()?.offset == 0)
        try await member.end()
    }

    @Test(arguments: protocols) func whoLosesItsPlaceDoesNotWaitForTheReader(by way: GroupProtocol) async throws {
        let member = try await Member(way) { $0.assignors = [.range] }
        #expect(try await member.consumer.next()?.offset == 0)
        let before = member.coordinator.group.heartbeats
        member.coordinator.state.withLockedValue { ($0.target, $0.rebalances) = ([], true) }
        try await until { member.coordinator.group.heartbeats > before + 5 }
        #expect(member.changes.withLockedValue { $0 } == [.assigned([t0])])
        member.coordinator.state.withLockedValue { group in
            group.forget()
            group.target = [t0]
        }
        try await until { member.changes.withLockedValue { $0 == [.assigned([t0]), .lost([t0]), .assigned([t0])] } }
        try await member.end()
    }

    @Test func aClosedClientEndsReadingAndCommitting() async throws {
        let member = try await Member(.nextGeneration)
        #expect(try await member.consumer.next()?.offset == 0)
        await member.client.close()
        while try await member.consumer.nextBatch().isEmpty == false {}
        await #expect(throws: ClientError.closed) { try await member.consumer.commit() }
        try await member.end()
    }
}
