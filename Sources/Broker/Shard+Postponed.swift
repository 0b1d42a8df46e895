// Replicas that cannot be opened now: the disk is full, or something stands in their place. They are opened when that
// is over; until then the controller knows that nobody may count on them.

import Metadata
import Model
import Storage

struct PostponedReplica {
    /// A word to the controller is under way.
    var isTelling = false
    /// Not before this is it told again.
    var retryAt: Instant = .zero
}

extension Shard {
    private static let tellingRetryMs: Int64 = 300

    /// That a partition cannot be opened is no reason to end: the others and the metadata can be served, and space may
    /// come back.
    func postpone(_ topicPartition: TopicPartition, isAgain: Bool, _ reason: String) {
        if postponed[topicPartition] == nil { postponed[topicPartition] = PostponedReplica() }
        if !isAgain { log(.error, reason) }
    }

    /// A full or read-only disk, which may take files again.
    func mayPass(_ error: any Error) -> Bool {
        var error = error
        if case LogError.disk(let cause) = error { error = cause }
        switch error as? DiskError {
        case .noSpace, .readOnly: return true
        default: return false
        }
    }

    /// A cut that the disk did not let finish leaves a log that is neither the old one nor the new. What is on the disk
    /// is opened again, as after a kill, when that is over.
    func setAside(_ replica: Replica, _ error: LogError) {
        repairs.removeValue(forKey: replica.topicPartition)?.abandon()
        drop(replica, failing: .notLeaderOrFollower)
        try? replica.log.close(flushing: false)
        postpone(
            replica.topicPartition, isAgain: false,
            "\(replica.name) is not served here until its log can be changed again: \(error)")
    }

    /// Opens what could not be opened before, and says of the rest that it is out of use: an ISR must not wait for it,
    /// nor an election choose it. The log directory LOST says so (KIP-858). When it opens at last it is looked through
    /// like any copy that lay there, and comes back the same way.
    func openPostponed() {
        guard !postponed.isEmpty, !isStopping else { return }
        for key in postponed.keys {
            guard replicas[key] == nil, let topic = view.image.topic(id: key.topicID),
                topic.partitions.indices.contains(Int(key.partition)),
                case let registration = topic.partitions[Int(key.partition)],
                registration.replicas.contains(configuration.nodeID)
            else {
                postponed.removeValue(forKey: key)
                continue
            }
            openReplica(key, of: topic, isAgain: true)
            if !registration.isLost(configuration.nodeID) { tellLost(key) }
        }
    }

    private func tellLost(_ key: TopicPartition) {
        guard var replica = postponed[key], !replica.isTelling, reading.now >= replica.retryAt, view.brokerEpoch >= 0
        else { return }
        replica.isTelling = true
        postponed[key] = replica
        effects.append(.mail(.directoryAssigned(shard: index, key, directory: DirectoryID.lost)))
    }

    func lostTold(_ key: TopicPartition) {
        guard var replica = postponed[key] else { return }
        replica.isTelling = false
        replica.retryAt = reading.now.advanced(byMs: Self.tellingRetryMs)
        postponed[key] = replica
    }
}
