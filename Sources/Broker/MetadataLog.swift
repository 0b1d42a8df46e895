// The metadata log: an ordinary segmented log whose batches hold metadata and control records, and the snapshots beside
// it.

import Metadata
import Model
import NIOCore
import Raft
import Records
import Storage
import Wire

/// A file of the metadata log that says what it should not. The node cannot know the cluster's state, and says so.
struct MetadataCorruption: Error {
    var text: String

    /// What is wrong, and what to do about a voter whose promises are lost with it.
    static func abstention(_ trouble: String) -> MetadataCorruption {
        MetadataCorruption(
            text: "\(trouble): this node must not vote; move its data directory away, and it comes back as a new"
                + " replica")
    }
}

/// What one whole snapshot holds.
struct MetadataSnapshot {
    var end: LogEnd
    var image: MetadataImage
    var voters: VoterSet?
}

final class MetadataLog {
    let log: SegmentedLog
    let disk: any Disk
    let directory: String
    private(set) var snapshotEnd: LogEnd?
    /// Bytes appended since the newest snapshot.
    private(set) var bytesSinceSnapshot: Int64 = 0

    static let owner: UInt32 = 1
    private static let decodedBytesMax = 64 * 1024 * 1024

    /// Opens the log and reads the newest whole snapshot. A snapshot that cannot be read is an error, never "no state"
    /// (reliability.md S8).
    static func open(
        disk: any Disk, directory: String, settings: LogSettings, wallMs: Int64
    ) throws -> (MetadataLog, MetadataSnapshot?) {
        try disk.createDirectory(directory)
        for name in try disk.list(directory) where name.hasSuffix(".checkpoint.part") || name.hasSuffix(".tmp") {
            try disk.remove("\(directory)/\(name)")
        }
        var snapshot: MetadataSnapshot?
        if let newest = try disk.list(directory).compactMap(snapshotEnd(of:)).max(by: { $0.offset < $1.offset }) {
            snapshot = try read(newest, disk: disk, directory: directory)
        }
        let log = try SegmentedLog.open(
            disk: disk, directory: directory, owner: owner, settings: settings,
            recoveryPoint: try readRecoveryPoint(disk, directory, snapshot?.end.offset ?? 0),
            startOffset: snapshot?.end.offset, wallMs: wallMs)
        if let end = snapshot?.end, isOvertaken(log, by: end) {
            // A snapshot that was durable before the log could begin anew behind it: whatever is missing lies below it.
            try log.truncateFully(startingAt: end.offset)
        } else if let damage = log.recovery.damage {
            throw MetadataCorruption.abstention(
                "the metadata log is damaged (\(damage.reason) in \(damage.file), offsets \(damage.offsets))")
        }
        return (MetadataLog(log: log, disk: disk, directory: directory, snapshotEnd: snapshot?.end), snapshot)
    }

    /// Whether the snapshot took the place of this log, and the process ended before the log was gone.
    private static func isOvertaken(_ log: SegmentedLog, by end: LogEnd) -> Bool {
        if log.endOffset < end.offset { return true }
        if log.endOffset == end.offset {
            return log.recovery.damage != nil || log.epochs.latestEpoch.map { $0 != end.epoch } ?? false
        }
        // Behind a record of its epoch come records of that epoch or a later one. An earlier one is a tail that a
        // leader wrote and nobody committed: it would be followed on, and asked to be cut below what is committed.
        return (log.epochs.epoch(at: end.offset) ?? end.epoch) < end.epoch
    }

    // MARK: Recovery point

    /// The owner number of its barrier.
    static let recoveryPointOwner: UInt32 = 4
    private static let recoveryPointFile = "recovery-point-offset-checkpoint"
    private var notedRecoveryPoint: Offset = 0
    private var recoveryPointSequence: UInt64 = 0

    /// Below it a bad batch is damage and never a torn tail: what is committed is not cut away. In Kafka's checkpoint
    /// format.
    private static func readRecoveryPoint(
        _ disk: any Disk, _ directory: String, _ snapshotEnd: Offset
    ) throws -> Offset {
        let path = "\(directory)/\(recoveryPointFile)"
        guard let points = Checkpoints.read(path, disk) else {
            throw MetadataCorruption.abstention(
                "\(path) is damaged, and how much of the metadata log was promised is not known")
        }
        return max(points[recoveryPointName] ?? 0, snapshotEnd)
    }

    private static let recoveryPointName = "\(MetadataTopic.name)-0"

    private func recoveryPointText(_ offset: Offset) -> ByteBuffer {
        var points = SortedMap<String, Offset>()
        points[Self.recoveryPointName] = offset
        return Checkpoints.text(points)
    }

    /// What is committed is never cut, and what is flushed here was durable once: both make the point.
    func noteRecoveryPoint(committed: Offset) {
        let point = min(committed, log.flushedEnd)
        guard point > notedRecoveryPoint else { return }
        notedRecoveryPoint = point
        recoveryPointSequence += 1
        disk.replace(
            FlushTicket(owner: Self.recoveryPointOwner, generation: 0, sequence: recoveryPointSequence),
            path: "\(directory)/\(Self.recoveryPointFile)", contents: recoveryPointText(point))
    }

    /// In an orderly stop.
    func noteRecoveryPointNow(committed: Offset) throws(DiskError) {
        let point = min(committed, log.flushedEnd)
        guard point > 0 else { return }
        try disk.replaceNow(path: "\(directory)/\(Self.recoveryPointFile)", contents: recoveryPointText(point))
    }

    private init(log: SegmentedLog, disk: any Disk, directory: String, snapshotEnd: LogEnd?) {
        self.log = log
        self.disk = disk
        self.directory = directory
        self.snapshotEnd = snapshotEnd
        self.bytesSinceSnapshot = log.sizeBytes
    }

    var positions: LogPositions {
        LogPositions(
            startOffset: log.startOffset, endOffset: log.endOffset, flushedEnd: log.flushedEnd, epochs: log.epochs,
            snapshotEnd: snapshotEnd)
    }

    // MARK: Writing

    /// One decision, one batch: it is kept whole or not at all.
    func append(_ records: [MetadataRecord], epoch: LeaderEpoch, wallMs: Int64) throws(LogError) {
        var builder = RecordBatchBuilder(leaderEpoch: epoch)
        for record in records { builder.append(timestamp: wallMs, key: nil, value: record.encode()) }
        try append(builder.build(), epoch: epoch, wallMs: wallMs)
    }

    func append(_ control: some WireControlRecord, epoch: LeaderEpoch, wallMs: Int64) throws(LogError) {
        try append(MetadataLog.controlBatch(control, epoch: epoch, wallMs: wallMs), epoch: epoch, wallMs: wallMs)
    }

    private func append(_ batch: ByteBuffer, epoch: LeaderEpoch, wallMs: Int64) throws(LogError) {
        guard let header = BatchHeader(reading: batch, at: batch.readerIndex) else {
            preconditionFailure("a batch of our own has no header")
        }
        _ = try log.append(batch, header: header, leaderEpoch: epoch, wallMs: wallMs)
        bytesSinceSnapshot += Int64(batch.readableBytes)
    }

    func appendFetched(_ batches: ByteBuffer, headers: [BatchHeader], wallMs: Int64) throws(LogError) {
        try log.appendReplicated(batches, headers: headers, wallMs: wallMs)
        bytesSinceSnapshot += Int64(batches.readableBytes)
    }

    private static func controlBatch<R: WireControlRecord>(_ record: R, epoch: LeaderEpoch, wallMs: Int64) -> ByteBuffer
    {
        var builder = RecordBatchBuilder(leaderEpoch: epoch, isControl: true)
        builder.append(timestamp: wallMs, key: ControlRecordKey(R.type).encode(), value: encodeControlRecord(record))
        return builder.build()
    }

    // MARK: Reading

    enum Entry {
        case record(MetadataRecord)
        case voters(VoterSet)
    }

    /// Every record from `offset` up to `end`, in order. Control records other than Voters are passed over.
    func forEachEntry(from offset: Offset, to end: Offset, _ body: (Offset, LeaderEpoch, Entry) throws -> Void) throws {
        var next = max(offset, log.startOffset)
        while next < end {
            guard let slice = try log.read(from: next, maxBytes: 1 << 20, below: end, atLeastOne: true) else { return }
            try MetadataLog.forEachEntry(in: try log.bytes(of: slice)) { entryOffset, epoch, entry in
                if entryOffset >= next { try body(entryOffset, epoch, entry) }
            }
            next = slice.nextOffset
        }
    }

    static func forEachEntry(in bytes: ByteBuffer, _ body: (Offset, LeaderEpoch, Entry) throws -> Void) throws {
        for (header, batch) in BatchSequence(bytes) {
            for record in try decodeRecords(batch, maxDecompressedBytes: decodedBytesMax) {
                if header.isControl {
                    guard let key = record.key, let value = record.value,
                        try ControlRecordKey.decode(key).type == .voters
                    else { continue }
                    let voters = VoterSet(try decodeControlRecord(VotersRecord.self, from: value))
                    try body(record.offset, header.partitionLeaderEpoch, .voters(voters))
                } else if let value = record.value {
                    try body(record.offset, header.partitionLeaderEpoch, .record(try MetadataRecord.decode(value)))
                }
            }
        }
    }

    /// The epochs that begin in these batches and the voter sets among them, for the quorum's machine.
    static func quorumFacts(
        _ bytes: ByteBuffer, _ headers: [BatchHeader], after latest: LeaderEpoch?
    ) throws -> (epochs: [EpochHistory.Entry], voters: [VotersAt]) {
        var epochs: [EpochHistory.Entry] = []
        for header in headers where header.partitionLeaderEpoch > (epochs.last?.epoch ?? latest ?? -1) {
            epochs.append(.init(epoch: header.partitionLeaderEpoch, startOffset: header.baseOffset))
        }
        var voters: [VotersAt] = []
        if headers.contains(where: \.isControl) {
            try forEachEntry(in: bytes) { offset, _, entry in
                if case .voters(let set) = entry { voters.append(VotersAt(offset: offset, voters: set)) }
            }
        }
        return (epochs, voters)
    }

    /// The Voters records of the whole log.
    func votersInLog() throws -> [VotersAt] {
        var found: [VotersAt] = []
        try forEachEntry(from: log.startOffset, to: log.endOffset) { offset, _, entry in
            if case .voters(let set) = entry { found.append(VotersAt(offset: offset, voters: set)) }
        }
        return found
    }

    // MARK: Snapshots

    static func snapshotName(_ end: LogEnd) -> String {
        func padded(_ number: Int64, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return "\(padded(end.offset, 20))-\(padded(Int64(end.epoch), 10)).checkpoint"
    }

    static func snapshotEnd(of name: String) -> LogEnd? {
        guard name.hasSuffix(".checkpoint"), name.utf8.count == 42 else { return nil }
        let parts = name.dropLast(".checkpoint".count).split(separator: "-")
        guard parts.count == 2, let offset = Offset(parts[0]), let epoch = LeaderEpoch(parts[1]) else { return nil }
        return LogEnd(offset: offset, epoch: epoch)
    }

    /// The bytes of a snapshot: header, kraft.version and voters, the image's records, footer; each batch numbered on
    /// from 0.
    static func snapshot(_ image: MetadataImage, voters: VoterSet?, end: LogEnd, wallMs: Int64) -> ByteBuffer {
        var bytes = ByteBuffer()
        var offset: Offset = 0
        func add(_ batch: ByteBuffer, _ count: Int) {
            var batch = batch
            batch.setInteger(offset, at: batch.readerIndex)
            bytes.writeBuffer(&batch)
            offset += Offset(count)
        }
        var header = SnapshotHeaderRecord()
        header.lastContainedLogTimestamp = wallMs
        add(controlBatch(header, epoch: end.epoch, wallMs: wallMs), 1)
        if let voters {
            var version = KRaftVersionRecord()
            version.kraftVersion = 1
            add(controlBatch(version, epoch: end.epoch, wallMs: wallMs), 1)
            add(controlBatch(VotersRecord(voters), epoch: end.epoch, wallMs: wallMs), 1)
        }
        let records = image.records()
        for first in stride(from: 0, to: records.count, by: 1_000) {
            var builder = RecordBatchBuilder(leaderEpoch: end.epoch)
            for record in records[first..<min(first + 1_000, records.count)] {
                builder.append(timestamp: wallMs, key: nil, value: record.encode())
            }
            add(builder.build(), builder.count)
        }
        add(controlBatch(SnapshotFooterRecord(), epoch: end.epoch, wallMs: wallMs), 1)
        return bytes
    }

    static func decodeSnapshot(_ bytes: ByteBuffer, end: LogEnd) throws -> MetadataSnapshot {
        var snapshot = MetadataSnapshot(end: end, image: .empty, voters: nil)
        var changes = ImageChanges()
        var hasFooter = false
        var whole = 0
        for (header, batch) in BatchSequence(bytes) {
            guard verifyCRC(of: batch) else {
                throw MetadataCorruption(text: "snapshot \(end): a batch's CRC is wrong")
            }
            whole += header.sizeBytes
            if header.isControl, let key = try decodeRecords(batch, maxDecompressedBytes: decodedBytesMax).first?.key {
                hasFooter = try ControlRecordKey.decode(key).type == .snapshotFooter
            }
            try forEachEntry(in: batch) { _, _, entry in
                switch entry {
                case .record(let record): snapshot.image.apply(record, at: end.offset - 1, changes: &changes)
                case .voters(let voters): snapshot.voters = voters
                }
            }
        }
        guard hasFooter, whole == bytes.readableBytes else {
            throw MetadataCorruption(text: "snapshot \(end) is not whole")
        }
        snapshot.image.lastOffset = end.offset - 1
        snapshot.image.lastEpoch = end.epoch
        return snapshot
    }

    private static func read(_ end: LogEnd, disk: any Disk, directory: String) throws -> MetadataSnapshot {
        let file = try disk.open("\(directory)/\(snapshotName(end))", create: false)
        defer { disk.close(file) }
        return try decodeSnapshot(
            try disk.read(file, at: 0, length: Int(try disk.sizeBytes(of: file))), end: end)
    }

    /// The snapshot at `end` is durable: the log may begin there, and older snapshots go.
    func adopt(_ end: LogEnd) throws {
        snapshotEnd = end
        bytesSinceSnapshot = 0
        if log.endOffset < end.offset {
            try log.truncateFully(startingAt: end.offset)
        } else {
            try log.advanceStart(to: end.offset)
        }
        for name in try disk.list(directory) {
            if let old = MetadataLog.snapshotEnd(of: name), old.offset < end.offset {
                try disk.remove("\(directory)/\(name)")
            }
        }
    }
}

extension VoterSet {
    init(_ record: VotersRecord) {
        self.init(
            record.voters.map { voter in
                Voter(
                    key: ReplicaKey(id: voter.voterID, directoryID: voter.voterDirectoryID),
                    endpoint: Model.Endpoint(
                        host: voter.endpoints.first?.host ?? "", port: voter.endpoints.first?.port ?? 0))
            })
    }
}

extension VotersRecord {
    init(_ set: VoterSet) {
        self.init()
        voters = set.voters.map { member in
            var voter = Voter()
            voter.voterID = member.key.id
            voter.voterDirectoryID = member.key.directoryID
            var endpoint = Endpoint()
            endpoint.name = "PLAINTEXT"
            endpoint.host = member.endpoint.host
            endpoint.port = member.endpoint.port
            voter.endpoints = [endpoint]
            voter.kraftVersionFeature.minSupportedVersion = 0
            voter.kraftVersionFeature.maxSupportedVersion = 1
            return voter
        }
    }
}
