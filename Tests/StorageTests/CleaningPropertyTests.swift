// Random histories of keys, cleaned at random times, against a model that a page can hold.

import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Testing

extension KeyedLog {
    /// The rules of compaction, word for word and in quadratic time.
    func cleanModel(_ order: CleaningOrder, mapEnd: Offset) {
        let from = order.part.dirty.lowerBound
        var newest: [String: Offset] = [:]
        for batch in model where !batch.header.isControl {
            for record in batch.records where record.offset >= from && record.offset < mapEnd {
                if let key = record.key { newest[key] = record.offset }
            }
        }
        for index in model.indices where model[index].header.baseOffset < mapEnd {
            let batch = model[index]
            let mayLoseTombstones = batch.horizonMs.map { $0 <= order.wallMs } ?? false
            model[index].records = batch.records.filter { record in
                if record.offset >= mapEnd { return true }
                guard let key = record.key, record.offset >= log.startOffset else { return false }
                if newest[key] ?? -1 > record.offset { return false }
                return !(record.value == nil && mayLoseTombstones && record.offset < order.tombstonesRemovableBelow)
            }
            let hasTombstone = model[index].records.contains { $0.value == nil }
            if hasTombstone, batch.horizonMs == nil, batch.header.lastOffset < mapEnd {
                model[index].horizonMs = order.wallMs + order.settings.deleteRetentionMs
            }
        }
    }

    var modelRecords: [KeyedRecord] {
        model.flatMap(\.records).filter { $0.offset >= log.startOffset }
    }

    /// Everything that can be asked of the log answers as the model does.
    func checkAgainstModel(_ random: inout SeededRandom) throws {
        let expected = modelRecords
        let found = try records
        try Violation.unless(found == expected, "\(found.map(\.offset)), not \(expected.map(\.offset))")
        try checkHorizons()
        try checkProducers()
        try checkTimes(expected, &random)
        for _ in 0..<6 where log.endOffset > log.startOffset {
            let offset = log.startOffset + random.below(log.endOffset - log.startOffset)
            guard let slice = try log.read(from: offset, maxBytes: 1, below: .max, atLeastOne: true),
                let header = try log.header(at: offset)
            else { throw Violation(description: "nothing is read at \(offset)") }
            try Violation.unless(
                slice.firstOffset == header.baseOffset && header.baseOffset <= offset && header.nextOffset > offset,
                "the batch at \(offset)")
        }
        try checkConsumption(expected, random.below(4) == 0 ? 1 : 400)
        // What is read never ends in front of an empty batch, unless that is behind the limit.
        for header in try headers where header.recordsCount == 0 && header.baseOffset > log.startOffset {
            guard !segmentBases.contains(header.baseOffset) else { continue }
            let slice = try log.read(from: header.baseOffset - 1, maxBytes: 1, below: .max, atLeastOne: true)
            try Violation.unless(slice?.nextOffset ?? 0 >= header.nextOffset, "an answer ends at \(header.baseOffset)")
            let below = try log.read(
                from: header.baseOffset - 1, maxBytes: 1, below: header.lastOffset, atLeastOne: true)
            try Violation.unless(below?.nextOffset ?? 0 <= header.baseOffset, "an answer passes its limit")
        }
    }

    /// A consumer gets every record, and no answer without one but at the end.
    private func checkConsumption(_ expected: [KeyedRecord], _ maxBytes: Int) throws {
        var (offset, found) = (log.startOffset, [Offset]())
        while let slice = try log.read(
            from: offset, maxBytes: maxBytes, below: .max, atLeastOne: true, skippingEmpty: true)
        {
            let bytes = try log.bytes(of: slice)
            let records = try BatchSequence(bytes).flatMap { try decodeRecords($0.bytes) }.map(\.offset)
            try Violation.unless(!records.isEmpty || slice.nextOffset == log.endOffset, "an empty answer at \(offset)")
            found += records.filter { $0 >= log.startOffset }
            offset = slice.nextOffset
        }
        try Violation.unless(found == expected.map(\.offset), "a consumer reads \(found)")
    }

    private func checkHorizons() throws {
        let stamped = try headers.filter(\.hasDeleteHorizon).map { [$0.baseOffset, $0.baseTimestamp] }
        let expected = model.filter { batch in
            batch.horizonMs != nil && !batch.records.isEmpty && batch.header.lastOffset >= log.startOffset
        }.map { [$0.header.baseOffset, $0.horizonMs ?? 0] }
        try Violation.unless(stamped == expected, "horizons \(stamped), not \(expected)")
    }

    /// I3: the last batches of each producer are what they were.
    private func checkProducers() throws {
        func told(_ header: BatchHeader) -> [Int64] {
            [
                header.baseOffset, header.lastOffset, header.maxTimestamp, Int64(header.producerEpoch),
                Int64(header.baseSequence), Int64(header.lastSequence),
            ]
        }
        var replayed: [ProducerID: [[Int64]]] = [:]
        try log.forEachHeader(from: 0) { if $0.hasProducer { replayed[$0.producerID, default: []].append(told($0)) } }
        var expected: [ProducerID: [[Int64]]] = [:]
        for batch in model where batch.header.hasProducer && batch.header.nextOffset > log.firstBaseOffset {
            expected[batch.header.producerID, default: []].append(told(batch.header))
        }
        for (id, batches) in expected {
            try Violation.unless(replayed[id]?.suffix(5) == batches.suffix(5), "producer \(id) is remembered otherwise")
        }
    }

    private func checkTimes(_ records: [KeyedRecord], _ random: inout SeededRandom) throws {
        let latest = records.map(\.timestamp).max().flatMap { most in records.first { $0.timestamp == most } }
        let found = try log.offsetOfMaxTimestamp(below: .max)
        try Violation.unless(
            found?.offset == latest?.offset && found?.timestamp == latest?.timestamp,
            "the largest timestamp is at \(found?.offset ?? -1), not \(latest?.offset ?? -1)")
        for _ in 0..<6 {
            let asked = 900 + random.below(1_400)
            let limit = log.startOffset + random.below(log.endOffset - log.startOffset + 3)
            let first = records.first { $0.timestamp >= asked && $0.offset < limit }
            let answer = try log.offset(forTimestamp: asked, below: limit)
            try Violation.unless(answer?.offset == first?.offset, "time \(asked) below \(limit)")
        }
    }
}

@Suite struct CleaningPropertyTests {
    private struct Life {
        var random: SeededRandom
        let test: KeyedLog
        var sequences: [ProducerID: Int32] = [:]
        var epoch: LeaderEpoch = 0
        var cleanings = 0
        var removed = 0

        init(seed: UInt64) throws {
            random = SeededRandom(seed: seed)
            var settings = KeyedLog.settings
            settings.segmentBytes = 400 + random.below(2_000)
            settings.delaysRemoval = random.oneIn(2)
            test = try KeyedLog(settings, disk: SimulatedDisk(seed: seed))
            test.budgetBytes = 1 + Int(random.below(2_000))
        }

        mutating func append() throws {
            if random.oneIn(12) { epoch += 1 }
            var records: [(key: String?, value: String?)] = []
            for _ in 0...random.below(4) {
                let key = random.oneIn(30) ? nil : "key \(random.below(12))"
                let value = random.oneIn(4) ? nil : String(repeating: "v", count: Int(random.below(60)))
                records.append((key, value))
            }
            let codec = Compression.allCases[Int(random.below(8)) % 5]
            let producer = ProducerID(random.below(6)) - 2
            let sequence = producer >= 0 ? sequences[producer] ?? 0 : -1
            sequences[producer] = sequence + Int32(records.count)
            try test.append(
                records, timestamp: 1_000 + Int64(test.model.count) + random.below(300), epoch: epoch,
                compression: codec, producerID: max(-1, producer), baseSequence: sequence)
        }

        mutating func clean() throws {
            test.wallMs += random.below(100)
            test.cleaning.deleteRetentionMs = random.below(150)
            test.cleaning.mapBytesMax = random.oneIn(3) ? 384 * Int(1 + random.below(6)) : 1 << 20
            test.tombstonesRemovableBelow = random.oneIn(4) ? random.below(test.log.endOffset) : .max
            if random.oneIn(8) { test.log.restoreCleanedEnd(random.below(test.log.cleanedEnd + 1)) }
            try test.flush()
            guard let part = test.part else { return }
            let order = test.order(part)
            let summary = try test.clean()
            try Violation.unless(summary.cleanedEnd > part.dirty.lowerBound, "the cleaning got nowhere")
            test.cleanModel(order, mapEnd: summary.cleanedEnd)
            cleanings += 1
            removed += summary.recordsRemoved
        }

        mutating func step() throws {
            switch random.below(40) {
            case 0..<28: return try append()
            case 28..<33: try clean()
            case 33, 34:
                try test.flush()
                try test.log.advanceStart(
                    to: test.log.startOffset + random.below(test.log.endOffset - test.log.startOffset))
                try test.flush()
            case 35: test.log.purgeRemoved(at: Instant(nanoseconds: .max / 2), delayMs: 0)
            case 36, 37:
                try test.flush()
                try test.reopen(
                    recoveryPoint: random.oneIn(2) ? test.log.flushedEnd : random.below(test.log.flushedEnd + 1))
                try Violation.unless(test.log.recovery.damages.isEmpty, "damage: \(test.log.recovery.damages)")
                try Violation.unless(test.log.recovery.tornBytes == 0, "cut off")
            default:
                // Index files that are gone, or were another's.
                for path in test.disk.filePaths where path.hasSuffix("index") && random.oneIn(2) {
                    test.disk.overwrite(path, with: [])
                }
            }
            try test.checkAgainstModel(&random)
        }
    }

    @Test func randomHistoriesAreCleanedAsTheModelSays() throws {
        var (cleanings, removed) = (0, 0)
        // A debug build takes a sample.
        let seeds: UInt64 = MatrixSize.stride > 1 ? 12 : 50
        for seed in 1...seeds {
            var life = try Life(seed: seed)
            do {
                for _ in 0..<220 { try life.step() }
                try life.test.checkAgainstModel(&life.random)
                #expect(life.test.strayFiles.isEmpty)
            } catch {
                Issue.record("seed \(seed), batch \(life.test.model.count), cleaning \(life.cleanings): \(error)")
                return
            }
            cleanings += life.cleanings
            removed += life.removed
        }
        print("cleaning property: \(cleanings) cleanings, \(removed) records removed")
        #expect(cleanings > Int(seeds) * 12 && removed > Int(seeds) * 200)
    }
}
