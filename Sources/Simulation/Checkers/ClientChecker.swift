// What clients sent and were told, against the final logs: acknowledged records are there, at their offsets, once, in order (P3, I1, I2).

import Broker
import Model

final class ClientChecker {
    private struct Told {
        var key: TopicPartition
        var offset: Offset
        var acks: Int16
    }

    private var idempotent = SortedMap<UInt64, Bool>()
    private var told = SortedMap<UInt64, Told>()
    private var producerIDs = SortedMap<ProducerID, Bool>()
    private(set) var acknowledgedRecords = 0

    /// Values of one producer come in rising order, so the map grows at its end in most cases.
    func sent(_ values: [UInt64], isIdempotent: Bool) {
        if isIdempotent { for value in values { idempotent[value] = true } }
    }

    func producerIDGiven(_ id: ProducerID, _ world: World) {
        world.checkers.count(.i3)
        if producerIDs[id] != nil { world.violated("I3", "producer id \(id) was given twice") }
        producerIDs[id] = true
    }

    func acknowledged(_ acknowledgement: Acknowledgement, isBinding: Bool, _ world: World) {
        acknowledgedRecords += acknowledgement.values.count
        for (index, value) in acknowledgement.values.enumerated() {
            let offset = acknowledgement.baseOffset + Offset(index)
            if let before = told[value], isBinding {
                world.checkers.count(.i2)
                if before.offset != offset {
                    world.violated("I2", "record \(value) was acknowledged at \(before.offset), and its retry at \(offset)")
                }
            }
            told[value] = Told(key: acknowledgement.key, offset: offset, acks: acknowledgement.acks)
        }
    }

    /// At the end, when all replicas are equal: the committed log is all there is.
    func checkFinal(_ world: World) {
        for (value, told) in told where told.acks == -1 && world.checkers.partitions.isBinding(told.key, world) {
            let log = world.checkers.partitions.committedLog(told.key)
            world.checkers.count(.acked)
            guard let log, told.offset < log.endOffset, log.values[Int(told.offset)] == value else {
                return world.violated("P3", "record \(value), acknowledged at \(told.offset) of partition \(told.key.partition), is gone")
            }
        }
        for key in world.checkers.partitions.keys where world.checkers.partitions.isBinding(key, world) {
            var last = SortedMap<UInt64, UInt64>()
            for case let value? in world.checkers.partitions.committedLog(key)?.values ?? [] where idempotent[value] != nil {
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
