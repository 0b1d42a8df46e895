// Messages decoded and encoded, filled as a busy cluster fills them; called from another module than the codec's, as
// the broker does.

import Model
import NIOCore
import Wire

// Long: a table of cases.
func codecCases() -> [MicroCase] {
    let metadata = metadataResponse()
    let fetch1 = fetchRequest(partitions: 1)
    let fetch100 = fetchRequest(partitions: 100)
    let produce1 = produceRequest(partitions: 1, sizeBytes: 65_536)
    let produce20 = produceRequest(partitions: 20, sizeBytes: 256)
    let produced = produceResponse(partitions: 20)
    let fetched = fetchResponse(partitions: 20)
    return [
        .decode("Metadata v12 response, 10x12 partitions", metadata, version: 12, calls: 100) {
            b throws(WireError) in try wireDecode(MetadataResponse.self, from: &b, version: 12)
        },
        .encode("Metadata v12 response, 10x12 partitions", metadata, version: 12, calls: 200) {
            wireEncode($0, version: 12, into: &$1)
        },
        .decode("Fetch v17 request, 1 partition", fetch1, version: 17, calls: 5_000) {
            b throws(WireError) in try wireDecode(FetchRequest.self, from: &b, version: 17)
        },
        .encode("Fetch v17 request, 1 partition", fetch1, version: 17, calls: 5_000) {
            wireEncode($0, version: 17, into: &$1)
        },
        .decode("Fetch v17 request, 100 partitions", fetch100, version: 17, calls: 500) {
            b throws(WireError) in try wireDecode(FetchRequest.self, from: &b, version: 17)
        },
        .encode("Fetch v17 request, 100 partitions", fetch100, version: 17, calls: 500) {
            wireEncode($0, version: 17, into: &$1)
        },
        .decode("Produce v9 request, 64 KiB", produce1, version: 9, calls: 5_000) {
            b throws(WireError) in try wireDecode(ProduceRequest.self, from: &b, version: 9)
        },
        .encode("Produce v9 request, 64 KiB", produce1, version: 9, calls: 1_000) {
            wireEncode($0, version: 9, into: &$1)
        },
        .decode("Produce v9 request, 20 partitions", produce20, version: 9, calls: 2_000) {
            b throws(WireError) in try wireDecode(ProduceRequest.self, from: &b, version: 9)
        },
        .encode("Produce v9 request, 20 partitions", produce20, version: 9, calls: 2_000) {
            wireEncode($0, version: 9, into: &$1)
        },
        .decode("Produce v9 response, 20 partitions", produced, version: 9, calls: 2_000) {
            b throws(WireError) in try wireDecode(ProduceResponse.self, from: &b, version: 9)
        },
        .encode("Produce v9 response, 20 partitions", produced, version: 9, calls: 2_000) {
            wireEncode($0, version: 9, into: &$1)
        },
        .decode("yardstick: Fetch v17 request, 100 partitions, by hand", fetch100, version: 17, calls: 500) {
            b throws(WireError) in try ByHand.decode(from: &b)
        },
        .encode("yardstick: Fetch v17 request, 100 partitions, by hand", fetch100, version: 17, calls: 500) {
            ByHand.encode($0, into: &$1)
        },
        MicroCase("Fetch v17 response frame, 20 gaps, encode", calls: 1_000) {
            { count in
                for _ in 0..<count {
                    let frame = encodeFetchResponseFrame(fetched, version: 17, correlationID: 7)
                    Sink.total += frame.gaps.count + frame.head.readableBytes
                }
            }
        },
    ]
}

private let topicID = UUID128(high: 0x0123_4567_89AB_4DEF, low: 0x8123_4567_89AB_CDEF)

private func metadataResponse() -> MetadataResponse {
    var response = MetadataResponse()
    response.clusterID = "cluster-abcdefghijklmn"
    for id in 0..<3 {
        var broker = MetadataResponse.Broker()
        broker.nodeID = Int32(id)
        broker.host = "broker-\(id).example.com"
        broker.port = 9092
        response.brokers.append(broker)
    }
    for number in 0..<10 {
        var topic = MetadataResponse.Topic()
        topic.name = "topic-number-\(number)-long"
        topic.topicID = topicID
        for index in 0..<12 {
            var partition = MetadataResponse.Partition()
            partition.partitionIndex = Int32(index)
            partition.replicaNodes = [0, 1, 2]
            partition.isrNodes = [0, 1, 2]
            topic.partitions.append(partition)
        }
        response.topics.append(topic)
    }
    return response
}

private func fetchRequest(partitions: Int) -> FetchRequest {
    var topic = FetchRequest.Topic()
    topic.topicID = topicID
    for index in 0..<partitions {
        var partition = FetchRequest.Partition()
        partition.partitionIndex = Int32(index)
        partition.fetchOffset = 1_000
        partition.partitionMaxBytes = 1 << 20
        topic.partitions.append(partition)
    }
    var request = FetchRequest()
    request.maxWaitMs = 500
    request.topics = [topic]
    return request
}

private func fetchResponse(partitions: Int) -> FetchResponse {
    var topic = FetchResponse.Topic()
    topic.topicID = topicID
    for index in 0..<partitions {
        var partition = FetchResponse.Partition()
        partition.partitionIndex = Int32(index)
        partition.recordsLength = 65_536
        topic.partitions.append(partition)
    }
    var response = FetchResponse()
    response.topics = [topic]
    return response
}

private func produceRequest(partitions: Int, sizeBytes: Int) -> ProduceRequest {
    var topic = ProduceRequest.Topic()
    topic.name = "topic-number-1"
    for index in 0..<partitions {
        var partition = ProduceRequest.Partition()
        partition.partitionIndex = Int32(index)
        partition.records = ByteBuffer(repeating: 1, count: sizeBytes)
        topic.partitions.append(partition)
    }
    var request = ProduceRequest()
    request.acks = -1
    request.timeoutMs = 30_000
    request.topics = [topic]
    return request
}

private func produceResponse(partitions: Int) -> ProduceResponse {
    var topic = ProduceResponse.Topic()
    topic.name = "topic-number-1"
    for index in 0..<partitions {
        var partition = ProduceResponse.Partition()
        partition.partitionIndex = Int32(index)
        partition.baseOffset = 1_000
        topic.partitions.append(partition)
    }
    var response = ProduceResponse()
    response.topics = [topic]
    return response
}
