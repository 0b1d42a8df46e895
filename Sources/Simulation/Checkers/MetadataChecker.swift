// The committed metadata as all nodes have it: M1 and M3 at every step, what an image may say of a partition (P9), who
// may come into an ISR (M5), and that there is one cluster (R5).

import Broker
import Metadata
import Model
import Replication

final class MetadataChecker {
    private struct ProposalKey: Hashable, Comparable, Sendable {
        var partition: TopicPartition
        var leaderEpoch: LeaderEpoch
        var partitionEpoch: PartitionEpoch
        static func < (a: Self, b: Self) -> Bool {
            if a.partition != b.partition { return a.partition < b.partition }
            return a.leaderEpoch == b.leaderEpoch
                ? a.partitionEpoch < b.partitionEpoch : a.leaderEpoch < b.leaderEpoch
        }
    }

    /// By the offset of its last record, as the first node had it that got there.
    private var images = SortedMap<Offset, MetadataImage>()
    private(set) var newest = MetadataImage.empty
    /// What was looked at last on each node.
    private var looked = SortedMap<NodeID, (life: Int, offset: Offset)>()
    private var cluster: String?
    private var proposals = SortedMap<ProposalKey, [[ISRMember]]>()
    private var answeredTooEarly: [String] = []
    /// Names that were committed since they were last deleted. For look-ups only.
    private var namesSeen: Set<String> = []

    /// Enough for a node that was away: what is older is compared by a later image.
    private static let imagesKept = 2_000

    func topicCreated(_ name: String) {
        if !namesSeen.contains(name) { answeredTooEarly.append(name) }
    }

    func topicDeleted(_ name: String) { namesSeen.remove(name) }

    /// A leader asks for an ISR.
    func proposed(_ proposal: ISRProposal, for key: TopicPartition) {
        let key = ProposalKey(
            partition: key, leaderEpoch: proposal.leaderEpoch, partitionEpoch: proposal.partitionEpoch)
        proposals[key, default: []].append(proposal.isr)
    }

    func stepped(_ node: SimulatedNode, _ control: Control, _ world: World) {
        for name in answeredTooEarly {
            world.violated("M3", "a client was told that \(name) is created, and it is not committed")
        }
        if let own = control.inspectedClusterID {
            world.checkers.count(.r5cluster)
            if let cluster, cluster != own {
                world.violated("R5", "node \(node.id) belongs to the cluster \(own), and there is \(cluster) already")
            }
            cluster = own
        }
        let image = control.inspectedImage
        let before = looked[node.id]
        guard image.lastOffset >= 0, before?.life != node.life || before?.offset != image.lastOffset else { return }
        looked[node.id] = (node.life, image.lastOffset)
        if let known = images[image.lastOffset] {
            world.checkers.count(.m1)
            if known != image {
                world.violated("M1", "the image of node \(node.id) at \(image.lastOffset) is not that of the others")
            }
            return
        }
        images[image.lastOffset] = image
        if images.count > Self.imagesKept, let oldest = images.keys.first { images.removeValue(forKey: oldest) }
        guard image.lastOffset > newest.lastOffset else { return }
        let last = newest
        newest = image
        check(image, after: last, world)
    }

    private func check(_ image: MetadataImage, after last: MetadataImage, _ world: World) {
        for topic in image.topics.values {
            namesSeen.insert(topic.name)
            for (index, partition) in topic.partitions.enumerated() {
                let key = TopicPartition(topic.id, Int32(index))
                let before = last.partition(key)
                guard before != partition || image.brokers != last.brokers else { continue }
                let name = "partition \(index) of \(topic.name) at \(image.lastOffset)"
                if let wrong = whatIsWrong(with: partition, in: image) { world.violated("P9", "\(name): \(wrong)") }
                world.checkers.count(.p9)
                guard let before, before != partition else { continue }
                checkEpochs(partition, after: before, name, world)
                checkGrowth(of: key, partition, after: before, image, name, world)
                if image.lastOffset == last.lastOffset + 1 {
                    checkShrinking(of: key, partition, after: before, name, world)
                }
            }
        }
        world.checkers.partitions.checkCandidates(world)
    }

    private func whatIsWrong(with partition: PartitionRegistration, in image: MetadataImage) -> String? {
        let (isr, elr) = (partition.isr, partition.eligibleLeaderReplicas)
        for id in isr + elr where !partition.replicas.contains(id) { return "\(id) is no replica" }
        if Set(isr).count != isr.count { return "the ISR \(isr) names one twice" }
        if let both = isr.first(where: elr.contains) { return "\(both) is in ISR and ELR" }
        // A leader in controlled shutdown stays; a fenced one goes in the batch that fences it.
        for id in isr where image.brokers[id].map(\.fenced) ?? true { return "\(id) is in the ISR and fenced" }
        // Where a whole copy is, a damaged one is not counted (P11).
        let whole = isr.filter { !partition.isLost($0) }
        if let lost = (isr + elr).first(where: partition.isLost), !whole.isEmpty {
            return "\(lost) is lost, and \(whole) are in sync"
        }
        guard let leader = partition.leader else { return nil }
        if partition.isLost(leader) { return "\(leader) leads and is lost" }
        if !isr.contains(leader) { return "\(leader) leads and is not in the ISR \(isr)" }
        return nil
    }

    private func checkEpochs(
        _ partition: PartitionRegistration, after before: PartitionRegistration, _ name: String, _ world: World
    ) {
        if partition.partitionEpoch <= before.partitionEpoch || partition.leaderEpoch < before.leaderEpoch
            || (partition.leader != before.leader && partition.leaderEpoch == before.leaderEpoch)
        {
            world.violated(
                "P10",
                "\(name): leader \(before.leader ?? -1) in \(before.leaderEpoch)/\(before.partitionEpoch) becomes "
                    + "\(partition.leader ?? -1) in \(partition.leaderEpoch)/\(partition.partitionEpoch)")
        }
    }

    /// Who is new in an ISR was asked for by its leader, of the state that came before, in the incarnation that is
    /// registered. Only an election may do otherwise: it leaves the elected alone.
    private func checkGrowth(
        of key: TopicPartition, _ partition: PartitionRegistration, after before: PartitionRegistration,
        _ image: MetadataImage, _ name: String, _ world: World
    ) {
        for id in partition.isr where !before.isr.contains(id) && partition.isr != [id] {
            world.checkers.count(.m5)
            let asked = (before.partitionEpoch..<partition.partitionEpoch).contains { partitionEpoch in
                (before.leaderEpoch...partition.leaderEpoch).contains { leaderEpoch in
                    let key = ProposalKey(
                        partition: key, leaderEpoch: leaderEpoch, partitionEpoch: partitionEpoch)
                    return (proposals[key] ?? []).contains { isr in
                        isr.contains { $0.id == id && $0.brokerEpoch == image.brokers[id]?.epoch }
                    }
                }
            }
            if !asked {
                world.violated(
                    "M5",
                    "\(name): node \(id) came into the ISR \(partition.isr), and nobody who knew its present "
                        + "incarnation asked for it in epoch \(before.leaderEpoch)/\(before.partitionEpoch)")
            }
        }
    }

    /// One record alone takes a member out of an ISR only by its leader's word: who is fenced or elected goes in a
    /// batch or with an epoch.
    private func checkShrinking(
        of key: TopicPartition, _ partition: PartitionRegistration, after before: PartitionRegistration,
        _ name: String, _ world: World
    ) {
        guard partition.leaderEpoch == before.leaderEpoch else { return }
        // Or by its own: its copy is damaged.
        for id in before.isr where !partition.isLost(id) && !partition.isr.contains(id) {
            world.checkers.count(.m5left)
            let key = ProposalKey(
                partition: key, leaderEpoch: before.leaderEpoch, partitionEpoch: before.partitionEpoch)
            if !(proposals[key] ?? []).contains(where: { isr in !isr.contains { $0.id == id } }) {
                world.violated(
                    "M5",
                    "\(name): node \(id) left the ISR \(before.isr), and its leader did not ask for that in epoch "
                        + "\(before.leaderEpoch)/\(before.partitionEpoch)")
            }
        }
    }
}
