// Producer snapshots (protocol.md §4.3): what a log says of its producers up to an offset, so that a start need not
// read it all. A cache: one that is missing or wrong costs a longer replay, never a duplicate.

import Model
import NIOCore
import Records
import Replication
import Storage

package enum ProducerSnapshots {
    private static let version: Int16 = 1
    private static let entryBytes = 46
    private static let headBytes = 10
    /// Snapshots kept of one log: the newest, and the one before in case that is not whole.
    private static let kept = 2

    /// What the snapshot of so many producers takes at most.
    static func bytesMax(of count: Int) -> Int { headBytes + count * Limits.producerBatchesRemembered * entryBytes }

    static func path(_ directory: String, _ offset: Offset) -> String {
        SegmentFiles.path(directory, offset, ".snapshot")
    }

    package static func encode(_ table: ProducerTable) -> ByteBuffer {
        let entries = table.snapshotEntries
        var body = ByteBuffer()
        body.reserveCapacity(4 + entries.count * entryBytes)
        body.writeInteger(Int32(entries.count))
        for entry in entries {
            body.writeInteger(entry.producerID)
            body.writeInteger(entry.epoch)
            body.writeInteger(entry.lastSequence)
            body.writeInteger(entry.lastOffset)
            body.writeInteger(entry.offsetDelta)
            body.writeInteger(entry.timestampMs)
            body.writeInteger(Int32(-1))  // no transaction coordinator has spoken
            body.writeInteger(Int64(-1))  // no transaction is open
        }
        var bytes = ByteBuffer()
        bytes.writeInteger(version)
        bytes.writeInteger(crc32c(body))
        bytes.writeBuffer(&body)
        return bytes
    }

    /// Nil for bytes that are not a whole snapshot.
    package static func decode(_ bytes: ByteBuffer) -> ProducerTable? {
        var bytes = bytes
        guard bytes.readInteger(as: Int16.self) == version, let crc = bytes.readInteger(as: UInt32.self),
            crc32c(bytes) == crc, let count = bytes.readInteger(as: Int32.self), count >= 0,
            bytes.readableBytes == Int(count) * entryBytes
        else { return nil }
        var entries: [ProducerEntry] = []
        while let id = bytes.readInteger(as: Int64.self), let epoch = bytes.readInteger(as: Int16.self),
            let lastSequence = bytes.readInteger(as: Int32.self), let lastOffset = bytes.readInteger(as: Int64.self),
            let offsetDelta = bytes.readInteger(as: Int32.self), let timestampMs = bytes.readInteger(as: Int64.self),
            bytes.readInteger(as: Int32.self) != nil, bytes.readInteger(as: Int64.self) != nil
        {
            // Without a batch the offset is −1; else the batch's first offset is one.
            guard offsetDelta >= 0, lastOffset >= -1, lastSequence < 0 || lastOffset >= Offset(offsetDelta) else {
                return nil
            }
            entries.append(
                ProducerEntry(
                    producerID: id, epoch: epoch, lastSequence: lastSequence, lastOffset: lastOffset,
                    offsetDelta: offsetDelta, timestampMs: timestampMs))
        }
        return ProducerTable(entries: entries)
    }

    private static func offsets(in directory: String, on disk: any Disk) throws(DiskError) -> [Offset] {
        try disk.list(directory).filter { $0.hasSuffix(".snapshot") && $0.utf8.count == 29 }
            .compactMap { Offset($0.dropLast(9)) }.sorted()
    }

    /// The newest whole snapshot at or below `end`, and its offset. One that ends before the log's first batch begins
    /// is none: this replica started over, and between them lie batches that it never read. A producer that wrote some
    /// of those would be refused what follows on them.
    static func newest(
        in directory: String, reaching log: SegmentedLog, below end: Offset, among known: [Offset]? = nil,
        on disk: any Disk
    ) throws(DiskError) -> (offset: Offset, table: ProducerTable)? {
        let first = log.firstBaseOffset
        let found = if let known { known } else { try offsets(in: directory, on: disk) }
        for offset in found.reversed() where offset <= end && offset >= first {
            let file = try disk.open(path(directory, offset), create: false)
            defer { disk.close(file) }
            do throws(DiskError) {
                let bytes = try disk.read(file, at: 0, length: Int(try disk.sizeBytes(of: file)))
                if let table = decode(bytes) { return (offset, table) }
            } catch {
                // A bad sector: an older one, or the log itself, tells the same.
                guard error.isUnreadable else { throw error }
            }
        }
        return nil
    }

    /// Old ones go; so do those above a cut, which tell of records that are gone. Answers the offsets of those that
    /// stay.
    @discardableResult
    static func prune(_ directory: String, above cut: Offset = .max, on disk: any Disk) throws(DiskError) -> [Offset] {
        var offsets = try offsets(in: directory, on: disk)
        while let last = offsets.last, last > cut {
            try disk.remove(path(directory, last))
            offsets.removeLast()
        }
        for offset in offsets.dropLast(kept) { try disk.remove(path(directory, offset)) }
        return offsets.suffix(kept)
    }
}

extension Replica {
    /// Only what is committed is written: it can never be cut away, so a snapshot never tells of records that are gone.
    func writeSnapshotIfDue(on disk: any Disk) {
        guard let due = snapshotDue, due.offset <= partition.highWatermark else { return }
        snapshotDue = nil
        disk.replace(
            FlushTicket(owner: Checkpoints.owner, generation: 1, sequence: UInt64(due.offset)),
            path: ProducerSnapshots.path(directory, due.offset), contents: ProducerSnapshots.encode(due.table))
    }

    /// In an orderly stop: the next start reads no batch at all.
    func writeSnapshotNow(on disk: any Disk) throws(DiskError) {
        guard producers.count > 0, partition.highWatermark == log.endOffset else { return }
        try disk.replaceNow(
            path: ProducerSnapshots.path(directory, log.endOffset), contents: ProducerSnapshots.encode(producers))
        try ProducerSnapshots.prune(directory, on: disk)
    }
}
