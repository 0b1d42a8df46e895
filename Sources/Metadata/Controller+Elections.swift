// What a broker's going or coming does to the partitions: who leaves an ISR, who is elected (protocol.md §4.8,
// KIP-966).

import Model
import Wire

/// Brokers that leave ISRs together, and what is known of their copies.
struct Departure {
    var brokers: [NodeID]
    /// The disk of the (one) broker is new: it holds nothing of what its replicas held.
    var newDirectoryID: UUID128?
    /// The (one) broker did not stop cleanly, or cannot say so: its async copies may have lost what was acknowledged.
    var unclean = false
    /// Controlled shutdown: a copy that nobody can stand in for stays where it is.
    var onlyWhereOthersAreInSync = false

    init(_ brokers: [NodeID]) { self.brokers = brokers }
}

extension Controller {
    /// Takes brokers out of service in one batch with the elections that this asks for.
    mutating func fence(_ ids: [NodeID], _ batch: inout MetadataBatch) {
        guard !ids.isEmpty else { return }
        for id in ids {
            guard let broker = image.brokers[id] else { continue }
            write(.brokerRegistrationChange(BrokerRegistrationChangeRecord(broker, fenced: 1)), &batch)
            sessions[id] = nil
            preferredDue[id] = nil
        }
        writeDepartures(Departure(ids), &batch)
    }

    mutating func writeDepartures(_ departure: Departure, _ batch: inout MetadataBatch) {
        // Gathered first, written after: the image must not be shared while it changes.
        for record in departureRecords(departure) { write(.partitionChange(record), &batch) }
    }

    private func departureRecords(_ departure: Departure) -> [PartitionChangeRecord] {
        var records: [PartitionChangeRecord] = []
        for topic in image.topics.values {
            var config: EffectiveTopicConfig?
            for (index, partition) in topic.partitions.enumerated()
            where departure.brokers.contains(where: partition.replicas.contains) {
                let known = config ?? self.config(of: topic)
                config = known
                let key = TopicPartition(topic.id, PartitionIndex(index))
                let transition = transition(key, partition, known, departure)
                if let record = transition?.record(image: image) { records.append(record) }
            }
        }
        return records
    }

    private func transition(
        _ key: TopicPartition, _ partition: PartitionRegistration, _ config: EffectiveTopicConfig,
        _ departure: Departure
    ) -> PartitionTransition? {
        var transition = PartitionTransition(key, partition, config: config, bug: settings.plantedBug)
        transition.targetISR = partition.isr.filter { !departure.brokers.contains($0) }
        if departure.onlyWhereOthersAreInSync {
            let inSync = transition.targetISR.filter { !partition.isLost($0) }
            let led = partition.leader.map(departure.brokers.contains) ?? false
            guard led ? inSync.contains(where: image.isEligible) : !inSync.isEmpty else { return nil }
        }
        if let directoryID = departure.newDirectoryID {
            transition.wipedReplicas = departure.brokers
            // A lost copy went with the disk that it lay on.
            transition.targetDirectories = partition.directories(with: directoryID, of: departure.brokers)
        }
        if departure.unclean, !config.synchronous { transition.unprovenReplicas = departure.brokers }
        return transition
    }

    /// Elects for the leaderless partitions that `wanted` picks.
    mutating func writeElections(_ batch: inout MetadataBatch, where wanted: (PartitionRegistration) -> Bool) {
        var records: [PartitionChangeRecord] = []
        for topic in image.topics.values {
            var config: EffectiveTopicConfig?
            for (index, partition) in topic.partitions.enumerated() where partition.leader == nil && wanted(partition) {
                let known = config ?? self.config(of: topic)
                config = known
                let key = TopicPartition(topic.id, PartitionIndex(index))
                let transition = PartitionTransition(key, partition, config: known, bug: settings.plantedBug)
                if let record = transition.record(image: image) { records.append(record) }
            }
        }
        for record in records { write(.partitionChange(record), &batch) }
    }

    /// A broker whose time has come leads again what it is the first replica of, as far as it is in sync; a bounded
    /// number at once.
    mutating func givePreferredLeadershipsBack(_ batch: inout MetadataBatch, at now: Instant) {
        let due = preferredDue.filter { $0.value <= now }.map(\.key)
        guard !due.isEmpty else { return }
        let (records, more) = preferredElectionRecords(due)
        for record in records { write(.partitionChange(record), &batch) }
        for id in due { preferredDue[id] = more ? now.advanced(byMs: settings.preferredLeaderPauseMs) : nil }
    }

    private func preferredElectionRecords(_ ids: [NodeID]) -> (records: [PartitionChangeRecord], more: Bool) {
        var records: [PartitionChangeRecord] = []
        for topic in image.topics.values {
            for (index, partition) in topic.partitions.enumerated() {
                guard let first = partition.replicas.first, partition.leader != first, ids.contains(first),
                    partition.isr.contains(first), image.canLead(first, partition)
                else { continue }
                guard records.count < settings.preferredLeadersPerTick else { return (records, true) }
                let key = TopicPartition(topic.id, PartitionIndex(index))
                var transition = PartitionTransition(
                    key, partition, config: config(of: topic), bug: settings.plantedBug)
                transition.prefersFirstReplica = true
                if let record = transition.record(image: image) { records.append(record) }
            }
        }
        return (records, false)
    }
}
