// A compacted log and its owner, as the crash and failure matrices drive them: cleanings in single steps, and between
// their steps everything else that happens to a log.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage

final class CleaningLife {
    enum Step {
        case append, appendTombstone, appendEpoch, appendProducer, flush, complete, completeAll
        case begin, work, workUntilBarrier, finish, truncate, truncateDeep, raiseStart, raiseStartPastFirst
        case purge, checkpoint, reopen, later
    }

    private static let grow: [Step] = [.append, .append, .appendTombstone, .append, .appendProducer, .append, .append]

    /// Cleanings that run to their end, that are overtaken by an append, a cut, a start and a roll at each of their
    /// stages, and that are abandoned.
    static let script: [Step] =
        grow + grow + [.flush, .completeAll, .checkpoint, .begin, .work, .work, .append, .work, .work, .work]
        + [.append, .flush, .complete, .work, .complete, .append, .complete, .flush, .work, .work, .completeAll, .work]
        + [.finish] + grow + [.appendEpoch] + grow + [
            .flush, .completeAll, .checkpoint, .later, .begin, .work, .finish,
        ]
        + [.purge, .append, .truncate, .append, .flush, .completeAll, .reopen] + grow + grow
        + [
            .flush, .completeAll, .checkpoint, .begin, .work, .work, .work, .work, .complete, .truncate, .append,
            .complete,
        ]
        + [.flush, .append, .complete, .work, .work, .complete, .raiseStart, .work, .work, .completeAll, .finish]
        + grow + [.flush, .completeAll, .later, .begin, .finish, .purge, .checkpoint, .append, .flush, .completeAll]
        + overtaken

    static let ready: [Step] =
        grow + grow + [.flush, .completeAll, .checkpoint, .later, .begin, .workUntilBarrier]

    /// The second cleaning puts together what the first has made small.
    static let merging: [Step] =
        grow + grow + grow + grow + grow + [.flush, .completeAll, .checkpoint, .begin, .finish, .purge] + ready

    /// The log start, and an election that was not clean, take away what is being cleaned: while the new segment's
    /// bytes are on their way, its name, and the old names.
    private static let overtaken: [Step] =
        ready + [.raiseStartPastFirst, .work, .flush, .completeAll, .purge]
        + ready + [.truncateDeep, .append, .flush, .completeAll, .work]
        + ready + [
            .complete, .truncateDeep, .append, .append, .flush, .work, .completeAll, .append, .flush, .completeAll,
        ]
        + ready + [.complete, .complete, .truncateDeep, .append, .flush, .complete, .work, .completeAll, .finish]
        + ready + [.complete, .complete, .raiseStartPastFirst, .append, .flush, .completeAll, .finish, .reopen]
        + ready + [.complete, .complete, .append, .reopen, .append, .flush, .completeAll]
        + grow + grow + [.flush, .completeAll, .begin, .finish, .purge]

    let test: KeyedLog
    let disk: SimulatedDisk
    private var random = SeededRandom(seed: 5)
    private var epoch: LeaderEpoch = 0
    private var sequence: Int32 = 0
    private var count = 0
    /// What is on disk of the owner's files.
    private(set) var recoveryPoint: Offset = 0
    private(set) var start: Offset = 0
    private(set) var cleanedEnd: Offset = 0
    private(set) var highWatermark: Offset = 0
    private(set) var flushedEnd: Offset = 0
    /// The cleaning under way, and what it will have left.
    private(set) var order: CleaningOrder?
    private(set) var outcome: [ModelBatch]?
    /// Cut off by a truncation that a barrier has covered.
    private(set) var buried: Set<String> = []
    private var dying: [String] = []
    /// At least one barrier has covered the directory.
    private(set) var isBorn = false
    private(set) var finished = 0
    private(set) var abandoned: [CleaningStop] = []
    private(set) var stepCount = 0

    init(disk: SimulatedDisk = SimulatedDisk(seed: 3), seam: (any Disk)? = nil) throws {
        self.disk = disk
        test = try KeyedLog(cleaning: CleaningSettings(deleteRetentionMs: 100), disk: disk, seam: seam)
        test.budgetBytes = 700
    }

    func open(_ disk: any Disk) throws(LogError) -> SegmentedLog {
        let log = try KeyedLog.open(disk, recoveryPoint: recoveryPoint, startOffset: start)
        log.restoreCleanedEnd(cleanedEnd)
        return log
    }

    func perform(_ step: Step) throws {
        stepCount += 1
        switch step {
        case .append: try append(value: String(repeating: "v", count: Int(random.below(70))))
        case .appendTombstone: try append(value: nil)
        case .appendEpoch:
            epoch += 1
            try append(value: "e")
        case .appendProducer:
            try append(value: "p", producerID: 3)
            sequence += 2
        case .flush: test.log.requestFlush()
        case .complete: try completeOne()
        case .completeAll: while !disk.pendingBarriers.isEmpty, !disk.isCrashed { try completeOne() }
        case .begin: try begin()
        case .work: try work()
        case .workUntilBarrier:
            for _ in 0..<200 where order != nil && disk.pendingBarriers.isEmpty && !disk.isCrashed { try work() }
        case .finish:
            for _ in 0..<200 where order != nil && !disk.isCrashed {
                try work()
                while !disk.pendingBarriers.isEmpty, !disk.isCrashed { try completeOne() }
            }
        case .truncate: try truncate()
        case .raiseStart:
            start = test.log.startOffset + max(1, (highWatermark - test.log.startOffset) / 3)
            try test.log.advanceStart(to: start)
        case .truncateDeep: try truncateDeep()
        case .raiseStartPastFirst:
            guard test.segmentBases.count > 2, test.segmentBases[1] <= highWatermark else { return }
            start = test.segmentBases[1]
            try test.log.advanceStart(to: start)
        case .purge: test.log.purgeRemoved(at: Instant(nanoseconds: Int64(stepCount) * 1_000_000_000), delayMs: 1)
        case .checkpoint: recoveryPoint = min(flushedEnd, highWatermark)
        case .reopen: try reopen()
        case .later: test.wallMs += 1_000
        }
    }

    private func append(value: String?, producerID: ProducerID = -1) throws(LogError) {
        var records: [(key: String?, value: String?)] = []
        for _ in 0...random.below(2) {
            count += 1
            // Each value is one of a kind, so that a record is known by it.
            records.append(("key \(random.below(7))", value.map { "\(count) \($0)" }))
        }
        if producerID >= 0 { records = Array((records + records).prefix(2)) }
        try test.append(
            records, timestamp: Int64(count) * 10, epoch: epoch, producerID: producerID,
            baseSequence: producerID < 0 ? -1 : sequence)
    }

    private func completeOne() throws(LogError) {
        guard let ticket = disk.pendingBarriers.first else { return }
        (test.seam as? FailingDisk)?.armBarrier(isReplacement: ticket.sequence >> 63 != 0)
        guard let report = disk.completeBarrier(ticket) else { return }
        _ = try test.log.flushed(report.ticket, report.result)
        guard ticket.sequence >> 60 == 0, report.result == .done, ticket.generation == test.log.generation else {
            return
        }
        isBorn = true
        buried.formUnion(dying)
        dying = []
        noteFlushed()
    }

    private func noteFlushed() {
        flushedEnd = test.log.flushedEnd
        let behind = test.model.last { $0.header.baseOffset <= flushedEnd - 4 }?.header.baseOffset
        highWatermark = max(highWatermark, behind ?? 0)
    }

    // MARK: Cleanings

    private func begin() throws(LogError) {
        guard order == nil,
            let part = try test.log.cleanablePart(test.cleaning, highWatermark: highWatermark, wallMs: test.wallMs)
        else { return }
        let order = test.order(part)
        guard test.log.beginCleaning(order) else { return }
        self.order = order
        let before = test.model
        test.cleanModel(order, mapEnd: part.dirty.upperBound)
        (outcome, test.model) = (test.model, before)
    }

    private func work() throws {
        guard order != nil else { return }
        switch test.log.stepCleaning(budgetBytes: test.budgetBytes) {
        case .working, .waiting: break
        case .finished(let summary):
            finished += 1
            try Violation.unless(summary.cleanedEnd == order?.part.dirty.upperBound, "cleaned to \(summary.cleanedEnd)")
            if !disk.isCrashed { cleanedEnd = summary.cleanedEnd }
            ended()
        case .abandoned(let stop):
            abandoned.append(stop)
            ended()
        case .idle: throw Violation(description: "the cleaning is gone")
        }
    }

    /// The model is what the log holds now.
    private func ended() {
        guard !disk.isCrashed, !test.log.isFenced else { return }
        paused {
            guard let records = try? test.records, let headers = try? test.headers else { return }
            order = nil
            outcome = nil
            let offsets = Set(records.map(\.offset))
            let horizons = Dictionary(
                uniqueKeysWithValues: headers.filter(\.hasDeleteHorizon).map { ($0.baseOffset, $0.baseTimestamp) })
            for index in test.model.indices {
                test.model[index].records.removeAll {
                    !offsets.contains($0.offset) && $0.offset >= test.log.startOffset
                }
                test.model[index].horizonMs = horizons[test.model[index].header.baseOffset]
            }
        }
    }

    /// The test itself looks.
    func paused(_ body: () throws -> Void) rethrows {
        let failing = test.seam as? FailingDisk
        failing?.isPaused = true
        defer { failing?.isPaused = false }
        try body()
    }

    // MARK: What else happens

    private func truncate() throws(LogError) {
        let target = max(highWatermark, test.log.endOffset - 4)
        let cut = test.model.filter { $0.header.lastOffset >= target }
        flushedEnd = min(flushedEnd, cut.first?.header.baseOffset ?? target)
        epoch += 1
        try test.log.truncate(to: target)
        test.model.removeAll { $0.header.lastOffset >= target }
        outcome?.removeAll { $0.header.lastOffset >= target }
        dying += cut.flatMap(\.records).compactMap(\.value)
    }

    /// As a follower of a leader that was elected uncleanly: its owner lowers its files first.
    private func truncateDeep() throws(LogError) {
        let bases = test.segmentBases
        guard bases.count > 2, let header = try test.log.header(at: bases[bases.count - 2] - 2) else { return }
        let target = header.baseOffset
        guard target > test.log.startOffset else { return }
        (recoveryPoint, highWatermark) = (min(recoveryPoint, target), min(highWatermark, target))
        (flushedEnd, cleanedEnd) = (min(flushedEnd, target), min(cleanedEnd, target))
        let cut = test.model.filter { $0.header.lastOffset >= target }
        epoch += 1
        try test.log.truncate(to: target)
        test.model.removeAll { $0.header.lastOffset >= target }
        outcome?.removeAll { $0.header.lastOffset >= target }
        dying += cut.flatMap(\.records).compactMap(\.value)
    }

    private func reopen() throws(LogError) {
        try test.log.close(flushing: true)
        if !disk.isCrashed {
            noteFlushed()
            buried.formUnion(dying)
            dying = []
        }
        test.log = try open(test.seam)
        ended()
    }
}

/// What must hold of a recovered log, whatever the disk kept.
struct CleaningCheck {
    let life: CleaningLife
    /// What the log in memory could still read when the process ended.
    let inMemory: Set<Offset>?

    init(_ life: CleaningLife) {
        self.life = life
        var seen: Set<Offset>?
        life.paused { seen = (try? life.test.offsets).map { Set($0) } }
        inMemory = seen
    }

    @discardableResult
    func run(_ disk: SimulatedDisk, cleaning again: Bool) throws -> [KeyedRecord] {
        let log = try life.open(disk)
        try Violation.unless(log.recovery.damages.isEmpty, "S5: damage: \(log.recovery.damages)")
        if life.isBorn { try Violation.unless(log.recovery.missingStart == nil, "a missing start is reported") }
        try Violation.unless(log.endOffset >= life.flushedEnd, "S1: ends at \(log.endOffset), not \(life.flushedEnd)")
        try Violation.unless(log.flushedEnd == log.endOffset, "what recovery believes is not durable")
        try Violation.unless(log.startOffset >= life.start, "S7: begins at \(log.startOffset)")
        for path in disk.filePaths {
            let isLeft = [".cleaned", ".swap", ".deleted"].contains { path.hasSuffix($0) }
            try Violation.unless(!isLeft, "\(path) is left")
        }
        let found = try KeyedLog.records(of: log)
        try contents(found, from: log.startOffset)
        if again { try cleanAgain(log, disk, found) }
        return found
    }

    private func contents(_ found: [KeyedRecord], from start: Offset) throws {
        for record in found {
            try Violation.unless(life.test.everWritten.contains(record), "nobody wrote what is at \(record.offset)")
            try Violation.unless(record.value.map { !life.buried.contains($0) } ?? true, "S7: \(record.offset) was cut")
        }
        func promised(_ model: [ModelBatch]) -> [KeyedRecord] {
            model.filter { $0.header.nextOffset <= life.flushedEnd }.flatMap(\.records).filter { $0.offset >= start }
        }
        let before = promised(life.test.model)
        let after = Set(promised(life.outcome ?? life.test.model).map(\.offset))
        let read = Set(found.map(\.offset))
        let records = Set(found)
        for record in before {
            try Violation.unless(
                read.contains(record.offset) || !after.contains(record.offset), "S1: \(record.offset) is lost")
            try Violation.unless(
                !read.contains(record.offset) || records.contains(record), "\(record.offset) is another record")
        }
        let known = Set(before.map(\.offset))
        // Behind the last batch that is known to be durable anything that was written may follow.
        let end = life.test.model.last { $0.header.nextOffset <= life.flushedEnd }?.header.nextOffset ?? 0
        for record in found where record.offset < end {
            try Violation.unless(known.contains(record.offset), "S7: \(record.offset) was cleaned away")
        }
        // Each segment is either the old one or the new one, and the new ones come first.
        let removed = known.subtracting(after)
        if let kept = removed.intersection(read).min(), let gone = removed.subtracting(read).max() {
            try Violation.unless(gone < kept, "\(gone) is gone, and \(kept) before it is not")
        }
        if let inMemory {
            let back = removed.intersection(read).subtracting(inMemory)
            try Violation.unless(back.isEmpty, "S7: \(back.sorted()) is back")
        }
        try newestOfEachKey(before, read, after)
    }

    /// The one thing that compaction promises.
    private func newestOfEachKey(_ before: [KeyedRecord], _ read: Set<Offset>, _ after: Set<Offset>) throws {
        var newest: [String: KeyedRecord] = [:]
        for record in before { if let key = record.key { newest[key] = record } }
        for (key, record) in newest where !read.contains(record.offset) {
            let mayGo = record.value == nil && !after.contains(record.offset)
            try Violation.unless(mayGo, "the last value of \(key), at \(record.offset), is gone")
            // Nothing older of it may be left.
            let older = before.first { $0.key == key && $0.offset < record.offset && read.contains($0.offset) }
            try Violation.unless(older == nil, "\(key) lives again at \(older?.offset ?? -1)")
        }
    }

    /// What was interrupted can be done again, to the end.
    private func cleanAgain(_ log: SegmentedLog, _ disk: SimulatedDisk, _ found: [KeyedRecord]) throws {
        let settings = life.test.cleaning
        guard let part = try log.cleanablePart(settings, highWatermark: life.highWatermark, wallMs: life.test.wallMs)
        else { return }
        var headers: [BatchHeader] = []
        try log.forEachHeader(from: 0) { headers.append($0) }
        let order = CleaningOrder(
            part: part, settings: settings, wallMs: life.test.wallMs, hasher: KeyHasher(1, 2),
            producers: KeyedLog.floors(of: headers, below: part.dirty.upperBound))
        try Violation.unless(log.beginCleaning(order), "no cleaning begins")
        var steps = 0
        while true {
            let progress = log.stepCleaning(budgetBytes: 2_000)
            if case .finished = progress { break }
            steps += 1
            try Violation.unless(progress == .working || progress == .waiting, "the cleaning ended: \(progress)")
            try Violation.unless(steps < 500, "the cleaning does not end")
            while let ticket = disk.pendingBarriers.first, let report = disk.completeBarrier(ticket) {
                _ = try log.flushed(report.ticket, report.result)
            }
        }
        let cleaned = try KeyedLog.records(of: log)
        try Violation.unless(Set(cleaned).isSubset(of: found), "a record out of nothing")
        let newest = Dictionary(found.map { ($0.key, $0) }) { $0.offset > $1.offset ? $0 : $1 }
        for record in newest.values where record.value != nil {
            try Violation.unless(cleaned.contains(record), "\(record.offset) is lost in the next cleaning")
        }
        var seen: Set<String?> = []
        for record in cleaned where record.offset < part.dirty.upperBound {
            try Violation.unless(seen.insert(record.key).inserted, "\(record.key ?? "-") is there twice")
        }
    }
}
