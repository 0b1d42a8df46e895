// What clients sent and were told, against the final logs: acknowledged records are there, at their offsets, once, in
// order (P3, I1, I2).

import Broker
import Model

final class ClientChecker {
    private struct Told {
        var key: TopicPartition
        var offset: Offset
        var acks: Int16
    }

    /// For look-ups; walked in key order only.
    private var idempotent: Set<UInt64> = []
    private var told: [UInt64: Told] = [:]
    private var producerIDs: Set<ProducerID> = []
    private(set) var acknowledgedRecords = 0

    func sent(_ values: [UInt64], isIdempotent: Bool) {
        if isIdempotent { idempotent.formUnion(values) }
    }

    func producerIDGiven(_ id: ProducerID, _ world: World) {
        world.checkers.count(.i3)
        if !producerIDs.insert(id).inserted { world.violated("I3", "producer id \(id) was given twice") }
    }

    func acknowledged(_ acknowledgement: Acknowledgement, isBinding: Bool, _ world: World) {
        acknowledgedRecords += acknowledgement.values.count
        for (index, value) in acknowledgement.values.enumerated() {
            let offset = acknowledgement.baseOffset + Offset(index)
            if let before = told[value], isBinding {
                world.checkers.count(.i2)
                if before.offset != offset {
                    world.violated(
                        "I2",
                        "record \(value) was acknowledged at \(before.offset), and its retry "
                            + "at \(offset)")
                }
            }
            told[value] = Told(key: acknowledgement.key, offset: offset, acks: acknowledgement.acks)
        }
    }

    /// At the end, when all replicas are equal: the committed log is all there is.
    func checkFinal(_ world: World) {
        for value in told.keys.sorted() {
            guard let told = told[value], told.acks == -1, world.checkers.partitions.isBinding(told.key, world)
            else { continue }
            let log = world.checkers.partitions.committedLog(told.key)
            world.checkers.count(.acked)
            guard let log, told.offset < log.endOffset, log.values[Int(told.offset)] == value else {
                return world.violated(
                    "P3",
                    "record \(value), acknowledged at \(told.offset) of partition "
                        + "\(told.key.partition), is gone")
            }
        }
        for key in world.checkers.partitions.keys where world.checkers.partitions.isBinding(key, world) {
            var last = SortedMap<UInt64, UInt64>()
            for case let value? in world.checkers.partitions.committedLog(key)?.values ?? []
            where idempotent.contains(value) {
                world.checkers.count(.i1)
                let producer = value >> 32
                if let before = last[producer], before >= value {
                    return world.violated("I1", "partition \(key.partition) holds record \(value) behind \(before)")
                }
                last[producer] = value
            }
        }
    }
}
