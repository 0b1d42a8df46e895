// Keys must land where every other Kafka client puts them.

import Model
import NIOCore
import Testing

import MartletClient

@Suite struct PartitionerTests {
    /// The values that Kafka's own tests hold (`UtilsTest.testMurmur2`).
    @Test(arguments: [
        ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971), ("abc", 479_470_107),
    ])
    func hashIsKafkas(key: String, hash: Int) {
        let found = Array(key.utf8).withUnsafeBytes { Partitioner.murmur2($0) }
        #expect(Int32(bitPattern: found) == Int32(hash))
    }

    @Test func negativeHashesStayInRange() {
        // −973,932,308 without its sign bit is 1,173,551,340.
        #expect(Partitioner.partition(forKey: ByteBuffer(string: "21"), count: 7) == 1_173_551_340 % 7)
        #expect(Partitioner.partition(forKey: ByteBuffer(), count: 1) == 0)
    }

    /// CRC-32 of "123456789" is the check value of its specification.
    @Test func librdkafkasRulesUseTheCRC() {
        let known = ProducerRecord(topic: "t", key: "123456789", value: "v")
        let expected = PartitionIndex(0xCBF4_3926 % 7)
        #expect(Partitioner.consistent.partition(for: known, count: 7) == expected)
        #expect(Partitioner.consistentRandom.partition(for: known, count: 7) == expected)
        for key in [nil, ""] {
            let record = ProducerRecord(topic: "t", key: key, value: "v")
            #expect(Partitioner.consistent.partition(for: record, count: 7) == 0)
            #expect(Partitioner.consistentRandom.partition(for: record, count: 7) == nil)
        }
        #expect(Partitioner.custom { _, count in Int32(count - 1) }.partition(for: known, count: 7) == 6)
    }
}

/// Where records without a key go.
@Suite struct StickyPartitionTests {
    private var random = SeededRandom(seed: 3)
    private var sticky = StickyPartition()

    /// The partitions of `count` records of 100 bytes.
    private mutating func take(
        _ count: Int, switchAfterBytes: Int = 300, of partitions: Int = 4, available: [PartitionIndex] = [0, 1, 2, 3]
    ) -> [PartitionIndex] {
        (0..<count).map { _ in
            sticky.take(
                sizeBytes: 100, switchAfterBytes: switchAfterBytes, count: partitions, available: available,
                random: &random)
        }
    }

    @Test mutating func staysUntilABatchIsFullThenTakesAnother() {
        var former: PartitionIndex?
        for _ in 0..<20 {
            let run = take(3)
            #expect(Set(run).count == 1)
            #expect(run.first != former)
            former = run.first
        }
    }

    @Test mutating func reachesEveryPartitionAboutAsOften() {
        var counts: [PartitionIndex: Int] = [:]
        for partition in take(4_000, switchAfterBytes: 100) { counts[partition, default: 0] += 1 }
        #expect(counts.keys.sorted() == [0, 1, 2, 3])
        #expect(counts.values.allSatisfy { (800...1_200).contains($0) })
    }

    @Test mutating func prefersPartitionsWithALeader() {
        #expect(Set(take(60, available: [1, 3])) == [1, 3])
        #expect(Set(take(6, available: [2])).subtracting([1, 3]) == [2])
    }

    @Test mutating func theOnlyOneWithALeaderIsTakenAgain() {
        #expect(Set(take(30, available: [2])) == [2])
    }

    @Test mutating func withoutAnyLeaderItStillChoosesOne() {
        #expect(take(60, available: []).allSatisfy { (0..<4).contains($0) })
    }

    @Test mutating func leavesAPartitionThatLostItsLeader() {
        let first = take(1)
        sticky.leave()
        #expect(take(1) != first)
    }

    @Test mutating func aRecordLargerThanABatchHasItAlone() {
        let run = take(8, switchAfterBytes: 50)
        #expect(zip(run, run.dropFirst()).allSatisfy { $0 != $1 })
    }

    @Test mutating func doesNotStayInAPartitionThatIsNoMore() {
        _ = take(1, switchAfterBytes: 100_000, available: [3])
        #expect(take(1, of: 2, available: [0, 1]).allSatisfy { $0 < 2 })
    }
}
