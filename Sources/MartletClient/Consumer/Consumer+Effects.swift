// What the machine asks for, done with connections and requests; and what comes back, given to the machine.

import Model
import NIOCore
import Wire

extension Consumer {
    func perform(_ effect: ConsumerMachine.Effect) {
        switch effect {
        case .connect(let node): connect(to: node)
        case .fetch(let dispatch): fetch(dispatch)
        case .locate(let question): locate(question)
        case .compare(let question): compare(question)
        case .askMetadata(let topics): askMetadata(topics)
        case .abandon(let node): abandon(node)
        }
    }

    /// The open connection to a node, or the end of a request for want of one.
    private func link(to node: NodeID, for id: Int) -> BrokerConnection? {
        if let link = openLink(to: node) { return link }
        lost(id, .refused(what: "reach node \(node)", .brokerNotAvailable, message: nil))
        return nil
    }

    private func lost(_ id: Int, _ error: ClientError) {
        let now = pump.now
        let isNews = state.withLockedValue { $0.machine.lost(id, error, at: now) }
        if isNews { wakeReaders() }
        drainSoon()
    }

    // MARK: Fetch

    private func fetch(_ dispatch: ConsumerMachine.FetchDispatch) {
        guard let link = link(to: dispatch.node, for: dispatch.id) else { return }
        var request = FetchRequest()
        request.maxWaitMs = dispatch.waitMs
        request.minBytes = configuration.fetchBytesMin
        request.maxBytes = configuration.fetchBytesMax
        request.isolationLevel = configuration.isolation.rawValue
        request.rackID = configuration.rack
        request.topics = grouped(dispatch.entries, by: \.partition.topic).map { name, entries in
            var topic = FetchRequest.Topic()
            topic.name = name
            topic.partitions = entries.map { entry in
                var partition = FetchRequest.Partition()
                partition.partitionIndex = entry.partition.partition
                partition.currentLeaderEpoch = entry.leaderEpoch
                partition.fetchOffset = entry.offset
                partition.lastFetchedEpoch = entry.lastEpoch
                partition.partitionMaxBytes = entry.bytesMax
                return partition
            }
            return topic
        }
        let timeoutMs = configuration.requestTimeoutMs + Int64(dispatch.waitMs)
        // Version 13 names topics by id only.
        // Nobody may hold the consumer any more when the answer comes: then reading ends.
        link.send(request, maxVersion: 12, timeoutMs: timeoutMs) { [weak self] in self?.received($0, to: dispatch.id) }
    }

    private func received(_ result: Result<FetchResponse, ClientError>, to id: Int) {
        switch result {
        case .failure(let error): lost(id, error)
        case .success(let response) where response.errorCode != .none:
            lost(id, .refused(what: "read", response.errorCode, message: nil))
        case .success(let response):
            var answers: [TopicPartition: ConsumerMachine.FetchAnswer] = [:]
            for topic in response.topics {
                for partition in topic.partitions {
                    answers[TopicPartition(topic.name, partition.partitionIndex)] = .init(partition)
                }
            }
            let now = pump.now
            let isNews = state.withLockedValue { $0.machine.fetched(id, answers, at: now) }
            // On the loop already: the next request goes out before the readers wake up.
            drain()
            if isNews { wakeReaders() }
        }
    }

    // MARK: Offsets

    private func locate(_ question: ConsumerMachine.Question) {
        guard let link = link(to: question.node, for: question.id) else { return }
        var request = ListOffsetsRequest()
        request.replicaID = -1
        request.isolationLevel = configuration.isolation.rawValue
        request.timeoutMs = Int32(clamping: configuration.requestTimeoutMs)
        request.topics = grouped(question.entries, by: \.partition.topic).map { name, entries in
            var topic = ListOffsetsRequest.Topic()
            topic.name = name
            topic.partitions = entries.map { entry in
                var partition = ListOffsetsRequest.Partition()
                partition.partitionIndex = entry.partition.partition
                partition.currentLeaderEpoch = entry.leaderEpoch
                partition.timestamp = entry.subject
                return partition
            }
            return topic
        }
        link.send(request, maxVersion: .max, timeoutMs: configuration.requestTimeoutMs) { result in
            guard case .success(let response) = result else { return self.lost(question.id, result.failure) }
            var answers: [TopicPartition: ConsumerMachine.OffsetAnswer] = [:]
            for topic in response.topics {
                for partition in topic.partitions {
                    answers[TopicPartition(topic.name, partition.partitionIndex)] =
                        .init(code: partition.errorCode, offset: partition.offset)
                }
            }
            let now = self.pump.now
            self.state.withLockedValue { $0.machine.located(question.id, answers, at: now) }
            if self.state.withLockedValue({ $0.machine.hasFailureToTell }) { self.wakeReaders() }
            self.drainSoon()
        }
    }

    private func compare(_ question: ConsumerMachine.Question) {
        guard let link = link(to: question.node, for: question.id) else { return }
        var request = OffsetForLeaderEpochRequest()
        request.replicaID = -1
        request.topics = grouped(question.entries, by: \.partition.topic).map { name, entries in
            var topic = OffsetForLeaderEpochRequest.Topic()
            topic.name = name
            topic.partitions = entries.map { entry in
                var partition = OffsetForLeaderEpochRequest.Partition()
                partition.partitionIndex = entry.partition.partition
                partition.currentLeaderEpoch = entry.leaderEpoch
                partition.leaderEpoch = LeaderEpoch(clamping: entry.subject)
                return partition
            }
            return topic
        }
        link.send(request, maxVersion: .max, timeoutMs: configuration.requestTimeoutMs) { result in
            if case .failure(.unsupported) = result {
                self.state.withLockedValue { $0.machine.cannotCompare(question.id) }
                return self.drainSoon()
            }
            guard case .success(let response) = result else { return self.lost(question.id, result.failure) }
            var answers: [TopicPartition: ConsumerMachine.OffsetAnswer] = [:]
            for topic in response.topics {
                for partition in topic.partitions {
                    answers[TopicPartition(topic.name, partition.partitionIndex)] =
                        .init(code: partition.errorCode, offset: partition.endOffset, epoch: partition.leaderEpoch)
                }
            }
            let now = self.pump.now
            let isNews = self.state.withLockedValue { $0.machine.compared(question.id, answers, at: now) }
            if isNews { self.wakeReaders() }
            self.drainSoon()
        }
    }
}

extension Result where Failure == ClientError {
    /// The error of a failure.
    fileprivate var failure: ClientError {
        if case .failure(let error) = self { return error }
        return .closed
    }
}

/// Entries by topic, topics in the order of their first entry.
private func grouped<Entry>(_ entries: [Entry], by topic: (Entry) -> String) -> [(String, [Entry])] {
    var groups: [(String, [Entry])] = []
    var places: [String: Int] = [:]
    for entry in entries {
        let name = topic(entry)
        if let at = places[name] {
            groups[at].1.append(entry)
        } else {
            places[name] = groups.count
            groups.append((name, [entry]))
        }
    }
    return groups
}

extension ConsumerMachine.FetchAnswer {
    init(_ partition: FetchResponse.Partition) {
        self.init()
        code = partition.errorCode
        highWatermark = partition.highWatermark
        bytes = partition.records
        aborted = (partition.abortedTransactions ?? []).map {
            FetchedChunk.AbortedTransaction(producerID: $0.producerID, firstOffset: $0.firstOffset)
        }
        let diverging = partition.divergingEpoch
        divergedAt = diverging.endOffset >= 0 ? (diverging.endOffset, diverging.epoch) : nil
        let leader = partition.currentLeader
        leaderHint = leader.leaderID >= 0 ? (leader.leaderID, leader.leaderEpoch) : nil
        preferredReplica = partition.preferredReadReplica >= 0 ? partition.preferredReadReplica : nil
    }
}
