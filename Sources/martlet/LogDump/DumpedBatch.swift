// One batch as a line of columns, and as JSON.

import Model
import Records

enum DumpedBatch {
    static let heading =
        right("position", 10) + "  " + right("base", 10) + "  " + right("last", 10) + "  " + right("records", 7)
        + "  " + right("epoch", 5) + "  " + left("codec", 6) + "  " + right("bytes", 8) + "  crc"

    /// The columns, which fit into 80 characters, and what comes behind them or below.
    static func text(_ batch: FoundBatch) -> (columns: String, rest: [String]) {
        let header = batch.header
        let columns = [
            right("\(batch.position)", 10), right("\(header.baseOffset)", 10), right("\(header.lastOffset)", 10),
            right("\(header.recordsCount)", 7), right("\(header.partitionLeaderEpoch)", 5),
            left(codec(of: header), 6), right("\(header.sizeBytes)", 8), batch.isCRCRight ? "ok" : "WRONG",
        ]
        var rest: [String] = []
        if header.maxTimestamp >= 0 {
            let first = timeText(header.baseTimestamp)
            let last = timeText(header.maxTimestamp)
            rest.append(
                header.timestampTypeIsLogAppend ? "appended \(last)" : first == last ? last : "\(first) to \(last)")
        }
        if header.hasProducer {
            rest.append("producer \(header.producerID) epoch \(header.producerEpoch)")
            if header.baseSequence >= 0 { rest.append("sequence \(header.baseSequence) to \(header.lastSequence)") }
        }
        if header.isTransactional { rest.append("transactional") }
        if header.isControl { rest.append("control") }
        return (columns.joined(separator: "  "), rest)
    }

    static func json(_ batch: FoundBatch) -> Json {
        let header = batch.header
        return .object([
            "type": "batch".json, "position": batch.position.json, "baseOffset": header.baseOffset.json,
            "lastOffset": header.lastOffset.json, "records": header.recordsCount.json,
            "leaderEpoch": header.partitionLeaderEpoch.json, "codec": codec(of: header).json,
            "sizeBytes": header.sizeBytes.json, "crc": Int64(header.crc).json, "crcOk": batch.isCRCRight.json,
            "baseTimestampMs": header.baseTimestamp.json, "maxTimestampMs": header.maxTimestamp.json,
            "timestampType": (header.timestampTypeIsLogAppend ? "LogAppendTime" : "CreateTime").json,
            "producerId": header.producerID.json, "producerEpoch": header.producerEpoch.json,
            "baseSequence": header.baseSequence.json, "lastSequence": header.lastSequence.json,
            "transactional": header.isTransactional.json, "control": header.isControl.json,
        ])
    }

    private static func codec(of header: BatchHeader) -> String {
        header.compression?.name ?? "codec \(header.attributes & 7)"
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    private static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
