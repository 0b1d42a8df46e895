// Compaction: one log of a shard at a time is cleaned, a little in each step, so that requests have their turn in
// between (decision 0024).

import Model
import Replication
import Storage

/// What the cleaner is at.
struct Cleaner {
    enum Stage {
        /// It looks for the log that needs it most; nothing was begun.
        case looking(CleanerLook)
        /// What the log says of producers is gathered.
        case surveying(CleanerSurvey)
        case cleaning(TopicPartition)
    }

    var stage = Stage.looking(CleanerLook())
    /// Of the cleaning under way: what was clean before, and when it began.
    var cleanedBefore: Offset = 0
    var beganAt: Instant = .zero
    var timer: Timers<ShardTimer>.ID?
    /// Secrets of the hashes of keys; whoever knew one could make two keys that are one to the cleaner.
    var secrets: SeededRandom

    init(secrets: SeededRandom) { self.secrets = secrets }

    var at: TopicPartition? {
        switch stage {
        case .looking: nil
        case .surveying(let survey): survey.key
        case .cleaning(let key): key
        }
    }
}

/// One round over all replicas, a part in each step.
struct CleanerLook {
    /// Those up to this one were looked at.
    var behind: TopicPartition?
    var best: (key: TopicPartition, part: CleanablePart)?
}

/// Which producers a log knows below the end of what is to be cleaned: gone through from the newest snapshot on, for
/// which the headers of the whole log may have to be read.
struct CleanerSurvey {
    var key: TopicPartition
    var part: CleanablePart
    /// A cut raises it: then the headers may have been others.
    var generation: UInt32
    var next: Offset
    var producers: ProducerTable
}

/// What a replica remembers of cleanings.
struct CleaningNotes {
    /// Not before this is it cleaned again.
    var heldUntil: Instant = .zero
    /// Why the last one failed; said once.
    var saidReason = ""
    /// All copies have cleaned up to here: what a tombstone below it covers is nowhere any more. As this leader found,
    /// or as the leader said; 0 while one of them is away.
    var cleanedByAll: Offset = 0
    /// The same, by its age.
    var aged = AgedEnds()
    /// Leader: what the others said of themselves.
    var words = SortedMap<NodeID, CleanedWord>()

    mutating func note(cleanedByAll end: Offset, at now: Instant, deleteRetentionMs: Int64) {
        cleanedByAll = end
        aged.note(end, at: now, ageMs: deleteRetentionMs)
    }

    /// What is at or above `offset` becomes something else.
    mutating func lower(to offset: Offset) {
        cleanedByAll = min(cleanedByAll, offset)
        aged.lower(to: offset)
    }
}

/// A follower's word on how far it has cleaned, of one incarnation to one leader.
struct CleanedWord: Equatable {
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
    /// Of the logs that are looked at in one step.
    private static let segmentsLookedAt = 500

    func scheduleCleaner(inMs delayMs: Int64) {
        timers.cancel(cleaner.timer)
        cleaner.timer = nil
        guard configuration.log.cleanerBytesPerSecond > 0, !isStopping else { return }
        cleaner.timer = timers.add(.cleaner, at: reading.now.advanced(byMs: delayMs))
    }

    func runCleaner() {
        cleaner.timer = nil
        guard !isStopping else { return }
        // Leaders are told how far a copy is clean.
        func note() {
            guard let key = cleaner.at, let replica = replicas[key] else { return }
            noteFetchPosition(of: replica)
            noteNews(of: replica)
        }
        note()
        defer { note() }
        switch cleaner.stage {
        case .looking(let look): goOnLooking(look)
        case .surveying(let survey): goOnSurveying(survey)
        case .cleaning(let key): goOnCleaning(replicas[key])
        }
    }

    /// What the rate allows between two steps.
    private var tickBudgetBytes: Int {
        Int(max(1, configuration.log.cleanerBytesPerSecond * Self.cleaningTickMs / 1_000 / Int64(shardCount)))
    }

    private func goOnCleaning(_ replica: Replica?) {
        guard let replica else { return cleaningEnded() }
        switch replica.log.stepCleaning(budgetBytes: tickBudgetBytes) {
        case .working: scheduleCleaner(inMs: Self.cleaningTickMs)
        case .waiting: scheduleCleaner(inMs: Self.cleaningPollMs)
        case .idle: cleaningEnded()
        case .finished(let summary): cleaningFinished(replica, summary)
        case .abandoned(let stop): cleaningAbandoned(replica, stop)
        }
    }

    /// A barrier of a cleaning was reported.
    func cleaningFlushed(of replica: Replica) {
        noteNews(of: replica)
        if cleaner.at == replica.topicPartition { scheduleCleaner(inMs: 0) }
    }

    // MARK: Beginning

    /// Looks at some replicas; when all were looked at, the one that needs it most is next.
    private func goOnLooking(_ look: CleanerLook) {
        var look = look
        var segmentsLeft = Self.segmentsLookedAt
        var index = look.behind.map { replicas.lowerBound($0) } ?? 0
        if index < replicas.keys.count, replicas.keys[index] == look.behind { index += 1 }
        while index < replicas.keys.count, segmentsLeft > 0 {
            let (key, replica) = (replicas.keys[index], replicas.values[index])
            (look.behind, index) = (key, index + 1)
            guard replica.settings.compacts, isWhole(replica), reading.now >= replica.cleaning.heldUntil else {
                continue
            }
            segmentsLeft -= replica.log.segmentsCount
            guard let part = duePart(of: replica) else { continue }
            if look.best.map({ part.isMoreUrgent(than: $0.part) }) ?? true { look.best = (key, part) }
        }
        cleaner.stage = .looking(look)
        guard index >= replicas.keys.count else { return scheduleCleaner(inMs: Self.cleaningTickMs) }
        cleaner.stage = .looking(CleanerLook())
        guard let best = look.best else { return scheduleCleaner(inMs: configuration.log.cleanerBackoffMs) }
        // The look may have taken some time.
        guard let replica = replicas[best.key], let part = duePart(of: replica) else {
            return scheduleCleaner(inMs: Self.cleaningTickMs)
        }
        beginSurvey(part, of: replica)
    }

    private func duePart(of replica: Replica) -> CleanablePart? {
        do throws(LogError) {
            let part = try replica.log.cleanablePart(
                replica.settings.cleaning, highWatermark: replica.partition.highWatermark, wallMs: reading.wallMs)
            guard let part, part.isDue(replica.settings.cleaning) else { return nil }
            return part
        } catch {
            cleaningFailed(replica, error)
            return nil
        }
    }

    private func beginSurvey(_ part: CleanablePart, of replica: Replica) {
        do throws(LogError) {
            let known = try replica.newestSnapshot(below: part.dirty.upperBound, on: disk)
            goOnSurveying(
                CleanerSurvey(
                    key: replica.topicPartition, part: part, generation: replica.log.generation,
                    next: known?.offset ?? 0, producers: known?.table ?? ProducerTable()))
        } catch {
            cleaningFailed(replica, error)
            scheduleCleaner(inMs: Self.cleaningTickMs)
        }
    }

    private func goOnSurveying(_ survey: CleanerSurvey) {
        var survey = survey
        guard let replica = replicas[survey.key], replica.settings.compacts, isWhole(replica),
            replica.log.generation == survey.generation
        else { return cleaningEnded() }
        do throws(LogError) {
            let bound = survey.part.dirty.upperBound
            let next = try replica.log.walkHeaders(from: survey.next, below: bound, budgetBytes: tickBudgetBytes) {
                if $0.hasProducer && !$0.isControl { survey.producers.record(ProducedBatch($0)) }
            }
            guard let next else { return beginCleaning(replica, survey) }
            survey.next = next
            cleaner.stage = .surveying(survey)
            scheduleCleaner(inMs: Self.cleaningTickMs)
        } catch {
            cleaningFailed(replica, error)
            cleaningEnded()
        }
    }

    private func beginCleaning(_ replica: Replica, _ survey: CleanerSurvey) {
        let settings = replica.settings.cleaning
        if replica.isLeader { noteCleanedByAll(replica) }
        let order = CleaningOrder(
            part: survey.part, settings: settings, wallMs: reading.wallMs,
            hasher: KeyHasher(cleaner.secrets.next(), cleaner.secrets.next()),
            // Mutant: a restart remembers other duplicates than were told before it (I3).
            producers: configuration.plantedBug == .cleaningForgetsProducers ? [:] : survey.producers.oldestBatches,
            tombstonesRemovableBelow: tombstonesRemovableBelow(replica))
        guard replica.log.beginCleaning(order) else {
            hold(replica, backoffs: 1)
            return cleaningEnded()
        }
        cleaner.stage = .cleaning(replica.topicPartition)
        cleaner.cleanedBefore = survey.part.dirty.lowerBound
        cleaner.beganAt = reading.now
        goOnCleaning(replica)
    }

    private func tombstonesRemovableBelow(_ replica: Replica) -> Offset {
        switch configuration.plantedBug {
        // Mutant: as in Kafka, which goes by time alone (C1).
        case .tombstoneGoesByTimeAlone: return .max
        // Mutant: who read from the copy that was cleaned last has no time left to hear of it (C1).
        case .tombstoneTimedByEachCopy: return replica.cleaning.cleanedByAll
        default:
            let ageMs = replica.settings.cleaning.deleteRetentionMs
            return min(replica.cleaning.cleanedByAll, replica.cleaning.aged.end(at: reading.now, ageMs: ageMs))
        }
    }

    // MARK: Ending

    private func cleaningEnded() {
        cleaner.stage = .looking(CleanerLook())
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
        if replica.isLeader { noteCleanedByAll(replica) }
        // Nothing more was possible: a transaction begins the dirty part.
        if summary.cleanedEnd <= cleaner.cleanedBefore { hold(replica, backoffs: Self.failedBackoffs) }
        cleaningEnded()
    }

    private func cleaningAbandoned(_ replica: Replica, _ stop: CleaningStop) {
        switch stop {
        case .overtaken: hold(replica, backoffs: 1)
        case .failed(let error): cleaningFailed(replica, error)
        case .unreadable(let offset, let reason):
            say(replica, "the batch at offset \(offset) holds no records that can be read: \(reason)")
            hold(replica, backoffs: Self.unreadableBackoffs)
        }
        cleaningEnded()
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
        let word = CleanedWord(brokerEpoch: brokerEpoch, leaderEpoch: replica.partition.leaderEpoch, end: end)
        guard replica.cleaning.words[follower] != word else { return }
        replica.cleaning.words[follower] = word
        // What all have cleaned may be more now; to the others that is news.
        noteNews(of: replica)
    }

    /// Leader: looks at what all copies have cleaned, and since when.
    @discardableResult
    func noteCleanedByAll(_ replica: Replica) -> Offset {
        guard replica.settings.compacts else { return 0 }
        let end = cleanedByAll(replica)
        replica.cleaning.note(
            cleanedByAll: end, at: reading.now, deleteRetentionMs: replica.settings.deleteRetentionMs)
        return end
    }

    /// As the leader knows it: every replica is in sync and has said so, in this epoch and in this incarnation. A copy
    /// that is away may come back with all that the others have removed.
    func cleanedByAll(_ replica: Replica) -> Offset {
        guard let registration = replica.partition.registration else { return 0 }
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

    /// Of a log that was just opened.
    func restoreCleanedEnd(of log: SegmentedLog, named name: String) throws(LogError) {
        // Where the file is damaged nobody knows.
        guard let end = checkpoints.cleanedEnds[name] ?? (checkpoints.knowsCleanedEnds ? nil : 0) else { return }
        log.restoreCleanedEnd(end)
        guard end > log.endOffset else { return }
        // What is appended now is not clean, though the line reaches past it.
        checkpoints.lower(name, cleanedEnd: log.cleanedEnd)
        do throws(DiskError) { try checkpoints.writeNow(to: disk, directory) } catch { throw .disk(error) }
    }

    /// What a repair brings in was cleaned otherwise, or never: the file must not call it clean.
    func prepareInstall(of replica: Replica, at base: Offset) throws(LogError) {
        replica.cleaning.lower(to: base)
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
