// The bytes on disk are Kafka's, byte by byte; and when segments roll.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

@Suite struct LayoutTests {
    private func integers<T: FixedWidthInteger>(_ values: [T]) -> [UInt8] {
        values.flatMap { value in withUnsafeBytes(of: value.bigEndian) { Array($0) } }
    }

    @Test func filesHoldWhatKafkaWouldWrite() throws {
        let test = try TestLog(LogSettings(segmentBytes: 1_000, indexIntervalBytes: 150))
        // Batches of 100 bytes each: 61 of header, and a record of 39.
        for (index, timestamp) in ([500, 900, 700, 950, 940, 960, 955, 10, 20, 30, 40] as [Int64]).enumerated() {
            try test.append([timestamp], sizeBytes: 32, epoch: index < 4 ? 3 : 5)
        }
        #expect(test.batches.allSatisfy { $0.header.sizeBytes == 100 })
        try test.flush()
        #expect(
            test.files == [
                test.path(0, ".index"), test.path(0, ".log"), test.path(0, ".timeindex"), test.path(10, ".log"),
                TestLog.directory + "/leader-epoch-checkpoint",
            ])
        let log = try #require(test.disk.contents(of: test.path(0, ".log")))
        #expect(log.count == 1_000)
        #expect(Array(log[400..<417]) == integers([4 as Int64]) + integers([88, 5] as [Int32]) + [2])
        // An entry for a batch that begins more than 150 bytes behind the last: {last offset − base, position}.
        #expect(
            test.disk.contents(of: test.path(0, ".index"))
                == integers([2, 200, 4, 400, 6, 600, 8, 800] as [Int32]))
        // {largest timestamp so far, its offset}, where it grew; the roll adds nothing new.
        #expect(
            test.disk.contents(of: test.path(0, ".timeindex"))
                == integers([900 as Int64]) + integers([1 as Int32]) + integers([950 as Int64]) + integers([3 as Int32])
                + integers([960 as Int64]) + integers([5 as Int32]))
        #expect(
            test.disk.contents(of: TestLog.directory + "/leader-epoch-checkpoint") == Array("0\n2\n3 0\n5 4\n".utf8))
    }

    @Test func rollGivesTheTimeIndexItsLastWord() throws {
        let test = try TestLog(LogSettings(segmentBytes: 200, indexIntervalBytes: 4_096))
        for timestamp in [500, 900, 700] as [Int64] { try test.append([timestamp], sizeBytes: 32) }
        #expect(test.disk.contents(of: test.path(0, ".index")) == [])
        #expect(
            test.disk.contents(of: test.path(0, ".timeindex")) == integers([900 as Int64]) + integers([1 as Int32]))
    }

    @Test func segmentsRollBySizeAgeAndFullIndex() throws {
        let test = try TestLog(LogSettings(segmentBytes: 300, segmentMs: 1_000))
        for _ in 0..<4 { try test.append([5], sizeBytes: 32) }
        #expect(test.log.segmentSummaries.map(\.baseOffset) == [0, 3])
        try test.append([1_005], sizeBytes: 32)
        #expect(test.log.segmentSummaries.map(\.baseOffset) == [0, 3])
        try test.append([1_006], sizeBytes: 32)
        #expect(test.log.segmentSummaries.map(\.baseOffset) == [0, 3, 5])
        // Without timestamps the segment's own age counts.
        try test.log.truncateFully(startingAt: 20)
        try test.append([-1], sizeBytes: 32, wallMs: 500)
        try test.append([-1], sizeBytes: 32, wallMs: 1_500)
        #expect(test.log.segmentSummaries.map(\.baseOffset) == [20, 21])

        let full = try TestLog(LogSettings(indexIntervalBytes: 0, indexBytesMax: 48))
        for timestamp in 0..<12 as Range<Int64> { try full.append([timestamp], sizeBytes: 32) }
        #expect(full.log.segmentSummaries.count > 2)
        #expect(full.files.allSatisfy { (full.disk.contents(of: $0)?.count ?? 0) <= 48 || $0.hasSuffix(".log") })
    }

    @Test func replicatedBatchesKeepOffsetsAndEpochsAcrossSegments() throws {
        var random = SeededRandom(seed: 9)
        let leader = try TestLog()
        try leader.fill(40, random: &random)
        let follower = try TestLog()
        let all = try everything(leader.log)
        for start in stride(from: 0, to: all.count, by: 9) {
            let run = all[start..<min(all.count, start + 9)]
            try follower.log.appendReplicated(
                ByteBuffer(bytes: run.flatMap(\.bytes)), headers: run.map(\.header), wallMs: 0)
        }
        #expect(follower.log.epochs == leader.log.epochs)
        for path in leader.files where path.hasSuffix(".log") {
            #expect(follower.disk.contents(of: path) == leader.disk.contents(of: path))
        }
        #expect(follower.files.filter { $0.hasSuffix(".log") } == leader.files.filter { $0.hasSuffix(".log") })
        // What does not follow on is refused, and changes nothing.
        let end = follower.log.endOffset
        #expect(throws: LogError.self) {
            try follower.log.appendReplicated(ByteBuffer(bytes: all[3].bytes), headers: [all[3].header], wallMs: 0)
        }
        #expect(follower.log.endOffset == end)
    }

    @Test func epochWithoutARecordGivesWayToTheLeaders() throws {
        let test = try TestLog()
        try test.append([1], epoch: 1)
        test.log.assign(epoch: 4)
        #expect(test.log.epochs.latestEpoch == 4)
        test.log.assign(epoch: 6)
        #expect(test.log.epochs.entries.map(\.epoch) == [1, 6])
        try test.log.truncate(to: 1)
        #expect(test.log.epochs.entries.map(\.epoch) == [1])
        #expect(test.log.generation == 0)
    }
}

@Suite struct BarrierTests {
    @Test func oneBarrierIsUnderWayAndCoversWhatWasThereWhenAsked() throws {
        let test = try TestLog()
        try test.append([1])
        test.log.requestFlush()
        try test.append([2])
        test.log.requestFlush()
        #expect(test.disk.pendingBarriers.count == 1)
        let first = try #require(test.disk.completeBarrier(test.disk.pendingBarriers[0]))
        #expect(try test.log.flushed(first.ticket, first.result))
        #expect(test.log.flushedEnd == 1)
        // The second was asked for on completion of the first; a checkpoint of the epochs with it.
        let second = try #require(test.disk.pendingBarriers.first { $0.sequence == 2 })
        #expect(try test.log.flushed(second, .done))
        #expect(test.log.flushedEnd == 2)
        #expect(try !test.log.flushed(second, .done))
        test.log.requestFlush()
        #expect(!test.log.isFlushUnderWay)
    }

    @Test func barrierFromBeforeATruncationDoesNotCount() throws {
        let test = try TestLog()
        try test.append([1])
        try test.append([2])
        test.log.requestFlush()
        let old = try #require(test.disk.pendingBarriers.first)
        try test.log.truncate(to: 1)
        try test.append([3], epoch: 1)
        #expect(try !test.log.flushed(old, .done))
        #expect(test.log.flushedEnd == 0)
        test.log.requestFlush()
        try test.flush()
        #expect(test.log.flushedEnd == 2)
        test.disk.powerLoss(policy: .keepNothing)
        try test.reopen(recoveryPoint: 1)
        #expect(test.log.endOffset == 2)
        #expect(test.log.epoch(at: 1) == 1)
    }

    @Test func anEmptyLogIsOpenedAgainAsItIsAndItsFirstBarrierCoversIt() throws {
        let test = try TestLog()
        let files = test.files
        test.disk.processCrash()
        try test.reopen()
        #expect(test.files == files, "no index without an entry")
        #expect(test.log.needsFlush && test.log.flushedEnd == 0)
        try test.append([1])
        try test.flush()
        test.disk.powerLoss(policy: .keepNothing)
        try test.reopen()
        #expect(test.log.endOffset == 1)
        try test.log.close(flushing: true)
        #expect(test.files.contains(test.path(0, ".index")) && test.files.contains(test.path(0, ".timeindex")))
    }

    @Test func aCutToNothingBeforeAKillStaysBehindTheNextBarrier() throws {
        let test = try TestLog()
        for timestamp in 0..<3 as Range<Int64> { try test.append([timestamp]) }
        try test.flush()
        try test.log.truncate(to: 0)
        test.disk.processCrash()
        try test.reopen()
        #expect(test.log.endOffset == 0)
        try test.append([7], epoch: 1)
        try test.flush()
        test.disk.powerLoss(policy: .keepNothing)
        try test.reopen()
        #expect(test.log.endOffset == 1 && test.log.epoch(at: 0) == 1)
    }

    @Test func segmentsBelowTheStartGoOnceTheirSuccessorIsDurable() throws {
        let test = try TestLog(LogSettings(segmentBytes: 200))
        for timestamp in 0..<6 as Range<Int64> { try test.append([timestamp], sizeBytes: 32) }
        try test.log.advanceStart(to: 4)
        #expect(test.log.segmentSummaries.count == 3)
        #expect(throws: LogError.offsetOutOfRange(3, startOffset: 4, endOffset: 6)) {
            _ = try test.log.read(from: 3, maxBytes: 1, below: .max, atLeastOne: true)
        }
        try test.flush()
        #expect(test.log.segmentSummaries.map(\.baseOffset) == [4])
        #expect(test.disk.contents(of: test.path(0, ".log")) == nil)
        try test.log.close(flushing: true)
        #expect(test.disk.openHandleCount == 0)
    }
}
