// Every kind of damage to every file of a log: what opens is the same, or says what is wrong, or refuses; and nothing
// below the recovery point is ever cut away (reliability.md §5, S3 to S5).

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

/// A sound log on a disk, and what everybody knows of it.
struct SoundLog {
    static let settings = LogSettings(segmentBytes: 1_200, indexIntervalBytes: 150)
    static let directory = "data/t-0"

    let disk = SimulatedDisk(seed: 9)
    private(set) var batches: [(header: BatchHeader, bytes: [UInt8])] = []
    private(set) var segments: [SegmentedLog.SegmentSummary] = []
    private(set) var epochs = EpochHistory()
    /// An earlier state of every file.
    private(set) var older: [String: [UInt8]] = [:]

    var end: Offset { batches.last?.header.nextOffset ?? 0 }

    init() throws {
        let log = try Self.open(disk, recoveryPoint: 0)
        var random = SeededRandom(seed: 4)
        for index in 0..<44 {
            let batch = makeBatch(
                count: 1 + Int(random.below(3)), sizeBytes: 30 + Int(random.below(160)),
                timestamp: Int64(index) * 7 + random.below(30))
            guard var header = BatchHeader(reading: batch, at: batch.readerIndex) else { continue }
            header.partitionLeaderEpoch = LeaderEpoch(2 * (index / 10))
            header.baseOffset = try log.append(
                batch, header: header, leaderEpoch: header.partitionLeaderEpoch, wallMs: 0)
            batches.append((header, stampedBytes(batch, header)))
            if index == 41 {
                try Self.flush(log, disk)
                for path in disk.filePaths { older[path] = disk.contents(of: path) }
            }
        }
        try Self.flush(log, disk)
        (segments, epochs) = (log.segmentSummaries, log.epochs)
        try log.close(flushing: true)
        // The indexes of closed segments in an earlier state: without their last entry.
        for path in disk.filePaths where path.hasSuffix("index") && older[path] == disk.contents(of: path) {
            older[path] = older[path]?.dropLast(path.hasSuffix(".index") ? 8 : 12)
        }
    }

    private static func flush(_ log: SegmentedLog, _ disk: SimulatedDisk) throws {
        log.requestFlush()
        while let ticket = disk.pendingBarriers.first, let report = disk.completeBarrier(ticket) {
            _ = try log.flushed(report.ticket, report.result)
        }
    }

    static func open(_ disk: SimulatedDisk, recoveryPoint: Offset) throws(LogError) -> SegmentedLog {
        try SegmentedLog.open(
            disk: disk, directory: directory, owner: 1, settings: settings, recoveryPoint: recoveryPoint,
            startOffset: 0, wallMs: 0)
    }

    func path(_ base: Offset, _ suffix: String = ".log") -> String {
        SegmentFiles.path(Self.directory, base, suffix)
    }

    func batches(of segment: SegmentedLog.SegmentSummary) -> [(header: BatchHeader, bytes: [UInt8])] {
        batches.filter { $0.header.baseOffset >= segment.baseOffset && $0.header.baseOffset < segment.nextOffset }
    }

    /// How many bytes of a segment hold batches that end at or below `offset`.
    func bytes(of segment: SegmentedLog.SegmentSummary, below offset: Offset) -> Int {
        batches(of: segment).filter { $0.header.nextOffset <= offset }.reduce(0) { $0 + $1.bytes.count }
    }
}

/// One damage.
struct Damaging {
    enum Kind: String { case log, epochOfABatch, index, side }

    var name: String
    var kind: Kind
    var apply: (SimulatedDisk) -> Void
}

/// `epochAlone`: the checksum does not cover the leader epoch, and one that can be is believed.
enum Outcome: String { case identical, reported, epochAlone, cutAsTorn, refused }

struct CorruptionCheck {
    let sound: SoundLog
    let recoveryPoint: Offset

    func run(_ damaging: Damaging) throws -> Outcome {
        let disk = sound.disk.afterCrash(nil)
        damaging.apply(disk)
        let before = logFiles(disk)
        let log: SegmentedLog
        do { log = try SoundLog.open(disk, recoveryPoint: recoveryPoint) } catch {
            guard case .damaged = error else { throw Violation(description: "refused with \(error)") }
            return .refused
        }
        try nothingCut(before, disk)
        // As a serving node's image says it.
        log.epochMax = sound.epochs.latestEpoch ?? -1
        let outcome = try contents(log, damaging.kind)
        try scrub(log, outcome)
        if damaging.kind == .index || damaging.kind == .side {
            try Violation.unless(outcome == .identical, "a cache's damage made it \(outcome)")
            try Violation.unless(log.epochs == sound.epochs, "epochs are \(log.epochs)")
            try lookups(log)
        }
        // Once more, as a node that restarts in a loop would: no step of it cuts anything either.
        let again = disk.afterCrash(.keepNothing)
        let second = try SoundLog.open(again, recoveryPoint: recoveryPoint)
        try nothingCut(before, again)
        // Reading may have taken an index away that hid more.
        for base in sound.batches.map(\.header.baseOffset) {
            let isKept = !Self.holds(log.recovery.damages, base) || Self.holds(second.recovery.damages, base)
            try Violation.unless(isKept, "reported \(log.recovery.damages), then \(second.recovery.damages)")
        }
        return outcome
    }

    private static func holds(_ damages: [Damage], _ offset: Offset) -> Bool {
        damages.contains { $0.offsets.contains(offset) }
    }

    private func logFiles(_ disk: SimulatedDisk) -> [String: [UInt8]] {
        disk.filePaths.filter { $0.hasSuffix(".log") }.reduce(into: [:]) { $0[$1] = disk.contents(of: $1) }
    }

    /// S5: of what lay below the recovery point each file has its bytes still, as the damage left them.
    private func nothingCut(_ before: [String: [UInt8]], _ disk: SimulatedDisk) throws {
        for segment in sound.segments {
            let path = sound.path(segment.baseOffset)
            guard let known = before[path] else { continue }
            let kept = min(known.count, sound.bytes(of: segment, below: recoveryPoint))
            let now = disk.contents(of: path) ?? []
            try Violation.unless(
                now.starts(with: known.prefix(kept)),
                "S5: \(path) has \(now.count) bytes of \(known.count), \(kept) safe")
        }
    }

    private func contents(_ log: SegmentedLog, _ kind: Damaging.Kind) throws -> Outcome {
        var isReported = !log.damages.isEmpty || log.recovery.missingStart != nil
        var outcome = Outcome.identical
        for batch in sound.batches {
            let base = batch.header.baseOffset
            if log.damages.contains(where: { $0.offsets.contains(base) }) || base < log.startOffset { continue }
            if base >= log.endOffset {
                guard isReported || base >= recoveryPoint else {
                    throw Violation(description: "\(base) is gone unsaid")
                }
                if outcome == .identical { outcome = .cutAsTorn }
                continue
            }
            do throws(LogError) {
                guard let slice = try log.read(from: base, maxBytes: 1, below: .max, atLeastOne: true) else {
                    throw .damaged("nothing", from: -1)
                }
                let bytes = Array(try log.bytes(of: slice).readableBytesView)
                if bytes == batch.bytes { continue }
                let isEpoch =
                    bytes.prefix(12) + bytes.dropFirst(16) == batch.bytes.prefix(12) + batch.bytes.dropFirst(16)
                if !isEpoch || kind != .epochOfABatch { throw .damaged("other bytes", from: -2) }
                outcome = .epochAlone
            } catch {
                guard case .damaged(let reason, let from) = error else {
                    throw Violation(description: "reading \(base): \(error)")
                }
                if from < 0 { throw Violation(description: "S5: \(base) reads as \(reason), and nothing says so") }
                isReported = true
            }
        }
        return isReported ? .reported : outcome
    }

    /// S5: a scrub finds what reading has found, and takes note of it; it takes nothing sound for damage.
    private func scrub(_ log: SegmentedLog, _ outcome: Outcome) throws {
        let before = log.damages
        var cursor: ScrubCursor?
        repeat { cursor = log.scrub(from: cursor, maxBytes: 500).next } while cursor != nil
        switch outcome {
        case .identical, .cutAsTorn:
            try Violation.unless(log.damages.isEmpty, "the scrub doubts what can be read: \(log.damages)")
        case .reported:
            let isKnown = !log.damages.isEmpty || log.recovery.missingStart != nil
            try Violation.unless(isKnown, "S5: a reader met damage, and nobody has noted it")
            for base in sound.batches.map(\.header.baseOffset) {
                let isKept = !Self.holds(before, base) || Self.holds(log.damages, base)
                try Violation.unless(isKept, "the scrub took back \(before), and has \(log.damages)")
            }
        case .epochAlone, .refused: break
        }
    }

    private func lookups(_ log: SegmentedLog) throws {
        for batch in sound.batches {
            let timestamp = batch.header.maxTimestamp
            let expected = sound.batches.first { $0.header.maxTimestamp >= timestamp }?.header
            let answer = try log.offset(forTimestamp: timestamp, below: .max)?.offset ?? -1
            let range = (expected?.baseOffset ?? 0)..<(expected?.nextOffset ?? 0)
            try Violation.unless(range.contains(answer), "S3: timestamp \(timestamp) at \(answer), not in \(range)")
        }
    }
}

@Suite struct CorruptionMatrixTests {
    /// Bits of every byte of the headers, and of some bytes behind them.
    private static func flips(_ sound: SoundLog) -> [Damaging] {
        var all: [Damaging] = []
        let segments = [
            sound.segments[0], sound.segments[sound.segments.count / 2], sound.segments[sound.segments.count - 1],
        ]
        for segment in segments {
            let path = sound.path(segment.baseOffset)
            let batches = sound.batches(of: segment)
            for index in Set([0, batches.count / 2, batches.count - 1]).sorted() {
                let start = batches[..<index].reduce(0) { $0 + $1.bytes.count }
                let behind = stride(from: 61, to: batches[index].bytes.count, by: 13)
                for (byte, bit) in Array(0..<61).flatMap({ [($0, $0 % 8), ($0, 7)] }) + behind.map({ ($0, $0 % 8) }) {
                    all.append(
                        Damaging(
                            name: "bit \(bit) of byte \(byte) of batch \(index) in \(path)",
                            kind: (12..<16).contains(byte) ? .epochOfABatch : .log
                        ) { $0.corrupt(path, at: start + byte, flipping: 1 << UInt8(bit)) })
                }
            }
        }
        return all
    }

    /// Lengths, tails, and files that are missing, old, exchanged or doubled.
    private static func reshapings(_ sound: SoundLog) -> [Damaging] {
        var all: [Damaging] = []
        func add(_ name: String, _ path: String, _ change: @escaping ([UInt8]) -> [UInt8]?) {
            all.append(
                Damaging(name: "\(name) of \(path)", kind: .log) { disk in
                    guard let bytes = disk.contents(of: path) else { return }
                    if let changed = change(bytes) { disk.overwrite(path, with: changed) } else { disk.lose(path) }
                })
        }
        for (index, segment) in sound.segments.enumerated() {
            let path = sound.path(segment.baseOffset)
            var edge = 0
            for batch in sound.batches(of: segment) {
                for length in [edge - 1, edge, edge + 1] where length >= 0 {
                    add("the first \(length) bytes", path) { Array($0.prefix(length)) }
                }
                let start = edge
                add("zeros behind \(start)", path) { $0.prefix(start) + Array(repeating: 0, count: $0.count - start) }
                edge += batch.bytes.count
            }
            add("all but the last byte", path) { $0.dropLast() }
            add("zeros at the end", path) { $0 + Array(repeating: 0, count: 700) }
            add("garbage at the end", path) { $0 + (0..<700).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) } }
            add("the last batch twice", path) { $0 + (sound.batches(of: segment).last?.bytes ?? []) }
            add("the whole twice", path) { $0 + $0 }
            add("nothing", path) { _ in [] }
            add("no file", path) { _ in nil }
            if let older = sound.older[path] { add("an older state", path) { _ in older } }
            for other in sound.segments[(index + 1)...] {
                let second = sound.path(other.baseOffset)
                all.append(
                    Damaging(name: "\(path) and \(second) exchanged", kind: .log) { disk in
                        guard let a = disk.contents(of: path), let b = disk.contents(of: second) else { return }
                        disk.overwrite(path, with: b)
                        disk.overwrite(second, with: a)
                    })
            }
            // Between its own batches, in the middle of one, and behind the end.
            let bases = sound.batches.map(\.header.baseOffset).filter { base in
                !sound.segments.contains { $0.baseOffset == base }
            }
            for base in bases + [1, segment.baseOffset + 1, sound.end, sound.end + 7] {
                let copy = sound.path(base)
                guard sound.disk.contents(of: copy) == nil else { continue }
                all.append(
                    Damaging(name: "\(path) doubled as \(base)", kind: .log) { disk in
                        disk.overwrite(copy, with: disk.contents(of: path) ?? [])
                    })
            }
        }
        return all
    }

    /// Indexes and the epoch checkpoint: whatever they hold, nothing changes.
    private static func caches(_ sound: SoundLog) -> [Damaging] {
        var all: [Damaging] = []
        let paths = sound.disk.filePaths.filter { !$0.hasSuffix(".log") }
        for path in paths {
            let bytes = sound.disk.contents(of: path) ?? []
            let kind: Damaging.Kind = path.hasSuffix("index") ? .index : .side
            func add(_ name: String, _ changed: [UInt8]?) {
                all.append(
                    Damaging(name: "\(name) of \(path)", kind: kind) { disk in
                        if let changed { disk.overwrite(path, with: changed) } else { disk.lose(path) }
                    })
            }
            for index in bytes.indices {
                for bit in [index % 8, 7, 0] {
                    var changed = bytes
                    changed[index] ^= 1 << UInt8(bit)
                    add("bit \(bit) of byte \(index)", changed)
                }
                add("the first \(index) bytes", Array(bytes.prefix(index)))
                add("zeros behind \(index)", bytes.prefix(index) + Array(repeating: 0, count: bytes.count - index))
            }
            add(
                "garbage at the end",
                bytes + [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24])
            add("zeros at the end", bytes + Array(repeating: 0, count: 24))
            add("nothing but garbage", (0..<240).map { UInt8(truncatingIfNeeded: $0 &* 37) })
            add("no file", nil)
            if let older = sound.older[path] { add("an older state", older) }
            for other in paths where other != path {
                add("the contents of \(other) instead", sound.disk.contents(of: other))
            }
        }
        return all
    }

    @Test func everyDamageIsHarmlessReportedOrRefusedAndNothingIsCut() throws {
        let sound = try SoundLog()
        #expect(sound.segments.count >= 5)
        let all = Self.flips(sound) + Self.reshapings(sound) + Self.caches(sound)
        let last = try #require(sound.segments.last)
        // All is promised; the last segment's first half is; half of the log is.
        let inLast = sound.batches(of: last)[sound.batches(of: last).count / 2].header.baseOffset
        var outcomes: [String: Int] = [:]
        var (count, violations) = (0, 0)
        for recoveryPoint in [sound.end, inLast, sound.segments[sound.segments.count / 2].baseOffset] {
            let check = CorruptionCheck(sound: sound, recoveryPoint: recoveryPoint)
            for index in stride(from: 0, to: all.count, by: MatrixSize.stride) where violations < 12 {
                do {
                    let outcome = try check.run(all[index])
                    outcomes["\(all[index].kind.rawValue) \(outcome.rawValue)", default: 0] += 1
                } catch {
                    violations += 1
                    Issue.record("\(all[index].name), all below \(recoveryPoint) promised: \(error)")
                }
                count += 1
            }
        }
        let table = outcomes.map { "\($0.key) \($0.value)" }.sorted().joined(separator: ", ")
        print("corruption matrix: \(count) damages: \(table)")
        #expect(count >= 14_000 / MatrixSize.stride)
        #expect(outcomes["log identical"] ?? 0 < outcomes["log reported"] ?? 0)
    }
}
