// Partitions of a shard: the metadata image becomes replicas, their machines' effects become log calls, mail and woken
// requests.

import Groups
import Metadata
import Model
import NIOCore
import Records
import Replication
import Storage

extension Shard {
    // MARK: The image

    func viewPublished(_ new: ClusterView, _ changes: ImageChanges) {
        // The logs are closed, and what is marked as a clean end must stay one.
        guard !isStopping else { return }
        let registeredAnew = new.brokerEpoch != view.brokerEpoch
        let deleted = changes.deletedTopics.compactMap { view.image.topic(id: $0).map(KnownTopic.init) }
        // An ISR that shrinks is nothing to groups.
        let haveGrown = changes.topics.contains {
            new.image.topic(id: $0)?.partitions.count != view.image.topic(id: $0)?.partitions.count
        }
        view = new
        if view.brokerEpoch >= 0, view.image.brokers[configuration.nodeID].map({ !$0.fenced }) ?? false {
            isServing = true
        }
        defer {
            boundEpochs()
            retryFinds()
        }
        for id in changes.deletedTopics { deleteReplicas(of: id) }
        let nothingWaited = unopened.isEmpty
        if haveGrown || !deleted.isEmpty { topicsChanged(deleted: deleted) }
        let concernsAll = !changes.brokers.isEmpty || registeredAnew
        if concernsAll {
            for replica in replicas.values { assign(replica) }
            dropFetchers()
        }
        for id in changes.topics {
            guard let topic = view.image.topic(id: id) else { continue }
            for index in changes.partitions(of: id) where owner(of: topic.name, index) == self.index {
                let topicPartition = TopicPartition(id, index)
                if let replica = replicas[topicPartition] {
                    if !concernsAll { assign(replica) }
                } else if topic.partitions[Int(index)].replicas.contains(configuration.nodeID),
                    postponed[topicPartition] == nil
                {
                    unopened.append(topicPartition, named: "\(topic.name)-\(index)")
                }
            }
        }
        if !changes.configs.isEmpty { applySettings() }
        // Behind others they wait for a tick: many views may come in one turn.
        if nothingWaited { openNext() }
    }

    func openReplica(_ topicPartition: TopicPartition, of topic: TopicImage) {
        guard let settings = view.image.effectiveConfig(topic.id, brokerDefaults: configuration.topicDefaults) else {
            return
        }
        let owner = nextOwner
        nextOwner += 1
        let name = "\(topic.name)-\(topicPartition.partition)"
        precondition(replicas[topicPartition] == nil, "\(name) is open already: two logs would write its files")
        var opened: SegmentedLog?
        do {
            do throws(DiskError) {
                guard try claimName(topicPartition, name) else { return }
            } catch {
                // Nothing is amiss with any other partition.
                return postpone(
                    topicPartition, name,
                    "\(name) is not served here: what an earlier topic left under its name stays there: \(error)")
            }
            let (path, isNew) = try directory.openPartition(name: name, on: disk)
            let log = try SegmentedLog.open(
                disk: disk, directory: path, owner: owner,
                settings: settings.logSettings(configuration.plantedBug),
                recoveryPoint: checkpoints.recoveryPoints[name] ?? 0, startOffset: checkpoints.logStartOffsets[name],
                wallMs: reading.wallMs)
            opened = log
            let registration = topic.partitions[Int(topicPartition.partition)]
            judgePostponed(topicPartition, log, registration)
            try judge(log, named: name, topicPartition, registration, isSynchronous: settings.synchronous)
            try restoreCleanedEnd(of: log, named: name)
            let replica = Replica(
                topicPartition, topicName: topic.name, directory: path, log: log,
                partition: Partition(
                    topicPartition, me: configuration.nodeID, myBrokerEpoch: view.brokerEpoch,
                    settings: partitionSettings(settings),
                    log: LogView(
                        startOffset: log.startOffset, endOffset: log.endOffset, flushedEnd: log.flushedEnd,
                        epochs: log.epochs, isDamaged: !log.damages.isEmpty),
                    highWatermark: checkpoints.highWatermarks[name]),
                settings: settings)
            // Of a damaged log they are remembered when it is repaired.
            if log.damages.isEmpty { try rebuildProducers(of: replica) }
            // Mutant: retries of what was appended before are appended again (I3).
            if configuration.plantedBug == .dedupeLostAtRestart { replica.producers.removeAll() }
            if isNew {
                replica.isIdentityDurable = false
                directory.identify(partition: path, topicID: topic.id, replica.identityTicket, on: disk)
            }
            replicas[topicPartition] = replica
            owners[owner] = replica
            replica.wasPostponed = postponed.removeValue(forKey: topicPartition)
            if !isNew { noteServedAgain(replica) }
            assign(replica)
            if !log.damages.isEmpty { damageFound(in: replica) }
            boundEpoch(of: replica)
        } catch {
            guard mayPass(error) else { return halt("cannot open \(name): \(error)") }
            try? opened?.close(flushing: false)
            postpone(
                topicPartition, name, "\(name) is not served here until there is space on the disk: \(error)")
        }
    }

    /// Where it only could not be opened, and opens as it should, nothing is wrong with it.
    private func judgePostponed(_ key: TopicPartition, _ log: SegmentedLog, _ registration: PartitionRegistration) {
        guard let replica = postponed[key] else { return }
        if replica.isDoubted {
            log.doubtAll("it was damaged before")
        } else if replica.isTelling || replica.tellAt > .zero, !log.isDamagedOrCutOff {
            soundWhileLost[key] = true
        }
    }

    /// What the opening found to be missing.
    private func judge(
        _ log: SegmentedLog, named name: String, _ key: TopicPartition, _ registration: PartitionRegistration,
        isSynchronous: Bool
    ) throws {
        if !isSynchronous, log.isDamagedOrCutOff,
            registration.replicas.count > 1 || log.recovery.damages.isEmpty
        {
            // An async copy promised nothing that an unclean end could break: it has left the ISR, and is made
            // anew.
            let what = registration.replicas.count > 1 ? "starts over" : "goes on without"
            self.log(.warning, "\(name) has lost records; being asynchronous it \(what)")
            try forgetCheckpoints(of: [name])
            if registration.replicas.count > 1 { try log.truncateFully(startingAt: 0) }
        } else if log.recovery.missingStart != nil {
            log.noteMissingStart()
        }
        // Damage was found while it was open, and its repair was cut off: all is looked at again.
        if registration.isLost(configuration.nodeID), soundWhileLost[key] == nil {
            log.doubtAll("its repair was not finished")
        }
    }

    /// Walks over headers that no start has looked at. What does not fit there is damage like any other.
    private func rebuildProducers(of replica: Replica) throws(LogError) {
        do throws(LogError) {
            try replica.rebuildProducers(on: disk)
        } catch {
            guard case .damaged(_, let offset) = error, replica.log.noteDamage(at: offset, "\(error)") else {
                throw error
            }
        }
    }

    /// Durable before the old directory goes, and so before the name is used for another topic: the next start would
    /// take the new log for one that lost what the old one had.
    func forgetCheckpoints(of names: [String]) throws(DiskError) {
        for name in names { checkpoints.forget(name) }
        try checkpoints.writeNow(to: disk, directory)
    }

    /// Of deleted partitions, whose files go all the same: that frees a full disk, and the next writing of the
    /// checkpoints leaves these out.
    func forgetDeleted(_ names: [String]) {
        guard !names.isEmpty else { return }
        do throws(DiskError) { try forgetCheckpoints(of: names) } catch {
            log(.error, "the checkpoints could not be written: \(error)")
        }
    }

    /// Every record is of an epoch that was committed before it was written; a serving node's image has all of those.
    /// So a later epoch is a flipped bit: the copy would neither follow nor lead.
    private func boundEpochs() {
        for replica in replicas.values { boundEpoch(of: replica) }
    }

    private func boundEpoch(of replica: Replica) {
        let epoch = replica.partition.leaderEpoch
        guard isServing, epoch >= 0, replica.log.epochMax != epoch else { return }
        replica.log.epochMax = epoch
        guard let latest = replica.log.epochs.entries.last, latest.epoch > epoch, replica.log.damages.isEmpty else {
            return
        }
        damageMet(
            in: replica, at: latest.startOffset,
            .damaged("epoch \(latest.epoch) was never led", from: latest.startOffset))
    }

    /// Tells a replica what the image says of it and of the brokers that it names.
    func assign(_ replica: Replica) {
        guard let registration = view.image.partition(replica.topicPartition) else { return }
        replica.partition.myBrokerEpoch = view.brokerEpoch
        var brokers = SortedMap<NodeID, BrokerView>()
        for id in registration.replicas {
            guard let broker = view.image.brokers[id] else { continue }
            brokers[id] = BrokerView(epoch: broker.epoch, eligible: broker.eligible, directoryID: broker.directoryID)
        }
        perform(on: replica) {
            $0.assigned(registration, brokers: brokers, log: replica.logView, at: reading.now, into: &$1)
        }
        updateFetcher(of: replica)
        noteNews(of: replica)
        returnIfLost(replica, registration)
    }

    /// Settings changed somewhere: a topic's own, or a default that any topic may live by.
    private func applySettings() {
        for replica in replicas.values {
            guard
                let settings = view.image.effectiveConfig(
                    replica.topicPartition.topicID, brokerDefaults: configuration.topicDefaults),
                settings != replica.settings
            else { continue }
            replica.settings = settings
            replica.log.settings = settings.logSettings(configuration.plantedBug)
            if !settings.compacts { replica.log.abandonCleaning() }
            perform(on: replica) {
                $0.settingsChanged(partitionSettings(settings), log: replica.logView, at: reading.now, into: &$1)
            }
        }
    }

    private func partitionSettings(_ settings: EffectiveTopicConfig) -> PartitionSettings {
        PartitionSettings(
            minInSyncReplicas: settings.minInSyncReplicas, synchronous: settings.synchronous,
            replicaLagTimeMaxMs: configuration.timing.replicaLagTimeMaxMs, plantedBug: configuration.plantedBug)
    }

    /// Only a committed RemoveTopic record leads here: positive evidence, as reliability.md §4 rule 10 demands.
    private func deleteReplicas(of topicID: UUID128) {
        deleteUnopened(of: topicID)
        for key in soundWhileLost.keys where key.topicID == topicID { soundWhileLost.removeValue(forKey: key) }
        let doomed = replicas.values.filter { $0.topicPartition.topicID == topicID }
        guard !doomed.isEmpty else { return }
        forgetDeleted(doomed.map(\.name))
        for replica in doomed {
            drop(replica, failing: .unknownTopicOrPartition)
            do {
                try closeLog(of: replica, flushing: false)
                try directory.deletePartition(replica.directory, topicID: topicID, on: disk)
            } catch {
                log(.error, "\(replica.name) was deleted, and its files could not be: \(error)")
            }
        }
    }

    func closeLog(of replica: Replica, flushing: Bool) throws(LogError) {
        closeReaders(of: replica.log.files)
        try replica.log.close(flushing: flushing)
    }

    /// It is not served here any more.
    func drop(_ replica: Replica, failing error: ErrorCode) {
        failWaiters(of: replica, error)
        replicas.removeValue(forKey: replica.topicPartition)
        resignCoordinator(of: replica.topicPartition)
        wakeFetches(of: replica)
        for reading in replica.readings { reading.session.lose(reading.slot) }
        replica.readings = []
        removeFromFetcher(replica)
        owners.removeValue(forKey: replica.log.owner)
        for (sequence, key) in startSnapshots where key == replica.topicPartition {
            startSnapshots.removeValue(forKey: sequence)
        }
        if scrub.at == replica.topicPartition { scrub.cursor = nil }
        if cleaner.at == replica.topicPartition { cleaner.stage = .looking(CleanerLook()) }
    }

    // MARK: Effects of a partition

    /// Runs one input of a partition's machine and everything it asks for.
    func perform(
        on replica: Replica, fetched: (bytes: ByteBuffer, headers: [BatchHeader])? = nil,
        producers: ProducerTable? = nil, _ input: (inout Partition, inout [PartitionEffect]) -> Void
    ) {
        var effects: [PartitionEffect] = []
        input(&replica.partition, &effects)
        noteFetchPosition(of: replica)
        defer { if replica.isGroupLog { coordinate(replica) } }
        guard !effects.isEmpty else { return }
        for effect in effects {
            do throws(LogError) {
                try run(effect, on: replica, fetched: fetched, producers)
            } catch {
                return logFailed(replica, error)
            }
        }
        if effects.contains(.appendFetched) {
            perform(on: replica) { $0.appended(log: replica.logView, at: reading.now, into: &$1) }
        }
    }

    private func run(
        _ effect: PartitionEffect, on replica: Replica, fetched: (bytes: ByteBuffer, headers: [BatchHeader])?,
        _ producers: ProducerTable?
    ) throws(LogError) {
        switch effect {
        case .advanceHighWatermark:
            replica.writeSnapshotIfDue(on: disk)
            continueStartMove(of: replica)
            completeWaiters(of: replica)
            wakeFetches(of: replica)
        case .proposeISR(let proposal):
            isrChanges.append(ISRChange(topicPartition: replica.topicPartition, proposal: proposal))
        case .truncate(let offset):
            log(
                .notice,
                "\(replica.name): truncating from \(replica.log.endOffset) to \(offset), as its leader's epochs say")
            try prepareCut(of: replica, to: offset, isWhole: false)
            try replica.log.truncate(to: offset)
            // Mutant: sequences of records that are gone (I3).
            if configuration.plantedBug != .dedupeNotRebuiltAfterTruncation {
                try replica.rebuildProducers(on: disk)
            }
            replica.log.requestFlush()
        case .truncateFully(let offset):
            log(.warning, "\(replica.name): starting over at \(offset); the leader's log begins there")
            try beginAnew(replica, at: offset, producers)
        case .advanceStart(let offset): moveStart(of: replica, to: offset)
        case .appendFetched:
            guard let fetched else { preconditionFailure("\(replica.name): nothing was fetched") }
            do throws(LogError) {
                try replica.log.appendReplicated(fetched.bytes, headers: fetched.headers, wallMs: reading.wallMs)
            } catch {
                // Behind a roll there was no space: what stands before it is in the log, and remembered like all of it.
                let appended = fetched.headers.filter { $0.nextOffset <= replica.log.endOffset }
                if !appended.isEmpty {
                    replica.record(appended)
                    replica.log.requestFlush()
                } else if replica.log.endOffset < replica.partition.highWatermark {
                    // It began anew at a batch around its start, and does not have that: back to where it stood, empty.
                    try beginAnew(replica, at: replica.partition.highWatermark, nil)
                }
                throw error
            }
            recordsTaken(by: replica)
            replica.record(fetched.headers)
        case .assignEpoch(let epoch): replica.log.assign(epoch: epoch)
        case .flush: replica.log.requestFlush()
        case .startFetching, .stopFetching: updateFetcher(of: replica)
        case .failWaiters(let error):
            failWaiters(of: replica, error)
            wakeFetches(of: replica)
        case .wakeFetches: wakeFetches(of: replica)
        }
    }

    func mailISRChanges() {
        guard !isrChanges.isEmpty else { return }
        effects.append(.mail(.isrsProposed(shard: index, isrChanges)))
        isrChanges = []
    }

    func isrAnswered(_ decision: ISRDecision) {
        guard let replica = replicas[decision.change.topicPartition] else { return }
        // What all in sync have cleaned is told to followers.
        noteNews(of: replica)
        perform(on: replica) {
            $0.isrAnswered(
                error: decision.error, decision.answer, for: decision.change.proposal, log: replica.logView,
                at: reading.now, into: &$1)
        }
    }

    // MARK: Durability

    func flushed(_ ticket: FlushTicket, _ result: FlushResult) {
        guard ticket.owner != Self.mediumOwner else { return broughtIn(ticket) }
        guard ticket.owner != Checkpoints.owner else { return checkpointFlushed(ticket, result) }
        guard let replica = owners[ticket.owner], !repairFlushed(ticket, result, of: replica) else { return }
        noteFetchPosition(of: replica)
        if ticket == replica.identityTicket {
            if case .failed(let error) = result {
                return identityFailed(replica, error)
            }
            replica.isIdentityDurable = true
            noteServedAgain(replica)
            if let registration = view.image.partition(replica.topicPartition) { returnIfLost(replica, registration) }
            perform(on: replica) { $0.flushed(log: replica.logView, at: reading.now, into: &$1) }
            return followerFlushed(replica)
        }
        do throws(LogError) {
            defer { if SegmentedLog.isOfCleaning(ticket) { cleaningFlushed(of: replica) } }
            guard try replica.log.flushed(ticket, result) else { return }
        } catch {
            return logFailed(replica, error)
        }
        perform(on: replica) { $0.flushed(log: replica.logView, at: reading.now, into: &$1) }
        followerFlushed(replica)
    }

    /// Nothing was promised by this replica. What is there without an identity is made anew when it is opened again, or
    /// set aside where there are records in it.
    private func identityFailed(_ replica: Replica, _ error: DiskError) {
        guard mayPass(error) else { return halt("\(replica.name): its identity could not be written: \(error)") }
        let isEmpty = replica.log.endOffset == replica.log.startOffset
        postponed[replica.topicPartition] = replica.wasPostponed
        setAside(replica, .disk(error))
        guard isEmpty else { return }
        do throws(DiskError) { try disk.remove(replica.directory) } catch {
            log(.warning, "\(replica.name): its empty directory could not be removed: \(error)")
        }
    }

    /// A log that cannot be written may lie from now on: after a failed barrier the process ends, and starts again from
    /// what the disk holds (reliability.md §4 rule 8). A full disk refuses writes and goes on reading.
    func logFailed(_ replica: Replica, _ error: LogError) {
        switch error {
        case _ where replica.log.isFenced && mayPass(error): setAside(replica, error)
        case .disk(.noSpace(let path)): refuseRecords(of: replica, "no space is left on the disk of \(path)")
        case .disk(.readOnly(let path)): refuseRecords(of: replica, "\(path) lies on a read-only file system")
        case .damaged(_, let offset): damageMet(in: replica, at: offset, error)
        default:
            halt("\(replica.name): \(error); a log that failed once is not trusted again")
        }
    }

    /// Said once, and once when it is over: every refused append is answered or tried again anyway.
    private func refuseRecords(of replica: Replica, _ reason: String) {
        guard !replica.isRefusingRecords else { return }
        replica.isRefusingRecords = true
        log(.error, "\(replica.name): \(reason); its records are refused until that ends, and reads go on")
    }

    func recordsTaken(by replica: Replica) {
        guard replica.isRefusingRecords else { return }
        replica.isRefusingRecords = false
        log(.notice, "\(replica.name): records are taken again")
    }

    func halt(_ reason: String) { effects.append(.halt(reason)) }

    /// Above the high watermark a cut is always possible, so the recovery point stays at or below it.
    /// Of a damaged log nothing is noted: a recovery point below the damage would make the next start take it for a
    /// torn tail and cut it off.
    private func noteCheckpoints(of replica: Replica) {
        guard isWhole(replica) else { return }
        checkpoints.note(
            replica.name, recoveryPoint: min(replica.log.recoveryPoint, replica.partition.highWatermark),
            logStartOffset: max(replica.log.startOffset, replica.savedStart),
            highWatermark: replica.partition.highWatermark,
            cleanedEnd: replica.log.holdsEmptyBatches || replica.log.cleanedEnd > 0 ? replica.log.cleanedEnd : nil)
    }

    /// Kafka's `producer.id.expiration.ms`.
    static let producerExpiryMs: Int64 = 24 * 3_600_000

    func writeCheckpoints() {
        for replica in replicas.values {
            noteCheckpoints(of: replica)
            if replica.producers.count > Limits.producersPerPartitionMax {
                replica.producers.expire(before: reading.wallMs - Self.producerExpiryMs)
            }
        }
        checkpoints.write(to: disk, directory)
        retryStartMoves()
    }

    // MARK: The end

    func stop() {
        guard !isStopping else { return }
        isStopping = true
        unopened.removeAll()
        for coordinator in coordinators.values { resign(coordinator) }
        var clean = true
        for replica in replicas.values {
            failWaiters(of: replica, .notLeaderOrFollower)
            do {
                try closeLog(of: replica, flushing: true)
                if isWhole(replica) { try replica.writeSnapshotNow(on: disk) }
            } catch {
                clean = false
                log(.error, "\(replica.name) could not be closed: \(error)")
            }
        }
        do throws(DiskError) { try writeCheckpointsNow() } catch {
            clean = false
            log(.error, "the checkpoints could not be written: \(error)")
        }
        for (link, _) in fetchers { effects.append(.closeLink(link)) }
        fetchers.removeAll()
        for repair in repairs.values { repair.abandon() }
        repairs.removeAll()
        closeRepairLinks()
        replicas.removeAll()
        owners.removeAll()
        effects.append(.mail(.shardStopped(shard: index, clean: clean)))
    }

    private func writeCheckpointsNow() throws(DiskError) {
        for replica in replicas.values {
            noteCheckpoints(of: replica)
        }
        try checkpoints.writeNow(to: disk, directory)
    }
}
