// Where one partition's decisions meet its log: the only place that knows both.

import Metadata
import Model
import NIOCore
import Records
import Replication
import Storage
import Wire

/// A produced batch that waits for the high watermark to pass it.
struct ProduceWaiter {
    var request: UInt64
    /// Which of the request's partitions.
    var index: Int
    /// Answered when the high watermark reaches this.
    var endOffset: Offset
}

final class Replica {
    let topicPartition: TopicPartition
    let topicName: String
    let directory: String
    let log: SegmentedLog
    var partition: Partition
    var producers = ProducerTable()
    /// The segment whose snapshot was last thought of, and the one that waits until its offset is committed.
    var snapshotNoted: Offset = 0
    var snapshotDue: (offset: Offset, table: ProducerTable)?
    /// Appended since a barrier was last asked for.
    private var unflushedBytes: Int64 = 0
    /// The place that was found cold last, and the ticket that brings it in.
    var coldPlace: (offset: Offset, ticket: UInt64)?
    /// How far the log was durable when it was last looked at, and since when it has not moved.
    var flushWatch: (end: Offset, since: Instant)?
    /// The disk is full or read-only, and the log has said so.
    var isRefusingRecords = false
    /// Until the repair is over, what is remembered of producers is not what the log holds.
    var isUnderRepair = false
    /// Producers whose last batch could not be written: what they sent behind it does not follow on.
    var refusedProducers = SortedMap<ProducerID, Bool>()
    var unknownProducers = UnknownProducers()
    var cleaning = CleaningNotes()
    var settings: EffectiveTopicConfig
    /// Of `__consumer_offsets`: where it is led it is coordinated.
    let isGroupLog: Bool
    /// In the order of their offsets.
    var produceWaiters: [ProduceWaiter] = []
    /// Parked fetches without a session that look again when this replica has news.
    var parkedFetches: [UInt64] = []
    /// Sessions that take note of them.
    var readings: [Reading] = []
    /// In no order; there are few.
    var deleteWaiters: [DeleteWaiter] = []
    /// Where the log is to start, what is done about it, and the start that the checkpoint file was last given.
    var wantedStart: Offset = 0
    var startMove: StartMove?
    var savedStart: Offset = 0
    /// From whom the follower loop fetches now.
    var fetcher: LinkID?
    /// How often in a row its fetches failed.
    var rests = 0
    /// The fetcher looks at it before its next question.
    var isFetchNoted = false

    init(
        _ topicPartition: TopicPartition, topicName: String, directory: String, log: SegmentedLog, partition: Partition,
        settings: EffectiveTopicConfig
    ) {
        self.topicPartition = topicPartition
        self.topicName = topicName
        isGroupLog = topicName == GroupTopic.name
        self.directory = directory
        self.log = log
        self.partition = partition
        self.settings = settings
    }

    /// False while a new directory's `partition.metadata` is on its way to the disk.
    var isIdentityDurable = true
    /// How it came to be opened late; nil once it is served for good.
    var wasPostponed: PostponedReplica?
    /// Names that barrier: no log's generation ever gets there.
    var identityTicket: FlushTicket { FlushTicket(owner: log.owner, generation: .max, sequence: 0) }

    /// What is durable for certain, directory and all.
    var flushedEnd: Offset { isIdentityDurable ? log.flushedEnd : log.startOffset }

    var logView: LogView {
        LogView(
            startOffset: log.startOffset, endOffset: log.endOffset, flushedEnd: flushedEnd, epochs: log.epochs,
            isDamaged: !log.damages.isEmpty || isUnderRepair)
    }

    /// The log start as clients are told it; −1: they cannot be told yet.
    var visibleStart: Offset { partition.visibleStart(log: logView) ?? -1 }

    /// Bytes of an async topic's log that may lie unwritten before write-back is asked for.
    static let writeBackBytes: Int64 = 16 << 20

    /// After an append. A synced topic's acknowledgement waits for the barrier; an async one only keeps the kernel's
    /// backlog short.
    func requestFlush(appendedBytes: Int) {
        unflushedBytes += Int64(appendedBytes)
        guard settings.synchronous || unflushedBytes >= Self.writeBackBytes else { return }
        unflushedBytes = 0
        log.requestFlush()
    }

    var isLeader: Bool {
        if case .leader = partition.role { true } else { false }
    }

    /// Whether the partition takes a produced batch now, and why not.
    func admission(acks: Int16) -> ErrorCode? {
        // Access to the value where it stands: a call on `partition` copies it whole, arrays and all.
        func ask(_ partition: inout Partition) -> ErrorCode? {
            partition.admission(acks: acks, currentLeaderEpoch: nil)
        }
        return ask(&partition)
    }

    /// "topic-partition", Kafka's way of naming it.
    var name: String { "\(topicName)-\(topicPartition.partition)" }

    /// Remembers what the log holds of producers, from `offset` to its end.
    func replayProducers(from offset: Offset) throws(LogError) {
        var table = producers
        try log.forEachHeader(from: offset) { header in
            if header.hasProducer && !header.isControl { table.record(ProducedBatch(header)) }
        }
        producers = table
    }

    /// After a truncation the table is what the remaining log says, never what it said before (I3).
    /// It begins with the newest snapshot that the log still reaches.
    func rebuildProducers(on disk: any Disk) throws(LogError) {
        producers = ProducerTable()
        snapshotDue = nil
        snapshotNoted = log.activeBaseOffset
        // Also what lies below the log start speaks of producers, as long as it is there.
        var start: Offset = 0
        let left: [Offset]
        do throws(DiskError) {
            left = try ProducerSnapshots.prune(directory, above: log.endOffset, on: disk)
        } catch {
            throw .disk(error)
        }
        if !left.isEmpty, let snapshot = try newestSnapshot(below: log.endOffset, among: left, on: disk) {
            producers = snapshot.table
            start = snapshot.offset
        }
        try replayProducers(from: start)
    }

    func newestSnapshot(
        below bound: Offset, among offsets: [Offset]? = nil, on disk: any Disk
    ) throws(LogError) -> (offset: Offset, table: ProducerTable)? {
        do throws(DiskError) {
            return try ProducerSnapshots.newest(
                in: directory, reaching: log, below: bound, among: offsets, on: disk)
        } catch {
            throw .disk(error)
        }
    }

    /// What the batches that lie whole below `bound` say of producers, and where the last of them ends.
    func producers(
        below bound: Offset, on disk: any Disk
    ) throws(LogError) -> (end: Offset, table: ProducerTable) {
        var (end, table) = try newestSnapshot(below: bound, on: disk) ?? (0, ProducerTable())
        try log.forEachHeader(from: end, below: bound) { header in
            guard header.nextOffset <= bound else { return }
            end = max(end, header.nextOffset)
            if header.hasProducer && !header.isControl { table.record(ProducedBatch(header)) }
        }
        return (end, table)
    }

    /// Remembers a batch that was just appended, and takes note of a roll that it brought.
    func record(_ headers: [BatchHeader]) {
        let roll = log.activeBaseOffset
        if roll > snapshotNoted {
            // The table as it stands at the new segment's beginning is what its snapshot holds.
            for header in headers where header.baseOffset < roll { remember(header) }
            snapshotNoted = roll
            snapshotDue = (roll, producers)
            for header in headers where header.baseOffset >= roll { remember(header) }
        } else {
            for header in headers { remember(header) }
        }
    }

    private func remember(_ header: BatchHeader) {
        if header.hasProducer && !header.isControl { producers.record(ProducedBatch(header)) }
    }
}

extension ProducedBatch {
    /// A batch as its header in the log describes it.
    init(_ header: BatchHeader) {
        self.init(
            producerID: header.producerID, producerEpoch: header.producerEpoch, baseSequence: header.baseSequence,
            lastSequence: header.lastSequence, baseOffset: header.baseOffset, lastOffset: header.lastOffset,
            timestampMs: header.maxTimestamp)
    }
}
