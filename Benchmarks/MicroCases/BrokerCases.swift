// Whole requests through a broker, from the frame to the answer: all that a node does but sockets, threads and the
// disk.

import Model
import NIOCore
import Wire

func brokerCases() -> [MicroCase] {
    [
        produceCase("1 record of 100 B, acks=all", records: 1, valueBytes: 100, acks: -1),
        produceCase("16 records of 1 KiB, acks=all", records: 16, valueBytes: 1_024, acks: -1),
        produceCase(
            "1 record of 100 B, acks=1, flush.mode=async", records: 1, valueBytes: 100, acks: 1, flushMode: "async"),
        MicroCase("broker, Fetch of a batch that is there: frame to answer", calls: 200) {
            let node = StandingNode(keepsRecords: true)
            produce(produceRequest(records: 1, valueBytes: 100, acks: -1), to: node)
            let found = node.call(fetchRequest(), version: 12).topics.first?.partitions.first
            precondition(found?.errorCode == ErrorCode.none && found?.highWatermark == 1, "there is a batch")
            return serving(node, StandingNode.frame(fetchRequest(), version: 12), pieces: 3)
        },
    ]
}

private func produceCase(
    _ name: String, records: Int, valueBytes: Int, acks: Int16, flushMode: String = "sync"
) -> MicroCase {
    MicroCase("broker, Produce of \(name): frame to answer", calls: 200) {
        let node = StandingNode(keepsRecords: false, flushMode: flushMode)
        let request = produceRequest(records: records, valueBytes: valueBytes, acks: acks)
        produce(request, to: node)
        return serving(node, StandingNode.frame(request, version: 9), pieces: 1)
    }
}

private func serving(_ node: StandingNode, _ frame: ByteBuffer, pieces: Int) -> (Int) -> Void {
    precondition(node.serve(frame) == pieces, "answered as expected")
    return { count in for _ in 0..<count { Sink.total += node.serve(frame) } }
}

private func produce(_ request: ProduceRequest, to node: StandingNode) {
    let answer = node.call(request, version: 9)
    precondition(answer.topics.first?.partitions.first?.errorCode == ErrorCode.none, "taken")
}

private func produceRequest(records: Int, valueBytes: Int, acks: Int16) -> ProduceRequest {
    var partition = ProduceRequest.Partition()
    partition.records = MeasuredBatch(records: records, valueBytes: valueBytes).bytes
    var topic = ProduceRequest.Topic()
    topic.name = "t"
    topic.partitions = [partition]
    var request = ProduceRequest()
    request.acks = acks
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
