// One partition's next state: who stays in sync, who leads, what the epochs do. Every change of a partition is decided
// here.

import Model
import Wire

/// From a partition as it is and the ISR it shall have to the record that makes it so (KIP-841, KIP-966, protocol.md
/// §4.8).
struct PartitionTransition {
    var key: TopicPartition
    var current: PartitionRegistration
    /// Who shall be in sync. Lost copies leave it, unless nobody would remain; an election may change it.
    var targetISR: [NodeID]
    /// Replicas of which it is not known that they hold what was committed: they leave the ELR too.
    var unprovenReplicas: [NodeID] = []
    /// Replicas whose disk is new: they are not even the last known leader any more.
    var wipedReplicas: [NodeID] = []
    /// Where the copies shall lie. One that is lost is not elected.
    var targetDirectories: [UUID128]
    var targetRecoveryState: LeaderRecoveryState
    var config: EffectiveTopicConfig
    let plantedBug: PlantedBug
    /// Whether the first replica takes the leadership back, if it may.
    var prefersFirstReplica = false

    init(
        _ key: TopicPartition, _ current: PartitionRegistration, config: EffectiveTopicConfig, bug: PlantedBug
    ) {
        plantedBug = bug
        self.key = key
        self.current = current
        self.config = config
        targetISR = current.isr
        targetDirectories = current.directories
        targetRecoveryState = current.leaderRecoveryState
    }

    /// The record, or nil when nothing changes.
    func record(image: MetadataImage) -> PartitionChangeRecord? {
        var next = current
        next.directories = targetDirectories
        next.isr = targetISR
        let whole = targetISR.filter { !next.isLost($0) }
        if !whole.isEmpty { next.isr = whole }
        next.leaderRecoveryState = targetRecoveryState
        setELR(&next)
        elect(&next, image)
        return difference(to: next)
    }

    /// KIP-966: below min.insync.replicas nothing more is committed, so whoever was in sync or eligible still holds all
    /// that was. A lost copy keeps its place in ISR or ELR only while no whole one is in sync, and so nothing is
    /// committed: whole again, it leads on.
    private func setELR(_ next: inout PartitionRegistration) {
        let required = min(config.minInSyncReplicas, current.replicas.count)
        let inSync = next.isr.filter { !next.isLost($0) }.count
        if inSync >= required {
            next.eligibleLeaderReplicas = []
            next.lastKnownELR = []
            return
        }
        next.eligibleLeaderReplicas = current.replicas.filter { replica in
            (current.isr.contains(replica) || current.eligibleLeaderReplicas.contains(replica))
                && !next.isr.contains(replica) && !unprovenReplicas.contains(replica)
                && !wipedReplicas.contains(replica) && (inSync == 0 || !next.isLost(replica))
        }
        let lastLeader = current.leader.map { [$0] } ?? current.lastKnownELR
        next.lastKnownELR = inSync == 0 ? lastLeader.filter { !wipedReplicas.contains($0) } : []
    }

    private func elect(_ next: inout PartitionRegistration, _ image: MetadataImage) {
        let first = current.replicas.first
        if prefersFirstReplica, let first, next.isr.contains(first), image.canLead(first, next) {
            next.leader = first
            return
        }
        // A leader in controlled shutdown leads on until it can hand over: it is left in the ISR only for that.
        if let leader = current.leader, next.isr.contains(leader), image.isUnfenced(leader), !next.isLost(leader) {
            return
        }
        if let leader = current.replicas.first(where: { next.isr.contains($0) && image.canLead($0, next) }) {
            next.leader = leader
            return
        }
        // Mutant: who is not there leads (P9).
        func mayLead(_ id: NodeID) -> Bool { image.canLead(id, next) || plantedBug == .fencedReplicaElected }
        if next.isr.allSatisfy(next.isLost), let leader = next.eligibleLeaderReplicas.first(where: mayLead) {
            next.leader = leader
            next.isr = [leader]
            setELR(&next)
            return
        }
        if let leader = uncleanLeader(next, image) {
            next.leader = leader
            next.isr = [leader]
            next.eligibleLeaderReplicas = []
            next.lastKnownELR = []
            next.leaderRecoveryState = .recovering
            return
        }
        next.leader = nil
    }

    /// Someone who may lack committed records. An async topic takes its last leader back unasked, as Kafka does; all
    /// else wants
    /// `unclean.leader.election.enable`.
    private func uncleanLeader(_ next: PartitionRegistration, _ image: MetadataImage) -> NodeID? {
        if next.isr.isEmpty, next.eligibleLeaderReplicas.isEmpty, next.lastKnownELR.count == 1,
            config.uncleanLeaderElection || !config.synchronous, image.canLead(next.lastKnownELR[0], next)
        {
            return next.lastKnownELR[0]
        }
        // Mutant: a copy leads that may lack what is committed (P4, P3).
        guard config.uncleanLeaderElection || plantedBug == .uncleanElection else { return nil }
        return current.replicas.first { image.canLead($0, next) }
    }

    private func difference(to next: PartitionRegistration) -> PartitionChangeRecord? {
        guard next != current else { return nil }
        var record = PartitionChangeRecord()
        record.partitionID = key.partition
        record.topicID = key.topicID
        if next.isr != current.isr { record.isr = next.isr }
        if next.leader != current.leader { record.leader = next.leader ?? PartitionChangeRecord.noLeader }
        if next.directories != current.directories { record.directories = next.directories }
        if next.leaderRecoveryState != current.leaderRecoveryState {
            record.leaderRecoveryState = next.leaderRecoveryState.rawValue
        }
        if next.eligibleLeaderReplicas != current.eligibleLeaderReplicas {
            record.eligibleLeaderReplicas = next.eligibleLeaderReplicas
        }
        if next.lastKnownELR != current.lastKnownELR { record.lastKnownElr = next.lastKnownELR }
        return record
    }
}
