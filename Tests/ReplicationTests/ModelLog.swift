// A replica's log as an array, with the disk beside it: what a power cut keeps.

import Model
import Replication

struct ModelRecord: Hashable, CustomStringConvertible {
    var epoch: LeaderEpoch
    var id: Int

    var description: String { "\(epoch):\(id)" }
}

struct ModelLog: Equatable {
    /// As the running process sees it.
    private(set) var records: [ModelRecord] = []
    /// As a power cut leaves it at the least.
    private(set) var disk: [ModelRecord] = []
    private(set) var epochs = EpochHistory()

    var endOffset: Offset { Offset(records.count) }

    /// How much of the log is on disk.
    var flushedEnd: Offset {
        Offset(zip(records, disk).prefix { $0 == $1 }.count)
    }

    var view: LogView { LogView(startOffset: 0, endOffset: endOffset, flushedEnd: flushedEnd, epochs: epochs) }

    mutating func assign(_ epoch: LeaderEpoch) { epochs.assign(epoch, startOffset: endOffset) }

    mutating func append(_ record: ModelRecord) {
        epochs.assign(record.epoch, startOffset: endOffset)
        records.append(record)
    }

    mutating func truncate(to offset: Offset) {
        records.removeSubrange(Int(offset)...)
        epochs.truncate(to: offset)
    }

    mutating func flush() { disk = records }

    /// The process dies. Of what was not flushed, any prefix may have reached the disk; an unflushed cut may not have.
    mutating func crash(_ random: inout SeededRandom) {
        let flushed = Int(flushedEnd)
        let isCutOnly = records.count == flushed && disk.count > flushed
        if !isCutOnly {
            disk = Array(records.prefix(flushed + Int(random.below(Int64(records.count - flushed + 1)))))
        }
        restore()
    }

    /// The process dies and keeps only what was flushed.
    mutating func crashToFlushed() {
        disk = Array(records.prefix(Int(flushedEnd)))
        restore()
    }

    private mutating func restore() {
        records = disk
        epochs = EpochHistory()
        for (offset, record) in records.enumerated() { epochs.assign(record.epoch, startOffset: Offset(offset)) }
    }
}
