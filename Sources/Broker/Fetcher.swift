// The follower loop: one per leader and kind of durability. Ask, write, flush, ask again; the next question is the
// acknowledgement.

import Model
import NIOCore
import Records
import Replication
import Storage
import Wire

/// Where one partition's next fetch begins, as the leader was told.
struct FetchPosition: Equatable {
    var offset: Offset
    var lastFetchedEpoch: LeaderEpoch
    var leaderEpoch: LeaderEpoch
    var logStartOffset: Offset
    /// How far a compacted log is clean.
    var cleanedEnd: Offset
}

/// A position and the fetch that carried it. Answers to earlier fetches are void for this partition: a later one asks
/// anew.
struct ToldPosition {
    var position: FetchPosition
    var sequence: UInt64
}

/// A fetch under way.
struct OwnFetch {
    var link: LinkID
    var sequence: UInt64
}

/// A class: it is changed in many small steps, and a value in a map would be copied, maps and all, at each.
final class Fetcher {
    let link: LinkID
    var endpoint: Endpoint
    var isConnected = false
    var partitions = SortedMap<TopicPartition, Bool>()
    /// What the leader's session holds for us.
    var told = SortedMap<TopicPartition, ToldPosition>()
    /// Whose next position may be another than what the leader was told; with repeats, in no order. A round costs what
    /// has moved, not what there is.
    private(set) var noted: [TopicPartition] = []
    /// Counts the fetches sent.
    var sequence: UInt64 = 0
    var sessionID: Int32 = 0
    var sessionEpoch: Int32 = 0
    /// Fetches under way. A second one leaves beside a waiting one when partitions joined or moved: the leader then
    /// answers the first at once.
    var outstanding = 0
    /// Partitions whose fetched records are not on disk yet; no fetch leaves before they are.
    var unflushed = SortedMap<TopicPartition, Offset>()
    /// Partitions that failed and rest until the retry.
    var resting = SortedMap<TopicPartition, Bool>()
    var retryAt: Instant?

    init(link: LinkID, endpoint: Endpoint, partitions: SortedMap<TopicPartition, Bool> = .init()) {
        self.link = link
        self.endpoint = endpoint
        self.partitions = partitions
        noted = partitions.keys
    }

    func resetSession() {
        sessionID = 0
        sessionEpoch = 0
        forgetTold()
    }

    /// The leader keeps nothing of us: all is to be told again.
    func forgetTold() {
        told.removeAll()
        noted = partitions.keys
    }

    func note(_ topicPartition: TopicPartition) { noted.append(topicPartition) }

    func take(_ topicPartition: TopicPartition) {
        partitions[topicPartition] = true
        resting.removeValue(forKey: topicPartition)
        note(topicPartition)
    }

    /// Nothing is fetched for it from here any more.
    func leave(_ topicPartition: TopicPartition) {
        partitions.removeValue(forKey: topicPartition)
        unflushed.removeValue(forKey: topicPartition)
        resting.removeValue(forKey: topicPartition)
        note(topicPartition)
    }

    func rest(_ topicPartition: TopicPartition) {
        resting[topicPartition] = true
        note(topicPartition)
    }

    /// The rest of all is over.
    func wake() {
        noted += resting.keys
        resting.removeAll()
    }

    /// In order, each once; from here on nothing is noted.
    func takeNoted() -> [TopicPartition] {
        defer { noted = [] }
        return noted.count < 2 ? noted : Set(noted).sorted()
    }
}

extension Shard {
    static let fetcherRetryMs: Int64 = 30
    /// The first rest: a leader that has only to hear of its election is ready soon. It doubles up to the above.
    static let fetcherRetryMsMin: Int64 = 2
    static let replicaFetchResponseBytesMax: Int32 = 10 * 1024 * 1024
    static let replicaFetchBytesMax: Int32 = 1024 * 1024

    // MARK: Who is fetched from where

    /// Puts a replica with the fetcher that its role asks for.
    func updateFetcher(of replica: Replica) {
        var wanted: LinkID?
        // A damaged copy asks for nothing: its place in the leader's session would be answered again and again.
        if case .follower(let leader?) = replica.partition.role, !replica.logView.isDamaged,
            replicas[replica.topicPartition] === replica
        {
            wanted = LinkID(node: leader, kind: replica.settings.synchronous ? .fetchSync : .fetchAsync)
        }
        if let current = replica.fetcher, current != wanted { removeFromFetcher(replica) }
        guard let wanted, let endpoint = view.image.brokers[wanted.node]?.endpoint else { return }
        if let existing = fetchers[wanted], existing.endpoint != endpoint {
            // The leader came back at another address.
            effects.append(.closeLink(wanted))
            _ = fetches.takeAll(on: wanted)
            fetchers[wanted] = Fetcher(link: wanted, endpoint: endpoint, partitions: existing.partitions)
            effects.append(.openLink(wanted, endpoint))
        }
        if fetchers[wanted] == nil {
            fetchers[wanted] = Fetcher(link: wanted, endpoint: endpoint)
            effects.append(.openLink(wanted, endpoint))
        }
        fetchers[wanted]?.take(replica.topicPartition)
        replica.fetcher = wanted
    }

    func removeFromFetcher(_ replica: Replica) {
        guard let link = replica.fetcher else { return }
        replica.fetcher = nil
        fetchers[link]?.leave(replica.topicPartition)
    }

    /// What is asked of the leader for this replica may be something else from now on. Every change of its partition's
    /// state, of its log's ends and of how far it is clean leads here before the step is over.
    func noteFetchPosition(of replica: Replica) {
        guard let link = replica.fetcher, !replica.isFetchNoted else { return }
        // Mutant: the next request leaves it out (N1).
        if configuration.plantedBug == .positionNotNoted { return }
        replica.isFetchNoted = true
        fetchers[link]?.note(replica.topicPartition)
    }

    /// Links to leaders that nothing is fetched from any more are closed.
    func dropFetchers() {
        for (link, fetcher) in fetchers where fetcher.partitions.isEmpty {
            fetchers.removeValue(forKey: link)
            _ = fetches.takeAll(on: link)
            effects.append(.closeLink(link))
        }
    }

    // MARK: Asking

    func runFetchers() {
        expireFetches()
        for link in fetchers.keys { runFetcher(link) }
    }

    private func runFetcher(_ link: LinkID) {
        guard let fetcher = fetchers[link], fetcher.isConnected, view.brokerEpoch >= 0, !isStopping,
            // Mutant: see Partition.nextFetch (P6).
            fetcher.unflushed.isEmpty || link.kind == .fetchAsync
                || configuration.plantedBug == .followerClaimsUnflushed,
            fetcher.outstanding == 0 || (fetcher.outstanding == 1 && fetcher.sessionID != 0)
        else { return }
        if fetcher.retryAt == nil { fetcher.wake() }
        guard fetcher.outstanding == 0 || !fetcher.noted.isEmpty else { return }
        let request = nextRequest(of: fetcher)
        let isNews = !request.topics.isEmpty || !request.forgottenTopics.isEmpty
        guard isNews || (fetcher.outstanding == 0 && !fetcher.told.isEmpty) else { return }
        fetcher.sequence += 1
        fetcher.outstanding += 1
        if fetcher.sessionEpoch > 0 {
            fetcher.sessionEpoch = fetcher.sessionEpoch == .max ? 1 : fetcher.sessionEpoch + 1
        }
        let correlationID = fetches.add(
            OwnFetch(link: link, sequence: fetcher.sequence), api: .fetch, version: FetchRequest.versions.upperBound,
            link: link,
            deadline: reading.now.advanced(
                byMs: configuration.timing.replicaFetchMaxWaitMs + 4 * configuration.timing.requestTimeoutMs))
        effects.append(
            .send(
                link,
                encodeRequestFrame(
                    request, version: FetchRequest.versions.upperBound, correlationID: correlationID,
                    clientID: "node-\(configuration.nodeID)")))
    }

    /// The next question; from here on the leader counts as told.
    private func nextRequest(of fetcher: Fetcher) -> FetchRequest {
        var request = FetchRequest()
        request.replicaState.replicaID = configuration.nodeID
        request.replicaState.replicaEpoch = view.brokerEpoch
        request.maxWaitMs = Int32(configuration.timing.replicaFetchMaxWaitMs)
        request.minBytes = 1
        request.maxBytes = Self.replicaFetchResponseBytesMax
        request.sessionID = fetcher.sessionID
        request.sessionEpoch = fetcher.sessionEpoch
        for topicPartition in fetcher.takeNoted() {
            let replica = replicas[topicPartition]
            replica?.isFetchNoted = false
            guard fetcher.partitions[topicPartition] != nil, fetcher.resting[topicPartition] == nil else {
                if fetcher.told.removeValue(forKey: topicPartition) != nil, fetcher.sessionEpoch > 0 {
                    request.forget(topicPartition)
                }
                continue
            }
            guard let replica, let position = nextPosition(of: replica),
                fetcher.told[topicPartition]?.position != position
            else { continue }
            fetcher.told[topicPartition] = ToldPosition(position: position, sequence: fetcher.sequence + 1)
            request.add(topicPartition, position, directoryID: directory.identity.directoryID)
        }
        return request
    }

    func nextPosition(of replica: Replica) -> FetchPosition? {
        guard let next = replica.partition.nextFetch(log: replica.logView) else { return nil }
        return FetchPosition(
            offset: next.offset, lastFetchedEpoch: next.lastFetchedEpoch, leaderEpoch: next.currentLeaderEpoch,
            logStartOffset: replica.log.startOffset,
            cleanedEnd: replica.settings.compacts ? replica.log.cleanedEnd : 0)
    }

    // MARK: Being answered

    func linkEvent(_ event: LinkEvent) {
        if event.link.kind == .repair { return repairLinkEvent(event) }
        switch event {
        case .connected(let link):
            fetchers[link]?.isConnected = true
            fetchers[link]?.resetSession()
            introduce(on: link)
        case .failed(let link, _):
            fetchers[link]?.isConnected = false
            fetchers[link]?.outstanding = 0
            fetchers[link]?.resetSession()
            _ = fetches.takeAll(on: link)
        case .frameReceived(let link, var frame):
            guard let id = frame.getInteger(at: frame.readerIndex, as: Int32.self),
                let request = fetches.take(id, from: link)
            else { return }
            fetchers[link]?.outstanding -= 1
            do throws(WireError) {
                let answer = try decodeResponse(of: FetchRequest.self, version: request.version, from: &frame).response
                fetched(on: link, answer, sequence: request.purpose.sequence)
            } catch {
                log(.error, "node \(link.node) answered a fetch with what cannot be read (\(error))")
                fetchers[link]?.resetSession()
                rest(link)
            }
        }
    }

    /// The first word on a link; its answer is of no interest, and its correlation id that of no fetch.
    func introduce(on link: LinkID) {
        var hello = NodeHelloRequest()
        hello.nodeID = configuration.nodeID
        hello.clusterID = view.clusterID
        hello.directoryID = directory.identity.directoryID
        hello.incarnationID = view.incarnationID
        hello.brokerEpoch = view.brokerEpoch
        hello.host = configuration.advertised.host
        hello.port = configuration.advertised.port
        effects.append(
            .send(
                link,
                encodeRequestFrame(
                    hello, version: NodeHelloRequest.versions.upperBound, correlationID: 0,
                    clientID: "node-\(configuration.nodeID)")))
    }

    private func fetched(on link: LinkID, _ response: FetchResponse, sequence: UInt64) {
        guard response.errorCode == .none else {
            fetchers[link]?.resetSession()
            return rest(link)
        }
        if fetchers[link]?.sessionEpoch == 0 {
            fetchers[link]?.sessionID = response.sessionID
            fetchers[link]?.sessionEpoch = response.sessionID == 0 ? 0 : 1
        }
        for topic in response.topics {
            for partition in topic.partitions {
                fetched(TopicPartition(topic.topicID, partition.partitionIndex), partition, on: link, sequence)
            }
        }
        // Without a session the leader keeps nothing, so all is told again.
        if fetchers[link]?.sessionID == 0 { fetchers[link]?.forgetTold() }
    }

    private func fetched(
        _ topicPartition: TopicPartition, _ answer: FetchResponse.Partition, on link: LinkID, _ sequence: UInt64
    ) {
        guard let replica = replicas[topicPartition], replica.fetcher == link,
            let told = fetchers[link]?.told[topicPartition], told.sequence <= sequence
        else { return }
        let position = told.position
        // The leader says it once, whatever becomes of the rest.
        if replica.settings.compacts, position.leaderEpoch == replica.partition.leaderEpoch {
            replica.cleaning.note(
                cleanedByAll: answer.cleanedByAll, at: reading.now,
                deleteRetentionMs: replica.settings.deleteRetentionMs)
        }
        guard let next = replica.partition.nextFetch(log: replica.logView), next.offset == position.offset,
            next.currentLeaderEpoch == position.leaderEpoch
        else { return }
        var fetched: (bytes: ByteBuffer, headers: [BatchHeader])?
        if let sent = answer.records, sent.readableBytes > 0 {
            do throws(BatchError) {
                var expected = replica.log.endOffset
                let records = cutToFollowOn(sent, at: expected)
                // An empty log may begin inside the leader's first batch.
                if replica.log.startOffset == expected,
                    let first = BatchHeader(reading: records, at: records.readerIndex),
                    first.baseOffset < expected, first.nextOffset > expected
                {
                    expected = first.baseOffset
                }
                let checked = try checkReplicated(records, expectedOffset: expected)
                var bytes = records
                if !checked.headers.isEmpty, let whole = bytes.readSlice(length: checked.sizeBytes) {
                    fetched = (whole, checked.headers)
                }
            } catch {
                log(.error, "\(replica.name): node \(link.node) sent records that fail their check: \(error.message)")
                return rest(link, topicPartition)
            }
        }
        let span = fetched.flatMap { batches -> BatchSpan? in
            guard let first = batches.headers.first, let last = batches.headers.last else { return nil }
            return BatchSpan(baseOffset: first.baseOffset, nextOffset: last.nextOffset)
        }
        let verdict = ReplicaFetchAnswer(
            error: answer.errorCode, leaderEpoch: position.leaderEpoch, highWatermark: answer.highWatermark,
            logStartOffset: answer.logStartOffset,
            diverging: answer.divergingEpoch.epoch >= 0
                ? EpochEnd(epoch: answer.divergingEpoch.epoch, endOffset: answer.divergingEpoch.endOffset) : nil,
            batches: span)
        let endBefore = replica.log.endOffset
        perform(on: replica, fetched: fetched, producers: answer.producers.flatMap(ProducerSnapshots.decode)) {
            $0.fetchAnswered(verdict, log: replica.logView, at: reading.now, into: &$1)
        }
        // Records that could not be written, or a cut that could not be made (a full disk), would be asked for again at
        // once, and again.
        let moves = fetched != nil || answer.divergingEpoch.epoch >= 0
        if answer.errorCode != .none || (moves && replica.log.endOffset == endBefore) {
            rest(link, topicPartition)
        } else {
            replica.rests = 0
        }
        if replica.flushedEnd < replica.log.endOffset, replica.fetcher == link {
            replica.requestFlush(appendedBytes: fetched?.bytes.readableBytes ?? 0)
            fetchers[link]?.unflushed[topicPartition] = replica.log.endOffset
        }
    }

    /// The records of a partition reached the disk; when it was the last that the next fetch waited for, that one
    /// leaves.
    func followerFlushed(_ replica: Replica) {
        guard let link = replica.fetcher, let end = fetchers[link]?.unflushed[replica.topicPartition],
            replica.flushedEnd >= min(end, replica.log.endOffset)
        else { return }
        fetchers[link]?.unflushed.removeValue(forKey: replica.topicPartition)
    }

    private func rest(_ link: LinkID, _ topicPartition: TopicPartition? = nil) {
        guard let fetcher = fetchers[link] else { return }
        var delayMs = Self.fetcherRetryMs
        if let topicPartition {
            fetcher.rest(topicPartition)
            if let replica = replicas[topicPartition] {
                delayMs = min(delayMs, Self.fetcherRetryMsMin << min(replica.rests, 8))
                replica.rests += 1
            }
        } else {
            for key in fetcher.partitions.keys { fetcher.rest(key) }
        }
        let at = reading.now.advanced(byMs: delayMs)
        if let earlier = fetcher.retryAt, earlier <= at { return }
        fetcher.retryAt = at
        timers.add(.fetcher(link), at: at)
    }

    /// The rest is over, unless it is the one of before.
    func restEnded(_ link: LinkID) {
        guard let fetcher = fetchers[link], let at = fetcher.retryAt, at <= reading.now else { return }
        fetcher.retryAt = nil
    }

    private func expireFetches() {
        for request in fetches.takeExpired(at: reading.now) {
            guard let link = request.link, let fetcher = fetchers[link] else { continue }
            // A leader that takes bytes and answers nothing: begin anew on another connection.
            effects.append(.closeLink(link))
            effects.append(.openLink(link, fetcher.endpoint))
            fetchers[link]?.isConnected = false
            fetchers[link]?.outstanding = 0
            fetchers[link]?.resetSession()
        }
    }
}

extension FetchRequest {
    fileprivate mutating func add(_ topicPartition: TopicPartition, _ position: FetchPosition, directoryID: UUID128) {
        var partition = Partition()
        partition.partitionIndex = topicPartition.partition
        partition.currentLeaderEpoch = position.leaderEpoch
        partition.fetchOffset = position.offset
        partition.lastFetchedEpoch = position.lastFetchedEpoch
        partition.logStartOffset = position.logStartOffset
        partition.cleanedEnd = position.cleanedEnd
        partition.partitionMaxBytes = Shard.replicaFetchBytesMax
        partition.replicaDirectoryID = directoryID
        if let last = topics.indices.last, topics[last].topicID == topicPartition.topicID {
            topics[last].partitions.append(partition)
        } else {
            var topic = Topic()
            topic.topicID = topicPartition.topicID
            topic.partitions = [partition]
            topics.append(topic)
        }
    }

    fileprivate mutating func forget(_ topicPartition: TopicPartition) {
        if let last = forgottenTopics.indices.last, forgottenTopics[last].topicID == topicPartition.topicID {
            forgottenTopics[last].partitions.append(topicPartition.partition)
        } else {
            var topic = ForgottenTopic()
            topic.topicID = topicPartition.topicID
            topic.partitions = [topicPartition.partition]
            forgottenTopics.append(topic)
        }
    }
}
