// The life of coordinators: each begins when this node becomes the leader of its partition, reads the records there,
// and ends with the term.

import Groups
import Metadata
import Model
import NIOCore
import Records
import Replication
import Storage
import Wire

extension Shard {
    /// How much of one log a step loads: a few milliseconds' work. Others have their turn in the pause.
    private static let loadBytes = 1 << 17
    private static let loadPauseMs: Int64 = 1
    private static let loadRetryMs: Int64 = 250

    /// After anything that happened to a partition of `__consumer_offsets`: its role, its term or its high watermark
    /// may have changed.
    func coordinate(_ replica: Replica) {
        if let coordinator = coordinators[replica.topicPartition] {
            if replica.isLeader, coordinator.leaderEpoch == replica.partition.leaderEpoch {
                let committed = replica.partition.highWatermark
                if coordinator.groups.phase == .active, committed > coordinator.groups.committed {
                    run(coordinator) { $0.committed(upTo: committed, at: reading, into: &$1) }
                }
                return
            }
            if configuration.plantedBug == .coordinatorOutlivesItsTerm, !isStopping { return }
            resign(coordinator)
        }
        // What failed meanwhile is not served any more.
        guard replica.isLeader, !isStopping, replicas[replica.topicPartition] === replica else { return }
        begin(replica)
    }

    private func begin(_ replica: Replica) {
        // Another seed in every term, or member ids come back.
        var mixed = SeededRandom(
            seed: view.incarnationID.low ^ UInt64(bitPattern: Int64(replica.partition.leaderEpoch)))
        let seed = mixed.next() ^ UInt64(replica.topicPartition.partition)
        var settings = configuration.groups
        settings.plantedBug = configuration.plantedBug
        let groups = GroupCoordinator(
            partition: replica.topicPartition.partition, settings: settings, seed: seed)
        let coordinator = Coordinator(replica, groups: groups, at: reading.now)
        coordinators[coordinator.key] = coordinator
        if coordinator.loadAt >= coordinator.loadEnd {
            loadEnded(coordinator, replica)
        } else {
            loading.append(coordinator.key)
            if loading.count == 1 { timers.add(.loadGroups, at: reading.now) }
        }
    }

    /// The replica is not led here any more, or not served at all.
    func resign(_ coordinator: Coordinator) {
        coordinators.removeValue(forKey: coordinator.key)
        timers.cancel(coordinator.timer)
        coordinator.timer = nil
        run(coordinator) { $0.resigned(into: &$1) }
    }

    func resignCoordinator(of key: TopicPartition) {
        if let coordinator = coordinators[key] { resign(coordinator) }
    }

    // MARK: Loading

    /// Loads a piece of the coordinator that has waited longest. One after another: a node that becomes the leader of
    /// many partitions at once goes on serving all others, and the first groups are at work soon.
    func loadGroups() {
        while let key = loading.first {
            guard let coordinator = coordinators[key], coordinator.groups.phase == .loading,
                let replica = replicas[key]
            else {
                loading.removeFirst()
                continue
            }
            do throws(LogError) {
                if try loadPiece(of: coordinator, replica) {
                    loading.removeFirst()
                    loadEnded(coordinator, replica)
                }
                if !loading.isEmpty { timers.add(.loadGroups, at: reading.now.advanced(byMs: Self.loadPauseMs)) }
            } catch {
                logFailed(replica, error)
                // Where it is served all the same, its turn comes again.
                loading.removeFirst()
                loading.append(key)
                timers.add(.loadGroups, at: reading.now.advanced(byMs: Self.loadRetryMs))
            }
            return
        }
    }

    /// True when all is loaded.
    private func loadPiece(of coordinator: Coordinator, _ replica: Replica) throws(LogError) -> Bool {
        coordinator.loadAt = max(coordinator.loadAt, replica.log.startOffset)
        guard coordinator.loadAt < coordinator.loadEnd else { return true }
        guard
            let slice = try replica.log.read(
                from: coordinator.loadAt, maxBytes: Self.loadBytes, below: coordinator.loadEnd, atLeastOne: true)
        else {
            // An empty batch that a cleaning made meanwhile may reach past the end; nothing else should be here.
            log(
                .warning,
                "\(replica.name): nothing to load of groups between offsets \(coordinator.loadAt) and "
                    + "\(coordinator.loadEnd)")
            return true
        }
        try load(try replica.log.bytes(of: slice), into: coordinator, replica)
        coordinator.loadAt = slice.nextOffset
        return coordinator.loadAt >= coordinator.loadEnd
    }

    private func load(
        _ bytes: ByteBuffer, into coordinator: Coordinator, _ replica: Replica
    ) throws(LogError) {
        for (header, batch) in BatchSequence(bytes) where !header.isControl {
            let records: [Record]
            do throws(BatchError) {
                records = try decodeRecords(batch)
            } catch {
                throw .damaged("\(error)", from: header.baseOffset)
            }
            for record in records where record.offset >= coordinator.loadAt {
                guard let key = record.key else { continue }
                do throws(WireError) {
                    // A copy, or a small part of it would keep the whole batch.
                    let value = record.value.map { ByteBuffer(bytes: $0.readableBytesView) }
                    coordinator.groups.loaded(try GroupRecord.decode(key: key, value: value))
                    coordinator.recordsLoaded += 1
                } catch {
                    log(.warning, "\(replica.name): the record at \(record.offset) says nothing of groups: \(error)")
                }
            }
        }
    }

    private func loadEnded(_ coordinator: Coordinator, _ replica: Replica) {
        let (end, topics) = (coordinator.loadEnd, ImageTopics(image: view.image))
        run(coordinator) { $0.loadEnded(endOffset: end, topics: topics, at: reading, into: &$1) }
        if coordinator.recordsLoaded > 0 {
            let tookMs = reading.now.milliseconds(since: coordinator.beganAt)
            log(
                .notice,
                "coordinates \(coordinator.groups.groups.count) groups of \(replica.name); "
                    + "loaded \(coordinator.recordsLoaded) records in \(tookMs) ms")
        }
        let committed = replica.partition.highWatermark
        run(coordinator) { $0.committed(upTo: committed, at: reading, into: &$1) }
    }

    // MARK: Inputs and effects

    /// Gives a coordinator one input and carries out what it wants done.
    func run(_ coordinator: Coordinator, _ input: (inout GroupCoordinator, inout [GroupEffect]) -> Void) {
        var waiting: [GroupEffect] = []
        input(&coordinator.groups, &waiting)
        var next = 0
        while next < waiting.count {
            defer { next += 1 }
            switch waiting[next] {
            case .append(let id, let records):
                // Its outcome comes before what else was wanted.
                var then: [GroupEffect] = []
                switch append(records, of: coordinator) {
                case .success(let end):
                    coordinator.groups.appended(id, endOffset: end, at: reading, into: &then)
                case .failure(let refusal):
                    coordinator.groups.refused(id, refusal.error, at: reading, into: &then)
                }
                waiting.insert(contentsOf: then, at: next + 1)
            case .reply(let ticket, let response): groupReplied(ticket, response)
            case .log(let event): log(.notice, event.description)
            }
        }
        rearm(coordinator)
    }

    /// Answers the end of the log after it.
    private func append(_ records: [GroupRecord], of coordinator: Coordinator) -> Result<Offset, Refusal> {
        guard let replica = replicas[coordinator.key], replica.isLeader,
            replica.partition.leaderEpoch == coordinator.leaderEpoch
        else { return .failure(Refusal(error: .notCoordinator)) }
        if let error = replica.admission(acks: -1) { return .failure(Refusal(error: error)) }
        var builder = RecordBatchBuilder()
        for record in records {
            let (key, value) = record.encode()
            builder.append(timestamp: reading.wallMs, key: key, value: value)
        }
        let batch = builder.build()
        guard batch.readableBytes <= replica.settings.maxMessageBytes,
            var header = BatchHeader(reading: batch, at: batch.readerIndex)
        else { return .failure(Refusal(error: .messageTooLarge)) }
        do throws(LogError) {
            try take(batch, &header, into: replica)
        } catch {
            logFailed(replica, error)
            return .failure(Refusal(error: error.errorCode))
        }
        return .success(header.nextOffset)
    }

    // MARK: Time

    func coordinatorDue(_ key: TopicPartition) {
        guard let coordinator = coordinators[key] else { return }
        coordinator.timer = nil
        coordinator.timerAt = .distantFuture
        run(coordinator) { $0.ticked(at: reading, into: &$1) }
    }

    private func rearm(_ coordinator: Coordinator) {
        guard coordinator.groups.phase == .active else { return }
        wake(coordinator, at: coordinator.groups.nextDeadline)
    }

    private func wake(_ coordinator: Coordinator, at instant: Instant) {
        guard coordinator.timerAt != instant else { return }
        timers.cancel(coordinator.timer)
        coordinator.timer = instant == .distantFuture ? nil : timers.add(.coordinator(coordinator.key), at: instant)
        coordinator.timerAt = instant
    }

    /// Topics came, went or grew. What was committed of those that are gone means nothing any more.
    func topicsChanged(deleted topics: [KnownTopic]) {
        for coordinator in coordinators.values {
            coordinator.groups.topicsChanged()
            guard !topics.isEmpty else { continue }
            coordinator.groups.topicsDeleted(topics, at: reading)
            rearm(coordinator)
        }
    }
}
