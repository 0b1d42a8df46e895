// What a cleaning keeps and what it takes, rule by rule.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

@Suite struct CleaningTests {
    /// `count` batches of two records each over `keys` keys.
    private func fill(_ test: KeyedLog, _ count: Int, keys: Int = 5, size: Int = 30) throws {
        for index in 0..<count {
            let value = "\(index) " + String(repeating: "x", count: size)
            try test.append(
                [("k\(index % keys)", value), ("k\((index * 3 + 1) % keys)", value)], timestamp: Int64(1_000 + index))
        }
    }

    private func newest(_ records: [KeyedRecord]) -> [String: KeyedRecord] {
        Dictionary(records.compactMap { record in record.key.map { ($0, record) } }) { $0.offset > $1.offset ? $0 : $1 }
    }

    // MARK: Which records stay

    @Test func theNewestOfEachKeyStaysAndOffsetsDoNotChange() throws {
        let test = try KeyedLog()
        try fill(test, 40)
        try test.roll()
        let end = test.log.endOffset
        let summary = try test.clean()
        let records = try test.records
        #expect(newest(records) == newest(test.written))
        #expect(records.allSatisfy { test.written.contains($0) })
        #expect(records.count == 6 && test.log.endOffset == end)
        #expect(summary.cleanedEnd == end - 1 && test.log.cleanedEnd == end - 1)
        #expect(summary.recordsRemoved == test.written.count - 6)
        #expect(summary.keys == 5 && summary.bytesAfter < summary.bytesBefore)
        // As in Kafka, segments are put together by what they held before: small ones find each other the next time.
        #expect(summary.segmentsBefore > 5 && test.segmentBases.count == summary.segmentsAfter + 1)
        #expect(test.strayFiles.isEmpty && !test.log.needsFlush && !test.log.isCleaning)
        test.log.restoreCleanedEnd(0)
        #expect(try test.clean().segmentsAfter == 1)
        #expect(try test.records == records && test.segmentBases.count == 2)
        #expect(test.strayFiles.isEmpty && !test.log.needsFlush)
    }

    @Test func theActiveSegmentAndWhatIsNotCommittedStayAsTheyAre() throws {
        let test = try KeyedLog()
        try fill(test, 30)
        try test.flush()
        let active = test.log.activeBaseOffset
        #expect(test.part?.dirty == 0..<active)
        // Closed segments count whole: those behind the one with the high watermark in it do not.
        let bases = test.segmentBases
        let part = try test.log.cleanablePart(test.cleaning, highWatermark: bases[2] + 1, wallMs: 0)
        #expect(part?.dirty == 0..<bases[2])
        #expect(try test.log.cleanablePart(test.cleaning, highWatermark: bases[1] - 1, wallMs: 0) == nil)
        // Nor does what is not flushed, whatever the high watermark says.
        let async = try KeyedLog()
        try fill(async, 30)
        #expect(async.part == nil)
        try test.clean()
        let kept = try test.records.filter { $0.offset >= active }
        #expect(kept == test.written.filter { $0.offset >= active })
    }

    @Test func recordsWithoutAKeyGo() throws {
        let test = try KeyedLog()
        try test.append([("a", "1"), (nil, "2"), ("", "3"), (nil, nil)])
        try test.roll()
        try test.clean()
        #expect(try test.records.map(\.key) == ["a", "", "-"])
    }

    @Test func theSecondCleaningGoesOnFromTheFirst() throws {
        let test = try KeyedLog()
        try fill(test, 20)
        try test.roll()
        try test.clean()
        let first = test.log.cleanedEnd
        #expect(test.part == nil)
        try fill(test, 20)
        try test.roll()
        try test.flush()
        let part = try #require(test.part)
        #expect(part.dirty.lowerBound == first && part.cleanBytes > 0)
        try test.clean()
        #expect(newest(try test.records) == newest(test.written))
        // The five, and a record of no interest at each end.
        #expect(try test.records.count == 7)
        // The same again, from a checkpoint that is lost: more work, and the same outcome.
        let before = try test.records
        test.log.restoreCleanedEnd(0)
        #expect(test.part?.dirty.lowerBound == 0)
        try test.clean()
        #expect(try test.records == before)
    }

    @Test func controlBatchesAndTransactionsAreNotTouched() throws {
        let test = try KeyedLog()
        try test.append([("a", "1"), ("b", "1")])
        try test.append([("x", "marker")], producerID: 4, isTransactional: true, isControl: true)
        try test.append([("a", "2")])
        try test.append([("b", "aborted?")], producerID: 4, baseSequence: 0, isTransactional: true)
        try test.append([("a", "3")])
        try test.roll()
        let summary = try test.clean()
        // What a transaction wrote may have been aborted: no map reaches past it.
        #expect(summary.cleanedEnd == 4)
        #expect(try test.records.map(\.offset) == [1, 3, 4, 5, 6])
        #expect(try test.headers.contains { $0.isControl && $0.baseOffset == 2 && $0.recordsCount == 1 })
        try test.flush()
        #expect(try test.clean().cleanedEnd == 4)
    }

    @Test func aLongBacklogIsCleanedInParts() throws {
        var settings = KeyedLog.settings
        settings.segmentBytes = 1
        let test = try KeyedLog(settings, cleaning: CleaningSettings(maxCompactionLagMs: 1_000_000_000))
        for index in 0..<300 { try test.append([("k\(index % 3)", "\(index)")]) }
        try test.roll()
        try test.flush()
        let part = try #require(test.part)
        #expect(part.dirty == 0..<256 && part.isCutShort && part.isDue(test.cleaning))
        try test.clean()
        #expect(test.log.cleanedEnd == 256)
        #expect(test.part?.isCutShort == false && test.part?.dirty.lowerBound == 256)
        try test.clean()
        #expect(newest(try test.records) == newest(test.written))
        // Where no times are asked for, it is one part.
        let other = try KeyedLog(settings)
        for index in 0..<300 { try other.append([("k\(index % 3)", "\(index)")]) }
        try other.flush()
        #expect(other.part?.dirty == 0..<299 && other.part?.isCutShort == false)
    }

    /// Steps are counted by what they unpack, and what one batch takes too much the next ones do not have.
    @Test(arguments: [Compression.gzip, .zstd]) func whatIsPackedSmallTakesItsTime(_ codec: Compression) throws {
        func steps(_ codec: Compression, thinned: Bool) throws -> Int {
            let test = try KeyedLog(LogSettings(segmentBytes: 1 << 20, indexIntervalBytes: 100, isCompacted: true))
            let value = String(repeating: "x", count: 20_000)
            for index in 0..<30 {
                let key = thinned ? "k" : "k\(index)"
                try test.append([(key, value), ("u\(index)", value)], compression: codec)
            }
            try test.roll()
            try test.flush()
            #expect(test.log.beginCleaning(test.order(try #require(test.part))))
            for step in 1... {
                switch test.log.stepCleaning(budgetBytes: 20_000) {
                case .working: continue
                case .waiting: try test.complete()
                case .finished: return step
                case let other: throw Violation(description: "the cleaning ended: \(other)")
                }
            }
            return 0
        }
        // 30 batches of 40,000 bytes, each unpacked twice.
        let whole = try steps(codec, thinned: false)
        #expect(whole >= 115 && whole < 140, "\(whole)")
        // All but one are packed again.
        let thinned = try steps(codec, thinned: true)
        #expect(thinned > 300, "\(thinned)")
    }

    // MARK: Batches

    @Test(arguments: Compression.allCases) func aThinnedBatchKeepsItsPlaceAndItsPacking(_ codec: Compression) throws {
        let test = try KeyedLog()
        try test.append(
            [("a", "1"), ("b", "1"), ("c", "1")], epoch: 2, compression: codec, producerID: 3, baseSequence: 7)
        try test.append([("b", "2")], epoch: 2)
        try test.append([("-", "-")], epoch: 2, rolling: true)
        try test.clean()
        let header = try #require(try test.headers.first)
        #expect(header.baseOffset == 0 && header.lastOffset == 2 && header.recordsCount == 2)
        #expect(header.compression == codec && header.partitionLeaderEpoch == 2)
        #expect(header.producerID == 3 && header.baseSequence == 7 && header.lastSequence == 9)
        #expect(header.maxTimestamp == 1_002)
        #expect(try test.records.map(\.offset) == [0, 2, 3, 4])
    }

    @Test func oneEmptyBatchStandsForARunAndRunsMerge() throws {
        let test = try KeyedLog(LogSettings(segmentBytes: 10_000, indexIntervalBytes: 100, isCompacted: true))
        for index in 0..<6 { try test.append([("a", "\(index)")], timestamp: Int64(100 - index)) }
        try test.append([("b", "1")])
        try test.roll()
        try test.clean()
        var headers = try test.headers
        #expect(headers.map(\.baseOffset) == [0, 5, 6, 7])
        #expect(headers[0].isFiller && headers[0].lastOffset == 4 && headers[0].maxTimestamp == 100)
        // The neighbours go too: the empty batches grow together.
        try test.append([("a", "7"), ("b", "7")])
        try test.roll()
        try test.clean()
        headers = try test.headers
        #expect(headers.map(\.baseOffset) == [0, 7, 8, 10])
        #expect(headers[0].isFiller && headers[0].lastOffset == 6)
    }

    @Test func noEmptyBatchCrossesALeaderEpoch() throws {
        let test = try KeyedLog()
        for epoch in 0..<4 as Range<LeaderEpoch> {
            for index in 0..<5 { try test.append([("a", "\(index)")], epoch: epoch) }
        }
        try test.append([("a", "last")], epoch: 4, rolling: true)
        try test.append([("-", "-")], epoch: 4, rolling: true)
        let epochs = test.log.epochs
        try test.clean()
        let headers = try test.headers
        #expect(headers.map(\.baseOffset) == [0, 5, 10, 15, 20, 21])
        #expect(headers.prefix(4).allSatisfy { $0.isFiller })
        #expect(test.log.epochs == epochs)
        test.disk.lose(KeyedLog.directory + "/leader-epoch-checkpoint")
        try test.reopen()
        #expect(test.log.epochs == epochs)
    }

    @Test func theLastBatchesOfAProducerStayWithoutTheirRecords() throws {
        let test = try KeyedLog()
        for index in 0..<9 as Range<Int32> {
            try test.append([("a", "\(index)"), ("b", "\(index)")], producerID: 5, baseSequence: index * 2)
        }
        for index in 0..<8 as Range<Int32> { try test.append([("a", "x")], producerID: 6, baseSequence: index) }
        try test.roll()
        let before = try producerTable(test)
        try test.clean()
        #expect(try producerTable(test) == before)
        let mine = try test.headers.filter { $0.producerID == 5 }
        #expect(mine.map(\.baseOffset) == [8, 10, 12, 14, 16])
        #expect(mine.map(\.recordsCount) == [0, 0, 0, 0, 1])
        // The producer goes on, and its older batches are of no use any more.
        for index in 9..<14 as Range<Int32> { try test.append([("a", "y")], producerID: 5, baseSequence: index * 2) }
        try test.roll()
        try test.clean()
        #expect(try test.headers.filter { $0.producerID == 5 }.map(\.baseOffset) == [16, 27, 28, 29, 30, 31])
    }

    private func producerTable(_ test: KeyedLog) throws -> [ProducerID: [BatchHeader]] {
        var table: [ProducerID: [BatchHeader]] = [:]
        try test.log.forEachHeader(from: 0) { header in
            guard header.hasProducer else { return }
            var told = BatchHeader(
                baseOffset: header.baseOffset, lastOffsetDelta: header.lastOffsetDelta,
                maxTimestamp: header.maxTimestamp, producerID: header.producerID, producerEpoch: header.producerEpoch,
                baseSequence: header.baseSequence)
            told.recordsCount = 1
            table[header.producerID, default: []].append(told)
        }
        return table.mapValues { Array($0.suffix(5)) }
    }

    // MARK: Tombstones

    @Test func aTombstoneGoesWithALaterCleaningWhenItsTimeHasCome() throws {
        let test = try KeyedLog(cleaning: CleaningSettings(deleteRetentionMs: 500))
        try test.append([("a", "1"), ("b", "1")])
        try test.append([("a", nil), ("c", "1")])
        try test.roll()
        try test.clean()
        var batch = try #require(try test.headers.first { $0.hasDeleteHorizon })
        #expect(batch.baseOffset == 2 && batch.baseTimestamp == test.wallMs + 500)
        #expect(try test.records.map(\.offset) == [1, 2, 3, 4])
        #expect(try test.records.map(\.timestamp) == [1_001, 1_000, 1_001, 1_000])
        // Not yet.
        test.wallMs += 499
        try test.append([("d", "1")])
        try test.roll()
        try test.clean()
        #expect(try test.records.contains { $0.key == "a" && $0.value == nil })
        batch = try #require(try test.headers.first { $0.hasDeleteHorizon })
        #expect(batch.baseTimestamp == test.wallMs + 1)
        test.wallMs += 1
        try test.append([("d", "2")])
        try test.roll()
        test.tombstonesRemovableBelow = 2
        try test.clean()
        #expect(try test.records.contains { $0.key == "a" })
        test.tombstonesRemovableBelow = .max
        try test.append([("d", "3")])
        try test.roll()
        try test.clean()
        #expect(try !test.records.contains { $0.key == "a" })
        #expect(try test.records.contains { $0.key == "c" })
    }

    @Test func withoutRetentionItStillTakesASecondCleaning() throws {
        let test = try KeyedLog(cleaning: CleaningSettings(deleteRetentionMs: 0))
        try test.append([("a", "1")])
        try test.append([("a", nil)])
        try test.roll()
        try test.clean()
        #expect(try test.records.map(\.offset) == [1, 2])
        try test.append([("b", nil)])
        try test.roll()
        try test.clean()
        // The second tombstone was met for the first time.
        #expect(try test.records.map(\.key) == ["-", "b", "-"])
    }

    @Test func aTombstoneThatTheMapDoesNotReachGetsNoHorizon() throws {
        // Room for sixteen slots in one table of sixty-four: one key, mostly.
        let test = try KeyedLog(cleaning: CleaningSettings(deleteRetentionMs: 0, mapBytesMax: 384))
        for index in 0..<8 { try test.append([("k\(index)", "1")]) }
        try test.append([("k0", nil)])
        try test.roll()
        let summary = try test.clean()
        #expect(summary.cleanedEnd > 0 && summary.cleanedEnd < 8)
        #expect(try !test.headers.contains { $0.hasDeleteHorizon })
        #expect(try test.records.map(\.offset) == Array(0..<10))
        // Cleaning on and on gets to the end, and then the horizon is there.
        var rounds = 0
        while test.part != nil, rounds < 20 {
            try test.clean()
            rounds += 1
        }
        #expect(test.part == nil && rounds > 1)
        #expect(try test.headers.contains { $0.hasDeleteHorizon && $0.baseOffset == 8 })
        #expect(try test.records.map(\.offset) == [1, 2, 3, 4, 5, 6, 7, 8, 9])
    }

    // MARK: When

    @Test func itIsDueByRatioOrByAge() throws {
        let test = try KeyedLog()
        try fill(test, 40, keys: 1_000)
        try test.roll()
        try test.clean()
        try fill(test, 20, keys: 1_000)
        try test.roll()
        try test.flush()
        var part = try #require(test.part)
        #expect(part.cleanBytes > part.dirtyBytes && part.dirtyBytes > 0)
        #expect(part.dirtyRatio > 0.2 && part.dirtyRatio < 0.5)
        #expect(!part.isDue(test.cleaning))
        test.cleaning.minCleanableDirtyRatio = 0.2
        #expect(part.isDue(test.cleaning))
        test.cleaning.minCleanableDirtyRatio = 1
        test.cleaning.maxCompactionLagMs = test.wallMs - 1_000
        part = try #require(test.part)
        #expect(part.isOverdue && part.isDue(test.cleaning))
        test.cleaning.maxCompactionLagMs = test.wallMs
        part = try #require(test.part)
        #expect(!part.isDue(test.cleaning))
    }

    @Test func youngRecordsStay() throws {
        let test = try KeyedLog(cleaning: CleaningSettings(minCompactionLagMs: 100))
        for index in 0..<30 {
            try test.append([("k", "\(index)" + String(repeating: "y", count: 60))], timestamp: Int64(index) * 10)
        }
        try test.roll()
        try test.flush()
        let bases = test.segmentBases
        test.wallMs = 250
        let part = try #require(test.part)
        // Every record below is at least 100 ms old: the largest timestamp of the segment before is 150 or less.
        #expect(bases.contains(part.dirty.upperBound) && part.dirty.upperBound <= 16 && part.dirty.upperBound > 5)
        try test.clean()
        let old = test.written.filter { $0.offset >= part.dirty.upperBound - 1 }
        #expect(try test.records == old)
    }

    @Test func aSingleBatchOfAnotherSizeDoesNotBreakTheBudget() throws {
        let test = try KeyedLog(LogSettings(segmentBytes: 50_000, indexIntervalBytes: 100, isCompacted: true))
        try test.append([("a", String(repeating: "z", count: 20_000))])
        try fill(test, 30)
        try test.append([("a", "2")])
        try test.roll()
        test.budgetBytes = 1
        try test.clean()
        #expect(newest(try test.records) == newest(test.written))
    }
}
