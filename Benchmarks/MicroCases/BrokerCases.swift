// Whole requests through a broker, from the frame to the answer: all that a node does but sockets, threads and the
// disk.

import Model
import NIOCore
import Wire

func brokerCases() -> [MicroCase] {
    [
        MicroCase("broker, Produce of 1 record of 100 B, acks=all: frame to answer", calls: 200) {
            let node = StandingNode(keepsRecords: false)
            produce(records: 1, valueBytes: 100, to: node)
            return serving(node, StandingNode.frame(produceRequest(records: 1, valueBytes: 100), version: 9), pieces: 1)
        },
        MicroCase("broker, Produce of 16 records of 1 KiB, acks=all: frame to answer", calls: 100) {
            let node = StandingNode(keepsRecords: false)
            produce(records: 16, valueBytes: 1_024, to: node)
            return serving(
                node, StandingNode.frame(produceRequest(records: 16, valueBytes: 1_024), version: 9), pieces: 1)
        },
        MicroCase("broker, Fetch of a batch that is there: frame to answer", calls: 200) {
            let node = StandingNode(keepsRecords: true)
            produce(records: 1, valueBytes: 100, to: node)
            let found = node.call(fetchRequest(), version: 12).topics.first?.partitions.first
            precondition(found?.errorCode == ErrorCode.none && found?.highWatermark == 1, "there is a batch")
            return serving(node, StandingNode.frame(fetchRequest(), version: 12), pieces: 3)
        },
    ]
}

private func serving(_ node: StandingNode, _ frame: ByteBuffer, pieces: Int) -> (Int) -> Void {
    precondition(node.serve(frame) == pieces, "answered as expected")
    return { count in for _ in 0..<count { Sink.total += node.serve(frame) } }
}

private func produce(records: Int, valueBytes: Int, to node: StandingNode) {
    let answer = node.call(produceRequest(records: records, valueBytes: valueBytes), version: 9)
    precondition(answer.topics.first?.partitions.first?.errorCode == ErrorCode.none, "taken")
}

private func produceRequest(records: Int, valueBytes: Int) -> ProduceRequest {
    var partition = ProduceRequest.Partition()
    partition.records = MeasuredBatch(records: records, valueBytes: valueBytes).bytes
    var topic = ProduceRequest.Topic()
    topic.name = "t"
    topic.partitions = [partition]
    var request = ProduceRequest()
    request.acks = -1
    request.timeoutMs = 5_000
    request.topics = [topic]
    return request
}

/// Without a session, from offset 0.
private func fetchRequest() -> FetchRequest {
    var partition = FetchRequest.Partition()
    partition.partitionMaxBytes = 1 << 20
    var topic = FetchRequest.Topic()
    topic.name = "t"
    topic.partitions = [partition]
    var request = FetchRequest()
    request.maxWaitMs = 500
    request.minBytes = 1
    request.maxBytes = 50 << 20
    request.sessionEpoch = -1
    request.topics = [topic]
    return request
}
