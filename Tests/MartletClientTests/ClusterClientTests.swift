// The client against nodes that are away, slow, old, or no longer the leader.

import MartletClient
import Model
import NIOConcurrencyHelpers
import NIOCore
import Records
import Testing
import Wire

private func impatient(patienceMs: Int64 = 0) -> ClientConfiguration {
    var configuration = ClientConfiguration()
    configuration.patienceMs = patienceMs
    configuration.newTopicPatienceMs = 0
    configuration.retryPauseMs = 1...5
    return configuration
}

@Suite struct ClusterClientTests {
    @Test func saysWhatToDoWhenNobodyAnswers() async throws {
        let broker = try await FakeBroker { header, _ in servesAll(header) }
        try await broker.stop()
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient(patienceMs: 60_000))
        await #expect {
            _ = try await client.topics()
        } throws: { error in
            "\(error)"
                == "no node answered at \(broker.endpoint) (connection refused): is the cluster started? make cluster"
        }
    }

    @Test func asksTheNextAddressWhenTheFirstIsDead() async throws {
        let dead = try await FakeBroker { header, _ in servesAll(header) }
        try await dead.stop()
        let alive = try await FakeBroker { header, _ in
            header.api == .apiVersions
                ? servesAll(header)
                : answer(metadata([dead.endpoint], topic: "t", leader: 1), to: MetadataRequest.self, header)
        }
        let client = ClusterClient(bootstrap: [dead.endpoint, alive.endpoint], configuration: impatient())
        #expect(try await client.topics().map(\.name) == ["t"])
        await client.close()
        try await alive.stop()
    }

    @Test func fallsBackWhenTheNodeDoesNotKnowOurApiVersions() async throws {
        let versions = NIOLockedValueBox<[Int16]>([])
        let broker = try await FakeBroker { header, _ in
            guard header.api == .apiVersions else {
                return answer(metadata([], topic: "t", leader: -1), to: MetadataRequest.self, header)
            }
            versions.withLockedValue { $0.append(header.version) }
            guard header.version > 1 else { return servesAll(header) }
            var refusal = ApiVersionsResponse()
            refusal.errorCode = .unsupportedVersion
            var own = ApiVersionsResponse.ApiVersion()
            own.apiKey = .apiVersions
            own.maxVersion = 1
            refusal.apiKeys = [own]
            return .frame(
                encodeResponseFrame(
                    refusal, to: ApiVersionsRequest.self, version: 0, correlationID: header.correlationID))
        }
        var configuration = impatient()
        configuration.requestTimeoutMs = 60_000
        let connection = try await BrokerConnection.open(broker.endpoint, configuration)
        #expect(connection.isOpen)
        #expect(versions.withLockedValue { $0 } == [3, 1])
        connection.close()
        try await broker.stop()
    }

    @Test func refusesAnApiThatTheNodeDoesNotServe() async throws {
        let broker = try await FakeBroker { header, _ in servesAll(header) }
        let connection = try await BrokerConnection.open(broker.endpoint, impatient())
        await #expect(throws: ClientError.unsupported("DeleteTopics", broker.endpoint)) {
            _ = try await connection.send(DeleteTopicsRequest())
        }
        connection.close()
        try await broker.stop()
    }

    @Test func givesUpAConnectionThatDoesNotAnswer() async throws {
        let broker = try await FakeBroker { header, _ in header.api == .apiVersions ? servesAll(header) : .silence }
        var configuration = impatient()
        configuration.requestTimeoutMs = 1
        let connection = try await BrokerConnection.open(broker.endpoint, configuration)
        await #expect(throws: ClientError.requestTimedOut("Metadata", broker.endpoint, afterMs: 1)) {
            _ = try await connection.send(MetadataRequest())
        }
        await #expect(throws: ClientError.connectionLost(broker.endpoint)) {
            _ = try await connection.send(MetadataRequest(), extraWaitMs: 60_000)
        }
        try await broker.stop()
    }

    @Test func doesNotTakeTheAnswerToAnotherRequest() async throws {
        let broker = try await FakeBroker { header, _ in
            var wrong = header
            wrong.correlationID += header.api == .apiVersions ? 0 : 1
            return header.api == .apiVersions
                ? servesAll(header) : answer(MetadataResponse(), to: MetadataRequest.self, wrong)
        }
        let connection = try await BrokerConnection.open(broker.endpoint, impatient())
        // It has answered as a Kafka node does before, so another connection may be tried.
        await #expect(throws: ClientError.connectionLost(broker.endpoint)) {
            _ = try await connection.send(MetadataRequest())
        }
        try await until { !connection.isOpen }
        try await broker.stop()
    }

    @Test func retriesUntilPatienceEndsAndSaysWhy() async throws {
        let broker = try await FakeBroker { header, _ in header.api == .apiVersions ? servesAll(header) : .hangUp }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient(patienceMs: 20))
        await #expect {
            _ = try await client.topics()
        } throws: { error in
            guard case ClientError.gaveUp(_, let ms, let last) = error else { return false }
            return ms >= 20 && last == ClientError.connectionLost(broker.endpoint).description
        }
        try await broker.stop()
    }

    @Test func unknownTopicIsNamed() async throws {
        let broker = try await FakeBroker { header, _ in
            guard header.api != .apiVersions else { return servesAll(header) }
            var response = metadata([], topic: "t", leader: -1)
            response.topics[0].errorCode = .unknownTopicOrPartition
            return answer(response, to: MetadataRequest.self, header)
        }
        let client = ClusterClient(bootstrap: [broker.endpoint], configuration: impatient(patienceMs: 60_000))
        await #expect(throws: ClientError.noSuchTopic("t")) { _ = try await client.partitions(of: "t") }
        try await broker.stop()
    }
}
