// Bytes written out by hand from the protocol's rules, so that reader and writer cannot agree on a common mistake.

import Model
import NIOCore
import Testing
import Wire

@Suite struct WireBytesTests {
    private static let id = UUID128(high: 0x0102_0304_0506_0708, low: 0x090A_0B0C_0D0E_0F10)
    private static let idBytes: [UInt8] = Array(1...16)

    private func expect<M: WireMessage>(_ message: M, _ version: Int16, _ bytes: [UInt8]) throws {
        var buffer = ByteBuffer()
        wireEncode(message, version: version, into: &buffer)
        #expect(Array(buffer.readableBytesView) == bytes)
        var input = ByteBuffer(bytes: bytes)
        #expect(try wireDecodeWhole(M.self, from: &input, version: version) == message)
    }

    @Test func produceVersion9() throws {
        var partition = ProduceRequest.Partition()
        partition.partitionIndex = 3
        partition.records = ByteBuffer(bytes: [0xAA, 0xBB])
        var topic = ProduceRequest.Topic()
        topic.name = "t"
        topic.partitions = [partition]
        var request = ProduceRequest()
        request.acks = -1
        request.timeoutMs = 1500
        request.topics = [topic]
        try expect(
            request, 9,
            [
                0,  // transactional id: null
                0xFF, 0xFF,  // acks
                0, 0, 0x05, 0xDC,  // timeout
                2,  // one topic
                2, 0x74,  // "t"
                2,  // one partition
                0, 0, 0, 3,
                3, 0xAA, 0xBB,  // records
                0, 0, 0,  // tags of partition, topic, request
            ])
    }

    @Test func produceResponseVersion10NamesTheNewLeader() throws {
        var partition = ProduceResponse.Partition()
        partition.errorCode = .notLeaderOrFollower
        partition.baseOffset = -1
        partition.currentLeader.leaderID = 2
        partition.currentLeader.leaderEpoch = 7
        var topic = ProduceResponse.Topic()
        topic.name = "t"
        topic.partitions = [partition]
        var node = ProduceResponse.NodeEndpoint()
        node.nodeID = 2
        node.host = "h"
        node.port = 9092
        var response = ProduceResponse()
        response.topics = [topic]
        response.nodeEndpoints = [node]
        let minusOne = [UInt8](repeating: 0xFF, count: 8)
        try expect(
            response, 10,
            [2, 2, 0x74, 2, 0, 0, 0, 0, 0, 6] + minusOne + minusOne + minusOne + [
                1, 0,  // no record errors, no message
                1, 0, 9, 0, 0, 0, 2, 0, 0, 0, 7, 0,  // one tag: 0, nine bytes, leader 2, epoch 7, no tags
                0,  // tags of the topic
                0, 0, 0, 0,  // throttle time
                1, 0, 13, 2, 0, 0, 0, 2, 2, 0x68, 0, 0, 0x23, 0x84, 0, 0,  // tag 0: one endpoint, no rack
            ])
    }

    @Test func fetchVersion12() throws {
        var partition = FetchRequest.Partition()
        partition.partitionIndex = 1
        partition.currentLeaderEpoch = 5
        partition.fetchOffset = 256
        partition.partitionMaxBytes = 1_048_576
        var topic = FetchRequest.Topic()
        topic.name = "ab"
        topic.partitions = [partition]
        var forgotten = FetchRequest.ForgottenTopic()
        forgotten.name = "c"
        forgotten.partitions = [4]
        var request = FetchRequest()
        request.clusterID = "me"
        request.maxWaitMs = 500
        request.minBytes = 1
        request.maxBytes = 0x0340_0000
        request.isolationLevel = 1
        request.topics = [topic]
        request.forgottenTopics = [forgotten]
        request.rackID = "r"
        try expect(
            request, 12,
            [
                0xFF, 0xFF, 0xFF, 0xFF,  // replica id −1
                0, 0, 0x01, 0xF4, 0, 0, 0, 1, 0x03, 0x40, 0, 0, 1,
                0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,  // session id 0, epoch −1
                2, 3, 0x61, 0x62, 2,
                0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0xFF, 0xFF, 0xFF, 0xFF,  // … last epoch −1
                0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0x10, 0, 0, 0,  // log start −1, max bytes, no tags
                0,
                2, 2, 0x63, 2, 0, 0, 0, 4, 0,  // forgotten
                2, 0x72,  // rack
                1, 0, 3, 3, 0x6D, 0x65,  // tag 0: cluster id "me"
            ])
    }

    @Test func metadataVersion12() throws {
        var asked = MetadataRequest.Topic()
        asked.topicID = Self.id
        var request = MetadataRequest()
        request.topics = [asked]
        try expect(request, 12, [2] + Self.idBytes + [0, 0, 1, 0, 0])

        var broker = MetadataResponse.Broker()
        broker.nodeID = 1
        broker.host = "h"
        broker.port = 9092
        var partition = MetadataResponse.Partition()
        partition.leaderID = 1
        partition.leaderEpoch = 2
        partition.replicaNodes = [1]
        partition.isrNodes = [1]
        var topic = MetadataResponse.Topic()
        topic.name = "t"
        topic.topicID = Self.id
        topic.partitions = [partition]
        var response = MetadataResponse()
        response.brokers = [broker]
        response.clusterID = "x"
        response.controllerID = 1
        response.topics = [topic]
        try expect(
            response, 12,
            [0, 0, 0, 0, 2, 0, 0, 0, 1, 2, 0x68, 0, 0, 0x23, 0x84, 0, 0, 2, 0x78, 0, 0, 0, 1, 2, 0, 0, 2, 0x74]
                + Self.idBytes + [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2] + [
                    2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 1, 0,
                ]
                + [0x80, 0, 0, 0, 0, 0])
    }

    @Test func apiVersions() throws {
        try expect(ApiVersionsRequest(), 0, [])
        var range = ApiVersionsResponse.ApiVersion()
        range.apiKey = .apiVersions
        range.maxVersion = 4
        var response = ApiVersionsResponse()
        response.errorCode = .unsupportedVersion
        response.apiKeys = [range]
        try expect(response, 0, [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4])

        var request = ApiVersionsRequest()
        request.clientSoftwareName = "a"
        request.clientSoftwareVersion = "1"
        try expect(request, 3, [2, 0x61, 2, 0x31, 0])
        response.errorCode = .none
        response.finalizedFeaturesEpoch = 9
        try expect(
            response, 3,
            [
                0, 0, 2, 0, 18, 0, 0, 0, 4, 0, 0, 0, 0, 0,  // error, one range with its tags, throttle time
                1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 9,  // tag 1: epoch
            ])
    }

    @Test func aNullableStructIsMarkedByOneByte() throws {
        var request = DescribeTopicPartitionsRequest()
        try expect(request, 0, [1, 0, 0, 0x07, 0xD0, 0xFF, 0])
        request.cursor = DescribeTopicPartitionsRequest.Cursor()
        request.cursor?.topicName = "t"
        try expect(request, 0, [1, 0, 0, 0x07, 0xD0, 1, 2, 0x74, 0, 0, 0, 0, 0, 0])
    }

    @Test func tagsAreReadInAnyOrderAndUnknownOnesSkipped() throws {
        var bytes = ByteBuffer(bytes: [
            0, 0, 1, 0, 0, 0, 0,  // error, no ranges, throttle time
            4,  // four tags
            2, 6, 2, 2, 0x66, 0, 1, 0,  // tag 2 with a wrong size in it, see below
        ])
        #expect(throws: WireError.self) { try wireDecode(ApiVersionsResponse.self, from: &bytes, version: 3) }
        bytes = ByteBuffer(bytes: [
            0, 0, 1, 0, 0, 0, 0,
            4,
            2, 8, 2, 2, 0x66, 0, 1, 0, 1, 0,  // finalized feature "f", levels 1…1
            0x90, 0x4E, 2, 7, 7,  // tag 10000, unknown
            1, 8, 0, 0, 0, 0, 0, 0, 0, 9,
            0, 1, 1,  // no supported features
        ])
        let response = try wireDecodeWhole(ApiVersionsResponse.self, from: &bytes, version: 3)
        #expect(response.finalizedFeaturesEpoch == 9)
        #expect(response.finalizedFeatures.map { $0.name } == ["f"])
        #expect(response.supportedFeatures.isEmpty)
    }

    @Test func aTagOfTheWrongSizeIsRefused() {
        for size in [7, 9] as [UInt8] {
            var bytes = ByteBuffer(bytes: [0, 0, 1, 0, 0, 0, 0, 1, 1, size] + [UInt8](repeating: 0, count: Int(size)))
            #expect(throws: size == 9 ? WireError.tagSizeMismatch : .truncated) {
                try wireDecode(ApiVersionsResponse.self, from: &bytes, version: 3)
            }
        }
    }

    @Test func aTagAbove127BytesHasATwoByteSize() throws {
        var response = ApiVersionsResponse()
        var feature = ApiVersionsResponse.SupportedFeature()
        feature.name = String(repeating: "n", count: 150)
        response.supportedFeatures = [feature]
        var buffer = ByteBuffer()
        wireEncode(response, version: 3, into: &buffer)
        // The value: count, two bytes of length, 150 of name, two int16, tags.
        #expect(buffer.getBytes(at: 7, length: 7) == [1, 0, 0x9E, 0x01, 2, 0x97, 0x01])
        #expect(try wireDecodeWhole(ApiVersionsResponse.self, from: &buffer, version: 3) == response)
    }
}
