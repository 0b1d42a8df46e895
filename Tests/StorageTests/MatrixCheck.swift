// What must hold of a recovered log, whatever the disk kept (reliability.md §5, S1 to S4 and S7).

import DiskSimulation
import Model
import NIOCore
import Records
import Storage

/// An invariant that does not hold, in words.
struct Violation: Error, CustomStringConvertible {
    var description: String

    static func unless(_ holds: Bool, _ text: @autoclosure () -> String) throws {
        if !holds { throw Violation(description: text()) }
    }
}

struct MatrixCheck {
    let life: MatrixLife
    let disk: SimulatedDisk
    let log: SegmentedLog

    /// Answers all batches that can be read.
    @discardableResult
    func run() throws -> [(header: BatchHeader, bytes: [UInt8])] {
        try bounds()
        let found = try everything(log)
        try contents(found)
        try lookups(found)
        try ownerFiles()
        return found
    }

    private func bounds() throws {
        try Violation.unless(log.recovery.damages.isEmpty, "S5: damage is reported: \(log.recovery.damages)")
        try Violation.unless(log.endOffset >= life.flushedEnd, "S1: ends at \(log.endOffset), not \(life.flushedEnd)")
        try Violation.unless(log.flushedEnd == log.endOffset, "what recovery believes is not durable")
        try Violation.unless(log.startOffset >= life.shownStart, "S7: begins at \(log.startOffset) again")
        if life.isBorn {
            try Violation.unless(log.recovery.missingStart == nil, "a missing start is reported")
            let wanted = max(life.wantedStart, life.shownStart)
            try Violation.unless(log.startOffset <= wanted, "nobody asked for the start \(log.startOffset)")
        }
        if log.startOffset > 0,
            (try? log.read(from: log.startOffset - 1, maxBytes: 1, below: .max, atLeastOne: true)) != nil
        {
            throw Violation(description: "S7: what lies below the start can be read")
        }
    }

    private func contents(_ found: [(header: BatchHeader, bytes: [UInt8])]) throws {
        var expected = log.startOffset
        for (index, batch) in found.enumerated() {
            let base = batch.header.baseOffset
            try Violation.unless(index == 0 ? base <= expected : base == expected, "S2: a hole before \(base)")
            expected = batch.header.nextOffset
            try Violation.unless(life.everWritten.contains(batch.bytes), "S1: nobody wrote what is at \(base)")
            try Violation.unless(!life.buried.contains(batch.bytes), "S7: \(base) was cut away")
            let epoch = log.epochs.epoch(at: max(base, log.startOffset))
            try Violation.unless(epoch == batch.header.partitionLeaderEpoch, "the epoch of \(base) is \(epoch ?? -1)")
        }
        try Violation.unless(expected == log.endOffset, "S2: batches end at \(expected), the log at \(log.endOffset)")
        let bytes = Set(found.map(\.bytes))
        for batch in life.batches
        where batch.header.nextOffset <= life.flushedEnd && batch.header.lastOffset >= log.startOffset {
            try Violation.unless(bytes.contains(batch.bytes), "S1: lost \(batch.header.baseOffset)")
        }
    }

    /// S3: what the index files say, if they say anything, is what the batches say.
    private func lookups(_ found: [(header: BatchHeader, bytes: [UInt8])]) throws {
        let largest = found.map(\.header.maxTimestamp).max() ?? -1
        for batch in found {
            let slice = try log.read(from: batch.header.lastOffset, maxBytes: 1, below: .max, atLeastOne: true)
            try Violation.unless(slice?.firstOffset == batch.header.baseOffset, "S3: \(batch.header.lastOffset)")
        }
        for batch in found.prefix(2) + found.suffix(4) {
            let timestamp = batch.header.maxTimestamp
            // The first batch may lie partly below the start.
            guard batch.header.baseOffset >= log.startOffset,
                let first = found.first(where: { $0.header.maxTimestamp >= timestamp })?.header,
                first.baseOffset >= log.startOffset
            else { continue }
            let answer = try log.offset(forTimestamp: timestamp, below: .max)?.offset ?? -1
            try Violation.unless(
                first.baseOffset <= answer && answer < first.nextOffset, "S3: timestamp \(timestamp) at \(answer)")
        }
        if let first = found.first(where: { $0.header.maxTimestamp == largest })?.header,
            first.baseOffset >= log.startOffset
        {
            let answer = try log.offsetOfMaxTimestamp(below: .max)?.offset ?? -1
            try Violation.unless(first.baseOffset <= answer && answer < first.nextOffset, "S3: largest at \(answer)")
        }
    }

    /// S4: a file holds one of the contents it was given, whole, and none older than what was reported durable.
    private func ownerFiles() throws {
        for (path, versions) in life.versions {
            let reported = life.reported[path]
            guard let contents = disk.contents(of: path) else {
                // Snapshots go with their segments, and all goes with a directory whose name no barrier has covered.
                let mayGo = path.hasSuffix(".snapshot") || (path.hasPrefix(MatrixLife.directory) && !life.isBorn)
                try Violation.unless(reported == nil || mayGo, "S4: \(path) is gone")
                continue
            }
            let version = versions.lastIndex(of: contents) ?? -1
            try Violation.unless(version >= reported ?? 0, "S4: \(path) holds version \(version)")
        }
        for path in disk.filePaths {
            try Violation.unless(!path.hasSuffix(".deleted"), "\(path) was left behind")
        }
    }
}
