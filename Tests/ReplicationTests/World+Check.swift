// The invariants of reliability.md §5 that one partition can break.

import Model
import Replication

extension World {
    mutating func checkHighWatermark(_ before: Partition, _ after: Partition, _ log: ModelLog) {
        if after.highWatermark > log.endOffset {
            fail("P8 high watermark \(after.highWatermark) beyond \(log.endOffset)")
        }
        if before.leaderEpoch == after.leaderEpoch, after.role == .leader, after.highWatermark < before.highWatermark {
            fail("P8 a leader's high watermark fell")
        }
    }

    mutating func check() {
        let current = controller.partition
        for member in current.isr + controller.elr where !holdsCommitted(nodes[member]!.log.disk) {
            fail("P4 member \(member) of \(current.isr)+\(controller.elr) lacks committed records on disk")
        }
        for id in Self.ids {
            guard let node = nodes[id], node.isAlive else { continue }
            let partition = node.partition
            if partition.highWatermark > Offset(committed.count) { fail("P8 node \(id) is ahead of what is committed") }
            if partition.role == .leader {
                if partition.leaderEpoch == current.leaderEpoch { checkLeader(id, node, current) }
                checkConsumer(id, node)
            }
        }
        checkMatching(1, 2)
        checkMatching(1, 3)
        checkMatching(2, 3)
    }

    private func holdsCommitted(_ records: [ModelRecord]) -> Bool { records.starts(with: committed) }

    private mutating func checkLeader(_ id: NodeID, _ node: ModelNode, _ current: PartitionRegistration) {
        if current.leader != id { fail("P10 node \(id) leads epoch \(current.leaderEpoch), granted to another") }
        if !holdsCommitted(node.log.records) { fail("P3 leader \(id) lacks committed records") }
        let partition = node.partition
        if partition.partitionEpoch == current.partitionEpoch,
            !current.isr.allSatisfy({ partition.maximalISR.contains($0) })
        {
            fail("P5 maximal ISR \(partition.maximalISR) lacks one of \(current.isr)")
        }
        if case .offset(let offset) = partition.latestVisibleOffset(currentLeaderEpoch: nil) {
            if offset < shown { fail("P8 the latest offset fell from \(shown) to \(offset)") }
            shown = max(shown, offset)
        }
    }

    /// P7: what a consumer reads, from whomever, is committed and stays.
    private mutating func checkConsumer(_ id: NodeID, _ node: ModelNode) {
        let decision = node.partition.consumerFetch(offset: 0, currentLeaderEpoch: nil, log: node.log.view)
        guard case .read(let below, _) = decision else { return fail("a consumer gets \(decision)") }
        if !committed.starts(with: node.log.records.prefix(Int(below))) {
            fail("P7 node \(id) shows what is not committed")
        }
    }

    /// P2: equal below both high watermarks, and equal up to any common (offset, epoch).
    private mutating func checkMatching(_ a: NodeID, _ b: NodeID) {
        guard let one = nodes[a], let other = nodes[b] else { return }
        let shared = zip(one.log.records, other.log.records).prefix { $0 == $1 }.count
        if one.isAlive, other.isAlive, shared < min(one.partition.highWatermark, other.partition.highWatermark) {
            fail("P2 nodes \(a) and \(b) differ at \(shared), below both high watermarks")
        }
        let length = min(one.log.records.count, other.log.records.count)
        for index in shared..<max(shared, length) where one.log.records[index].epoch == other.log.records[index].epoch {
            fail("P2 nodes \(a) and \(b): same epoch at \(index), another past")
            return
        }
    }
}
