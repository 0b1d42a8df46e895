// Replicas that are not open: their turn has not come, or they cannot be opened now, because the disk is full or
// something stands in their place. Those are opened when that is over; until then the controller knows that nobody may
// count on them.

import Metadata
import Model
import Storage

struct PostponedReplica {
    var name: String
    /// It was open in this life of the node, and led or followed: it comes back in another leader epoch only, for what
    /// it counted or was counted by is void.
    var wasOpen = false
    /// Damage was known when it was closed: all of it is looked at when it opens.
    var isDoubted = false
    /// A word to the controller is under way.
    var isTelling = false
    /// Not before this is it told again.
    var tellAt: Instant = .zero
    /// Not before this is it opened.
    var openAt: Instant = .zero
    var attempts: Int64 = 0
}

extension Shard {
    private static let tellingRetryMs: Int64 = 300
    private static let openingRetryMs: Int64 = 250
    private static let openingRetryMaxMs: Int64 = 5_000
    /// An opening looks at files; a tick has other things to do.
    private static let openedInTickMax = 8

    /// Opens the first of those that wait for their turn. The others have theirs in the ticks that follow.
    func openNext() {
        var cost = 0
        while cost < configuration.log.openedInStepMax, let key = unopened.popFirst() {
            guard let topic = view.image.topic(id: key.topicID) else { continue }
            openReplica(key, of: topic)
            // Records are looked at, and what they lie in waits for a barrier.
            cost += replicas[key].map { $0.log.endOffset > $0.log.startOffset ? 8 : 1 } ?? 1
        }
        // Mutant: what does not fit into the step is never opened (L2).
        if configuration.plantedBug == .unopenedForgotten { unopened.removeAll() }
    }

    /// That a partition cannot be opened is no reason to end: the others and the metadata can be served, and space may
    /// come back.
    func postpone(_ key: TopicPartition, _ name: String, _ reason: String) {
        if postponed[key] == nil { log(.error, reason) }
        var replica = postponed[key] ?? PostponedReplica(name: name)
        replica.attempts += 1
        replica.openAt = reading.now.advanced(
            byMs: min(Self.openingRetryMs << min(replica.attempts - 1, 5), Self.openingRetryMaxMs))
        postponed[key] = replica
    }

    /// Whether the replica may be opened under its name: what an earlier topic left there is set aside, and what the
    /// checkpoints remember of that one forgotten.
    ///
    /// A node starts with the image of its last snapshot: a topic in it may have been deleted and made anew since, and
    /// what lies under its name is then the new one's. Which of the two is the stranger a current image tells, so until
    /// then the replica waits.
    func claimName(_ key: TopicPartition, _ name: String) throws(DiskError) -> Bool {
        let owner = try directory.owner(of: name, on: disk)
        guard owner != key.topicID else { return true }
        // A directory that is just missing, or does not say whose it is, proves no other topic: then what the
        // checkpoints remember tells of the loss.
        if owner != nil {
            guard isServing else {
                postpone(
                    key, name,
                    "\(name) is not served here before the metadata is current: what lies there is another topic's")
                return false
            }
            if checkpoints.knows(name) { try forgetCheckpoints(of: [name]) }
        }
        try directory.setAsideStranger(name: name, of: owner, on: disk)
        return true
    }

    func noteServedAgain(_ replica: Replica) {
        guard replica.wasPostponed != nil else { return }
        replica.wasPostponed = nil
        log(.notice, "\(replica.name) is served here again")
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

    /// A cut that the disk did not let finish leaves a log that is neither the old one nor the new, and one whose
    /// barrier failed may lie. What is on the disk is opened again, as after a kill, when that is over.
    func setAside(_ replica: Replica, _ error: LogError) {
        let key = replica.topicPartition
        let isDoubted = !isWhole(replica)
        repairs.removeValue(forKey: key)?.abandon()
        drop(replica, failing: .notLeaderOrFollower)
        try? closeLog(of: replica, flushing: false)
        postpone(
            key, replica.name, "\(replica.name) is not served here until its log can be changed again: \(error)")
        postponed[key]?.wasOpen = true
        postponed[key]?.isDoubted = isDoubted
    }

    /// Opens what could not be opened before, and says of the rest that it is out of use: an ISR must not wait for it,
    /// nor an election choose it. The log directory LOST says so (KIP-858).
    func openPostponed() {
        guard !postponed.isEmpty, !isStopping else { return }
        var opened = 0
        for (key, replica) in postponed {
            guard let topic = view.image.topic(id: key.topicID), topic.partitions.indices.contains(Int(key.partition)),
                case let registration = topic.partitions[Int(key.partition)],
                registration.replicas.contains(configuration.nodeID)
            else { continue }
            let isLost = registration.isLost(configuration.nodeID)
            if !isLost { tellLost(key) }
            guard isLost || !replica.wasOpen, reading.now >= replica.openAt, opened < Self.openedInTickMax else {
                continue
            }
            opened += 1
            openReplica(key, of: topic)
        }
    }

    private func tellLost(_ key: TopicPartition) {
        guard var replica = postponed[key], !replica.isTelling, reading.now >= replica.tellAt, view.brokerEpoch >= 0,
            // At the start the first opening may do.
            replica.attempts > 1 || replica.wasOpen
        else { return }
        replica.isTelling = true
        postponed[key] = replica
        effects.append(.mail(.directoryAssigned(shard: index, key, directory: DirectoryID.lost)))
    }

    func lostTold(_ key: TopicPartition) {
        postponed[key]?.isTelling = false
        postponed[key]?.tellAt = reading.now.advanced(byMs: Self.tellingRetryMs)
    }

    /// Of those that are not open. Only a committed RemoveTopic record leads here.
    func deleteUnopened(of topicID: UUID128) {
        var names: [String] = []
        for (key, replica) in postponed where key.topicID == topicID {
            postponed.removeValue(forKey: key)
            names.append(replica.name)
        }
        names += unopened.remove(of: topicID)
        delete(names, of: topicID)
    }

    private func delete(_ names: [String], of topicID: UUID128) {
        var (owned, known): ([String], [String]) = ([], [])
        for name in names {
            naming(name) { () throws(DiskError) in
                let owner = try directory.owner(of: name, on: disk)
                // Of another topic's the checkpoints remember what is that one's.
                if owner == nil || owner == topicID, checkpoints.knows(name) { known.append(name) }
                if owner == topicID { owned.append(name) }
            }
        }
        forgetDeleted(known)
        for name in owned {
            naming(name) { () throws(DiskError) in
                try directory.deletePartition("\(directory.path)/\(name)", topicID: topicID, on: disk)
            }
        }
    }

    private func naming(_ name: String, _ body: () throws(DiskError) -> Void) {
        do throws(DiskError) { try body() } catch {
            log(.error, "\(name) was deleted, and its files could not be: \(error)")
        }
    }
}
