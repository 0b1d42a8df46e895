// Which partition of `__consumer_offsets` a group belongs to, and with it which node coordinates it.

import Model

/// The groups' log, by Kafka's name.
package enum GroupTopic {
    package static let name = "__consumer_offsets"
}

/// Kafka's choice: Java's `String.hashCode` of the group id, made positive, modulo the partitions. Clients never
/// compute it, but tools that read the log do.
/// - Parameter partitionCount: at least 1; it may never change while there are groups.
package func groupPartition(of groupID: String, partitionCount: Int32) -> PartitionIndex {
    precondition(partitionCount > 0, "the groups' log has partitions")
    let hash = javaHash(groupID)
    // Java's `abs` of the smallest int32 would stay negative; Kafka takes 0 instead.
    return (hash == .min ? 0 : abs(hash)) % partitionCount
}

/// Java's `String.hashCode`: over the UTF-16 code units, so that a letter beyond the BMP counts as two.
package func javaHash(_ text: String) -> Int32 {
    var hash: Int32 = 0
    for unit in text.utf16 { hash = hash &* 31 &+ Int32(unit) }
    return hash
}
