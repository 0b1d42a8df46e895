// What the machine asks for, done with connections and requests; and what comes back, given to the machine.

import Model
import NIOCore
import Wire

extension Producer {
    func perform(_ effect: ProducerMachine<Delivery>.Effect) {
        switch effect {
        case .connect(let node): connect(to: node, after: state.withLockedValue { $0.learning })
        case .send(let dispatch): send(dispatch)
        case .askProducerIdentity: askProducerIdentity()
        case .askMetadata(let topics): askMetadata(topics)
        case .complete(let completion): complete(completion)
        case .abandon(let node): abandon(node)
        }
    }

    private func askProducerIdentity() {
        Task {
            do {
                let identity = try await client.producerIdentity()
                state.withLockedValue { $0.machine.learned(identity: identity) }
            } catch {
                let error = error as? ClientError ?? .closed
                let now = pump.now
                state.withLockedValue { $0.machine.failedToIdentify(error, at: now) }
            }
            drainSoon()
        }
    }

    // MARK: Produce

    private func send(_ dispatch: ProducerMachine<Delivery>.Dispatch) {
        let node = dispatch.node
        guard let link = openLink(to: node) else {
            let error = ClientError.refused(what: "reach node \(node)", .brokerNotAvailable, message: nil)
            let now = pump.now
            state.withLockedValue { $0.machine.lost(dispatch.id, error, wasSent: false, at: now) }
            return drainSoon()
        }
        let request = produceRequest(dispatch)
        // Version 13 names topics by id only.
        guard configuration.acks != .none else {
            return link.sendOnly(request, maxVersion: 12) { self.received($0.map { nil }, to: dispatch) }
        }
        link.send(request, maxVersion: 12, timeoutMs: dispatch.timeoutMs) { result in
            self.received(result.map { .some($0) }, to: dispatch)
        }
    }

    private func produceRequest(_ dispatch: ProducerMachine<Delivery>.Dispatch) -> ProduceRequest {
        var request = ProduceRequest()
        request.acks = configuration.acks.rawValue
        request.timeoutMs = Int32(clamping: dispatch.timeoutMs)
        var topics: [ProduceRequest.Topic] = []
        var places: [String: Int] = [:]
        for entry in dispatch.entries {
            let at = places[entry.topic] ?? topics.count
            if at == topics.count {
                places[entry.topic] = at
                topics.append(ProduceRequest.Topic())
                topics[at].name = entry.topic
            }
            var partition = ProduceRequest.Partition()
            partition.partitionIndex = entry.partition
            partition.records = entry.builder.build()
            topics[at].partitions.append(partition)
        }
        request.topics = topics
        return request
    }

    /// The answer, or nil where none is due (acks=0).
    private func received(
        _ result: Result<ProduceResponse?, ClientError>, to dispatch: ProducerMachine<Delivery>.Dispatch
    ) {
        let now = pump.now
        switch result {
        case .failure(let error):
            state.withLockedValue { $0.machine.lost(dispatch.id, error, wasSent: true, at: now) }
        case .success(nil):
            let answers = dispatch.entries.map { _ in Optional(PartitionAnswer()) }
            state.withLockedValue { $0.machine.answered(dispatch.id, answers, at: now) }
        case .success(let response?):
            learnEndpoints(response.nodeEndpoints)
            var answers: [ProduceKey: PartitionAnswer] = [:]
            for topic in response.topics {
                for partition in topic.partitions {
                    answers[ProduceKey(topic: topic.name, partition: partition.partitionIndex)] = PartitionAnswer(
                        partition)
                }
            }
            let inOrder = dispatch.entries.map { answers[ProduceKey(topic: $0.topic, partition: $0.partition)] }
            state.withLockedValue { $0.machine.answered(dispatch.id, inOrder, at: now) }
        }
        drainSoon()
    }

    private func learnEndpoints(_ endpoints: [ProduceResponse.NodeEndpoint]) {
        guard !endpoints.isEmpty else { return }
        let nodes = endpoints.map { ($0.nodeID, BrokerAddress(host: $0.host, port: UInt16(clamping: $0.port))) }
        // Whoever connects next waits for it: that may be to a node whose address came with this hint.
        let learning = Task { await client.learned(nodes) }
        state.withLockedValue { $0.learning = learning }
    }

    // MARK: Ends

    private func complete(_ completion: ProducerMachine<Delivery>.Completion) {
        for (at, token) in completion.tokens.enumerated() {
            guard let token else { continue }
            token(
                completion.outcome.map { written in
                    RecordMetadata(
                        topic: completion.topic, partition: completion.partition,
                        offset: written.baseOffset < 0 ? -1 : written.baseOffset + Int64(at),
                        timestampMs: written.logAppendTimeMs >= 0
                            ? written.logAppendTimeMs : completion.timestampsMs[at])
                })
        }
    }
}

private struct ProduceKey: Hashable {
    let topic: String
    let partition: PartitionIndex
}

extension PartitionAnswer {
    init(_ partition: ProduceResponse.Partition) {
        self.init()
        code = partition.errorCode
        message = partition.errorMessage ?? partition.recordErrors.first?.batchIndexErrorMessage
        baseOffset = partition.baseOffset
        logAppendTimeMs = partition.logAppendTimeMs
        let leader = partition.currentLeader
        leaderHint = leader.leaderID >= 0 ? (leader.leaderID, leader.leaderEpoch) : nil
    }
}

extension ClusterClient {
    /// A producer id for idempotent writing, from any node (KIP-98). One attempt.
    func producerIdentity() async throws -> ProducerIdentity {
        var request = InitProducerIDRequest()
        request.transactionTimeoutMs = 60_000
        let response = try await askAny(request)
        guard response.errorCode == .none else {
            throw ClientError.refused(what: "get a producer id", response.errorCode, message: nil)
        }
        return ProducerIdentity(id: response.producerID, epoch: response.producerEpoch)
    }
}
