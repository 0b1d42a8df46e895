// Which partition a record goes to. A key meets its earlier records only if all who write it agree on the rule.

import CZlib
import Model
import NIOCore

/// How a producer chooses the partition of a record that names none. Without a key a record goes to the partition that
/// is being filled (KIP-794), where a rule says nothing else.
public enum Partitioner: Sendable {
    /// The rule of Kafka's Java clients, kafka-python and franz-go, and `murmur2_random` of librdkafka: murmur2 of the
    /// key.
    case murmur2
    /// The default of librdkafka, `consistent_random`: CRC-32 of the key; an empty key counts as none.
    case consistentRandom
    /// `consistent` of librdkafka: CRC-32 of the key, and a record without one goes where the empty key goes.
    case consistent
    /// A rule of one's own: a partition from 0 up to the given count.
    case custom(@Sendable (_ record: ProducerRecord, _ partitionCount: Int) -> Int32)

    /// The partition by this rule; nil where the producer is free to choose.
    package func partition(for record: ProducerRecord, count: Int) -> PartitionIndex? {
        switch self {
        case .murmur2: record.key.map { Self.partition(forKey: $0, count: count) }
        case .consistentRandom:
            record.key.flatMap { $0.readableBytes > 0 ? Self.crcPartition(forKey: $0, count: count) : nil }
        case .consistent: Self.crcPartition(forKey: record.key ?? ByteBuffer(), count: count)
        case .custom(let choose): choose(record, count)
        }
    }

    /// murmur2 of the key, the sign bit cleared, modulo the number of partitions.
    package static func partition(forKey key: ByteBuffer, count: Int) -> PartitionIndex {
        precondition(count > 0, "a topic has at least one partition")
        let hash = key.withUnsafeReadableBytes { murmur2($0) }
        return PartitionIndex(Int(hash & 0x7FFF_FFFF) % count)
    }

    package static func crcPartition(forKey key: ByteBuffer, count: Int) -> PartitionIndex {
        let sum = key.withUnsafeReadableBytes { bytes in
            crc32(0, bytes.bindMemory(to: UInt8.self).baseAddress, UInt32(truncatingIfNeeded: bytes.count))
        }
        return PartitionIndex(Int(truncatingIfNeeded: sum) % count)
    }

    /// MurmurHash2, 32 bits, with the seed that Kafka's clients share.
    package static func murmur2(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let multiplier: UInt32 = 0x5BD1_E995
        var hash: UInt32 = 0x9747_B28C ^ UInt32(truncatingIfNeeded: bytes.count)
        var index = 0
        while index + 4 <= bytes.count {
            var word = bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self).littleEndian
            word = word &* multiplier
            word ^= word >> 24
            hash = (hash &* multiplier) ^ (word &* multiplier)
            index += 4
        }
        if index < bytes.count {
            for rest in (index..<bytes.count).reversed() {
                hash ^= UInt32(bytes[rest]) << UInt32(8 * (rest - index))
            }
            hash = hash &* multiplier
        }
        hash ^= hash >> 13
        hash = hash &* multiplier
        return hash ^ (hash >> 15)
    }
}

/// Where records without a key go: one partition until a batch of it is full, then another (KIP-794), so that batches
/// are large. A draw prefers partitions that have a leader.
package struct StickyPartition: Sendable {
    package private(set) var partition: PartitionIndex?
    private var bytesLeft = 0

    package init() {}

    /// The partition for a record of `sizeBytes`.
    package mutating func take(
        sizeBytes: Int, switchAfterBytes: Int, count: Int, available: [PartitionIndex], random: inout SeededRandom
    ) -> PartitionIndex {
        if let partition, bytesLeft > 0, Int(partition) < count {
            bytesLeft -= sizeBytes
            return partition
        }
        let choices = available.filter { $0 != partition }
        let drawn: PartitionIndex
        if !choices.isEmpty {
            drawn = choices[Int(random.below(Int64(choices.count)))]
        } else {
            drawn = available.first ?? PartitionIndex(random.below(Int64(count)))
        }
        partition = drawn
        bytesLeft = switchAfterBytes - sizeBytes
        return drawn
    }

    /// Moves on with the next record: the partition has lost its leader.
    package mutating func leave() { bytesLeft = 0 }
}
