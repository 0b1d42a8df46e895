// A group's partition is the one that Kafka would take.

import Testing
import Wire

@Suite struct GroupPartitionTests {
    /// What Java 17 answers for `hashCode()` and kafka-clients' `Utils.abs` of it modulo 50. Two of them have the
    /// smallest int32; `🪶` is two UTF-16 units.
    @Test func theHashIsJavas() {
        for (group, hash, partition) in [
            ("", 0, 0), ("a", 97, 47), ("my-group", -1_906_497_762, 12), ("polygenelubricants", .min, 0),
            ("DESIGNING WORKHOUSES", .min, 0), ("consumer-group-Ä", 147_483_167, 17), ("語-group", 347_383_440, 40),
            ("🪶", 1_773_112, 12), ("group-🪶-1", -1_358_247_830, 30), ("console-consumer-12345", 158_455_506, 6),
        ] as [(String, Int32, Int32)] {
            #expect(javaHash(group) == hash, "\(group)")
            #expect(groupPartition(of: group, partitionCount: 50) == partition, "\(group)")
            #expect(groupPartition(of: group, partitionCount: 1) == 0)
        }
    }

    @Test func everyPartitionIsInRange() {
        for number in 0..<2_000 {
            for count in [1, 3, 50, .max] as [Int32] {
                #expect((0..<count).contains(groupPartition(of: "group-\(number)", partitionCount: count)))
            }
        }
    }
}
