// Compaction beside everything else that looks at a log: damage, repair, the scrub, slices that are on their way out,
// log starts, retention, followers.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

@Suite struct CleaningNeighboursTests {
    private func filled(_ count: Int = 40, keys: Int = 4, delaysRemoval: Bool = true) throws -> KeyedLog {
        var settings = KeyedLog.settings
        settings.delaysRemoval = delaysRemoval
        let test = try KeyedLog(settings)
        for index in 0..<count {
            try test.append(
                [("k\(index % keys)", "\(index) " + String(repeating: "x", count: 40))], timestamp: 2_000 - Int64(index)
            )
        }
        try test.roll()
        try test.flush()
        return test
    }

    private func stopped(_ test: KeyedLog, budgetBytes: Int = 400) throws -> CleaningStop {
        for _ in 0..<500 {
            if case .abandoned(let stop) = test.log.stepCleaning(budgetBytes: budgetBytes) { return stop }
            try test.complete()
        }
        throw Violation(description: "the cleaning does not end")
    }

    // MARK: Damage

    @Test func aBatchThatDoesNotCheckOutEndsTheCleaning() throws {
        let whole = try filled()
        let bases = whole.segmentBases
        for base in bases.dropLast() {
            for position in [70, 17, 3, 14, 300] {
                let test = try filled()
                test.disk.corrupt(test.disk.filePaths.first { $0.hasSuffix("\(base).log") } ?? "", at: position)
                let before = test.log.segmentSummaries
                #expect(test.log.beginCleaning(test.order(try #require(test.part))))
                guard case .failed(.damaged(_, let from)) = try stopped(test) else {
                    throw Violation(description: "segment \(base), byte \(position)")
                }
                // In the dirty part it is met before anything is written.
                #expect(from >= base && from < base + 20 && test.log.segmentSummaries == before)
                #expect(test.strayFiles.isEmpty && !test.log.isFenced && !test.log.isCleaning)
                #expect(test.log.noteDamage(at: from, "a cleaning met it"))
                #expect(test.part == nil)
            }
        }
    }

    @Test func aBadSectorEndsTheCleaningToo() throws {
        let test = try filled()
        let base = test.segmentBases[2]
        test.disk.spoilSector(test.disk.filePaths.first { $0.hasSuffix("\(base).log") } ?? "", at: 100)
        #expect(test.log.beginCleaning(test.order(try #require(test.part))))
        guard case .failed(.damaged) = try stopped(test) else { throw Violation(description: "no damage") }
    }

    @Test func damageInTheCleanPartEndsItWithWhatWasSwappedIn() throws {
        let test = try filled(60)
        try test.clean()
        for index in 0..<20 { try test.append([("n\(index)", String(repeating: "y", count: 60))]) }
        try test.roll()
        try test.flush()
        let bases = test.segmentBases
        let path = try #require(test.disk.filePaths.first { $0.hasSuffix("\(bases[bases.count / 2]).log") })
        let cleaned = test.log.cleanedEnd
        #expect(bases[bases.count / 2] < cleaned || bases.count > 4)
        test.disk.corrupt(path, at: 25)
        #expect(test.log.beginCleaning(test.order(try #require(test.part))))
        guard case .failed(.damaged(_, let from)) = try stopped(test) else { throw Violation(description: "no damage") }
        #expect(test.log.cleanedEnd == cleaned)
        // What lies before the damage is read as ever.
        #expect(try test.log.read(from: 0, maxBytes: 1, below: .max, atLeastOne: true) != nil)
        #expect(from >= bases[bases.count / 2])
    }

    @Test func recordsThatCannotBeReadEndItWithoutDamage() throws {
        let test = try KeyedLog()
        try test.append([("a", "1")])
        // Whole, checked out, and nonsense inside.
        var batch = ByteBuffer()
        BatchHeader(batchLength: 49 + 7, lastOffsetDelta: 0, baseTimestamp: 5, maxTimestamp: 5, recordsCount: 1)
            .write(into: &batch)
        batch.writeBytes([40, 1, 2, 3, 4, 5, 6])
        batch.setInteger(batch.withUnsafeReadableBytes { batchCRC($0) }, at: 17)
        let header = try #require(BatchHeader(reading: batch, at: 0))
        _ = try test.log.append(batch, header: header, leaderEpoch: 0, wallMs: 0)
        try test.roll()
        try test.flush()
        #expect(test.log.beginCleaning(test.order(try #require(test.part))))
        guard case .unreadable(1, _) = try stopped(test) else { throw Violation(description: "it is readable") }
        #expect(test.log.damages.isEmpty && !test.log.isFenced && test.strayFiles.isEmpty)
    }

    // MARK: Readers

    @Test func slicesOfAnOldSegmentStayReadable() throws {
        let test = try filled()
        let slice = try #require(try test.log.read(from: 3, maxBytes: 300, below: .max, atLeastOne: true))
        let bytes = try test.log.bytes(of: slice)
        try test.clean()
        #expect(try test.log.bytes(of: slice) == bytes)
        #expect(test.log.hasRemovedSegments)
        test.log.purgeRemoved(at: Instant(nanoseconds: 0), delayMs: 10)
        #expect(try test.log.bytes(of: slice) == bytes)
        test.log.purgeRemoved(at: Instant(nanoseconds: 20_000_000), delayMs: 10)
        #expect(!test.log.hasRemovedSegments && isGone(test, slice))
        #expect(!test.disk.filePaths.contains { $0.hasSuffix(".deleted") })
        // No handle is left open but those of the log.
        let open = test.disk.openHandleCount
        try test.log.close(flushing: true)
        #expect(open > 0 && test.disk.openHandleCount == 0)
    }

    private func isGone(_ test: KeyedLog, _ slice: LogSlice) -> Bool {
        (try? test.log.bytes(of: slice)) == nil
    }

    @Test func handlesAreClosedWhereverItEnds() throws {
        for steps in 0..<40 {
            let test = try filled(20, delaysRemoval: steps % 2 == 0)
            #expect(test.log.beginCleaning(test.order(try #require(test.part))))
            for step in 0..<steps {
                if case .finished = test.log.stepCleaning(budgetBytes: 300) { break }
                if step % 3 == 2, let ticket = test.disk.pendingBarriers.first,
                    let report = test.disk.completeBarrier(ticket)
                {
                    _ = try test.log.flushed(report.ticket, report.result)
                }
            }
            if steps % 3 == 0 { test.log.abandonCleaning() }
            try test.log.close(flushing: steps % 4 != 0)
            #expect(test.disk.openHandleCount == 0)
            let log = try KeyedLog.open(test.disk, test.settings)
            let newest = try KeyedLog.records(of: log).suffix(5)
            #expect(newest.map(\.key) == ["k0", "k1", "k2", "k3", "-"])
        }
    }

    @Test func theScrubGoesOnThroughASwap() throws {
        for stops in 1..<12 {
            let test = try filled()
            var cursor: ScrubCursor?
            for _ in 0..<stops { cursor = test.log.scrub(from: cursor, maxBytes: 150).next }
            try test.clean()
            var passes = 0
            repeat {
                cursor = test.log.scrub(from: cursor, maxBytes: 150).next
                passes += 1
            } while cursor != nil && passes < 500
            #expect(test.log.damages.isEmpty && passes < 500)
        }
    }

    // MARK: Log starts and retention

    @Test func aLogStartInsideAnEmptyOrAThinnedBatch() throws {
        let test = try KeyedLog(LogSettings(segmentBytes: 10_000, indexIntervalBytes: 100, isCompacted: true))
        for index in 0..<10 { try test.append([("a", "\(index)"), ("b", "\(index)")]) }
        try test.append([("c", "1"), ("a", "x"), ("b", "x")])
        try test.append([("a", "y"), ("d", "y")])
        try test.roll()
        try test.clean()
        #expect(try test.headers.map(\.baseOffset) == [0, 20, 23, 25])
        try test.log.advanceStart(to: 7)
        #expect(try test.records.map(\.offset) == [20, 22, 23, 24, 25])
        #expect(try test.log.read(from: 7, maxBytes: 1, below: .max, atLeastOne: true)?.firstOffset == 0)
        try test.log.advanceStart(to: 21)
        #expect(try test.records.map(\.offset) == [22, 23, 24, 25])
        try test.flush()
        try test.reopen(recoveryPoint: test.log.flushedEnd)
        #expect(test.log.startOffset == 21 && test.log.recovery.damages.isEmpty)
        #expect(try test.records.map(\.offset) == [22, 23, 24, 25])
        // The next cleaning takes what lies below the start along.
        try test.append([("z", "1")])
        try test.roll()
        try test.clean()
        #expect(try test.records.map(\.offset) == [22, 23, 24, 25, 26, 27])
        #expect(try test.headers.map(\.recordsCount) == [1, 2, 1, 1, 1])
        try test.log.truncate(to: 22)
        #expect(test.log.endOffset == 21 && test.log.cleanedEnd <= 21)
    }

    @Test func aCutInsideAnEmptyBatchTakesAllOfIt() throws {
        let test = try KeyedLog(LogSettings(segmentBytes: 10_000, indexIntervalBytes: 100, isCompacted: true))
        try test.append([("q", "1")])
        for index in 0..<10 { try test.append([("a", "\(index)")]) }
        try test.roll()
        try test.clean()
        #expect(try test.headers.map(\.baseOffset) == [0, 1, 10, 11])
        try test.log.truncate(to: 6)
        #expect(test.log.endOffset == 1 && test.log.cleanedEnd == 1)
        #expect(try test.append([("a", "again")]) == 1)
        #expect(try test.records.map(\.offset) == [0, 1])
    }

    // MARK: Empty batches

    /// One record, a run of empty batches over several segments, one record.
    private func mostlyEmpty() throws -> KeyedLog {
        let test = try KeyedLog()
        try test.append([("q", "1")])
        for index in 0..<40 { try test.append([("k\(index % 5)", String(repeating: "x", count: 300))], producerID: 1) }
        for index in 0..<5 { try test.append([("k\(index)", String(repeating: "y", count: 300))]) }
        try test.roll()
        try test.clean()
        return test
    }

    private func passesEmptyBatches(_ log: SegmentedLog) throws -> Bool {
        let slice = try #require(
            try log.read(from: 1, maxBytes: 100, below: .max, atLeastOne: true, skippingEmpty: true))
        return BatchSequence(try log.bytes(of: slice)).contains { $0.0.recordsCount > 0 }
    }

    @Test func emptyBatchesArePassedOverWhateverThePolicyIsNow() throws {
        let test = try mostlyEmpty()
        #expect(test.log.holdsEmptyBatches)
        #expect(try passesEmptyBatches(test.log))
        test.log.settings.isCompacted = false
        #expect(try passesEmptyBatches(test.log))
        let flushedEnd = test.log.flushedEnd
        try test.log.close(flushing: true)
        // The owner's checkpoint has a line of the log, though nothing of it counts as clean any more.
        test.settings.isCompacted = false
        test.log = try KeyedLog.open(test.seam, test.settings, recoveryPoint: flushedEnd, startOffset: 0)
        #expect(!test.log.holdsEmptyBatches)
        test.log.restoreCleanedEnd(0)
        #expect(try passesEmptyBatches(test.log))
        try test.log.close(flushing: true)
        // And what is gone through at an opening is seen.
        test.log = try KeyedLog.open(test.seam, test.settings, recoveryPoint: 0, startOffset: 0)
        #expect(try passesEmptyBatches(test.log))
    }

    @Test func aCopyOfACleanedLogKnowsOfItsEmptyBatches() throws {
        let leader = try mostlyEmpty()
        var settings = KeyedLog.settings
        settings.isCompacted = false
        let follower = try KeyedLog(settings)
        for (header, bytes) in try KeyedLog.batches(of: leader.log) {
            try follower.log.appendReplicated(bytes, headers: [header], wallMs: 0)
        }
        #expect(follower.log.holdsEmptyBatches)
        #expect(try passesEmptyBatches(follower.log))
    }

    // MARK: Headers, a little at a time

    @Test(arguments: [1, 500, 20_000]) func headersAreWalkedInParts(_ budgetBytes: Int) throws {
        let test = try halved()
        var (all, parts): ([Offset], [Offset]) = ([], [])
        let bound = test.log.activeBaseOffset
        try test.log.forEachHeader(from: 0) { if $0.baseOffset < bound { all.append($0.baseOffset) } }
        var next: Offset? = 0
        var calls = 0
        while let from = next {
            next = try test.log.walkHeaders(from: from, below: bound, budgetBytes: budgetBytes) {
                parts.append($0.baseOffset)
            }
            calls += 1
        }
        #expect(parts == all && all.count == 60)
        // Each of these batches takes some 120 bytes.
        #expect(budgetBytes == 1 ? calls == 61 : budgetBytes == 500 ? calls > 12 : calls == 1)
    }

    /// Half of each segment stays, so that none has room for its neighbour.
    private func halved() throws -> KeyedLog {
        let test = try KeyedLog()
        for index in 0..<60 {
            try test.append(
                [(index % 2 == 0 ? "k" : "u\(index)", "\(index) " + String(repeating: "x", count: 40))],
                timestamp: 2_000 - Int64(index))
        }
        try test.roll()
        try test.flush()
        return test
    }

    @Test func aSegmentsAgeIsTheSameAfterACleaning() throws {
        let test = try halved()
        let before = try test.log.segmentSummaries.map { try test.log.retentionTimestamp(ofSegmentAt: $0.baseOffset) }
        let bases = test.segmentBases
        try test.clean()
        #expect(test.segmentBases == bases && bases.count > 6)
        for isReopened in [false, true] {
            if isReopened { try test.reopen(recoveryPoint: test.log.flushedEnd) }
            let after = try test.log.segmentSummaries.map {
                try test.log.retentionTimestamp(ofSegmentAt: $0.baseOffset)
            }
            #expect(after == before)
        }
        // Whole segments go from the front, as without compaction.
        try test.log.advanceStart(to: bases[2])
        try test.flush()
        #expect(test.segmentBases == Array(bases[2...]))
    }

    @Test func retentionMayOvertakeACleaning() throws {
        let test = try halved()
        let bases = test.segmentBases
        #expect(test.log.beginCleaning(test.order(try #require(test.part))))
        // The first segment is open, for the map.
        #expect(test.log.stepCleaning(budgetBytes: 1) == .working)
        try test.log.advanceStart(to: bases[1])
        try test.flush()
        #expect(test.log.stepCleaning(budgetBytes: 1) == .abandoned(.overtaken))
        #expect(test.log.stepCleaning(budgetBytes: 1) == .idle)
        // A segment that is done with may go, and the cleaning goes on.
        #expect(test.log.beginCleaning(test.order(try #require(test.part))))
        var progress = CleaningProgress.working
        let whole = test.log.segmentSummaries[0].sizeBytes
        while test.log.segmentSummaries[0].sizeBytes == whole {
            progress = test.log.stepCleaning(budgetBytes: 300)
            try test.complete()
        }
        try test.log.advanceStart(to: bases[2])
        while progress == .working || progress == .waiting {
            progress = test.log.stepCleaning(budgetBytes: 300)
            try test.flush()
        }
        guard case .finished = progress else { throw Violation(description: "\(progress)") }
        let unique = test.written.filter { $0.offset >= bases[2] && ($0.offset % 2 == 1 || $0.offset >= 58) }
        #expect(try test.records == unique && test.strayFiles.isEmpty && test.segmentBases == Array(bases[2...]))
    }

    // MARK: Copies

    /// Two copies of one log, cleaned at different times: the one that lags gets the rest from the other, wherever it
    /// stands.
    @Test func aFollowerGoesOnInsideAForeignEmptyBatch() throws {
        let leader = try filled(40)
        let original = try leader.headers
        let all = try KeyedLog.batches(of: leader.log)
        try leader.clean()
        leader.log.restoreCleanedEnd(0)
        try leader.clean()
        var straddled = 0
        for count in 0..<original.count {
            let follower = try KeyedLog(LogSettings(segmentBytes: 1_200, indexIntervalBytes: 100, isCompacted: true))
            for (header, bytes) in all[..<count] {
                try follower.log.appendReplicated(bytes, headers: [header], wallMs: 0)
            }
            while follower.log.endOffset < leader.log.endOffset {
                let from = follower.log.endOffset
                let slice = try #require(try leader.log.read(from: from, maxBytes: 400, below: .max, atLeastOne: true))
                if slice.firstOffset < from { straddled += 1 }
                let sent = cutToFollowOn(try leader.log.bytes(of: slice), at: from)
                let checked = try checkReplicated(sent, expectedOffset: from)
                try follower.log.appendReplicated(
                    try #require(sent.getSlice(at: sent.readerIndex, length: checked.sizeBytes)),
                    headers: checked.headers, wallMs: 0)
            }
            let found = try follower.records
            let expected = try leader.records
            #expect(found.filter { $0.offset >= 36 } == expected.filter { $0.offset >= 36 })
            #expect(Set(expected).isSubset(of: found) && follower.log.epochs == leader.log.epochs)
        }
        #expect(straddled > 10)
    }

    @Test func aRepairTakesWhatFitsOfAForeignEmptyBatch() throws {
        let peer = try filled(40)
        try peer.clean()
        peer.log.restoreCleanedEnd(0)
        try peer.clean()
        let whole = try filled(40)
        for base in whole.segmentBases.dropLast() {
            let test = try filled(40)
            let path = try #require(test.disk.filePaths.first { $0.hasSuffix("\(base).log") })
            test.disk.corrupt(path, at: 200)
            #expect(test.log.noteDamage(at: base, "a test flipped a bit"))
            var trustsRuns = true
            var rounds = 0
            while let plan = try test.log.repairPlan(), rounds < 20 {
                rounds += 1
                guard case .survey(var survey) = plan else { throw Violation(description: "no survey") }
                while !survey.isFinished { survey.work() }
                guard let rebuild = try test.log.rebuild(after: survey, trustsRuns: trustsRuns) else { continue }
                do {
                    try rebuildAll(rebuild, from: peer)
                    try test.log.install(rebuild)
                } catch {
                    // As the Broker does: the whole segment is had from the peer.
                    rebuild.abandon()
                    trustsRuns = false
                }
            }
            #expect(test.log.damages.isEmpty && rounds < 20)
            #expect(test.log.cleanedEnd <= base)
            let records = try test.records
            #expect(records.suffix(5) == (try whole.records).suffix(5))
            try test.flush()
            try test.reopen(recoveryPoint: test.log.flushedEnd)
            #expect(try test.records == records && test.log.recovery.damages.isEmpty)
        }
    }

    private func rebuildAll(_ rebuild: SegmentRebuild, from peer: KeyedLog) throws {
        var left = 200
        while left > 0 {
            left -= 1
            switch rebuild.want {
            case .work: try rebuild.work()
            case .barrier: rebuild.barrierDone()
            case .whole: return
            case .batches(let from, _, _):
                let slice = try #require(try peer.log.read(from: from, maxBytes: 300, below: .max, atLeastOne: true))
                let sent = cutToFollowOn(try peer.log.bytes(of: slice), at: from)
                try rebuild.give(sent, headers: try checkReplicated(sent, expectedOffset: from).headers)
            }
        }
        throw Violation(description: "the repair does not end")
    }

    /// With rising timestamps each batch is the latest so far, and each has lost a record; with equal ones each may be.
    @Test(arguments: [true, false]) func theLatestTimestampIsFoundWithoutUnpackingASegment(isRising: Bool) throws {
        let disk = SimulatedDisk(seed: 1)
        let counting = FailingDisk(disk, nil)
        let test = try KeyedLog(
            LogSettings(segmentBytes: 1 << 20, indexIntervalBytes: 4096, isCompacted: true), disk: disk, seam: counting)
        let value = String(repeating: "x", count: 6_000)
        for index in 0..<50 {
            // Where it ends with the record that goes, no bound is any record's.
            let records = [("k\(index)", value), ("gone", value)]
            try test.append(
                isRising ? records : records.reversed(), timestamp: isRising ? Int64(1_000 + 10 * index) : 1_489)
        }
        try test.append([("gone", "at last")], timestamp: 500)
        try test.append([("-", "-")], timestamp: 0, rolling: true)
        try test.clean()
        func asked() throws -> (timestamp: Int64?, reads: Int) {
            let before = counting.counts[.read, default: 0]
            let found = try test.log.offsetOfMaxTimestamp(below: test.log.endOffset - 1)
            return (found?.timestamp, counting.counts[.read, default: 0] - before)
        }
        let first = try asked()
        // A read for each header, and a few for the batches.
        #expect(first.timestamp == 1_490 && first.reads < 70, "\(first)")
        let second = try asked()
        #expect(second.timestamp == 1_490 && second.reads < 10, "\(second)")
    }

    /// A small batch may unpack to more than ten times the default of max.message.bytes where a topic allows it.
    @Test func aBatchThatUnpacksFarIsNoDamage() throws {
        let test = try KeyedLog(LogSettings(segmentBytes: 1 << 20, isCompacted: true))
        try test.append(
            [("a", String(repeating: "z", count: 12 * 1024 * 1024))], timestamp: 5_000, compression: .zstd)
        #expect(try test.log.offset(forTimestamp: 4_000, below: .max)?.offset == 0)
        #expect(try test.log.offsetOfMaxTimestamp(below: .max)?.timestamp == 5_000)
        try test.append([("a", "2")])
        try test.roll()
        try test.clean()
        #expect(try test.records.map(\.offset) == [1, 2])
    }
}
