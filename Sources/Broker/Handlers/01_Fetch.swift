// Fetch (key 1), versions 4–18: consumers and follower replicas read the same log on the same path. Long poll: a fetch
// that has too little is parked and this same handler runs again when one of its partitions has news. v7 sessions; v12
// diverging epochs; v13 topic ids; v15 replica state.

import Metadata
import Model
import NIOCore
import Replication
import Storage
import Wire

/// A fetch with all that its answer needs, parked or about to be answered.
struct PendingFetch {
    var context: RequestContext
    var reader: FetchReader
    var session: FetchSession?
    /// The session may be another shard's.
    var hasSession: Bool
    /// Without a session; the session's targets stand in the session.
    var targets: [FetchTarget]
    var isIncremental: Bool
    var minBytes: Int
    var maxBytes: Int
    var deadline: Instant
    var timer: Timers<ShardTimer>.ID?
    /// Other shards' shares of it; nil when all its partitions are here.
    var gather: FetchGather?
    var medium = MediumWait()
}

/// Who asks.
struct FetchReader: Sendable {
    /// Nil for a consumer.
    var replica: (id: NodeID, brokerEpoch: BrokerEpoch, said: NodeIdentity?)?
    /// Another node repairs its copy of these partitions.
    var isRepair: Bool
}

/// What one round over the partitions found.
struct FetchRound {
    var response = FetchResponse()
    /// The records, in the order of the answer.
    var pieces: [OutboundPiece] = []
    var sizeBytes = 0
    /// Instead of `response`, where this is a share of another shard's fetch.
    var found: [FetchedPartition] = []
    /// An error, a divergence or the like: answer now.
    var isUrgent = false
    /// What the reader is told by this answer, by target.
    var told: [(index: Int, told: ToldToReader)] = []
    /// Targets that the answer's limit left behind: they come first in the next.
    var cut: [Int] = []
    /// What would have to be waited for, and was left out.
    var cold: [ColdPlace] = []
    var coldBytes = 0
    /// What was left out and is under way already.
    var awaited: UInt64 = 0
    /// What replicas that begin anew are told of producers.
    var producerBytes = 0
    /// One partition was read where it lies, because to bring it in is no use.
    var hasReadCold = false
    /// Targets that are looked at again next time: what they gave may not arrive.
    var again: [Int] = []
    /// What was noted in the session before this round.
    var noted: [Int] = []
}

extension Shard {
    func fetch(_ request: FetchRequest, _ context: RequestContext) {
        let version = context.header.version
        let replicaID = version >= 15 ? request.replicaState.replicaID : request.replicaID
        let targets = request.topics.flatMap { topic in topic.partitions.map { target($0, of: topic, version) } }
        let said = connections[context.connection]?.node
        let reader = FetchReader(
            replica: replicaID >= 0 ? (replicaID, request.replicaState.replicaEpoch, said) : nil,
            isRepair: replicaID == FetchRequest.anyReplicaID && isRegistered(said))
        var pending = PendingFetch(
            context: context, reader: reader, session: nil, hasSession: false, targets: targets, isIncremental: false,
            minBytes: max(0, Int(request.minBytes)),
            maxBytes: min(max(0, Int(request.maxBytes)), Limits.fetchBytesMax),
            deadline: reading.now.advanced(byMs: Int64(max(0, request.maxWaitMs))))
        if let error = attachSession(request, &pending) {
            var response = FetchResponse()
            response.errorCode = error
            return respond(response, to: FetchRequest.self, context)
        }
        pending.medium.isGivenUp = !mayPark
        if shardCount > 1, divide(pending) { return }
        let number = takeRequestNumber()
        let isLast = reading.now >= pending.deadline || !mayPark
        if !answerIfReady(&pending, number, isLast: isLast) { park(pending, as: number) }
    }

    /// Whether whoever said NodeHello named the incarnation that the cluster knows.
    private func isRegistered(_ node: NodeIdentity?) -> Bool {
        guard let node, let registered = view.image.brokers[node.id] else { return false }
        return registered.incarnationID == node.incarnationID
    }

    private func target(_ partition: FetchRequest.Partition, of topic: FetchRequest.Topic, _ version: Int16)
        -> FetchTarget
    {
        let image = version >= 13 ? view.image.topic(id: topic.topicID) : view.image.topic(named: topic.name)
        var unknown: ErrorCode?
        if image == nil { unknown = version >= 13 ? .unknownTopicId : .unknownTopicOrPartition }
        return FetchTarget(
            topicPartition: TopicPartition(image?.id ?? topic.topicID, partition.partitionIndex), topicName: topic.name,
            unknown: unknown, partition: partition.partitionIndex, currentLeaderEpoch: partition.currentLeaderEpoch,
            fetchOffset: partition.fetchOffset, lastFetchedEpoch: partition.lastFetchedEpoch,
            logStartOffset: partition.logStartOffset, cleanedEnd: partition.cleanedEnd,
            maxBytes: max(0, Int(partition.partitionMaxBytes)))
    }

    /// KIP-227: (0, 0) opens a session, (id, n) goes on with one, (id, −1) closes it and is answered whole; (0, −1)
    /// wants none.
    private func attachSession(_ request: FetchRequest, _ pending: inout PendingFetch) -> ErrorCode? {
        guard pending.context.header.version >= 7 else { return nil }
        if request.sessionEpoch <= 0 {
            if let session = sessions[request.sessionID] {
                endParked(of: session)
                sessions.close(request.sessionID)
            }
            if request.sessionEpoch == 0, !pending.targets.isEmpty {
                pending.session = sessions.open(pending.targets, at: reading.now)
                pending.hasSession = pending.session != nil
                if pending.hasSession { pending.targets = [] }
            }
            return nil
        }
        guard let session = sessions[request.sessionID] else { return .fetchSessionIdNotFound }
        guard session.nextEpoch == request.sessionEpoch else { return .invalidFetchSessionEpoch }
        session.nextEpoch = session.nextEpoch == .max ? 1 : session.nextEpoch + 1
        session.lastUsed = reading.now
        endParked(of: session)
        for target in pending.targets { session.update(target) }
        for topic in request.forgottenTopics {
            let id = view.image.topic(named: topic.name)?.id ?? topic.topicID
            for partition in topic.partitions { session.forget(TopicPartition(id, partition), topic.name) }
        }
        pending.session = session
        pending.hasSession = true
        pending.targets = []
        pending.isIncremental = true
        return nil
    }

    /// Answers the fetch of this session that waits: its reader asks again, or wants no more.
    private func endParked(of session: FetchSession) {
        guard let parked = session.parked else { return }
        if let gather = pendingFetches[parked]?.gather { giveUpParts(of: gather, parked) }
        fetchGivenUp(parked)
    }

    // MARK: Waiting

    var mayPark: Bool { pendingFetches.count < Limits.parkedRequestsMax / shardCount }

    func park(_ pending: PendingFetch, as id: UInt64) {
        var pending = pending
        pending.timer = timers.add(.fetch(id), at: pending.deadline)
        pendingFetches[id] = pending
        if let session = pending.session {
            // Its replicas know the session.
            session.parked = id
            return
        }
        for target in pending.targets where target.unknown == nil {
            replicas[target.topicPartition]?.parkedFetches.append(id)
        }
    }

    func forgetFetch(_ id: UInt64) {
        guard let pending = pendingFetches.removeValue(forKey: id) else { return }
        pending.session?.parked = nil
        timers.cancel(pending.timer)
        if let gather = pending.gather { giveUpParts(of: gather, id) }
        if let part = pending.context.part { fetchParts.removeValue(forKey: part) }
        for target in pending.targets {
            replicas[target.topicPartition]?.parkedFetches.removeAll { $0 == id }
        }
    }

    /// News of this replica: its parked fetches run again before the step ends.
    func wakeFetches(of replica: Replica) {
        for id in replica.parkedFetches { wokenFetches[id] = true }
        for reading in replica.readings {
            reading.session.note(reading.slot)
            if let id = reading.session.parked { wokenFetches[id] = true }
        }
    }

    /// News that nobody waits for: the next answer tells it.
    func noteNews(of replica: Replica) {
        // Mutant: the next answer leaves it out (N1).
        if configuration.plantedBug == .newsNotNoted { return }
        for reading in replica.readings { reading.session.note(reading.slot) }
    }

    func runWokenFetches() {
        while let id = wokenFetches.keys.first {
            wokenFetches.removeValue(forKey: id)
            runFetch(id, isLast: false)
        }
    }

    /// Looks again whether a parked fetch can be answered.
    func runFetch(_ id: UInt64, isLast: Bool) {
        guard var pending = pendingFetches[id] else { return }
        if answerIfReady(&pending, id, isLast: isLast || pending.medium.isLast) {
            forgetFetch(id)
        } else if pending.medium.awaited != nil {
            // A round changes nothing else of it, and most fetches wait for records alone.
            noteWaiting(pending, id)
        }
    }

    // MARK: Reading

    /// Whether what is here is reason enough to answer. If not, what is here and not in memory is awaited.
    func isReady(_ pending: inout PendingFetch, _ number: UInt64, isLast: Bool) -> Bool {
        let round = read(pending)
        if let session = pending.session { putBack(round, of: session, isTold: false) }
        let isReady = isReady(round, pending, isLast: isLast)
        _ = waitsForMedium(&pending, number, round, hasAnswer: isReady, isLast: isLast)
        return isReady
    }

    private func isReady(_ round: FetchRound, _ pending: PendingFetch, isLast: Bool) -> Bool {
        isLast || round.isUrgent || (round.sizeBytes > 0 && (pending.medium.hasWaited || round.hasReadCold))
            || (pending.session?.isEmpty ?? pending.targets.isEmpty)
            || round.sizeBytes >= max(pending.minBytes, 1) || pending.minBytes == 0
    }

    func answerIfReady(_ pending: inout PendingFetch, _ number: UInt64, isLast: Bool) -> Bool {
        if let gather = pending.gather, gather.isHurried, !gather.waiting.isEmpty { return false }
        let round = read(pending)
        let isHurrying = pending.gather.map { !$0.waiting.isEmpty } ?? false
        let isEnough = isReady(round, pending, isLast: isLast)
        let hasAnswer = isEnough && (round.sizeBytes > 0 || round.isUrgent)
        let waits = waitsForMedium(&pending, number, round, hasAnswer: hasAnswer, isLast: isLast)
        // What the others have to say is asked for meanwhile.
        let isAnswered = isEnough && (!waits || isHurrying)
        if let session = pending.session { putBack(round, of: session, isTold: isAnswered && !isHurrying) }
        guard isAnswered else { return false }
        if let gather = pending.gather, isHurrying {
            hurry(gather, number)
            return false
        }
        if let part = pending.context.part {
            answerPart(part, .fetched(withRecords(round.found, round.pieces, of: pending.targets)))
            return true
        }
        var response = round.response
        response.sessionID = pending.session?.id ?? 0
        if pending.context.header.version >= 16 { response.nodeEndpoints = endpoints(of: response) }
        let (head, gaps) = encodeFetchResponseFrame(
            response, version: pending.context.header.version, correlationID: pending.context.header.correlationID)
        answer(pending.context.connection, pending.context.slot, splice(head, gaps, round.pieces))
        return true
    }

    /// After a round: what is to be looked at again. Those that were left behind come first, or the first partitions of
    /// a busy session would starve the last.
    private func putBack(_ round: FetchRound, of session: FetchSession, isTold: Bool) {
        // What came meanwhile is behind them.
        let since = session.takeNoted()
        if isTold {
            for slot in round.cut { session.note(slot) }
            for (slot, told) in round.told { session.told(slot, told) }
        } else {
            // As before, without those that had nothing to say.
            let speaking = Set(round.cut + round.again + round.told.map(\.index))
            for slot in round.noted where speaking.contains(slot) { session.note(slot) }
            for (slot, _) in round.told { session.note(slot) }
            for slot in round.cut { session.note(slot) }
        }
        for slot in since { session.note(slot) }
        for slot in round.again { session.note(slot) }
    }

    private func splice(_ head: ByteBuffer, _ gaps: [Int], _ records: [OutboundPiece]) -> [OutboundPiece] {
        precondition(gaps.count == records.count, "\(gaps.count) gaps for \(records.count) pieces")
        var pieces: [OutboundPiece] = []
        var head = head
        var taken = 0
        for (gap, piece) in zip(gaps, records) {
            if gap > taken, let bytes = head.readSlice(length: gap - taken) { pieces.append(.bytes(bytes)) }
            taken = gap
            pieces.append(piece)
        }
        if head.readableBytes > 0 { pieces.append(.bytes(head)) }
        return pieces
    }

    private func read(_ pending: PendingFetch) -> FetchRound {
        var round = FetchRound()
        guard let session = pending.session else {
            for index in pending.targets.indices {
                var target = pending.targets[index]
                read(&target, index, pending, &round)
            }
            return round
        }
        let noted = session.takeNoted()
        let sinceMs = reading.now.milliseconds(since: session.walkedAt)
        // Other shards' replicas take no note here.
        let isWhole =
            !pending.isIncremental || shardCount > 1
            || sinceMs >= configuration.timing.replicaFetchMaxWaitMs
        if isWhole { session.walkedAt = reading.now }
        round.noted = noted
        // Those that wait come first also where all are looked at.
        for slot in noted { read(slot, of: session, pending, &round) }
        guard isWhole else { return round }
        let seen = Set(noted)
        for slot in session.targets.indices where !seen.contains(slot) { read(slot, of: session, pending, &round) }
        return round
    }

    private func read(_ slot: Int, of session: FetchSession, _ pending: PendingFetch, _ round: inout FetchRound) {
        guard var target = session.targets[slot] else { return }
        let before = (target.topicPartition, target.unknown)
        read(&target, slot, pending, &round)
        if (target.topicPartition, target.unknown) != before { session.resolved(slot, target) }
        if target.unknown == nil, let replica = replicas[target.topicPartition] { session.join(replica, slot) }
    }

    private func read(
        _ target: inout FetchTarget, _ index: Int, _ pending: PendingFetch, _ round: inout FetchRound
    ) {
        var answer = FetchResponse.Partition()
        let piece: OutboundPiece?
        let cutBefore = round.cut.count
        if let gather = pending.gather, gather.owners[index] != self.index {
            // Others have not answered yet, or have no news.
            guard let found = gather.answers[index] ?? missedAnswer(target, pending, gather) else {
                round.cut.append(index)
                return
            }
            answer = found
            if answer.errorCode != .none || answer.divergingEpoch.epoch >= 0 { round.isUrgent = true }
            piece = take(&answer, for: target, index, pending, &round)
            // Its shard had no room for it: its turn is to come.
            if piece == nil, answer.highWatermark > target.fetchOffset { round.cut.append(index) }
        } else {
            resolve(&target)
            answer.partitionIndex = target.partition
            answer.lastStableOffset = -1
            answer.recordsLength = 0
            answer.records = ByteBuffer()
            piece = read(target, index, pending, &answer, &round).map { .file($0) }
        }
        let told = ToldToReader(
            highWatermark: answer.highWatermark, logStartOffset: answer.logStartOffset, error: answer.errorCode,
            cleanedByAll: answer.cleanedByAll)
        let isNews =
            piece != nil || answer.divergingEpoch.epoch >= 0 || answer.errorCode != .none || told != target.told
        // Followers delete when their leader does, and not half a second later.
        if pending.reader.replica != nil, answer.logStartOffset > target.logStartOffset,
            answer.logStartOffset != target.told.logStartOffset, pending.hasSession
        {
            round.isUrgent = true
        }
        guard !pending.isIncremental || isNews else { return }
        round.told.append((index, told))
        if let piece {
            let sizeBytes = piece.sizeBytes
            round.pieces.append(piece)
            round.sizeBytes += sizeBytes
            answer.recordsLength = sizeBytes
            // It had its turn, whatever more there was.
            if round.cut.count > cutBefore { round.cut.removeLast() }
        }
        let isDone = piece == nil && answer.divergingEpoch.epoch < 0 && answer.errorCode == .none
        if !isDone, round.cut.count == cutBefore { round.again.append(index) }
        if pending.context.part == nil {
            append(answer, for: target, to: &round.response)
        } else {
            round.found.append(FetchedPartition(index: index, answer: answer))
        }
    }

    /// The records of another shard's partition.
    private func take(
        _ answer: inout FetchResponse.Partition, for target: FetchTarget, _ index: Int, _ pending: PendingFetch,
        _ round: inout FetchRound
    ) -> OutboundPiece? {
        let room = min(target.maxBytes, pending.maxBytes - round.sizeBytes)
        let (records, isCut) = take(&answer, room: room, isFirst: round.sizeBytes == 0)
        if isCut { round.cut.append(index) }
        return records.map { .bytes($0) }
    }

    /// A whole answer speaks of every partition, also of one whose shard was not waited for.
    private func missedAnswer(
        _ target: FetchTarget, _ pending: PendingFetch, _ gather: FetchGather
    ) -> FetchResponse.Partition? {
        guard !pending.isIncremental, gather.waiting.isEmpty else { return nil }
        var answer = FetchResponse.Partition()
        answer.partitionIndex = target.partition
        answer.errorCode = .notLeaderOrFollower
        answer.highWatermark = -1
        return answer
    }

    /// A session outlives the moment in which its topics were looked up: this node may have learned of one since, or a
    /// name may belong to another topic now.
    func resolve(_ target: inout FetchTarget) {
        guard target.unknown != nil || replicas[target.topicPartition] == nil else { return }
        let name = target.topicName
        let topic =
            name.isEmpty ? view.image.topic(id: target.topicPartition.topicID) : view.image.topic(named: name)
        guard let topic else {
            target.unknown = name.isEmpty ? .unknownTopicId : .unknownTopicOrPartition
            return
        }
        target.unknown = nil
        target.topicPartition = TopicPartition(topic.id, target.partition)
    }

    private func append(_ answer: FetchResponse.Partition, for target: FetchTarget, to response: inout FetchResponse) {
        let last = response.topics.count - 1
        if last >= 0, response.topics[last].name == target.topicName,
            response.topics[last].topicID == target.topicPartition.topicID
        {
            response.topics[last].partitions.append(answer)
        } else {
            var topic = FetchResponse.Topic()
            topic.name = target.topicName
            topic.topicID = target.topicPartition.topicID
            topic.partitions = [answer]
            response.topics.append(topic)
        }
    }

    private func read(
        _ target: FetchTarget, _ index: Int, _ pending: PendingFetch, _ answer: inout FetchResponse.Partition,
        _ round: inout FetchRound
    ) -> LogSlice? {
        guard let replica = replicas[target.topicPartition], target.unknown == nil else {
            answer.errorCode = target.unknown ?? missing(target)
            answer.highWatermark = -1
            round.isUrgent = true
            return nil
        }
        answer.logStartOffset =
            pending.reader.replica == nil && !pending.reader.isRepair
            ? replica.visibleStart : replica.partition.startForFollowers(log: replica.logView)
        let decision = decide(target, pending, replica)
        answer.highWatermark = replica.partition.highWatermark
        answer.lastStableOffset = replica.partition.highWatermark
        if pending.reader.isRepair, replica.isLeader {
            // By the leader's word a lost copy gives way.
            answer.currentLeader.leaderID = configuration.nodeID
            answer.currentLeader.leaderEpoch = replica.partition.leaderEpoch
        }
        guard tellProducers(of: replica, decision, index, pending.reader, &answer, &round) else { return nil }
        switch decision {
        case .error(let error):
            answer.errorCode = error
            answer.highWatermark = -1
            answer.lastStableOffset = -1
            // By this one a follower starts over: nothing above it may be missing.
            if pending.reader.replica != nil { answer.logStartOffset = replica.log.startOffset }
            // With the leader goes its address, for which earlier versions have no place (KIP-951): kafka-python 3
            // believes the one, misses the other, and never asks that node again.
            if error == .notLeaderOrFollower || error == .fencedLeaderEpoch, pending.context.header.version >= 16,
                let registration = view.image.partition(target.topicPartition), let leader = registration.leader
            {
                answer.currentLeader.leaderID = leader
                answer.currentLeader.leaderEpoch = registration.leaderEpoch
            }
            round.isUrgent = true
            return nil
        case .diverging(let epoch, let endOffset):
            answer.divergingEpoch.epoch = epoch
            answer.divergingEpoch.endOffset = endOffset
            // Where the fork lies below it a follower starts over there.
            if pending.reader.replica != nil { answer.logStartOffset = replica.log.startOffset }
            round.isUrgent = true
            return nil
        case .read(let limit, _):
            if let follower = pending.reader.replica {
                cleanedTold(target.cleanedEnd, by: follower.id, follower.brokerEpoch, of: replica)
                answer.cleanedByAll = noteCleanedByAll(replica)
            }
            return readLog(target, index, pending, of: replica, below: limit, &answer, &round)
        }
    }

    private func readLog(
        _ target: FetchTarget, _ index: Int, _ pending: PendingFetch, of replica: Replica, below limit: Offset,
        _ answer: inout FetchResponse.Partition, _ round: inout FetchRound
    ) -> LogSlice? {
        var room = min(target.maxBytes, pending.maxBytes - round.sizeBytes)
        if room < target.maxBytes { round.cut.append(index) }
        guard room > 0 || round.sizeBytes == 0 else { return nil }
        // To a repair an answer without records says that there are none.
        if target.fetchOffset < limit, !pending.reader.isRepair {
            let readable = readableNow(target, room, replica, &round)
            if readable ?? 0 < room, room == target.maxBytes { round.cut.append(index) }
            guard let readable else { return nil }
            room = readable
        }
        do throws(LogError) {
            // The first partition with data gives at least one batch, whatever the limits say (KIP-74).
            return try replica.log.read(
                from: target.fetchOffset, maxBytes: room, below: limit, atLeastOne: round.sizeBytes == 0,
                skippingEmpty: pending.reader.replica == nil && !pending.reader.isRepair)
        } catch {
            answer.errorCode = error.errorCode
            round.isUrgent = true
            logFailed(replica, error)
            return nil
        }
    }

    private func decide(_ target: FetchTarget, _ pending: PendingFetch, _ replica: Replica) -> FetchDecision {
        if pending.reader.isRepair {
            return replica.partition.repairFetch(
                offset: target.fetchOffset, lastFetchedEpoch: target.lastFetchedEpoch,
                currentLeaderEpoch: target.currentLeaderEpoch, log: replica.logView)
        }
        guard let follower = pending.reader.replica else {
            return replica.partition.consumerFetch(
                offset: target.fetchOffset,
                currentLeaderEpoch: target.currentLeaderEpoch, lastFetchedEpoch: target.lastFetchedEpoch,
                log: replica.logView)
        }
        // A forged replica id names no registered incarnation, and changes nothing.
        guard let registered = view.image.brokers[follower.id], registered.epoch == follower.brokerEpoch,
            follower.said == NodeIdentity(id: follower.id, incarnationID: registered.incarnationID)
        else {
            complain(
                pending.context,
                "a fetch as replica \(follower.id) under epoch \(follower.brokerEpoch), which is not its own")
            return .error(.notLeaderOrFollower)
        }
        let fetch = ReplicaFetch(
            replica: follower.id, brokerEpoch: follower.brokerEpoch, fetchOffset: target.fetchOffset,
            lastFetchedEpoch: target.lastFetchedEpoch, currentLeaderEpoch: target.currentLeaderEpoch,
            logStartOffset: target.logStartOffset)
        var decision = FetchDecision.error(.unknownServerError)
        perform(on: replica) { decision = $0.fetched(fetch, log: replica.logView, at: reading.now, into: &$1) }
        return decision
    }

    private func missing(_ target: FetchTarget) -> ErrorCode {
        view.image.partition(target.topicPartition) == nil ? .unknownTopicOrPartition : .notLeaderOrFollower
    }

    private func endpoints(of response: FetchResponse) -> [FetchResponse.NodeEndpoint] {
        var hinted = SortedMap<NodeID, Bool>()
        for topic in response.topics {
            for partition in topic.partitions where partition.currentLeader.leaderID >= 0 {
                hinted[partition.currentLeader.leaderID] = true
            }
        }
        return hinted.keys.compactMap { id in
            guard let broker = view.image.brokers[id] else { return nil }
            var endpoint = FetchResponse.NodeEndpoint()
            endpoint.nodeID = id
            endpoint.host = broker.endpoint.host
            endpoint.port = Int32(broker.endpoint.port)
            endpoint.rack = broker.rack
            return endpoint
        }
    }
}
