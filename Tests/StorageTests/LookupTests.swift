// Answers by offset, by size, by time and by epoch, measured by a naive model; whatever the index files hold.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

@Suite struct LookupTests {
    static func check(_ test: TestLog, _ context: String) throws {
        let (log, end) = (test.log, test.log.endOffset)
        for offset in log.startOffset..<end {
            for (maxBytes, limit) in [(1, end), (400, end), (1 << 20, end), (1 << 20, offset + 3)] {
                let slice = try log.read(from: offset, maxBytes: maxBytes, below: limit, atLeastOne: true)
                let expected = test.expectedRead(from: offset, maxBytes: maxBytes, below: limit)
                #expect(slice?.firstOffset == expected?.first, "\(context): read \(offset) \(maxBytes) \(limit)")
                #expect(slice?.nextOffset == expected?.next, "\(context): read \(offset) \(maxBytes) \(limit)")
                guard let slice else { continue }
                var walked = slice.firstOffset
                for (header, _) in BatchSequence(try log.bytes(of: slice)) {
                    #expect(header.baseOffset == walked)
                    walked = header.nextOffset
                }
                #expect(walked == slice.nextOffset, "\(context): bytes of \(offset)")
            }
            #expect(log.epoch(at: offset) == test.records.first { $0.offset == offset }?.epoch, "\(context)")
        }
        #expect(try log.read(from: end, maxBytes: 1, below: .max, atLeastOne: true) == nil)
        let records = test.records.filter { $0.offset >= log.startOffset }
        for timestamp in stride(from: 990 as Int64, to: (records.map(\.timestamp).max() ?? 0) + 5, by: 3) {
            for limit in [end, end - 7] {
                let found = try log.offset(forTimestamp: timestamp, below: limit)
                let expected = records.first { $0.timestamp >= timestamp && $0.offset < limit }
                #expect(found?.offset == expected?.offset, "\(context): time \(timestamp) below \(limit)")
                #expect(found?.timestamp == expected?.timestamp)
                #expect(found?.epoch == expected?.epoch)
            }
        }
        let largest = records.map(\.timestamp).max()
        #expect(try log.offsetOfMaxTimestamp(below: end)?.offset == records.first { $0.timestamp == largest }?.offset)
        var walked: [Offset] = []
        try log.forEachHeader(from: log.startOffset) { walked.append($0.baseOffset) }
        #expect(walked == test.batches.filter { $0.header.lastOffset >= log.startOffset }.map(\.header.baseOffset))
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func answersAreThoseOfTheModel(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let test = try TestLog()
        try test.fill(60, random: &random)
        try Self.check(test, "fresh")
        try test.flush()
        try test.log.close(flushing: true)
        try test.reopen(recoveryPoint: test.log.endOffset)
        #expect(test.log.recovery.segmentsScanned == 1)
        #expect(!test.log.recovery.epochsRebuilt)
        try Self.check(test, "reopened")
        try test.fill(10, random: &random)
        try Self.check(test, "grown")
        let cut = test.log.endOffset * 2 / 3
        try test.log.truncate(to: cut)
        test.batches.removeAll { $0.header.lastOffset >= cut }
        try test.fill(10, random: &random)
        try Self.check(test, "truncated")
        try test.flush()
        try test.log.advanceStart(to: test.log.endOffset / 2)
        try Self.check(test, "start moved")
        try test.reopen(recoveryPoint: test.log.flushedEnd, startOffset: test.log.startOffset)
        try Self.check(test, "reopened without a stop")
    }

    /// S3: garbage, missing, short, swapped and old index files.
    @Test(arguments: 1...24 as ClosedRange<UInt64>)
    func indexFilesAreOnlyCaches(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let test = try TestLog()
        try test.fill(60, random: &random)
        try test.flush()
        try test.log.close(flushing: true)
        let indexes = test.files.filter { $0.hasSuffix("index") }
        for path in indexes where !random.oneIn(3) {
            var bytes = test.disk.contents(of: path) ?? []
            switch random.below(7) {
            case 0: test.disk.lose(path); continue
            case 1: bytes.removeLast(min(bytes.count, Int(random.below(30))))
            case 2: bytes = bytes.map { _ in UInt8(truncatingIfNeeded: random.next()) }
            case 3: bytes += [UInt8](repeating: 0, count: Int(8 * random.below(9)))
            case 4: bytes = test.disk.contents(of: indexes[Int(random.below(Int64(indexes.count)))]) ?? []
            case 5: bytes = []
            default: if !bytes.isEmpty { bytes[Int(random.below(Int64(bytes.count)))] ^= 1 << random.below(8) }
            }
            test.disk.overwrite(path, with: bytes)
        }
        try test.reopen(recoveryPoint: random.oneIn(2) ? test.log.endOffset : random.below(test.log.endOffset))
        #expect(test.log.recovery.damage == nil)
        try Self.check(test, "seed \(seed)")
    }

    @Test(arguments: ["", "garbage", "0\n1\n", "0\n1\n3 5\n", "0\n2\n0 0\n9 11\n", "1\n0\n", "0\n0\n"])
    func epochsAreRecalledFromTheBatches(checkpoint: String) throws {
        var random = SeededRandom(seed: 5)
        let test = try TestLog()
        try test.fill(60, random: &random)
        try test.flush()
        let epochs = test.log.epochs
        #expect(epochs.entries.count > 3)
        try test.log.close(flushing: true)
        let path = TestLog.directory + "/leader-epoch-checkpoint"
        #expect(test.disk.contents(of: path) != nil)
        test.disk.overwrite(path, with: Array(checkpoint.utf8))
        for recoveryPoint in [0, test.log.endOffset / 2, test.log.endOffset] {
            try test.reopen(recoveryPoint: recoveryPoint)
            #expect(test.log.epochs == epochs)
            #expect(test.log.recovery.epochsRebuilt)
        }
    }

    @Test func oldEpochCheckpointIsCompleted() throws {
        var random = SeededRandom(seed: 6)
        let test = try TestLog()
        try test.fill(30, random: &random)
        try test.flush()
        let path = TestLog.directory + "/leader-epoch-checkpoint"
        let old = try #require(test.disk.contents(of: path))
        try test.fill(60, random: &random)
        try test.flush()
        let epochs = test.log.epochs
        try test.log.close(flushing: true)
        test.disk.overwrite(path, with: old)
        try test.reopen(recoveryPoint: test.log.endOffset)
        #expect(test.log.epochs == epochs)
    }
}
