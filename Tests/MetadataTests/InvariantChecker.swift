// The invariants M2, M4, P9 and P10 of reliability.md §5, as far as the metadata log alone can show them.

import Metadata
import Model
import Testing
import Wire

struct InvariantChecker {
    private var usedIDs: Set<UUID128> = []
    private struct Grant: Hashable {
        var key: TopicPartition
        var leaderEpoch: LeaderEpoch
    }
    /// Which incarnation was first to lead under which epoch.
    private var granted: [Grant: UUID128] = [:]
    private(set) var sawLeaderless = 0
    private(set) var sawELR = 0
    private(set) var sawUnclean = 0
    private(set) var sawLost = 0
    private(set) var sawLostInPlace = 0

    init() {}

    mutating func saw(_ record: MetadataRecord, before: MetadataImage, after: MetadataImage) {
        switch record {
        case .topic(let record):
            #expect(usedIDs.insert(record.topicID).inserted, "M2: a topic id came back")
        case .partitionChange(let record):
            let key = TopicPartition(record.topicID, record.partitionID)
            guard let old = before.partition(key), let new = after.partition(key) else {
                Issue.record("a change of an unknown partition was written")
                return
            }
            #expect(new.partitionEpoch == old.partitionEpoch + 1, "P10: each change raises the partition epoch")
            let rose = new.leaderEpoch == old.leaderEpoch + 1
            #expect(rose || new.leaderEpoch == old.leaderEpoch, "P10: the leader epoch rises by one")
            #expect(new.leader == old.leader || rose, "P10: a new leader has a new epoch")
            #expect(new.replicas.count == old.replicas.count, "M4: the replication factor is kept")
        default: break
        }
    }

    /// To be called between batches only: inside one, a registration stands before what follows from it.
    mutating func check(_ image: MetadataImage, partitionsDue: Bool) {
        guard partitionsDue else { return }
        for topic in image.topics.values {
            let required = image.effectiveConfig(topic.id)?.minInSyncReplicas ?? 1
            for (index, partition) in topic.partitions.enumerated() {
                check(TopicPartition(topic.id, PartitionIndex(index)), partition, required, image)
            }
        }
    }

    private mutating func check(
        _ key: TopicPartition, _ partition: PartitionRegistration, _ minInSync: Int, _ image: MetadataImage
    ) {
        let replicas = partition.replicas
        #expect(!replicas.isEmpty && Set(replicas).count == replicas.count, "M4: replicas are distinct")
        #expect(partition.directories.count == replicas.count)
        #expect(Set(partition.isr).count == partition.isr.count)
        #expect(partition.isr.allSatisfy(replicas.contains), "P9: the ISR lies in the replicas")
        #expect(partition.eligibleLeaderReplicas.allSatisfy(replicas.contains), "P9: the ELR lies in the replicas")
        let both = partition.isr.filter(partition.eligibleLeaderReplicas.contains)
        #expect(both.isEmpty, "P9: ISR and ELR are disjoint")
        let whole = partition.isr.filter { !partition.isLost($0) }
        let enough = whole.count >= min(minInSync, replicas.count)
        #expect(!enough || partition.eligibleLeaderReplicas.isEmpty, "P9: no ELR with enough in sync")
        #expect(partition.isr.allSatisfy { image.brokers[$0]?.fenced == false }, "P9: no fenced broker is in sync")
        for (replica, directory) in zip(replicas, partition.directories)
        where partition.isr.contains(replica) || partition.eligibleLeaderReplicas.contains(replica) {
            if directory == DirectoryID.lost {
                #expect(partition.leader == nil && whole.isEmpty, "a lost copy is in place only while nobody leads")
                sawLostInPlace += 1
                continue
            }
            #expect(image.brokers[replica]?.directoryID == directory, "an emptied disk is in neither ISR nor ELR")
        }
        if replicas.contains(where: partition.isLost) { sawLost += 1 }
        for (replica, directory) in zip(replicas, partition.directories) where directory != DirectoryID.lost {
            #expect(image.brokers[replica]?.directoryID == directory, "a directory that its broker does not have")
        }
        #expect(partition.leaderRecoveryState == .recovered || partition.isr.count <= 1, "KIP-704")
        if !partition.eligibleLeaderReplicas.isEmpty { sawELR += 1 }
        if partition.leaderRecoveryState == .recovering { sawUnclean += 1 }
        guard let leader = partition.leader else {
            sawLeaderless += 1
            func couldLead(_ id: NodeID) -> Bool { image.brokers[id]?.eligible == true && !partition.isLost(id) }
            #expect(!partition.isr.contains(where: couldLead), "someone in sync could lead")
            let mayBeELR = whole.isEmpty && partition.eligibleLeaderReplicas.contains(where: couldLead)
            #expect(!mayBeELR, "someone eligible could lead")
            return
        }
        #expect(partition.isr.contains(leader), "P9: the leader is in sync")
        guard let incarnation = image.brokers[leader]?.incarnationID else { return }
        let grant = Grant(key: key, leaderEpoch: partition.leaderEpoch)
        if let first = granted[grant] {
            #expect(first == incarnation, "P10: an incarnation leads under another's epoch")
        } else {
            granted[grant] = incarnation
        }
    }
}
