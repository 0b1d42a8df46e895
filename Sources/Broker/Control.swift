// Control: the quorum member, the controller when it leads, and this node's dealings with the controller, as one
// synchronous machine.

import Metadata
import Model
import NIOCore
import Raft
import Records
import Storage
import Wire

package final class Control {
    let configuration: NodeConfiguration
    let disk: any Disk
    let shardCount: Int
    /// New with every start of the process.
    let incarnationID: UUID128
    /// The broker epoch of the incarnation before this one, when it stopped in order.
    let previousBrokerEpoch: BrokerEpoch?
    var directory: DataDirectory
    var random: SeededRandom

    var reading: ClockReading
    var effects: [ControlEffect] = []
    /// Inputs for the quorum's machine that came up while its effects were run, and answers of this node to itself.
    var quorumInputs: [RaftInput] = []
    var ownAnswers: [ByteBuffer] = []

    // Links
    var links = SortedMap<LinkID, Endpoint>()
    var connected = SortedMap<LinkID, Bool>()
    var requests = OutstandingRequests<ControlPurpose>()
    /// The incarnation last heard of each node, and those known to be gone.
    var incarnations = SortedMap<NodeID, UUID128>()
    var dead = SortedMap<NodeID, UUID128>()

    // Formation
    var formation: Formation

    // The quorum
    var raft: RaftNode?
    let metadataLog: MetadataLog
    var quorumRequests = SortedMap<RequestID, ControlRequest>()
    var nextRequestID: RequestID = 1
    var fetchedRecords: (bytes: ByteBuffer, headers: [BatchHeader])?
    var snapshotFetch: SnapshotFetch?
    var saves = QuorumStateSaves()
    var snapshotUnderWay: LogEnd?
    var voterChange: VoterChange?

    // The cluster's state, and deciding on it
    /// Committed, as published to the shards.
    var image: MetadataImage
    var controller: Controller?
    var commitWaiters: [CommitWaiter] = []
    var servingWaiters: [CommitWaiter] = []

    // This node as a broker
    var broker = BrokerLifecycle()
    var producerIDs = ProducerIDBlock()
    var isrChanges = ISRChanges()
    var directoryAssignments = DirectoryAssignments()
    var waitingForController: [(request: ControlRequest, deadline: Instant)] = []
    /// When those look for the controller again.
    var forwardRetryAt: Instant?
    var stopping: StopState?
    var isReady = false
    var isHalted = false

    init(
        configuration: NodeConfiguration, disk: any Disk, shardCount: Int, directory: DataDirectory,
        metadataLog: MetadataLog, snapshot: MetadataSnapshot?, previousBrokerEpoch: BrokerEpoch?, random: SeededRandom,
        at reading: ClockReading
    ) {
        var random = random
        self.configuration = configuration
        self.disk = disk
        self.shardCount = shardCount
        self.directory = directory
        self.metadataLog = metadataLog
        self.previousBrokerEpoch = previousBrokerEpoch
        self.incarnationID = .random(using: &random)
        self.random = random
        self.reading = reading
        self.image = snapshot?.image ?? .empty
        self.formation = Formation(voters: snapshot?.voters)
        broker.nextHeartbeatAt = reading.now
    }

    package func step(_ input: ControlInput, at reading: ClockReading, into output: inout [ControlEffect]) {
        self.reading = reading
        if !isHalted { take(input) }
        // What the start brought up goes out with the first step, the reason why it came to nothing too.
        output += effects
        effects.removeAll(keepingCapacity: true)
    }

    private func take(_ input: ControlInput) {
        switch input {
        case .link(let event): linkEvent(event)
        case .flushed(let ticket, let result): flushed(ticket, result)
        case .mailed(let mail): mailed(mail)
        case .ticked: break
        case .stopRequested: stopRequested()
        }
        runTimers()
        settle()
    }

    package var nextDeadline: Instant {
        var deadline = min(requests.nextDeadline, raft?.nextDeadline ?? .distantFuture)
        if canDecide { deadline = min(deadline, controller?.nextDeadline ?? .distantFuture) }
        if raft != nil { deadline = min(deadline, broker.nextHeartbeatAt) }
        for waiting in waitingForController { deadline = min(deadline, waiting.deadline) }
        if let forwardRetryAt { deadline = min(deadline, forwardRetryAt) }
        for waiter in servingWaiters { deadline = min(deadline, waiter.servingDeadline ?? .distantFuture) }
        if let stopping { deadline = min(deadline, stopping.deadline) }
        return deadline
    }

    private func mailed(_ mail: ControlMail) {
        switch mail {
        case .request(let request):
            receive(
                ControlRequest(
                    header: request.header, body: request.body,
                    route: .connection(shard: request.shard, request.connection, slot: request.slot),
                    client: request.client, node: request.node))
        case .connectionClosed(let shard, let id): connectionClosed(shard, id)
        case .isrsProposed(let shard, let changes): propose(changes, shard)
        case .directoryAssigned(let shard, let topicPartition, let directory):
            assignDirectory(topicPartition, directory, shard)
        case .topicsMissed(let names): createMissed(names)
        case .shardStopped(let shard, let clean): shardStopped(shard, clean)
        }
    }

    private func runTimers() {
        for request in requests.takeExpired(at: reading.now) { requestFailed(request.purpose, timedOut: true) }
        if let raft, raft.nextDeadline <= reading.now { quorum(.ticked) }
        tickController()
        tickBroker()
        expireWaiting()
        checkStopping()
    }

    /// Runs what the step itself brought up, until nothing is left.
    private func settle() {
        while true {
            if !quorumInputs.isEmpty {
                quorumStep(quorumInputs.removeFirst())
            } else if !ownAnswers.isEmpty {
                answerReceived(ownAnswers.removeFirst(), on: nil)
            } else {
                break
            }
        }
        completeServingWaiters()
        takeSnapshotIfDue()
        replaceWipedVoters()
    }

    func flushed(_ ticket: FlushTicket, _ result: FlushResult) {
        switch ticket.owner {
        case QuorumStateSaves.owner: quorumStateSaved(result)
        case SnapshotFetch.owner: snapshotWritten(ticket, result)
        case MetadataLog.recoveryPointOwner:
            if case .failed(let error) = result {
                log(.error, "the metadata log's recovery point could not be written: \(error)")
            }
        default:
            do throws(LogError) {
                if try metadataLog.log.flushed(ticket, result) {
                    quorum(.flushed(through: metadataLog.log.flushedEnd))
                }
            } catch {
                halt("the metadata log cannot be written: \(error); a log that failed once is not trusted again")
            }
        }
    }

    func log(_ level: LogLine.Level, _ text: String) { effects.append(.log(LogLine(level, text))) }

    func halt(_ reason: String) {
        guard !isHalted else { return }
        isHalted = true
        effects.append(.halt(reason))
    }

    // MARK: Sending and answering

    func send<M: WireRequest>(
        _ message: M, on link: LinkID, for purpose: ControlPurpose, version: Int16? = nil, timeoutMs: Int64? = nil
    ) {
        // On a link that is down the frame would be dropped, and no failure need follow to tell of it.
        guard isConnected(link) else { return requestFailed(purpose, timedOut: false) }
        let version = version ?? M.versions.upperBound
        let id = requests.add(
            purpose, api: M.api, version: version, link: link,
            deadline: reading.now.advanced(byMs: timeoutMs ?? configuration.timing.requestTimeoutMs))
        effects.append(
            .send(
                link,
                encodeRequestFrame(
                    message, version: version, correlationID: id, clientID: "node-\(configuration.nodeID)")))
    }

    func deliver(_ frame: ByteBuffer, _ route: AnswerRoute) {
        switch route {
        case .connection(let shard, let id, let slot):
            effects.append(.mail(.answered(id, slot: slot, frame), toShard: shard))
        case .envelope(let header, let outer):
            var response = EnvelopeResponse()
            response.responseData = frame.getSlice(at: frame.readerIndex + 4, length: frame.readableBytes - 4)
            deliver(
                encodeResponseFrame(
                    response, to: EnvelopeRequest.self, version: header.version, correlationID: header.correlationID),
                outer)
        case .own:
            if let answer = frame.getSlice(at: frame.readerIndex + 4, length: frame.readableBytes - 4) {
                ownAnswers.append(answer)
            }
        }
    }

    func respond<M: WireRequest>(_ response: M.Response, to type: M.Type, _ request: ControlRequest) {
        deliver(request.frame(response, to: type), request.route)
    }

    /// A request that no sane peer sends: the connection ends.
    func refuse(_ request: ControlRequest, because reason: String) {
        switch request.route {
        case .connection(let shard, let id, let slot):
            log(.warning, "closed the connection of \(request.client): it \(reason)")
            effects.append(.mail(.answered(id, slot: slot, nil), toShard: shard))
        case .envelope(let header, let outer):
            // The node between is not to blame, and everything behind an answer that never comes would wait with it.
            log(.warning, "refused what \(request.client) passed on: it \(reason)")
            var answer = EnvelopeResponse()
            answer.errorCode = .invalidRequest
            deliver(
                encodeResponseFrame(
                    answer, to: EnvelopeRequest.self, version: header.version, correlationID: header.correlationID),
                outer)
        case .own: log(.error, "this node's own request to itself \(reason)")
        }
    }
}
