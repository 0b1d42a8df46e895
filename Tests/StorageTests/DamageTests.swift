// Torn tails are cut, damage is not; full and failing disks leave nothing half done.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

@Suite struct DamageTests {
    private func filled(_ count: Int = 60) throws -> TestLog {
        var random = SeededRandom(seed: 3)
        let test = try TestLog()
        try test.fill(count, random: &random)
        try test.flush()
        try test.log.close(flushing: true)
        return test
    }

    @Test func tornTailIsCutAtEveryByte() throws {
        let test = try filled(40)
        let last = try #require(test.log.segmentSummaries.last?.baseOffset)
        let path = test.path(last, ".log")
        let whole = try #require(test.disk.contents(of: path))
        let starts = test.batches.filter { $0.header.baseOffset >= last }.map(\.header)
        for length in stride(from: whole.count, through: 0, by: -7) {
            test.disk.overwrite(path, with: Array(whole.prefix(length)))
            try test.reopen(recoveryPoint: last)
            var size = 0
            var end = last
            for header in starts where size + header.sizeBytes <= length {
                size += header.sizeBytes
                end = header.nextOffset
            }
            #expect(test.log.endOffset == end)
            #expect(test.log.recovery.damage == nil)
            #expect(test.log.recovery.tornBytes == Int64(length - size))
            #expect(test.disk.contents(of: path)?.count == size)
        }
    }

    @Test func everyFlippedByteOfTheTailIsFound() throws {
        let test = try filled(40)
        let last = try #require(test.log.segmentSummaries.last?.baseOffset)
        let path = test.path(last, ".log")
        let whole = try #require(test.disk.contents(of: path))
        let starts = test.batches.filter { $0.header.baseOffset >= last }.map(\.header)
        for position in stride(from: 0, to: whole.count, by: 3) {
            var size = 0
            var end = last
            for header in starts where size + header.sizeBytes <= position {
                size += header.sizeBytes
                end = header.nextOffset
            }
            // The leader epoch lies outside the CRC: one that rises cannot be told from a real one.
            guard !(12..<16).contains(position - size) else { continue }
            test.disk.overwrite(path, with: whole)
            test.disk.corrupt(path, at: position, flipping: 0x10)
            try test.reopen(recoveryPoint: last)
            #expect(test.log.endOffset == end, "flipped at \(position)")
        }
    }

    @Test func damageBelowTheRecoveryPointIsRefusedAndNothingIsCut() throws {
        let test = try filled()
        let end = test.log.endOffset
        let last = try #require(test.log.segmentSummaries.last?.baseOffset)
        let path = test.path(last, ".log")
        let victim = try #require(test.batches.last?.header)
        let size = try #require(test.disk.contents(of: path)).count
        test.disk.corrupt(path, at: size - 3)
        let before = test.disk.contents(of: path)
        for _ in 0..<2 {
            try test.reopen(recoveryPoint: end)
            let damage = try #require(test.log.recovery.damage)
            #expect(damage.offsets.lowerBound == victim.baseOffset)
            #expect(damage.offsets.upperBound == end)
            #expect(test.disk.contents(of: path) == before)
            #expect(test.log.flushedEnd == victim.baseOffset)
        }
        #expect(throws: LogError.self) {
            _ = try test.log.read(from: victim.baseOffset, maxBytes: 1, below: .max, atLeastOne: true)
        }
        #expect(try test.log.read(from: 0, maxBytes: 1, below: .max, atLeastOne: true)?.firstOffset == 0)
        #expect(throws: LogError.self) { try test.append([1], epoch: 99) }
        // The owner decides to give the range up.
        try test.log.truncate(to: victim.baseOffset)
        #expect(test.log.damages.isEmpty)
        #expect(test.log.endOffset == victim.baseOffset)
        #expect(try test.append([1], epoch: 99) == victim.baseOffset)
    }

    /// The index led to the second of two damaged batches, and the next opening found the first.
    @Test func damageBeforeTheBatchThatTheIndexLeadsToIsFoundAtOnce() throws {
        let test = try TestLog(LogSettings(segmentBytes: 10_000, indexIntervalBytes: 100))
        for index in 0..<20 { try test.append([Int64(index)], sizeBytes: 80) }
        try test.flush()
        let path = test.path(0, ".log")
        let size = try #require(test.disk.contents(of: path)).count
        let batchBytes = size / 20
        for index in [17, 18, 19] { test.disk.corrupt(path, at: (index + 1) * batchBytes - 3) }
        for _ in 0..<3 {
            try test.reopen(recoveryPoint: 20)
            #expect(test.log.damages.map(\.offsets) == [17..<20])
            #expect(test.log.epochs.latestEpoch == 0)
        }
    }

    @Test func missingMiddleSegmentIsDamage() throws {
        let test = try filled()
        let segments = test.log.segmentSummaries
        #expect(segments.count > 4)
        let end = test.log.endOffset
        test.disk.lose(test.path(segments[2].baseOffset, ".log"))
        try test.reopen(recoveryPoint: end)
        let damage = try #require(test.log.recovery.damage)
        #expect(damage.offsets == segments[2].baseOffset..<segments[3].baseOffset)
        #expect(test.log.endOffset == end)
        #expect(throws: LogError.self) {
            _ = try test.log.read(from: segments[2].baseOffset, maxBytes: 1, below: .max, atLeastOne: true)
        }
        let behind = try test.log.read(from: segments[3].baseOffset, maxBytes: 1, below: .max, atLeastOne: true)
        #expect(behind?.firstOffset == segments[3].baseOffset)
    }

    @Test func missingMiddleSegmentAboveTheRecoveryPointIsATornTail() throws {
        let test = try filled()
        let segments = test.log.segmentSummaries
        test.disk.lose(test.path(segments[2].baseOffset, ".log"))
        try test.reopen(recoveryPoint: segments[1].baseOffset)
        #expect(test.log.recovery.damage == nil)
        #expect(test.log.endOffset == segments[2].baseOffset)
        #expect(test.log.recovery.segmentsRemoved == segments.count - 3)
    }

    @Test func missingLastSegmentsAndAnEmptyDirectoryAreDamage() throws {
        let test = try filled()
        let (end, last) = (test.log.endOffset, try #require(test.log.segmentSummaries.last?.baseOffset))
        test.disk.lose(test.path(last, ".log"))
        try test.reopen(recoveryPoint: end)
        #expect(test.log.recovery.damage?.offsets == last..<end)
        for path in test.files { test.disk.lose(path) }
        try test.reopen(recoveryPoint: end)
        #expect(test.log.recovery.damage?.offsets == 0..<end)
        try test.log.truncateFully(startingAt: 100)
        #expect(test.log.damages.isEmpty)
        #expect(try test.append([5]) == 100)
    }

    @Test func missingFirstSegmentsAreReported() throws {
        let test = try filled()
        let segments = test.log.segmentSummaries
        test.disk.lose(test.path(segments[0].baseOffset, ".log"))
        try test.reopen(recoveryPoint: test.log.endOffset, startOffset: 0)
        #expect(test.log.recovery.missingStart == 0..<segments[1].baseOffset)
        #expect(test.log.startOffset == segments[1].baseOffset)
    }

    @Test func damageInAClosedSegmentIsFoundByReading() throws {
        let test = try filled()
        let first = test.log.segmentSummaries[0]
        // The length of the second batch.
        test.disk.corrupt(test.path(0, ".log"), at: test.batches[0].header.sizeBytes + 9, flipping: 0x40)
        try test.reopen(recoveryPoint: test.log.endOffset)
        #expect(throws: LogError.self) {
            _ = try test.log.read(
                from: test.batches[1].header.baseOffset, maxBytes: 1, below: .max, atLeastOne: true)
        }
        #expect(try test.log.read(from: first.nextOffset, maxBytes: 1, below: .max, atLeastOne: true) != nil)
    }

    /// A flipped count or length that happens to end where the next segment begins is no surplus to be cut.
    @Test(arguments: [10, 11, 25, 26])
    func aHeaderThatLiesAboutTheEndOfAClosedSegmentTakesNothingAlong(byte: Int) throws {
        let test = try filled()
        let first = test.log.segmentSummaries[0]
        var found = 0
        for bit in 0..<8 {
            var position = 0
            for batch in test.batches where batch.header.baseOffset < first.nextOffset {
                let disk = test.disk.afterCrash(nil)
                disk.corrupt(test.path(0, ".log"), at: position + byte, flipping: 1 << UInt8(bit))
                let before = disk.contents(of: test.path(0, ".log"))
                let log = try TestLog.open(disk, test.settings, recoveryPoint: test.log.endOffset)
                #expect(disk.contents(of: test.path(0, ".log")) == before)
                #expect(log.endOffset == test.log.endOffset)
                found += log.damages.count
                position += batch.header.sizeBytes
            }
        }
        #expect(found > 0)
    }

    @Test func fullDiskLeavesNothingBehindAndTheLogGoesOn() throws {
        let test = try TestLog()
        try test.append([1])
        test.disk.capacityBytes = test.disk.usedBytes + 20
        let before = try everything(test.log).map(\.bytes)
        let error = #expect(throws: LogError.self) { try test.append([2]) }
        #expect(error == .disk(.noSpace("the simulated disk is full")))
        #expect(try everything(test.log).map(\.bytes) == before)
        #expect(test.disk.contents(of: test.path(0, ".log")) == before.flatMap { $0 })
        #expect(!test.log.isFenced)
        test.disk.capacityBytes = nil
        #expect(try test.append([3]) == 1)
        try test.flush()
        #expect(test.log.flushedEnd == 2)
    }

    @Test func failedWriteFencesTheLog() throws {
        let test = try TestLog()
        try test.append([1])
        test.disk.failNextWrite = .failed("write", errno: 5)
        #expect(throws: LogError.disk(.failed("write", errno: 5))) { try test.append([2]) }
        #expect(throws: LogError.fenced) { try test.append([3]) }
        #expect(try everything(test.log).count == 1)
    }

    @Test func failedBarrierFencesTheLogForGood() throws {
        let test = try TestLog()
        try test.append([1])
        try test.flush()
        try test.append([2])
        test.disk.failNextFlush = .failed("fsync", errno: 5)
        #expect(throws: LogError.disk(.failed("fsync", errno: 5))) { try test.flush() }
        #expect(test.log.flushedEnd == 1)
        #expect(throws: LogError.fenced) { try test.append([3]) }
        test.log.requestFlush()
        #expect(test.disk.pendingBarriers.isEmpty)
        // What the failed barrier covered is in the page cache, and only there.
        test.disk.powerLoss(policy: .keepEverything)
        try test.reopen(recoveryPoint: 1)
        #expect(test.log.endOffset == 1)
    }
}
