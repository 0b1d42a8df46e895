// One partition's log: appending, finding by offset and by time, and the plan of a fetch (which bytes of which file).

import Model
import NIOCore
import Records
import Storage

private let directory = "data/t-0"

func logCases() -> [MicroCase] { batchSizes.flatMap(appendCases) + lookupCases() + readCases() }

private func open(_ disk: MemoryDisk, _ settings: LogSettings, recoveryPoint: Offset = 0) -> SegmentedLog {
    sure { () throws(LogError) in
        try SegmentedLog.open(
            disk: disk, directory: directory, owner: 1, settings: settings, recoveryPoint: recoveryPoint,
            startOffset: nil, wallMs: wallMs)
    }
}

// MARK: Appending

private func appendCases(name: String, records: Int, valueBytes: Int, calls: Int) -> [MicroCase] {
    [
        MicroCase("\(name), append", calls: calls) {
            let log = open(MemoryDisk(keepsBytes: false), LogSettings())
            let batch = MeasuredBatch(records: records, valueBytes: valueBytes)
            return { count in
                for _ in 0..<count {
                    let offset = sure { () throws(LogError) in
                        try log.append(batch.bytes, header: batch.header, leaderEpoch: 1, wallMs: wallMs)
                    }
                    Sink.total += Int(offset)
                }
            }
        },
        MicroCase("\(name), append as replicated", calls: calls) {
            let log = open(MemoryDisk(keepsBytes: false), LogSettings())
            let batch = MeasuredBatch(records: records, valueBytes: valueBytes)
            var headers = [batch.header]
            headers[0].partitionLeaderEpoch = 1
            return { count in
                for _ in 0..<count {
                    // The log goes by the headers; the bytes are written as they are.
                    headers[0].baseOffset = log.endOffset
                    sure { () throws(LogError) in
                        try log.appendReplicated(batch.bytes, headers: headers, wallMs: wallMs)
                    }
                }
                Sink.total += Int(log.endOffset)
            }
        },
    ]
}

// MARK: Looking up

/// A log of 64 segments and some 3,900 batches of one record of 1,000 B, each a millisecond younger than the one
/// before.
private struct LongLog {
    static let segmentsCount = 64
    let disk = MemoryDisk()
    var log: SegmentedLog
    private let settings = LogSettings(segmentBytes: 64 << 10)

    /// Reopened: nothing is proven, and the indexes are in their files alone.
    init(reopened: Bool = false) {
        log = open(disk, settings)
        let value = ByteBuffer(repeating: 7, count: 1_000)
        while log.segmentsCount < Self.segmentsCount || log.endOffset - log.activeBaseOffset < 40 {
            var builder = RecordBatchBuilder(baseOffset: log.endOffset, leaderEpoch: 1)
            builder.append(timestamp: wallMs + log.endOffset, key: nil, value: value)
            let batch = builder.build()
            guard let header = BatchHeader(reading: batch, at: batch.readerIndex) else {
                preconditionFailure("a batch")
            }
            _ = sure { () throws(LogError) in
                try log.append(batch, header: header, leaderEpoch: 1, wallMs: wallMs)
            }
        }
        guard reopened else { return }
        let end = log.endOffset
        sure { () throws(LogError) in try log.close(flushing: true) }
        log = open(disk, settings, recoveryPoint: end)
        precondition(log.endOffset == end, "the log comes back")
    }

    var bases: [Offset] { log.segmentSummaries.map(\.baseOffset) }
}

/// Loops over a few values for ever.
private func turns<T>(_ values: [T], _ body: @escaping (T) -> Void) -> (Int) -> Void {
    var next = 0
    return { count in
        for _ in 0..<count {
            body(values[next])
            next = next + 1 == values.count ? 0 : next + 1
        }
    }
}

private func headerCase(
    _ name: String, reopened: Bool, calls: Int, _ offsets: @escaping (LongLog) -> [Offset]
) -> MicroCase {
    MicroCase("log of 64 segments, \(name)", calls: calls) {
        let long = LongLog(reopened: reopened)
        return turns(offsets(long)) { offset in
            let header = sure { () throws(LogError) in try long.log.header(at: offset) }
            precondition(header?.baseOffset == offset, "the batch that was asked for")
            Sink.total += 1
        }
    }
}

private func lookupCases() -> [MicroCase] {
    [
        headerCase("find an offset in the active segment", reopened: false, calls: 4_000) { long in
            (0..<8).map { long.log.endOffset - 40 + 5 * $0 }
        },
        // Four segments stay within those whose indexes are kept in memory.
        headerCase("find an offset in a closed segment", reopened: true, calls: 1_000) { long in
            long.bases[8..<12].flatMap { [$0 + 7, $0 + 41] }
        },
        headerCase("find an offset in a closed segment whose index must be loaded", reopened: true, calls: 400) {
            long in
            long.bases[1..<61].map { $0 + 33 }
        },
        MicroCase("log of 64 segments, find a time", calls: 250) {
            let long = LongLog(reopened: true)
            let end = long.log.endOffset
            return turns(long.bases[24..<28].map { $0 + 33 }) { offset in
                let found = sure { () throws(LogError) in
                    try long.log.offset(forTimestamp: wallMs + offset, below: end)
                }
                precondition(found?.offset == offset, "the record of that time")
                Sink.total += 1
            }
        },
    ]
}

// MARK: The plan of a fetch

private func readCase(
    _ name: String, reopened: Bool, maxBytes: Int, calls: Int, _ offsets: @escaping (LongLog) -> [Offset]
) -> MicroCase {
    MicroCase("log of 64 segments, \(name)", calls: calls) {
        let long = LongLog(reopened: reopened)
        let end = long.log.endOffset
        return turns(offsets(long)) { offset in
            let slice = sure { () throws(LogError) in
                try long.log.read(from: offset, maxBytes: maxBytes, below: end, atLeastOne: true)
            }
            precondition(slice?.firstOffset == offset, "the batches that were asked for")
            Sink.total += slice?.length ?? 0
        }
    }
}

private func readCases() -> [MicroCase] {
    [
        readCase("plan a read of the last batch", reopened: false, maxBytes: 1 << 20, calls: 5_000) {
            [$0.log.endOffset - 1]
        },
        readCase("plan a read of 16 KiB in a closed segment", reopened: false, maxBytes: 16 << 10, calls: 1_000) {
            long in
            long.bases[8..<12].flatMap { [$0 + 2, $0 + 30] }
        },
        // Two places in turn, so that what was proven of the one is forgotten at the other.
        readCase("plan a read of 16 KiB that is not proven yet", reopened: true, maxBytes: 16 << 10, calls: 250) {
            long in
            [long.bases[8] + 2, long.bases[8] + 40]
        },
    ]
}
