// Keys must land where every other Kafka client puts them.

import MartletClient
import Model
import NIOCore
import Testing

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
