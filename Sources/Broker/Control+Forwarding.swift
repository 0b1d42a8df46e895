// Any node takes admin calls: a node that is not the controller wraps them into an Envelope (key 58) and gives back
// what comes.

import Metadata
import Model
import NIOCore
import Raft
import Wire

extension Control {
    /// How long a client's call looks for a controller before it is told that there is none.
    private static let forwardingMs: Int64 = 5_000
    private static let forwardRetryMs: Int64 = 20

    func forward(_ request: ControlRequest) {
        if case .envelope(let header, let outer) = request.route {
            // The sender took this node for the controller; it will look again.
            var answer = EnvelopeResponse()
            answer.errorCode = .notController
            return deliver(
                encodeResponseFrame(
                    answer, to: EnvelopeRequest.self, version: header.version, correlationID: header.correlationID),
                outer)
        }
        wait(request, until: reading.now.advanced(byMs: Self.forwardingMs))
        sendWaiting()
    }

    func wait(_ request: ControlRequest, until deadline: Instant) {
        guard deadline > reading.now else { return giveUp(request) }
        waitingForController.append((request, deadline))
        if forwardRetryAt == nil { forwardRetryAt = reading.now.advanced(byMs: Self.forwardRetryMs) }
    }

    /// The controller may be known, or reachable, now.
    func sendWaiting() {
        guard !waitingForController.isEmpty, let leader = raft?.leaderID else { return }
        if leader == me {
            guard canDecide else { return }
            let waiting = waitingForController
            waitingForController = []
            for (request, _) in waiting { receive(request) }
            return
        }
        guard isConnected(LinkID(node: leader, kind: .control)) else { return }
        let waiting = waitingForController
        waitingForController = []
        for (request, deadline) in waiting {
            var data = ByteBuffer()
            request.header.encode(
                into: &data,
                isFlexible: request.header.version >= (allRequests.flexibleSince(request.header.api) ?? .max))
            data.writeImmutableBuffer(request.body)
            var envelope = EnvelopeRequest()
            envelope.requestData = data
            envelope.clientHostAddress = ByteBuffer(string: request.client)
            // Longer than the controller may let a decision wait for all nodes to know it.
            askController(
                envelope, for: .forwarded(request, deadline: deadline),
                timeoutMs: Self.servingMsMax + configuration.timing.requestTimeoutMs)
        }
    }

    func forwardedAnswered(_ answer: EnvelopeResponse, _ request: ControlRequest, _ deadline: Instant) {
        guard answer.errorCode != .invalidRequest else {
            return refuse(request, because: "sent a \(request.header.api) that the controller cannot read")
        }
        guard answer.errorCode == .none, let data = answer.responseData else {
            return wait(request, until: deadline)
        }
        var frame = ByteBuffer()
        frame.writeInteger(Int32(data.readableBytes))
        frame.writeImmutableBuffer(data)
        deliver(frame, request.route)
    }

    func expireWaiting() {
        if let at = forwardRetryAt, at <= reading.now {
            forwardRetryAt = nil
            sendWaiting()
            if !waitingForController.isEmpty { forwardRetryAt = reading.now.advanced(byMs: Self.forwardRetryMs) }
        }
        let late = waitingForController.filter { $0.deadline <= reading.now }
        guard !late.isEmpty else { return }
        waitingForController.removeAll { $0.deadline <= reading.now }
        for (request, _) in late { giveUp(request) }
    }

    /// The time is over, and whether it was done is not known here.
    func giveUp(_ request: ControlRequest) {
        do throws(WireError) { deliver(try failure(of: request, .requestTimedOut), request.route) } catch {
            refuse(request, because: "sent a \(request.header.api) that cannot be read (\(error))")
        }
    }

    func envelopeReceived(_ request: ControlRequest) throws(WireError) {
        let envelope = try request.read(EnvelopeRequest.self)
        var data = envelope.requestData
        let header = try RequestHeader.decode(from: &data)
        guard let route = Routes.route(header.api), route.scope == .client, route.place == .control,
            route.versions.contains(header.version)
        else {
            var answer = EnvelopeResponse()
            answer.errorCode = .invalidRequest
            return respond(answer, to: EnvelopeRequest.self, request)
        }
        receive(
            ControlRequest(
                header: header, body: data, route: .envelope(header: request.header, request.route),
                client: "\(String(buffer: envelope.clientHostAddress)) by \(request.client)"))
    }

    // MARK: Auto-creation

    func createMissed(_ names: [String]) {
        let known = Set(autoCreating)
        let missing = names.filter { image.topicID(named: $0) == nil && !known.contains($0) }
        guard !missing.isEmpty else { return }
        var request = CreateTopicsRequest()
        request.timeoutMs = 1_000
        request.topics = missing.map { name in
            var topic = CreateTopicsRequest.Topic()
            topic.name = name
            topic.numPartitions = -1
            topic.replicationFactor = -1
            if name == GroupTopic.name { asGroupTopic(&topic) }
            return topic
        }
        askController(request, for: .autoCreation(missing))
    }

    /// As many replicas as there will ever be nodes to hold them, or none: a partition that began with fewer would stay
    /// so, and the first groups of a cluster that is still starting would be the ones to lose their offsets.
    private func asGroupTopic(_ topic: inout CreateTopicsRequest.Topic) {
        topic.numPartitions = configuration.offsetsTopicPartitions
        topic.replicationFactor =
            configuration.offsetsTopicReplicationFactor ?? Int16(clamping: min(3, configuration.voters.count))
        topic.configs = [("cleanup.policy", "compact"), ("segment.bytes", "104857600")].map { name, value in
            var config = CreateTopicsRequest.Config()
            config.name = name
            config.value = value
            return config
        }
    }

    /// Names whose creation is under way: clients ask every 100 ms.
    private var autoCreating: [String] {
        requests.purposes.flatMap { purpose -> [String] in
            if case .autoCreation(let names) = purpose { names } else { [] }
        }
    }

    func autoCreationAnswered(_ names: [String], _ answer: CreateTopicsResponse) {
        for topic in answer.topics where topic.errorCode != .none && topic.errorCode != .topicAlreadyExists {
            log(.warning, "could not create topic \(topic.name): \(topic.errorMessage ?? topic.errorCode.description)")
        }
    }
}
