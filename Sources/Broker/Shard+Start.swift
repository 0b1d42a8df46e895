// A log start on its way: first what must be remembered of producers, then the checkpoint file, then the log. In that
// order no crash brings back what was shown as deleted (S7), and none forgets a duplicate (I4).

import Model
import Replication
import Storage

/// One raising of one log's start.
struct StartMove {
    enum Stage {
        /// The producers as the log stood at `end`; their snapshot is written when all of that is committed.
        case awaitingCommit(end: Offset, ProducerTable)
        case savingSnapshot(end: Offset, ProducerTable)
        /// For the next writing of the checkpoint file.
        case ready
        case savingStart
    }

    var offset: Offset
    /// The log's; a truncation ends the move.
    var generation: UInt32
    var stage: Stage
    /// It was found waiting for a commit before.
    var isLate = false
}

/// A writing of the checkpoint file and the replicas whose new starts are in it.
struct StartsUnderWay {
    var ticket: FlushTicket
    var replicas: [TopicPartition]
}

extension Shard {
    /// A partition's machine wants its log to start at `offset`. One move at a time; the next one takes up what was
    /// wanted meanwhile.
    func moveStart(of replica: Replica, to offset: Offset) {
        replica.wantedStart = max(replica.wantedStart, offset)
        if offset == replica.log.startOffset {
            completeDeletes(of: replica)
            wakeFetches(of: replica)
        }
        beginStartMove(of: replica)
    }

    private func beginStartMove(of replica: Replica) {
        guard replica.startMove == nil, replica.wantedStart > replica.log.startOffset, !isStopping else { return }
        replica.startMove = StartMove(
            offset: replica.wantedStart, generation: replica.log.generation,
            stage: replica.producers.count == 0
                ? .ready : .awaitingCommit(end: replica.log.endOffset, replica.producers))
        continueStartMove(of: replica)
    }

    /// Batches below the new start will be gone at the next opening, so a snapshot from behind it must say what they
    /// said of producers. As every snapshot it tells only of what is committed.
    func continueStartMove(of replica: Replica) {
        switch replica.startMove?.stage {
        case .awaitingCommit(let end, let table) where end <= replica.partition.highWatermark:
            replica.startMove?.stage = .savingSnapshot(end: end, table)
            let ticket = checkpoints.ticketForStartSnapshot()
            startSnapshots[ticket.sequence] = replica.topicPartition
            disk.replace(
                ticket, path: ProducerSnapshots.path(replica.directory, end),
                contents: ProducerSnapshots.encode(table))
        case .ready: startsReady[replica.topicPartition] = true
        default: break
        }
    }

    /// At the end of every step: all starts that became ready go into one writing of the file.
    func saveStarts() {
        guard startsUnderWay == nil, startsReady.count > 0, !isStopping else { return }
        var saving: [TopicPartition] = []
        for key in startsReady.keys {
            guard let replica = replicas[key], let move = replica.startMove, case .ready = move.stage else { continue }
            replica.startMove?.stage = .savingStart
            replica.savedStart = move.offset
            checkpoints.note(replica.name, logStartOffset: move.offset)
            saving.append(key)
        }
        startsReady.removeAll()
        guard !saving.isEmpty else { return }
        startsUnderWay = StartsUnderWay(ticket: checkpoints.writeStarts(to: disk, directory), replicas: saving)
    }

    /// A file of the checkpoints, or a snapshot, is on the disk or could not be written.
    func checkpointFlushed(_ ticket: FlushTicket, _ result: FlushResult) {
        var isDone = true
        if case .failed(let error) = result {
            log(.error, "a checkpoint file could not be written: \(error)")
            isDone = false
        }
        if ticket == startsUnderWay?.ticket {
            let keys = startsUnderWay?.replicas ?? []
            startsUnderWay = nil
            for key in keys {
                if let replica = replicas[key] { startSaved(replica, isDone) }
            }
        } else if Checkpoints.isStartSnapshot(ticket), let key = startSnapshots.removeValue(forKey: ticket.sequence),
            let replica = replicas[key], case .savingSnapshot(let end, let table) = replica.startMove?.stage
        {
            replica.startMove?.stage = isDone ? .ready : .awaitingCommit(end: end, table)
            if isDone { continueStartMove(of: replica) }
        }
    }

    private func startSaved(_ replica: Replica, _ isDone: Bool) {
        guard let move = replica.startMove, case .savingStart = move.stage, move.generation == replica.log.generation
        else { return }
        guard isDone else {
            // Tried again when the checkpoints are written next.
            replica.startMove?.stage = .ready
            return
        }
        replica.startMove = nil
        do throws(LogError) {
            try replica.log.advanceStart(to: move.offset, emptying: true, wallMs: reading.wallMs)
            do throws(DiskError) { try ProducerSnapshots.prune(replica.directory, on: disk) } catch {
                throw .disk(error)
            }
        } catch {
            return logFailed(replica, error)
        }
        replica.log.requestFlush()
        perform(on: replica) { $0.startMoved(log: replica.logView, at: reading.now, into: &$1) }
        completeDeletes(of: replica)
        wakeFetches(of: replica)
        beginStartMove(of: replica)
    }

    /// What the disk refused is tried again; what waits for too long for its records to be committed waits no more.
    func retryStartMoves() {
        for replica in replicas.values where replica.startMove != nil && isWhole(replica) {
            do throws(LogError) {
                try settleForCommitted(replica)
            } catch {
                logFailed(replica, error)
                continue
            }
            continueStartMove(of: replica)
        }
    }

    /// The end of the log may not be committed before the start has moved: below its minimum an ISR commits nothing,
    /// and a follower joins it only when it has deleted what its leader has. So the snapshot is made of what is
    /// committed by now, which costs a walk over headers.
    private func settleForCommitted(_ replica: Replica) throws(LogError) {
        guard case .awaitingCommit(let end, _) = replica.startMove?.stage, end > replica.partition.highWatermark else {
            return
        }
        // Most commits come within a moment.
        guard replica.startMove?.isLate == true else {
            replica.startMove?.isLate = true
            return
        }
        let committed = try replica.producers(below: replica.partition.highWatermark, on: disk)
        replica.startMove?.stage =
            committed.table.count == 0 ? .ready : .awaitingCommit(end: committed.end, committed.table)
    }

    /// The log is about to be cut: a start that is on its way belongs to what was there before.
    ///
    /// The checkpoints must not speak of what is cut. A recovery point above the cut would make the next start take it
    /// for damage, a log start above it would make that start drop what is appended from now on, and with an end of the
    /// clean part above it a tombstone would go before what it covers.
    func prepareCut(of replica: Replica, to offset: Offset, isWhole: Bool) throws(LogError) {
        replica.startMove = nil
        for (sequence, key) in startSnapshots where key == replica.topicPartition {
            startSnapshots.removeValue(forKey: sequence)
        }
        replica.wantedStart = 0
        replica.savedStart = 0
        let before = replica.log.startOffset
        // A batch that the cut falls into goes whole, and one that stands for many is wide.
        let cut = isWhole ? offset : try replica.log.cutPoint(at: offset)
        closeReaders(of: replica.log.files, from: isWhole ? .min : cut)
        replica.cleaning.lower(to: cut)
        let point = isWhole ? 0 : cut
        // A start below the one there was is told by the first segment alone: until that is made, an older one stands.
        let start: Offset? = isWhole ? (offset >= before ? offset : nil) : (offset >= before ? before : nil)
        let isKnown = checkpoints.recoveryPoints[replica.name] ?? 0 > point
        let known = checkpoints.logStartOffsets[replica.name]
        let isCleanKnown = checkpoints.cleanedEnds[replica.name] ?? 0 > point
        guard isKnown || isCleanKnown || known ?? 0 != start ?? 0 else { return }
        checkpoints.lower(
            replica.name, recoveryPoint: min(point, checkpoints.recoveryPoints[replica.name] ?? 0),
            logStartOffset: start, highWatermark: min(replica.partition.highWatermark, cut))
        if isCleanKnown { checkpoints.lower(replica.name, cleanedEnd: point) }
        do throws(DiskError) { try checkpoints.writeNow(to: disk, directory) } catch { throw .disk(error) }
    }
}
