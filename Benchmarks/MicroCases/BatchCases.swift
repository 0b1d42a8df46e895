// What a broker checks before it believes a batch: from a producer, and from its leader.

import NIOCore
import Records

/// A batch as producers send it, and its header.
struct MeasuredBatch {
    var bytes: ByteBuffer
    var header: BatchHeader

    /// All with the timestamp `timestampMs` and values of `valueBytes`.
    init(records: Int, valueBytes: Int, timestampMs: Int64 = wallMs) {
        var builder = RecordBatchBuilder()
        let value = ByteBuffer(repeating: 7, count: valueBytes)
        for _ in 0..<records { builder.append(timestamp: timestampMs, key: nil, value: value) }
        let batch = builder.build()
        bytes = batch
        header = sure { () throws(BatchError) in
            try validateProduced(batch, checks: ProduceChecks(maxMessageBytes: 2 << 20), wallMs: wallMs)
        }
    }
}

/// The sizes of batch that are measured: the smallest, a common one, and the largest that a topic takes by default.
let batchSizes: [(name: String, records: Int, valueBytes: Int, calls: Int)] = [
    ("batch of 1 record of 100 B", 1, 100, 5_000),
    ("batch of 16 records of 1 KiB", 16, 1_024, 500),
    ("batch of 1,000 records of 1 KiB", 1_000, 1_024, 10),
]

func batchCases() -> [MicroCase] {
    batchSizes.map { name, records, valueBytes, calls in
        MicroCase("\(name), validate as produced", calls: calls) {
            let batch = MeasuredBatch(records: records, valueBytes: valueBytes)
            let checks = ProduceChecks(maxMessageBytes: 2 << 20)
            return { count in
                for _ in 0..<count {
                    let header = sure { () throws(BatchError) in
                        try validateProduced(batch.bytes, checks: checks, wallMs: wallMs)
                    }
                    Sink.total += Int(header.recordsCount)
                }
            }
        }
    }
        + batchSizes.map { name, records, valueBytes, calls in
            MicroCase("\(name), check as replicated", calls: calls) {
                let batch = MeasuredBatch(records: records, valueBytes: valueBytes)
                return { count in
                    for _ in 0..<count {
                        let checked = sure { () throws(BatchError) in
                            try checkReplicated(batch.bytes, expectedOffset: 0)
                        }
                        Sink.total += checked.sizeBytes
                    }
                }
            }
        }
}
