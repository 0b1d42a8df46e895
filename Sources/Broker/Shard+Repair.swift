// Damaged replicas and how they become whole again (decision 0006; reliability.md D4, S5, P11).
//
// The copy stops leading and following at once, and the controller is told that it lies in the LOST directory: it
// leaves ISR and ELR in one record and is not elected or taken back while it lies there. Then each damaged segment is
// surveyed, and a new one is written beside it: what is sound is copied, the gaps are read from a peer as a consumer
// reads, below its high watermark and only of a log that has not forked. What is complete, on disk, read back and of
// the digest that was written is swapped in by rename. At last the producers' state is made anew from the log, and the
// controller is told that the copy lies in this node's directory again. Any crash in between begins this anew.

import Metadata
import Model
import NIOCore
import Records
import Replication
import Storage
import Wire

extension Shard {
    /// Tickets of barriers on files that are being rebuilt have this bit in their sequence.
    static let repairSequenceBit: UInt64 = 1 << 62
    private static let repairWorkMs: Int64 = 1
    private static let repairPollMs: Int64 = 20
    private static let repairRetryMs: Int64 = 300
    private static let repairFetchBytes: Int32 = 1 << 20

    // MARK: Beginning

    /// Damage was met by a reader, the scrub or the opening, or the controller still takes this copy for lost.
    func damageFound(in replica: Replica) {
        guard !isStopping else { return }
        if let damage = replica.log.damages.first {
            log(
                .error,
                "\(replica.name) is damaged: \(damage.reason) in \(damage.file), offsets \(damage.offsets); this copy "
                    + "is out of use until it is repaired from the others")
        }
        if let repair = repairs[replica.topicPartition] {
            // More of it, on the way: all begins again, and nothing that was done is lost.
            repair.abandon()
            repair.stage = .telling
        } else {
            repairs[replica.topicPartition] = ReplicaRepair()
        }
        replica.snapshotDue = nil
        replica.isUnderRepair = true
        soundWhileLost.removeValue(forKey: replica.topicPartition)
        perform(on: replica) { $0.damageFound(into: &$1) }
        updateFetcher(of: replica)
        scheduleRepairs(inMs: 0)
    }

    /// The controller takes a copy for lost of which nothing is known to be wrong. Where this life of the node has
    /// looked at all of it, or only could not open it, a word came late or is done with; else an earlier life may have
    /// found what this one has not, and all is looked at.
    func returnIfLost(_ replica: Replica, _ registration: PartitionRegistration) {
        let key = replica.topicPartition
        guard registration.isLost(configuration.nodeID), isWhole(replica), !isStopping, replicas[key] === replica,
            // Until then it may be set aside again.
            replica.isIdentityDurable
        else { return }
        if soundWhileLost[key] == nil { replica.log.doubtAll("it was said to be lost") }
        guard replica.log.damages.isEmpty else { return damageFound(in: replica) }
        let repair = ReplicaRepair()
        repair.stage = .returning
        repairs[key] = repair
        scheduleRepairs(inMs: 0)
    }

    /// Nothing is known to be wrong with it, and nothing is being made good.
    func isWhole(_ replica: Replica) -> Bool {
        replica.log.damages.isEmpty && repairs[replica.topicPartition] == nil
    }

    /// A log says that what it read is not what was written.
    func damageMet(in replica: Replica, at offset: Offset, _ error: LogError) {
        let isNew = replica.log.noteDamage(at: offset, "\(error)")
        if isNew || (!replica.log.damages.isEmpty && repairs[replica.topicPartition] == nil) {
            damageFound(in: replica)
        }
    }

    func scheduleRepairs(inMs delayMs: Int64) {
        guard repairs.count > 0 else { return }
        timers.cancel(repairTimer)
        repairTimer = timers.add(.repair, at: reading.now.advanced(byMs: delayMs))
    }

    // MARK: Going on

    /// One bounded piece of work for one replica, and for all a look whether what they wait for has come.
    func runRepairs() {
        repairTimer = nil
        guard !isStopping else { return }
        var hasWorked = false
        for (key, repair) in repairs {
            guard let replica = replicas[key] else {
                repair.abandon()
                repairs.removeValue(forKey: key)
                continue
            }
            noteFetchPosition(of: replica)
            noteNews(of: replica)
            do throws(LogError) {
                if try advance(repair, of: replica, mayWork: !hasWorked) { hasWorked = true }
            } catch {
                repairFailed(repair, of: replica, error)
            }
        }
        if repairs.isEmpty { closeRepairLinks() }
        scheduleRepairs(inMs: hasWorked ? Self.repairWorkMs : Self.repairPollMs)
    }

    /// Answers whether a piece of work was done.
    private func advance(_ repair: ReplicaRepair, of replica: Replica, mayWork: Bool) throws(LogError) -> Bool {
        let isLost = view.image.partition(replica.topicPartition)?.isLost(configuration.nodeID) ?? false
        if !isLost, !repair.stage.mayBeCountedOn {
            // An overtaken word of this node came late: the others count on this copy again.
            repair.abandon()
            repair.stage = .telling
        }
        switch repair.stage {
        case .telling:
            if isLost { repair.stage = .planning } else { tell(repair, of: replica, DirectoryID.lost) }
        case .planning:
            guard mayWork, reading.now >= repair.retryAt else { return false }
            try plan(repair, of: replica)
            return true
        case .surveying(var survey):
            guard mayWork else { return false }
            survey.work()
            repair.stage = .surveying(survey)
            if survey.isFinished { try surveyed(repair, of: replica, survey) }
            return true
        case .yielding(let survey):
            guard mayWork, !isToYield(replica) else { return false }
            try surveyed(repair, of: replica, survey)
            return true
        case .rebuilding(let rebuild): return try advance(rebuild, repair, of: replica, mayWork: mayWork)
        case .settling:
            replica.log.requestFlush()
            guard replica.log.flushedEnd >= replica.log.endOffset, !replica.log.isFlushUnderWay else { return false }
            try replica.rebuildProducers(on: disk)
            if let latest = replica.log.epochs.entries.last, latest.epoch > replica.log.epochMax {
                throw .damaged("epoch \(latest.epoch) was never led", from: latest.startOffset)
            }
            replica.isUnderRepair = false
            repair.stage = .returning
            updateFetcher(of: replica)
        case .returning:
            if isLost {
                tell(repair, of: replica, directory.identity.directoryID)
            } else {
                rejoin(repair, replica)
            }
        }
        return false
    }

    private func plan(_ repair: ReplicaRepair, of replica: Replica) throws(LogError) {
        if replica.log.tornBehindDamage != nil, isToYield(replica) {
            repair.retryAt = reading.now.advanced(byMs: Self.repairRetryMs)
            return sayItYields(repair, replica)
        }
        switch try replica.log.repairPlan() {
        case nil: repair.stage = .settling
        case .survey(let survey): repair.stage = .surveying(survey)
        case .create(let gap, let isLast):
            repair.stage = .rebuilding(try replica.log.rebuild(missing: gap, isLast: isLast))
        }
    }

    private func surveyed(_ repair: ReplicaRepair, of replica: Replica, _ survey: SegmentSurvey) throws(LogError) {
        if replica.log.mayLackItsEnd(after: survey, trustsRuns: repair.trustsRuns), isToYield(replica) {
            repair.stage = .yielding(survey)
            return sayItYields(repair, replica)
        }
        if let rebuild = try replica.log.rebuild(after: survey, trustsRuns: repair.trustsRuns) {
            repair.stage = .rebuilding(rebuild)
        } else {
            repair.stage = .planning
        }
    }

    /// Whether it may be elected before others who may have more. Nothing on the disk is changed until they lead, so
    /// that a restart finds the same.
    private func isToYield(_ replica: Replica) -> Bool {
        guard let registration = view.image.partition(replica.topicPartition) else { return true }
        // Mutant: it leads on as if its log had ended there (P4).
        if configuration.plantedBug == .lostEndForgotten { return false }
        let candidates = registration.isr + registration.eligibleLeaderReplicas
        return candidates.contains(configuration.nodeID) && candidates.contains { $0 != configuration.nodeID }
            && !replica.settings.uncleanLeaderElection
    }

    private func sayItYields(_ repair: ReplicaRepair, _ replica: Replica) {
        say(
            repair, replica,
            "how far it went behind offset \(replica.log.tornBehindDamage ?? replica.log.endOffset) cannot be told any "
                + "more, so another replica of ISR or ELR has to lead first")
    }

    private func advance(
        _ rebuild: SegmentRebuild, _ repair: ReplicaRepair, of replica: Replica, mayWork: Bool
    ) throws(LogError) -> Bool {
        switch rebuild.want {
        case .work:
            guard mayWork else { return false }
            try rebuild.work()
            return true
        case .batches(let offset, _, let lastEpoch):
            if !repair.isFetching, reading.now >= repair.retryAt {
                askPeer(repair, of: replica, from: offset, lastEpoch: lastEpoch)
            }
        case .barrier:
            guard repair.ticket == nil else { return false }
            repairSequence += 1
            let ticket = FlushTicket(
                owner: replica.log.owner, generation: replica.log.generation,
                sequence: Self.repairSequenceBit | repairSequence)
            repair.ticket = ticket
            disk.flush(ticket, files: [rebuild.file], directories: [])
        case .whole:
            try prepareInstall(of: replica, at: rebuild.baseOffset)
            closeReaders(of: replica.log.files)
            try replica.log.install(rebuild)
            replica.log.requestFlush()
            repair.filledBytes += rebuild.filledBytes
            repair.ticket = nil
            repair.tried = []
            repair.trustsRuns = true
            repair.forksFromPeers = false
            repair.stage = .planning
            log(
                .notice,
                "\(replica.name): the segment at \(rebuild.baseOffset) is whole again, \(rebuild.filledBytes) bytes of "
                    + "it from other replicas; its digest is \(rebuild.digest)")
            return true
        }
        return false
    }

    private func tell(_ repair: ReplicaRepair, of replica: Replica, _ place: UUID128) {
        guard !repair.isTelling, reading.now >= repair.retryAt, view.brokerEpoch >= 0 else { return }
        repair.isTelling = true
        effects.append(.mail(.directoryAssigned(shard: index, replica.topicPartition, directory: place)))
    }

    /// The controller's word on where a replica of this node lies. That it has come to pass is seen in the image.
    func directoryAnswered(_ topicPartition: TopicPartition, directory: UUID128, _ error: ErrorCode) {
        lostTold(topicPartition)
        guard let repair = repairs[topicPartition] else { return }
        repair.isTelling = false
        repair.retryAt = reading.now.advanced(byMs: error == .none ? Self.repairPollMs : Self.repairRetryMs)
    }

    private func rejoin(_ repair: ReplicaRepair, _ replica: Replica) {
        repairs.removeValue(forKey: replica.topicPartition)
        soundWhileLost[replica.topicPartition] = true
        log(
            .notice,
            "\(replica.name) is repaired, \(repair.filledBytes) bytes of it from other replicas, and rejoins")
        assign(replica)
    }

    private func repairFailed(_ repair: ReplicaRepair, of replica: Replica, _ error: LogError) {
        repair.abandon()
        repair.retryAt = reading.now.advanced(byMs: Self.repairRetryMs)
        if replica.log.isFenced { return logFailed(replica, error) }
        switch error {
        case .damaged(_, let offset) where replica.log.damages.isEmpty:
            // Met when all seemed to be whole: by a walk over the headers.
            say(repair, replica, "\(error); all of it is looked at")
            replica.log.doubtAll("offset \(offset) cannot be walked to")
            repair.stage = .planning
        case .damaged, .outOfOrder:
            // What was thought sound is not, or does not fit: the whole segment is had from the others.
            say(repair, replica, "\(error); the whole segment is read from the others")
            repair.trustsRuns = false
            repair.stage = .planning
        case .disk(.noSpace), .disk(.readOnly):
            say(repair, replica, "\(error)")
            repair.stage = .planning
        default: logFailed(replica, error)
        }
    }

    private func say(_ repair: ReplicaRepair, _ replica: Replica, _ reason: String) {
        guard repair.saidReason != reason else { return }
        repair.saidReason = reason
        log(.warning, "\(replica.name) is under repair: \(reason)")
    }

    // MARK: Barriers

    /// Answers whether the ticket was a repair's.
    func repairFlushed(_ ticket: FlushTicket, _ result: FlushResult, of replica: Replica) -> Bool {
        guard ticket.sequence & Self.repairSequenceBit != 0, ticket.sequence >> 63 == 0 else { return false }
        guard let repair = repairs[replica.topicPartition], repair.ticket == ticket,
            case .rebuilding(let rebuild) = repair.stage
        else { return true }
        repair.ticket = nil
        switch result {
        case .done: rebuild.barrierDone()
        case .failed(let error): repairFailed(repair, of: replica, .disk(error))
        }
        scheduleRepairs(inMs: 0)
        return true
    }

    // MARK: Peers

    /// The leader first: it has everything that is committed, and knows it soonest.
    private func peers(of replica: Replica) -> [NodeID] {
        guard let registration = view.image.partition(replica.topicPartition) else { return [] }
        let others = registration.replicas.filter { $0 != configuration.nodeID && view.image.brokers[$0] != nil }
        return others.filter { $0 == registration.leader } + others.filter { $0 != registration.leader }
    }

    private func askPeer(
        _ repair: ReplicaRepair, of replica: Replica, from offset: Offset, lastEpoch: LeaderEpoch
    ) {
        guard let peer = peers(of: replica).first(where: { !repair.tried.contains($0) }),
            let endpoint = view.image.brokers[peer]?.endpoint
        else {
            repair.tried = []
            repair.retryAt = reading.now.advanced(byMs: Self.repairRetryMs)
            if repair.forksFromPeers, repair.trustsRuns {
                // No checksum covers the epoch of the batch before the gap.
                return repairFailed(repair, of: replica, .outOfOrder("the epoch before \(offset) is not the peers'"))
            }
            if mayGoOnWithout(offset, replica) {
                return startOver(
                    repair, replica, LostCut(offset: offset, isWhole: false), "nobody has anything at \(offset)")
            }
            return say(
                repair, replica,
                "no other replica gives offset \(offset) now; this copy waits for one that has it")
        }
        let leaderEpoch = view.image.partition(replica.topicPartition)?.leaderEpoch ?? -1
        let link = LinkID(node: peer, kind: .repair)
        if repairLinks[link]?.endpoint != endpoint {
            if repairLinks[link] != nil { effects.append(.closeLink(link)) }
            repairLinks[link] = RepairLink(endpoint: endpoint)
            effects.append(.openLink(link, endpoint))
        }
        guard repairLinks[link]?.isConnected == true else {
            // A peer that cannot be reached is passed over; the one that can is asked when its link stands.
            if repairLinks[link]?.hasFailed == true { repair.tried.append(peer) }
            return
        }
        repair.isFetching = true
        var request = FetchRequest(repairing: replica.topicPartition, from: offset, lastEpoch, Self.repairFetchBytes)
        request.topics[0].partitions[0].currentLeaderEpoch = leaderEpoch
        let version = FetchRequest.versions.upperBound
        let correlationID = repairFetches.add(
            RepairFetch(topicPartition: replica.topicPartition, offset: offset, leaderEpoch: leaderEpoch), api: .fetch,
            version: version,
            link: link, deadline: reading.now.advanced(byMs: 4 * configuration.timing.requestTimeoutMs))
        effects.append(
            .send(
                link,
                encodeRequestFrame(
                    request, version: version, correlationID: correlationID,
                    clientID: "repair-\(configuration.nodeID)")))
    }

    /// Above its recovery point, where what lies on the disk may be no more than what a crash tore: everyone was asked,
    /// nobody has it, and nobody else is to lead.
    private func mayGoOnWithout(_ offset: Offset, _ replica: Replica) -> Bool {
        guard let torn = replica.log.tornBehindDamage, offset >= torn, replica.log.isEndLost,
            let registration = view.image.partition(replica.topicPartition), registration.leader == nil,
            !isToYield(replica)
        else { return false }
        let others = registration.replicas.filter { $0 != configuration.nodeID }
        return replica.settings.uncleanLeaderElection
            || others.allSatisfy { repairLinks[LinkID(node: $0, kind: .repair)]?.isConnected == true }
    }

    func repairLinkEvent(_ event: LinkEvent) {
        switch event {
        case .connected(let link):
            repairLinks[link]?.isConnected = true
            repairLinks[link]?.hasFailed = false
            introduce(on: link)
        case .failed(let link, _):
            repairLinks[link]?.isConnected = false
            repairLinks[link]?.hasFailed = true
            for request in repairFetches.takeAll(on: link) { passOver(link.node, request.purpose) }
        case .frameReceived(let link, var frame):
            guard let id = frame.getInteger(at: frame.readerIndex, as: Int32.self),
                let request = repairFetches.take(id, from: link)
            else { return }
            do throws(WireError) {
                let answer = try decodeResponse(of: FetchRequest.self, version: request.version, from: &frame).response
                repairAnswered(by: link.node, answer, request.purpose)
            } catch {
                passOver(link.node, request.purpose)
            }
        }
        scheduleRepairs(inMs: 0)
    }

    func expireRepairFetches() {
        for request in repairFetches.takeExpired(at: reading.now) {
            guard let link = request.link else { continue }
            passOver(link.node, request.purpose)
            // A peer whose power failed resets nothing: only a new connection tells whether it is there.
            guard repairLinks.removeValue(forKey: link) != nil else { continue }
            effects.append(.closeLink(link))
            for other in repairFetches.takeAll(on: link) { passOver(link.node, other.purpose) }
        }
    }

    func closeRepairLinks() {
        for link in repairLinks.keys { effects.append(.closeLink(link)) }
        repairLinks.removeAll()
    }

    private func passOver(_ peer: NodeID, _ fetch: RepairFetch) {
        guard let repair = repairs[fetch.topicPartition] else { return }
        repair.isFetching = false
        repair.tried.append(peer)
    }

    private func repairAnswered(by peer: NodeID, _ response: FetchResponse, _ fetch: RepairFetch) {
        guard let repair = repairs[fetch.topicPartition], let replica = replicas[fetch.topicPartition] else { return }
        repair.isFetching = false
        guard case .rebuilding(let rebuild) = repair.stage, case .batches(let offset, _, _) = rebuild.want,
            offset == fetch.offset
        else { return }
        guard response.errorCode == .none, var answer = response.topics.first?.partitions.first else {
            return passOver(peer, fetch)
        }
        answer.records = answer.records.map { cutToFollowOn($0, at: offset) }
        if let cut = cut(repair, replica, as: peer, says: answer, to: fetch) {
            return startOver(repair, replica, cut, "the leader has nothing that fits at \(cut.offset)")
        }
        if answer.errorCode == .unknownLeaderEpoch || answer.divergingEpoch.epoch >= 0 { repair.forksFromPeers = true }
        guard answer.errorCode == .none, answer.divergingEpoch.epoch < 0, let records = answer.records,
            records.readableBytes > 0
        else { return passOver(peer, fetch) }
        do throws(BatchError) {
            let checked = try checkReplicated(records, expectedOffset: offset)
            guard !checked.headers.isEmpty else { return passOver(peer, fetch) }
            do throws(LogError) {
                try rebuild.give(records, headers: checked.headers)
                repair.tried = []
            } catch {
                repairFailed(repair, of: replica, error)
            }
        } catch {
            log(.error, "\(replica.name): node \(peer) sent records that fail their check: \(error.message)")
            passOver(peer, fetch)
        }
    }

    /// Where this copy must give way to what the leader has, as any follower's fork does; nil where it need not. Only
    /// the leader's word counts, and only while nobody counts on this copy.
    private func cut(
        _ repair: ReplicaRepair, _ replica: Replica, as peer: NodeID, says answer: FetchResponse.Partition,
        to fetch: RepairFetch
    ) -> LostCut? {
        let offset = fetch.offset
        // It says so itself, in the epoch that this node knows: one that was deposed, or began anew, does not count.
        guard let registration = view.image.partition(replica.topicPartition), registration.leader == peer,
            answer.currentLeader.leaderID == peer, answer.currentLeader.leaderEpoch == registration.leaderEpoch,
            fetch.leaderEpoch == registration.leaderEpoch,
            !registration.isr.contains(configuration.nodeID),
            !registration.eligibleLeaderReplicas.contains(configuration.nodeID)
        else { return nil }
        switch answer.errorCode {
        case .offsetOutOfRange where answer.logStartOffset > offset:
            // Deleted meanwhile.
            return LostCut(
                offset: answer.logStartOffset, isWhole: true,
                producers: answer.producers.flatMap(ProducerSnapshots.decode))
        case .offsetOutOfRange:
            // An unclean election chose another history.
            return LostCut(offset: offset, isWhole: false)
        case .none: break
        default: return nil
        }
        if answer.divergingEpoch.epoch >= 0 {
            // It forks in front of the segment at hand, all of which was asked for.
            return repair.trustsRuns
                ? nil : LostCut(offset: min(answer.divergingEpoch.endOffset, offset), isWhole: false)
        }
        guard let records = answer.records, records.readableBytes > 0 else {
            // A leader gives all that it has: its log ends here, unless it says itself that it has more.
            return answer.highWatermark > offset ? nil : LostCut(offset: offset, isWhole: false)
        }
        guard let first = BatchHeader(reading: records, at: records.readerIndex), first.baseOffset < offset,
            first.nextOffset > offset
        else { return nil }
        // The leader's batch begins before what is missing here: the log start lies inside it, or a header lied.
        if offset <= replica.log.startOffset { return LostCut(offset: offset, isWhole: true) }
        return repair.trustsRuns ? nil : LostCut(offset: first.baseOffset, isWhole: false)
    }

    /// The leader's log is the truth, and this copy counts for nothing while it is lost; or nobody has more.
    private func startOver(_ repair: ReplicaRepair, _ replica: Replica, _ cut: LostCut, _ reason: String) {
        log(.warning, "\(replica.name): \(reason); this copy goes on from there with what it has")
        repair.abandon()
        do throws(LogError) {
            let offset = cut.isWhole ? cut.offset : try replica.log.cutPoint(at: cut.offset)
            // What lies in the file behind the log's end is cut with nothing: a survey would find it again.
            if !cut.isWhole, offset >= replica.log.endOffset { repair.trustsRuns = false }
            try prepareCut(of: replica, to: offset, isWhole: cut.isWhole)
            if cut.isWhole {
                if let producers = cut.producers { try remember(producers, below: offset, in: replica) }
                try replica.log.truncateFully(startingAt: offset)
            } else {
                try replica.log.truncate(to: offset)
            }
            replica.partition.lostCopyCut(to: replica.log.endOffset, isWhole: cut.isWhole)
            repair.stage = .planning
        } catch {
            repairFailed(repair, of: replica, error)
        }
    }
}

/// What a lost copy must drop: everything from `offset` on, or, to begin again there, everything.
private struct LostCut {
    var offset: Offset
    var isWhole: Bool
    /// Of what lies below, when it begins again behind what was deleted.
    var producers: ProducerTable?
}

struct RepairLink {
    var endpoint: Endpoint
    var isConnected = false
    var hasFailed = false
}

extension FetchRequest {
    /// Kafka's replica id of a consumer that may read from any replica.
    static let anyReplicaID: NodeID = -2

    fileprivate init(
        repairing topicPartition: TopicPartition, from offset: Offset, _ lastEpoch: LeaderEpoch, _ maxBytes: Int32
    ) {
        self.init()
        replicaState.replicaID = Self.anyReplicaID
        minBytes = 1
        self.maxBytes = maxBytes
        sessionEpoch = -1
        var partition = Partition()
        partition.partitionIndex = topicPartition.partition
        partition.fetchOffset = offset
        partition.lastFetchedEpoch = lastEpoch
        partition.partitionMaxBytes = maxBytes
        var topic = Topic()
        topic.topicID = topicPartition.topicID
        topic.partitions = [partition]
        topics = [topic]
    }
}
