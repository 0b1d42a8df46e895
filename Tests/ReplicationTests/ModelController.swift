// A controller for one partition: fences, elects and judges AlterPartition as protocol.md §4.8 says, with ELR
// (KIP-966).

import Model
import Replication

struct ModelController {
    private(set) var partition: PartitionRegistration
    private(set) var elr: [NodeID] = []
    private(set) var brokers = SortedMap<NodeID, BrokerView>()
    let minISR: Int
    /// Every state so far: what a node learns, late and in order.
    private(set) var images: [(partition: PartitionRegistration, brokers: SortedMap<NodeID, BrokerView>)] = []
    private var nextBrokerEpoch: BrokerEpoch = 100

    init(replicas: [NodeID], minISR: Int) {
        self.minISR = minISR
        partition = PartitionRegistration(replicas: replicas, isr: replicas, leader: replicas[0])
        for id in replicas { register(id, publishing: false) }
        images.append((partition, brokers))
    }

    /// A node starts: its former incarnation is fenced with all it led and was in sync for.
    @discardableResult
    mutating func restarted(_ id: NodeID) -> BrokerEpoch {
        fence(id)
        let epoch = register(id, publishing: true)
        elect()
        return epoch
    }

    @discardableResult
    private mutating func register(_ id: NodeID, publishing: Bool) -> BrokerEpoch {
        nextBrokerEpoch += 1
        brokers[id] = BrokerView(epoch: nextBrokerEpoch, eligible: true)
        if publishing { images.append((partition, brokers)) }
        return nextBrokerEpoch
    }

    mutating func fence(_ id: NodeID) {
        brokers[id]?.eligible = false
        var next = partition
        next.isr.removeAll { $0 == id }
        if next.leader == id { next.leader = nil }
        publish(next)
        elect()
    }

    private mutating func elect() {
        guard partition.leader == nil else { return }
        let alive = partition.replicas.filter { brokers[$0]?.eligible == true }
        var next = partition
        if let id = alive.first(where: { partition.isr.contains($0) }) {
            next.leader = id
        } else if partition.isr.isEmpty, let id = alive.first(where: { elr.contains($0) }) {
            next.leader = id
            next.isr = [id]
        } else {
            return
        }
        publish(next)
    }

    /// Moves the leadership to another in-sync replica that is alive.
    mutating func move(to id: NodeID) {
        guard partition.isr.contains(id), brokers[id]?.eligible == true, partition.leader != id else { return }
        var next = partition
        next.leader = id
        publish(next)
    }

    /// Whoever left a set that is now too small may still lead.
    private mutating func publish(_ proposed: PartitionRegistration) {
        var next = proposed
        let gone = partition.isr.filter { !next.isr.contains($0) }
        elr = next.isr.count >= minISR ? [] : (elr + gone).filter { !next.isr.contains($0) }
        if next.leader != partition.leader { next.leaderEpoch += 1 }
        next.partitionEpoch += 1
        partition = next
        images.append((partition, brokers))
    }

    mutating func alterPartition(_ proposal: ISRProposal, from id: NodeID) -> (ErrorCode, ISRAnswer?) {
        if proposal.leaderEpoch > partition.leaderEpoch || proposal.partitionEpoch > partition.partitionEpoch {
            return (.notController, nil)
        }
        if proposal.leaderEpoch < partition.leaderEpoch { return (.fencedLeaderEpoch, nil) }
        if partition.leader != id { return (.invalidRequest, nil) }
        if proposal.partitionEpoch < partition.partitionEpoch { return (.invalidUpdateVersion, nil) }
        for member in proposal.isr {
            guard let broker = brokers[member.id], broker.eligible, broker.epoch == member.brokerEpoch else {
                return (.ineligibleReplica, nil)
            }
        }
        var next = partition
        next.isr = proposal.isr.map(\.id)
        publish(next)
        return (
            .none,
            ISRAnswer(
                leaderID: id, leaderEpoch: partition.leaderEpoch, isr: partition.isr,
                partitionEpoch: partition.partitionEpoch)
        )
    }
}
