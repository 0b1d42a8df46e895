// The controller's part of Control: requests become decisions, decisions become one batch each, answers leave once that
// is committed.

import Metadata
import Model
import NIOCore
import Raft
import Storage
import Wire

extension Control {
    // MARK: Office

    /// Leading the quorum is being the controller. It decides on the whole log, committed or not, as its successor
    /// would find it.
    func becomeController() throws {
        var settings = ControllerSettings()
        settings.sessionTimeoutMs = configuration.timing.sessionTimeoutMs
        settings.preferredLeaderDelayMs = configuration.timing.preferredLeaderDelayMs
        settings.defaultPartitions = configuration.defaultPartitions
        settings.defaultReplicationFactor = configuration.defaultReplicationFactor
        settings.brokerDefaults = configuration.topicDefaults
        settings.plantedBug = configuration.plantedBug
        var latest = image
        var changes = ImageChanges()
        let end = metadataLog.log.endOffset
        try metadataLog.forEachEntry(from: image.lastOffset + 1, to: end) { offset, _, entry in
            if case .record(let record) = entry { latest.apply(record, at: offset, changes: &changes) }
        }
        latest.lastOffset = end - 1
        controller = Controller(
            image: latest, settings: settings, seed: random.next(), now: reading.now,
            dead: dead.map { (id: $0.key, incarnationID: $0.value) },
            silent: raft?.lastLeader.map { (id: $0.id, since: $0.heardAt) })
        tickController()
    }

    func resignController() {
        controller = nil
        let lost = commitWaiters
        let done = servingWaiters
        commitWaiters = []
        servingWaiters = []
        // These are committed: whoever leads next, it is so.
        for waiter in done { deliver(waiter.frame, waiter.route) }
        for waiter in lost { if let failure = waiter.failure { deliver(failure, waiter.route) } }
    }

    func tickController() {
        guard let deadline = controller?.nextDeadline, deadline <= reading.now, canDecide else { return }
        decide { $0.ticked(nextOffset: metadataLog.log.endOffset, at: reading.now) }
    }

    func controllerLearnsOfDeath(_ node: NodeID, _ incarnation: UUID128) {
        guard canDecide else { return }
        decide {
            $0.brokerDied(node, incarnationID: incarnation, nextOffset: metadataLog.log.endOffset, at: reading.now)
        }
    }

    /// Not before the LeaderChange of this epoch stands in the log: everything of a leader comes behind it. And never
    /// behind a decision that could not be written: the controller's image is ahead of the log then.
    var canDecide: Bool {
        !isHalted && controller != nil && raft?.isLeader == true && raft?.epochStartOffset != nil
    }

    private func decide(_ decision: (inout Controller) -> [MetadataRecord]) {
        guard !isHalted, var working = controller else { return }
        controller = nil
        let records = decision(&working)
        controller = working
        append(records)
    }

    private func append(_ records: [MetadataRecord]) {
        guard !records.isEmpty, let epoch = raft?.epoch else { return }
        do {
            try metadataLog.append(records, epoch: epoch, wallMs: reading.wallMs)
        } catch {
            return halt("the metadata log cannot be written: \(error)")
        }
        quorum(.appended(endOffset: metadataLog.log.endOffset, epochs: [], voters: []))
    }

    // MARK: Requests

    /// Requests that only the controller answers. Clients' are forwarded to it; nodes are told to look for it
    /// themselves.
    func controllerRequestReceived(_ request: ControlRequest) throws(WireError) {
        let route = Routes.route(request.header.api)
        guard canDecide else {
            if route?.scope == .client { return forward(request) }
            return deliver(try failure(of: request, .notController), request.route)
        }
        let now = reading.now
        switch request.header.api {
        case .brokerRegistration:
            let message = try request.read(BrokerRegistrationRequest.self)
            guard message.clusterID == directory.identity.clusterID else {
                return deliver(try failure(of: request, .inconsistentClusterId), request.route)
            }
            guard !wouldDisplaceLiving(message, by: request.route) else {
                return deliver(try failure(of: request, .duplicateBrokerRegistration), request.route)
            }
            try decide(request, BrokerRegistrationRequest.self) {
                $0.registered(message, nextOffset: $1, at: now)
            }
        case .brokerHeartbeat:
            let message = try request.read(BrokerHeartbeatRequest.self)
            guard speaks(for: message.brokerID, request) else { return try refuseStranger(request) }
            try decide(request, BrokerHeartbeatRequest.self, isUrgent: true) {
                $0.heartbeatReceived(message, nextOffset: $1, at: now)
            }
        case .alterPartition:
            let message = try request.read(AlterPartitionRequest.self)
            guard speaks(for: message.brokerID, request) else { return try refuseStranger(request) }
            try decide(request, AlterPartitionRequest.self) { $0.alterPartition(message, nextOffset: $1, at: now) }
        case .assignReplicasToDirs:
            let message = try request.read(AssignReplicasToDirsRequest.self)
            guard speaks(for: message.brokerID, request) else { return try refuseStranger(request) }
            try decide(request, AssignReplicasToDirsRequest.self) {
                $0.assignReplicasToDirs(message, nextOffset: $1, at: now)
            }
        case .allocateProducerIDs:
            let message = try request.read(AllocateProducerIDsRequest.self)
            guard speaks(for: message.brokerID, request) else { return try refuseStranger(request) }
            try decide(request, AllocateProducerIDsRequest.self) {
                $0.allocateProducerIDs(message, nextOffset: $1, at: now)
            }
        default: try adminRequestReceived(request)
        }
    }

    /// A registration supersedes the one before it at once, and the process that held it ends itself. So it is not
    /// taken on a stranger's word while the registered incarnation answers at its own address. A process that did
    /// restart broke that connection by its end; should the news be late, the hello below brings it.
    private func wouldDisplaceLiving(_ message: BrokerRegistrationRequest, by route: AnswerRoute) -> Bool {
        if message.brokerID == me {
            if case .own = route { return false }
            return true
        }
        let link = LinkID(node: message.brokerID, kind: .control)
        guard let known = image.brokers[message.brokerID], known.incarnationID != message.incarnationID,
            incarnations[message.brokerID] == known.incarnationID, isConnected(link)
        else { return false }
        probe(link)
        return true
    }

    /// Whether the sender is the start of that node which is registered.
    private func speaks(for id: NodeID, _ request: ControlRequest) -> Bool {
        request.comes(from: id, incarnation: controller?.image.brokers[id]?.incarnationID)
    }

    private func refuseStranger(_ request: ControlRequest) throws(WireError) {
        log(.warning, "refused a \(request.header.api) of \(request.client): it is not the node that it names")
        deliver(try failure(of: request, .clusterAuthorizationFailed), request.route)
    }

    private func adminRequestReceived(_ request: ControlRequest) throws(WireError) {
        let now = reading.now
        switch request.header.api {
        case .createTopics:
            let message = try request.read(CreateTopicsRequest.self)
            try decide(request, CreateTopicsRequest.self, servingWithinMs: message.timeoutMs) {
                $0.createTopics(message, nextOffset: $1, at: now)
            }
        case .deleteTopics:
            let message = try request.read(DeleteTopicsRequest.self)
            try decide(request, DeleteTopicsRequest.self, servingWithinMs: message.timeoutMs) {
                $0.deleteTopics(message, nextOffset: $1, at: now)
            }
        case .createPartitions:
            let message = try request.read(CreatePartitionsRequest.self)
            try decide(request, CreatePartitionsRequest.self, servingWithinMs: message.timeoutMs) {
                $0.createPartitions(message, nextOffset: $1, at: now)
            }
        case .incrementalAlterConfigs:
            let message = try request.read(IncrementalAlterConfigsRequest.self)
            try decide(request, IncrementalAlterConfigsRequest.self) {
                $0.incrementalAlterConfigs(message, nextOffset: $1, at: now)
            }
        default: preconditionFailure("\(request.header.api) has a row in Routes and no handler")
        }
    }

    /// One request, one decision. `isUrgent`: an answer that promises nothing leaves at once. `servingWithinMs`: the
    /// answer waits, so long at most, until every live node has applied the decision, so that a client's next call
    /// anywhere finds it.
    private func decide<M: WireRequest>(
        _ request: ControlRequest, _ type: M.Type, isUrgent: Bool = false, servingWithinMs: Int32? = nil,
        _ decision: (inout Controller, Offset) -> Decision<M.Response>
    ) throws(WireError) {
        guard var working = controller else { return }
        controller = nil
        let decided = decision(&working, metadataLog.log.endOffset)
        controller = working
        let frame = request.frame(decided.response, to: type)
        append(decided.records)
        // What could not be written is decided nowhere, and nobody is told that it is.
        guard !isHalted else { return }
        if isUrgent && decided.records.isEmpty { return deliver(frame, request.route) }
        // Mutant: the next controller may not know of it (M3).
        if servingWithinMs != nil, configuration.plantedBug == .topicAnsweredBeforeCommit {
            return deliver(frame, request.route)
        }
        // An answer without records may rest on earlier ones that are not committed yet; it waits for them alike.
        commitWaiters.append(
            CommitWaiter(
                endOffset: metadataLog.log.endOffset, frame: frame, failure: try failure(of: request, .notController),
                route: request.route,
                servingDeadline: decided.records.isEmpty
                    ? nil
                    : servingWithinMs.map { reading.now.advanced(byMs: min(max(0, Int64($0)), Self.servingMsMax)) }))
        completeCommitted()
    }

    /// How long the answer to a committed decision waits for all nodes to know it, at most.
    static var servingMsMax: Int64 { 5_000 }

    // MARK: Answers

    func completeCommitted() {
        guard let highWatermark = raft?.highWatermark, raft?.isHighWatermarkOfEpoch == true else { return }
        while let waiter = commitWaiters.first, waiter.endOffset <= highWatermark {
            commitWaiters.removeFirst()
            if waiter.servingDeadline != nil {
                servingWaiters.append(waiter)
            } else {
                deliver(waiter.frame, waiter.route)
            }
        }
    }

    func completeServingWaiters() {
        guard !servingWaiters.isEmpty, let raft else { return }
        let applied = appliedByAll(raft)
        servingWaiters.removeAll { waiter in
            guard waiter.endOffset <= applied || waiter.servingDeadline.map({ $0 <= reading.now }) == true else {
                return false
            }
            deliver(waiter.frame, waiter.route)
            return true
        }
    }

    /// A follower's next fetch tells the high watermark that it knows, and it has applied all below before it asks
    /// again.
    private func appliedByAll(_ raft: RaftNode) -> Offset {
        var applied = image.lastOffset + 1
        for broker in image.eligibleBrokers where broker.id != me {
            let key = ReplicaKey(id: broker.id, directoryID: broker.directoryID)
            applied = min(applied, raft.progress(of: key)?.knownHighWatermark ?? 0)
        }
        return applied
    }

    /// The answer that says why there is none, in the words of the request's own API.
    func failure(of request: ControlRequest, _ error: ErrorCode) throws(WireError) -> ByteBuffer {
        let message = "the controller moved; ask again"
        switch request.header.api {
        case .brokerRegistration:
            var answer = BrokerRegistrationResponse()
            answer.errorCode = error
            return request.frame(answer, to: BrokerRegistrationRequest.self)
        case .brokerHeartbeat:
            var answer = BrokerHeartbeatResponse()
            answer.errorCode = error
            return request.frame(answer, to: BrokerHeartbeatRequest.self)
        case .alterPartition:
            var answer = AlterPartitionResponse()
            answer.errorCode = error
            return request.frame(answer, to: AlterPartitionRequest.self)
        case .assignReplicasToDirs:
            var answer = AssignReplicasToDirsResponse()
            answer.errorCode = error
            return request.frame(answer, to: AssignReplicasToDirsRequest.self)
        case .allocateProducerIDs:
            var answer = AllocateProducerIDsResponse()
            answer.errorCode = error
            return request.frame(answer, to: AllocateProducerIDsRequest.self)
        case .createTopics:
            var answer = CreateTopicsResponse()
            answer.topics = try request.read(CreateTopicsRequest.self).topics.map { topic in
                var result = CreateTopicsResponse.Topic()
                result.name = topic.name
                result.errorCode = error
                result.errorMessage = message
                return result
            }
            return request.frame(answer, to: CreateTopicsRequest.self)
        case .deleteTopics:
            let asked = try request.read(DeleteTopicsRequest.self)
            var answer = DeleteTopicsResponse()
            answer.topics = (asked.topics.map { ($0.name, $0.topicID) } + asked.topicNames.map { ($0, .zero) }).map {
                name, id in
                var result = DeleteTopicsResponse.Topic()
                result.name = name
                result.topicID = id
                result.errorCode = error
                result.errorMessage = message
                return result
            }
            return request.frame(answer, to: DeleteTopicsRequest.self)
        default: return try otherFailure(of: request, error, message)
        }
    }

    private func otherFailure(of request: ControlRequest, _ error: ErrorCode, _ message: String) throws(WireError)
        -> ByteBuffer
    {
        switch request.header.api {
        case .createPartitions:
            var answer = CreatePartitionsResponse()
            answer.results = try request.read(CreatePartitionsRequest.self).topics.map { topic in
                var result = CreatePartitionsResponse.TopicResult()
                result.name = topic.name
                result.errorCode = error
                result.errorMessage = message
                return result
            }
            return request.frame(answer, to: CreatePartitionsRequest.self)
        case .incrementalAlterConfigs:
            var answer = IncrementalAlterConfigsResponse()
            answer.responses = try request.read(IncrementalAlterConfigsRequest.self).resources.map { resource in
                var result = IncrementalAlterConfigsResponse.ResourceResponse()
                result.resourceType = resource.resourceType
                result.resourceName = resource.resourceName
                result.errorCode = error
                result.errorMessage = message
                return result
            }
            return request.frame(answer, to: IncrementalAlterConfigsRequest.self)
        default:
            var answer = DescribeQuorumResponse()
            answer.errorCode = error
            answer.errorMessage = message
            return request.frame(answer, to: DescribeQuorumRequest.self)
        }
    }

    // MARK: Reads

    func describeConfigsReceived(_ request: ControlRequest) throws(WireError) {
        let message = try request.read(DescribeConfigsRequest.self)
        respond(
            describeConfigs(message, image: image, brokerDefaults: configuration.topicDefaults),
            to: DescribeConfigsRequest.self, request)
    }
}
