// Short forms of the requests that the tests send.

import Broker
import Metadata
import Model
import NIOCore
import Records
import Testing
import Wire

func batch(
    _ count: Int = 1, valueBytes: Int = 10, producer: ProducerID = -1, sequence: Int32 = -1, timestampMs: Int64 = 0
) -> ByteBuffer {
    var builder = RecordBatchBuilder(
        producerID: producer, producerEpoch: producer < 0 ? -1 : 0, baseSequence: sequence)
    for index in 0..<count {
        builder.append(
            timestamp: 1_700_000_000_000 + timestampMs + Int64(index), key: nil,
            value: ByteBuffer(repeating: 7, count: valueBytes))
    }
    return builder.build()
}

func produceRequest(
    _ topic: String = "t", _ records: ByteBuffer = batch(), acks: Int16 = -1, timeoutMs: Int32 = 5_000
) -> ProduceRequest {
    var partition = ProduceRequest.Partition()
    partition.records = records
    var entry = ProduceRequest.Topic()
    entry.name = topic
    entry.partitions = [partition]
    var request = ProduceRequest()
    request.acks = acks
    request.timeoutMs = timeoutMs
    request.topics = [entry]
    return request
}

/// Of version 12, which names topics.
func fetchRequest(
    _ topics: [String] = ["t"], offset: Int64 = 0, maxWaitMs: Int32 = 0, minBytes: Int32 = 1, maxBytes: Int32 = .max,
    partitionMaxBytes: Int32 = 1 << 20, session: (id: Int32, epoch: Int32) = (0, -1)
) -> FetchRequest {
    var request = FetchRequest()
    request.maxWaitMs = maxWaitMs
    request.minBytes = minBytes
    request.maxBytes = maxBytes
    request.sessionID = session.id
    request.sessionEpoch = session.epoch
    request.topics = topics.map { name in
        var partition = FetchRequest.Partition()
        partition.fetchOffset = offset
        partition.partitionMaxBytes = partitionMaxBytes
        var topic = FetchRequest.Topic()
        topic.name = name
        topic.partitions = [partition]
        return topic
    }
    return request
}

func createRequest(_ names: [String], replicas: Int16 = -1, configs: [(String, String)] = []) -> CreateTopicsRequest {
    var request = CreateTopicsRequest()
    request.timeoutMs = 5_000
    request.topics = names.map { name in
        var topic = CreateTopicsRequest.Topic()
        topic.name = name
        topic.numPartitions = 1
        topic.replicationFactor = replicas
        topic.configs = configs.map { setting in
            var config = CreateTopicsRequest.Config()
            config.name = setting.0
            config.value = setting.1
            return config
        }
        return topic
    }
    return request
}

extension World {
    /// A client of the first node, where topics stand already.
    static func withTopics(
        _ names: [String] = ["t"], _ configure: (inout NodeConfiguration) -> Void = { _ in }
    ) throws -> (World, Client) {
        let world = try World.running(nodes: 1, configure)
        let client = Client(world.hosts[0], world)
        let answer = try client.call(createRequest(names))
        #expect(answer.topics.map(\.errorCode) == names.map { _ in .none })
        return (world, client)
    }
}

extension ProduceResponse {
    var only: ProduceResponse.Partition { topics.first?.partitions.first ?? .init() }
}

extension FetchResponse {
    var only: FetchResponse.Partition { topics.first?.partitions.first ?? .init() }

    /// Base offsets of the batches of the first partition.
    var batches: [Offset] { only.records.map { BatchSequence($0).map(\.0.baseOffset) } ?? [] }
}
