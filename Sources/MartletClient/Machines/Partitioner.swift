// Which partition a record goes to: Kafka's rule for keys, so that a key meets its earlier records whoever wrote them.

import Model
import NIOCore

package enum Partitioner {
    /// Kafka's default: murmur2 of the key, the sign bit cleared, modulo the number of partitions.
    package static func partition(forKey key: ByteBuffer, count: Int) -> PartitionIndex {
        precondition(count > 0, "a topic has at least one partition")
        let hash = key.withUnsafeReadableBytes { murmur2($0) }
        return PartitionIndex(Int(hash & 0x7FFF_FFFF) % count)
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
