// Connections of a shard: frames to handlers, answers back in order, and strangers shown the door with one line in the
// log.

import Model
import NIOCore
import Storage
import Wire

/// Whose request it is and where its answer goes.
struct RequestContext {
    var connection: ConnectionID
    var slot: UInt64
    var header: RequestHeader
    /// This is one shard's share of the request: the answer goes to the shard that divided it.
    var part: PartID?
}

extension Shard {
    func frameReceived(_ id: ConnectionID, _ frame: ByteBuffer) {
        guard let connection = connections[id], !connection.isClosing else { return }
        var body = frame
        let header: RequestHeader
        do throws(WireError) {
            header = try RequestHeader.decode(from: &body)
        } catch {
            return close(id, because: "sent a request whose header cannot be read (\(error))")
        }
        guard let route = Routes.route(header.api) else {
            return close(id, because: "asked for API \(header.api.rawValue), which is not served here")
        }
        guard route.versions.contains(header.version) || header.api == .apiVersions else {
            return close(
                id,
                because: "asked for \(header.api) version \(header.version); served are "
                    + "\(route.versions.lowerBound) to \(route.versions.upperBound)")
        }
        do throws(WireError) {
            if header.api == .nodeHello {
                let hello = try read(NodeHelloRequest.self, header, body)
                connection.node = NodeIdentity(id: hello.nodeID, incarnationID: hello.incarnationID)
            }
            if route.place == .control || isMetadataFetch(header, body) {
                mailToControl(id, header, body)
            } else {
                try dispatch(id, header, body)
            }
        } catch {
            return close(id, because: "sent a \(header.api) version \(header.version) that cannot be read (\(error))")
        }
        updateReading(connection)
    }

    private func dispatch(_ id: ConnectionID, _ header: RequestHeader, _ body: ByteBuffer) throws(WireError) {
        switch header.api {
        case .produce: try produce(id, header, body)
        case .fetch: fetch(try read(FetchRequest.self, header, body), context(id, header))
        case .listOffsets:
            let request = try read(ListOffsetsRequest.self, header, body)
            let context = context(id, header)
            if !divide(request, context) { listOffsets(request, context) }
        case .metadata: metadata(try read(MetadataRequest.self, header, body), context(id, header))
        case .findCoordinator:
            findCoordinator(try read(FindCoordinatorRequest.self, header, body), context(id, header))
        case .apiVersions: try apiVersions(body, context(id, header))
        case .offsetForLeaderEpoch:
            let request = try read(OffsetForLeaderEpochRequest.self, header, body)
            let context = context(id, header)
            if !divide(request, context) { offsetForLeaderEpoch(request, context) }
        case .deleteRecords:
            let request = try read(DeleteRecordsRequest.self, header, body)
            let context = context(id, header)
            if !divide(request, context) { deleteRecords(request, context) }
        case .describeCluster:
            describeCluster(try read(DescribeClusterRequest.self, header, body), context(id, header))
        case .describeTopicPartitions:
            describeTopicPartitions(try read(DescribeTopicPartitionsRequest.self, header, body), context(id, header))
        default:
            guard let request = try groupRequest(header, body) else {
                preconditionFailure("\(header.api) has a row in Routes and no handler")
            }
            groupRequested(request, context(id, header))
        }
    }

    func context(_ id: ConnectionID, _ header: RequestHeader) -> RequestContext {
        RequestContext(connection: id, slot: connections[id]?.takeSlot() ?? 0, header: header)
    }

    func read<M: WireRequest>(_ type: M.Type, _ header: RequestHeader, _ body: ByteBuffer) throws(WireError) -> M {
        var body = body
        // Bytes behind the message are let be, as in Kafka: librdkafka leaves some behind a null array.
        return try wireDecode(type, from: &body, version: header.version)
    }

    func respond<M: WireRequest>(_ response: M.Response, to request: M.Type, _ context: RequestContext) {
        if let part = context.part { return answerPart(part, .whole(response)) }
        let frame = encodeResponseFrame(
            response, to: request, version: context.header.version, correlationID: context.header.correlationID)
        answer(context.connection, context.slot, [.bytes(frame)])
    }

    /// Puts an answer in its place in the connection's line, and lets go of what may leave.
    func answer(_ id: ConnectionID, _ slot: UInt64, _ pieces: [OutboundPiece]) {
        guard let connection = connections[id] else { return }
        let leaving = connection.answer(slot, with: pieces)
        if leaving.isEmpty {
            if pieces.contains(where: \.isSlice) { sliceHolders.insert(id) }
            return
        }
        effects.append(.respond(id, leaving))
        updateReading(connection)
    }

    /// These files are closed, or hold something else from the record at `offset` on. An answer that has a part of
    /// one and has not left this step, or waits for the answer to an earlier request, would leave with other bytes or
    /// none: who waits for it asks again on another connection.
    func closeReaders(of files: [FileHandle], from offset: Offset = .min) {
        func isConcerned(_ piece: OutboundPiece) -> Bool {
            guard case .file(let slice) = piece else { return false }
            return slice.nextOffset > offset && files.contains(slice.file)
        }
        var readers = sliceHolders.filter { connections[$0]?.holds(where: isConcerned) ?? false }
        for case .respond(let id, let pieces) in effects where pieces.contains(where: isConcerned) {
            readers.insert(id)
        }
        if readers.isEmpty { return }
        var cutOff: Set<ConnectionID> = []
        effects.removeAll { effect in
            guard case .respond(let id, let pieces) = effect, readers.contains(id) else { return false }
            if pieces.contains(where: isConcerned) { cutOff.insert(id) }
            return cutOff.contains(id)
        }
        for id in readers.sorted() { close(id, because: nil) }
    }

    func close(_ id: ConnectionID, because reason: String?) {
        guard let connection = connections[id], !connection.isClosing else { return }
        if let reason { log(.warning, "closed the connection of \(connection.description): it \(reason)") }
        connection.closed()
        effects.append(.close(id))
    }

    /// One line a connection: refused input is answered with its error each time, and named in the log once.
    func complain(_ id: ConnectionID, _ reason: String) {
        guard let connection = connections[id] else { return }
        log(connection.hasComplaint ? .debug : .warning, "refused input of \(connection.description): \(reason)")
        connection.hasComplaint = true
    }

    func frameRejected(_ id: ConnectionID, _ fault: FrameFault) {
        guard let connection = connections[id] else { return }
        let reason =
            switch fault {
            case .badLength(_, let bytes) where bytes >> 16 == 0x1603 || bytes >> 24 == 0x16:
                "spoke TLS to a plaintext listener"
            case .badLength(let length, _): "announced a frame of \(length) bytes; the limit is \(Limits.frameBytesMax)"
            case .stalled: "sent part of a request and then nothing"
            case .idle: "was idle for too long"
            }
        log(fault == .idle ? .debug : .warning, "closed the connection of \(connection.description): it \(reason)")
        connection.closed()
    }

    func connectionClosed(_ id: ConnectionID) {
        guard connections.removeValue(forKey: id) != nil else { return }
        sliceHolders.remove(id)
        for (request, fetch) in pendingFetches where fetch.context.connection == id { forgetFetch(request) }
        forgetGroupRequests(of: id)
        forgetFinds(of: id)
        effects.append(.mail(.connectionClosed(shard: index, id)))
    }

    func updateReading(_ connection: ClientConnection) {
        guard let pause = connection.readingChange() else { return }
        effects.append(pause ? .pauseReading(connection.id) : .resumeReading(connection.id))
    }

    func mailToControl(_ id: ConnectionID, _ header: RequestHeader, _ body: ByteBuffer) {
        guard let connection = connections[id] else { return }
        let slot = connection.takeSlot()
        effects.append(
            .mail(
                .request(
                    MailedRequest(
                        shard: index, connection: id, slot: slot, header: header, body: body,
                        client: connection.description, node: connection.node))))
    }

    /// A Fetch of the metadata log is Control's: it names that topic and no other.
    private func isMetadataFetch(_ header: RequestHeader, _ body: ByteBuffer) -> Bool {
        guard header.api == .fetch, header.version >= 13 else { return false }
        var body = body
        // Only a replica of the quorum asks this way, with one topic of one partition; a short frame, so the second
        // decoding costs little.
        guard body.readableBytes < 256,
            let request = try? wireDecode(FetchRequest.self, from: &body, version: header.version)
        else { return false }
        return request.topics.first?.topicID == MetadataTopic.id
    }
}
