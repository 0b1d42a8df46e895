// Which shard of a node has a partition. By the topic's name, as its directory and its lines in the checkpoints are
// named: what an earlier topic of that name left behind is always the same shard's to deal with, and whose a line is
// can be told from the line alone (decision 0021).

import Model

package enum Placement {
    /// The same in every process. The partitions of a topic take turns.
    package static func shard(of topic: String, _ partition: PartitionIndex, count: Int) -> Int {
        guard count > 1 else { return 0 }
        // FNV-1a, then mixed: short names differ in few bits.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in topic.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        hash = (hash ^ hash >> 32) &* 0x9E37_79B9_7F4A_7C15
        return Int((hash >> 33 &+ UInt64(truncatingIfNeeded: partition)) % UInt64(count))
    }

    /// Of a directory's name, "topic-partition"; nil when it is none.
    static func shard(ofDirectory name: some StringProtocol, count: Int) -> Int? {
        guard let dash = name.lastIndex(of: "-"), let partition = PartitionIndex(name[name.index(after: dash)...])
        else { return nil }
        return shard(of: String(name[..<dash]), partition, count: count)
    }
}

extension Shard {
    /// The shard of this node that has a partition; this one when nobody knows the topic.
    func owner(of topic: String?, _ partition: PartitionIndex) -> Int {
        guard shardCount > 1, let topic else { return index }
        return Placement.shard(of: topic, partition, count: shardCount)
    }
}
