// Compaction: one log of a shard at a time is cleaned, a little in each step, so that requests have their turn in
// between (decision 0024).

import Model
import Replication
import Storage

/// What the cleaner is at.
struct Cleaner {
    /// Nil: nothing; it looks for work when its timer comes.
    var at: TopicPartition?
    /// Of the cleaning under way: what was clean before, and when it began.
    var cleanedBefore: Offset = 0
    var beganAt: Instant = .zero
    var timer: Timers<ShardTimer>.ID?
    /// Secrets of the hashes of keys; whoever knew one could make two keys that are one to the cleaner.
    var secrets: SeededRandom
}

/// What a replica remembers of cleanings.
struct CleaningNotes {
    /// Not before this is it cleaned again.
    var heldUntil: Instant = .zero
    /// Why the last one failed; said once.
    var saidReason = ""
    /// All copies have cleaned up to here: what a tombstone below it covers is nowhere any more. As this leader found,
    /// or as the leader said.
    var cleanedByAll: Offset = 0
    /// Leader: what the others said of themselves.
    var words = SortedMap<NodeID, CleanedWord>()
}

/// A follower's word on how far it has cleaned, of one incarnation to one leader.
struct CleanedWord {
    var brokerEpoch: BrokerEpoch
    var leaderEpoch: LeaderEpoch
    var end: Offset
}

extension Shard {
    /// Between two steps. A step's budget is what the rate allows in this time.
    private static let cleaningTickMs: Int64 = 10
    /// A barrier's report makes the cleaner go on at once; this is for cleanings that something else has ended.
    private static let cleaningPollMs: Int64 = 100
    /// After a failure, in times of the back-off; what cannot be read as records will not get better by itself.
    private static let failedBackoffs: Int64 = 4
    private static let unreadableBackoffs: Int64 = 240

    func scheduleCleaner(inMs delayMs: Int64) {
        timers.cancel(cleaner.timer)
        cleaner.timer = nil
        guard configuration.log.cleanerBytesPerSecond > 0, !isStopping else { return }
        cleaner.timer = timers.add(.cleaner, at: reading.now.advanced(byMs: delayMs))
    }

    func runCleaner() {
        cleaner.timer = nil
        guard !isStopping else { return }
        guard let key = cleaner.at else { return beginCleaning() }
        guard let replica = replicas[key] else { return cleaningEnded(nil) }
        let budget = configuration.log.cleanerBytesPerSecond * Self.cleaningTickMs / 1_000 / Int64(shardCount)
        switch replica.log.stepCleaning(budgetBytes: Int(max(1, budget))) {
        case .working: scheduleCleaner(inMs: Self.cleaningTickMs)
        case .waiting: scheduleCleaner(inMs: Self.cleaningPollMs)
        case .idle: cleaningEnded(replica)
        case .finished(let summary): cleaningFinished(replica, summary)
        case .abandoned(let stop): cleaningAbandoned(replica, stop)
        }
    }

    /// A barrier of a cleaning was reported.
    func cleaningFlushed(of replica: Replica) {
        if cleaner.at == replica.topicPartition { scheduleCleaner(inMs: 0) }
    }

    // MARK: Beginning

    private func beginCleaning() {
        var chosen: (replica: Replica, part: CleanablePart)?
        for replica in replicas.values where replica.settings.compacts && isWhole(replica) {
            guard reading.now >= replica.cleaning.heldUntil else { continue }
            do throws(LogError) {
                guard let part = try cleanablePart(of: replica), part.isDue(replica.settings.cleaning) else { continue }
                if let best = chosen?.part, !part.isMoreUrgent(than: best) { continue }
                chosen = (replica, part)
            } catch {
                cleaningFailed(replica, error)
            }
        }
        guard let (replica, part) = chosen else { return scheduleCleaner(inMs: configuration.log.cleanerBackoffMs) }
        do throws(LogError) {
            guard replica.log.beginCleaning(try order(part, of: replica)) else {
                hold(replica, backoffs: 1)
                return scheduleCleaner(inMs: Self.cleaningTickMs)
            }
        } catch {
            cleaningFailed(replica, error)
            return scheduleCleaner(inMs: Self.cleaningTickMs)
        }
        cleaner.at = replica.topicPartition
        cleaner.cleanedBefore = part.dirty.lowerBound
        cleaner.beganAt = reading.now
        scheduleCleaner(inMs: 0)
    }

    private func cleanablePart(of replica: Replica) throws(LogError) -> CleanablePart? {
        try replica.log.cleanablePart(
            replica.settings.cleaning, highWatermark: replica.partition.highWatermark, wallMs: reading.wallMs)
    }

    private func order(_ part: CleanablePart, of replica: Replica) throws(LogError) -> CleaningOrder {
        let hasher = KeyHasher(cleaner.secrets.next(), cleaner.secrets.next())
        let known = try replica.producers(below: part.dirty.upperBound, on: disk)
        if replica.isLeader { replica.cleaning.cleanedByAll = cleanedByAll(replica) }
        return CleaningOrder(
            part: part, settings: replica.settings.cleaning, wallMs: reading.wallMs, hasher: hasher,
            // Mutant: a restart remembers other duplicates than were told before it (I3).
            producers: configuration.plantedBug == .cleaningForgetsProducers ? [:] : known.table.oldestBatches,
            tombstonesRemovableBelow: replica.cleaning.cleanedByAll)
    }

    // MARK: Ending

    private func cleaningEnded(_ replica: Replica?) {
        cleaner.at = nil
        scheduleCleaner(inMs: Self.cleaningTickMs)
    }

    private func cleaningFinished(_ replica: Replica, _ summary: CleaningSummary) {
        replica.cleaning.saidReason = ""
        if summary.recordsRemoved > 0 || summary.bytesAfter != summary.bytesBefore {
            log(
                .notice,
                "\(replica.name): compacted below offset \(summary.cleanedEnd) in "
                    + "\(reading.now.milliseconds(since: cleaner.beganAt)) ms: \(summary.recordsRemoved) records went, "
                    + "\(summary.bytesBefore) bytes in \(summary.segmentsBefore) segments are \(summary.bytesAfter) in "
                    + "\(summary.segmentsAfter)")
        }
        // Nothing more was possible: a transaction begins the dirty part.
        if summary.cleanedEnd <= cleaner.cleanedBefore { hold(replica, backoffs: Self.failedBackoffs) }
        cleaningEnded(replica)
    }

    private func cleaningAbandoned(_ replica: Replica, _ stop: CleaningStop) {
        switch stop {
        case .overtaken: hold(replica, backoffs: 1)
        case .failed(let error): cleaningFailed(replica, error)
        case .unreadable(let offset, let reason):
            say(replica, "the batch at offset \(offset) holds no records that can be read: \(reason)")
            hold(replica, backoffs: Self.unreadableBackoffs)
        }
        cleaningEnded(replica)
    }

    /// The log is as it was, or further: only its owner may have to act.
    private func cleaningFailed(_ replica: Replica, _ error: LogError) {
        hold(replica, backoffs: Self.failedBackoffs)
        switch error {
        case .damaged(_, let offset): damageMet(in: replica, at: offset, error)
        // Whoever fenced it was told.
        case .fenced: break
        default: say(replica, "\(error)")
        }
    }

    private func say(_ replica: Replica, _ reason: String) {
        guard replica.cleaning.saidReason != reason else { return }
        replica.cleaning.saidReason = reason
        log(.error, "\(replica.name) cannot be compacted now and grows: \(reason)")
    }

    private func hold(_ replica: Replica, backoffs: Int64) {
        replica.cleaning.heldUntil = reading.now.advanced(byMs: backoffs * configuration.log.cleanerBackoffMs)
    }

    // MARK: What all copies have cleaned

    /// A follower whose log is a part of this leader's says how far it has cleaned.
    func cleanedTold(_ end: Offset, by follower: NodeID, _ brokerEpoch: BrokerEpoch, of replica: Replica) {
        guard replica.settings.compacts else { return }
        replica.cleaning.words[follower] = CleanedWord(
            brokerEpoch: brokerEpoch, leaderEpoch: replica.partition.leaderEpoch, end: end)
    }

    /// As the leader knows it: every replica is in sync and has said so, in this epoch and in this incarnation. A copy
    /// that is away may come back with all that the others have removed.
    func cleanedByAll(_ replica: Replica) -> Offset {
        guard replica.settings.compacts, let registration = replica.partition.registration else { return 0 }
        // Mutant: as in Kafka, which goes by time alone (C1).
        if configuration.plantedBug == .tombstoneGoesByTimeAlone { return .max }
        var end = min(replica.log.cleanedEnd, replica.partition.highWatermark)
        for id in registration.replicas where id != configuration.nodeID {
            guard let word = replica.cleaning.words[id], word.leaderEpoch == replica.partition.leaderEpoch,
                word.brokerEpoch == view.image.brokers[id]?.epoch, registration.isr.contains(id)
            else { return 0 }
            end = min(end, word.end)
        }
        return end
    }

    // MARK: The checkpoint

    /// What a repair brings in was cleaned otherwise, or never: the file must not call it clean.
    func prepareInstall(of replica: Replica, at base: Offset) throws(LogError) {
        replica.cleaning.cleanedByAll = min(replica.cleaning.cleanedByAll, base)
        guard checkpoints.cleanedEnds[replica.name] ?? 0 > base else { return }
        checkpoints.lower(replica.name, cleanedEnd: base)
        do throws(DiskError) { try checkpoints.writeNow(to: disk, directory) } catch { throw .disk(error) }
    }
}

extension CleanablePart {
    fileprivate func isMoreUrgent(than other: CleanablePart) -> Bool {
        isOverdue != other.isOverdue ? isOverdue : dirtyRatio > other.dirtyRatio
    }
}
