// This node as a broker: it registers with the controller, sends heartbeats, asks for ISR changes and producer ids, and
// leaves in order.

import Metadata
import Model
import NIOCore
import Raft
import Replication
import Storage
import Wire

struct BrokerLifecycle {
    /// −1 until this incarnation's registration is committed and seen.
    var epoch: BrokerEpoch = -1
    /// The controller says that this epoch is over. It is kept until the image shows the next one: a role given up on a
    /// stale word could not be taken again under the same leader epoch.
    var mustRegisterAnew = false
    /// The newest registration of this node's id by another process, and how many there were in this life.
    var overtakenBy: BrokerEpoch = -1
    var timesOvertaken = 0
    var refusal = RegistrationRefusal()
    var isRegistering = false
    var isHeartbeating = false
    var nextHeartbeatAt = Instant.zero
    var hasPublished = false
    var mayStop = false
}

struct StopState {
    var deadline: Instant
    var shardsLeft: Int?
    var isClean = true
}

/// Producer ids that the controller gave this node to hand out.
struct ProducerIDBlock {
    var next: ProducerID = 0
    var end: ProducerID = 0
    var isAsking = false
    var waiting: [ControlRequest] = []
}

extension Control {
    // MARK: Asking the controller

    /// Sends to the controller, be it another node or this one. False while there is none to be reached.
    @discardableResult
    func askController<M: WireRequest>(
        _ message: M, for purpose: ControlPurpose, version: Int16? = nil, timeoutMs: Int64? = nil
    ) -> Bool {
        guard let leader = raft?.leaderID else { return false }
        let version = version ?? M.versions.upperBound
        guard leader == me else {
            let link = LinkID(node: leader, kind: .control)
            guard isConnected(link) else { return false }
            send(message, on: link, for: purpose, version: version, timeoutMs: timeoutMs)
            return true
        }
        let id = requests.add(
            purpose, api: M.api, version: version, link: nil,
            deadline: reading.now.advanced(byMs: timeoutMs ?? configuration.timing.requestTimeoutMs))
        var body = ByteBuffer()
        wireEncode(message, version: version, into: &body)
        receive(
            ControlRequest(
                header: RequestHeader(api: M.api, version: version, correlationID: id, clientID: nil), body: body,
                route: .own, client: "this node"))
        return true
    }

    func tickBroker() {
        guard raft != nil, broker.nextHeartbeatAt <= reading.now else { return }
        broker.nextHeartbeatAt = reading.now.advanced(byMs: configuration.timing.heartbeatMs)
        if let raft { metadataLog.noteRecoveryPoint(committed: raft.highWatermark) }
        if broker.epoch < 0 || broker.mustRegisterAnew { register() } else { heartbeat() }
    }

    private func register() {
        guard !broker.isRegistering, stopping == nil, let cluster = directory.identity.clusterID else { return }
        var request = BrokerRegistrationRequest()
        request.brokerID = me
        request.clusterID = cluster
        request.incarnationID = incarnationID
        var listener = BrokerRegistrationRequest.Listener()
        listener.name = "PLAINTEXT"
        listener.host = configuration.advertised.host
        listener.port = configuration.advertised.port
        request.listeners = [listener]
        request.rack = configuration.rack
        request.logDirs = [directory.identity.directoryID]
        // This very process has lost nothing since it was registered.
        request.previousBrokerEpoch = broker.epoch >= 0 ? broker.epoch : previousBrokerEpoch ?? -1
        broker.isRegistering = askController(request, for: .registration)
    }

    func registrationAnswered(_ answer: BrokerRegistrationResponse) {
        broker.isRegistering = false
        let patienceMs = 2 * configuration.timing.sessionTimeoutMs
        if let line = broker.refusal.noted(answer.errorCode, of: me, patienceMs: patienceMs, at: reading.now) {
            log(line.level, line.text)
        }
        if answer.errorCode == .none, answer.brokerEpoch == broker.epoch {
            // The image has told of it already, or the word that the epoch was stale was itself old: the heartbeat that
            // unfences this node goes at once.
            broker.mustRegisterAnew = false
            broker.nextHeartbeatAt = reading.now
        } else {
            // The image tells of the new epoch a moment later, and hurries the heartbeat then.
            broker.nextHeartbeatAt = reading.now.advanced(byMs: configuration.timing.heartbeatMs)
        }
    }

    /// What Control knows beside the image.
    func tellShards() {
        for shard in 0..<shardCount {
            effects.append(
                .mail(
                    .controllerChanged(controllerID: raft?.leaderID, brokerEpoch: broker.epoch), toShard: shard))
        }
    }

    private static let timesOvertakenMax = 3

    /// The committed image is what tells this node of its own registration, so that epoch and image never disagree.
    func noteOwnRegistration() {
        guard let own = image.brokers[me] else { return }
        if own.incarnationID == incarnationID {
            if broker.epoch != own.epoch {
                broker.epoch = own.epoch
                broker.mustRegisterAnew = false
                broker.nextHeartbeatAt = reading.now
            }
        } else if broker.epoch >= 0, own.epoch > broker.epoch, own.epoch > broker.overtakenBy {
            // Once or twice it may be a late word of an incarnation that is gone; a living twin answers every time.
            broker.overtakenBy = own.epoch
            broker.timesOvertaken += 1
            guard broker.timesOvertaken <= Self.timesOvertakenMax else {
                return halt("another process registers as node \(me): two nodes must not share an id")
            }
            log(.warning, "another incarnation of node \(me) was registered; this one registers anew")
            broker.mustRegisterAnew = true
            broker.nextHeartbeatAt = reading.now
        }
    }

    private func heartbeat() {
        guard !broker.isHeartbeating else { return }
        var request = BrokerHeartbeatRequest()
        request.brokerID = me
        request.brokerEpoch = broker.epoch
        request.currentMetadataOffset = image.lastOffset
        request.wantShutDown = stopping != nil
        broker.isHeartbeating = askController(request, for: .heartbeat)
    }

    func heartbeatAnswered(_ answer: BrokerHeartbeatResponse) {
        broker.isHeartbeating = false
        switch answer.errorCode {
        case .none:
            if answer.shouldShutDown { broker.mayStop = true }
        case .staleBrokerEpoch, .brokerIdNotRegistered:
            // Proved dead and yet alive, or forgotten: begin again under a new epoch.
            guard stopping == nil else { return broker.mayStop = true }
            broker.mustRegisterAnew = true
            broker.nextHeartbeatAt = reading.now
        default: break
        }
    }

    /// Unfenced by the committed image: clients are served from now on.
    func checkReady() {
        guard !isReady, broker.epoch >= 0, image.brokers[me].map({ !$0.fenced }) ?? false else { return }
        isReady = true
        effects.append(.ready)
    }

    // MARK: Producer ids

    func initProducerIDReceived(_ request: ControlRequest) throws(WireError) {
        let message = try request.read(InitProducerIDRequest.self)
        guard message.transactionalID == nil else {
            // Truthfully: there is no transaction coordinator to be found yet.
            var answer = InitProducerIDResponse()
            answer.errorCode = .coordinatorNotAvailable
            return respond(answer, to: InitProducerIDRequest.self, request)
        }
        producerIDs.waiting.append(request)
        giveProducerIDs()
    }

    private func giveProducerIDs() {
        while producerIDs.next < producerIDs.end, !producerIDs.waiting.isEmpty {
            var answer = InitProducerIDResponse()
            answer.producerID = producerIDs.next
            answer.producerEpoch = 0
            producerIDs.next += 1
            respond(answer, to: InitProducerIDRequest.self, producerIDs.waiting.removeFirst())
        }
        guard !producerIDs.waiting.isEmpty, !producerIDs.isAsking else { return }
        var request = AllocateProducerIDsRequest()
        request.brokerID = me
        request.brokerEpoch = broker.epoch
        producerIDs.isAsking = broker.epoch >= 0 && askController(request, for: .allocateProducerIDs)
        if !producerIDs.isAsking { failProducerIDs() }
    }

    func producerIDsAllocated(_ answer: AllocateProducerIDsResponse) {
        producerIDs.isAsking = false
        guard answer.errorCode == .none, answer.producerIDLen > 0 else { return failProducerIDs() }
        producerIDs.next = answer.producerIDStart
        producerIDs.end = answer.producerIDStart + Int64(answer.producerIDLen)
        giveProducerIDs()
    }

    /// COORDINATOR_LOAD_IN_PROGRESS, as Kafka: clients ask again, by then perhaps of a new controller.
    /// COORDINATOR_NOT_AVAILABLE would send an idempotent Java producer looking for a coordinator that it has no id
    /// for.
    func failProducerIDs() {
        for request in producerIDs.waiting {
            var answer = InitProducerIDResponse()
            answer.errorCode = .coordinatorLoadInProgress
            respond(answer, to: InitProducerIDRequest.self, request)
        }
        producerIDs.waiting = []
    }

    // MARK: An orderly stop

    func stopRequested() {
        guard stopping == nil else { return }
        // Handing over takes a heartbeat or two; with nobody left to take over it must not hold up the stop.
        stopping = StopState(deadline: reading.now.advanced(byMs: configuration.timing.stopTimeoutMs / 4))
        broker.nextHeartbeatAt = reading.now
        if raft == nil || broker.epoch < 0 || broker.mustRegisterAnew { broker.mayStop = true }
        checkStopping()
    }

    func checkStopping() {
        guard let stop = stopping, stop.shardsLeft == nil else { return }
        // A node whose earlier start is known to be gone may well live on in a later one.
        let isAlone =
            raft.map { $0.voters.ids.allSatisfy { $0 == me || (dead[$0] != nil && dead[$0] == incarnations[$0]) } }
            ?? true
        guard broker.mayStop || isAlone || stop.deadline <= reading.now else { return }
        stopping?.shardsLeft = shardCount
        stopping?.deadline = .distantFuture
        for shard in 0..<shardCount { effects.append(.mail(.stopRequested, toShard: shard)) }
    }

    func shardStopped(_ shard: Int, _ clean: Bool) {
        guard let left = stopping?.shardsLeft else { return }
        stopping?.shardsLeft = left - 1
        if !clean { stopping?.isClean = false }
        guard left == 1 else { return }
        quorum(.resignationRequested)
        while !quorumInputs.isEmpty { quorumStep(quorumInputs.removeFirst()) }
        do {
            try metadataLog.log.close(flushing: true)
            try metadataLog.noteRecoveryPointNow(committed: raft?.highWatermark ?? 0)
            if stopping?.isClean == true, broker.epoch >= 0 {
                try directory.markCleanShutdown(broker.epoch, on: disk)
            }
        } catch {
            log(.error, "the stop is not a clean one: \(error)")
        }
        effects.append(.stopped)
        isHalted = true
    }
}
