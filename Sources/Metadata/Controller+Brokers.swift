// A broker's life in the controller: registration, heartbeats, controlled shutdown (protocol.md §4.11).

import Model
import Wire

extension Controller {
    /// The registration as the wire carries it: one log directory, the first listener.
    package mutating func registered(
        _ request: BrokerRegistrationRequest, nextOffset: Offset, at now: Instant
    ) -> Decision<BrokerRegistrationResponse> {
        guard request.logDirs.count == 1, let listener = request.listeners.first else {
            return Decision(records: [], response: Self.refusal(.invalidRegistration))
        }
        let endpoint = Endpoint(host: listener.host, port: listener.port)
        return registered(
            request, directoryID: request.logDirs[0], endpoint: endpoint, nextOffset: nextOffset, at: now)
    }

    /// A broker's process began, or wants a new epoch after STALE_BROKER_EPOCH. It supersedes what was registered under
    /// its id at once and
    /// is fenced until a heartbeat shows that it has applied the metadata log up to its own registration.
    package mutating func registered(
        _ request: BrokerRegistrationRequest, directoryID: UUID128, endpoint: Endpoint, nextOffset: Offset,
        at now: Instant
    ) -> Decision<BrokerRegistrationResponse> {
        guard request.brokerID >= 0, directoryID != .zero, request.incarnationID != .zero else {
            return Decision(records: [], response: Self.refusal(.invalidRegistration))
        }
        let known = image.brokers[request.brokerID]
        var next = BrokerRegistration(
            id: request.brokerID, epoch: nextOffset, incarnationID: request.incarnationID, directoryID: directoryID,
            endpoint: endpoint, rack: request.rack)
        var response = BrokerRegistrationResponse()
        if let known, isRepeated(next, of: known) {
            // The answer to an earlier copy of this request was lost.
            response.brokerEpoch = known.epoch
            return Decision(records: [], response: response)
        }
        var batch = MetadataBatch(firstOffset: nextOffset)
        next.epoch = batch.nextOffset
        write(.registerBroker(RegisterBrokerRecord(next)), &batch)
        var departure = Departure([next.id])
        departure.newDirectoryID = known?.directoryID == directoryID ? nil : directoryID
        // Mutant: it stays eligible with what it does not hold (P4).
        if settings.plantedBug == .emptiedDiskTrusted { departure.newDirectoryID = nil }
        departure.unclean = known.map { $0.epoch != request.previousBrokerEpoch } ?? true
        writeDepartures(departure, &batch)
        sessions[next.id] = BrokerSession(deadline: now.advanced(byMs: settings.sessionTimeoutMs))
        deadEpochs[next.id] = nil
        shutdownOffsets[next.id] = nil
        preferredDue[next.id] = nil
        response.brokerEpoch = next.epoch
        return Decision(records: batch.records, response: response)
    }

    private func isRepeated(_ next: BrokerRegistration, of known: BrokerRegistration) -> Bool {
        known.incarnationID == next.incarnationID && known.directoryID == next.directoryID
            && known.endpoint == next.endpoint && known.rack == next.rack && !known.inControlledShutdown
            && deadEpochs[known.id] != known.epoch
    }

    private static func refusal(_ code: ErrorCode) -> BrokerRegistrationResponse {
        var response = BrokerRegistrationResponse()
        response.errorCode = code
        return response
    }

    package mutating func heartbeatReceived(
        _ request: BrokerHeartbeatRequest, nextOffset: Offset, at now: Instant
    ) -> Decision<BrokerHeartbeatResponse> {
        var response = BrokerHeartbeatResponse()
        guard let broker = image.brokers[request.brokerID] else {
            response.errorCode = .brokerIdNotRegistered
            return Decision(records: [], response: response)
        }
        guard broker.epoch == request.brokerEpoch, deadEpochs[broker.id] != broker.epoch else {
            response.errorCode = .staleBrokerEpoch
            return Decision(records: [], response: response)
        }
        var batch = MetadataBatch(firstOffset: nextOffset)
        sessions[broker.id] = BrokerSession(
            deadline: now.advanced(byMs: settings.sessionTimeoutMs), metadataOffset: request.currentMetadataOffset)
        response.isCaughtUp = request.currentMetadataOffset >= broker.epoch
        if request.wantShutDown {
            response.shouldShutDown = broker.fenced || shutDown(broker, &batch)
        } else if broker.fenced, response.isCaughtUp, !request.wantFence, !broker.inControlledShutdown {
            unfence(broker, &batch, at: now)
        } else if !broker.fenced, request.wantFence {
            fence([broker.id], &batch)
        }
        response.isFenced = image.brokers[broker.id]?.fenced ?? true
        return Decision(records: batch.records, response: response)
    }

    /// The broker serves from here on: it takes the partitions that wait for it.
    private mutating func unfence(_ broker: BrokerRegistration, _ batch: inout MetadataBatch, at now: Instant) {
        write(.brokerRegistrationChange(BrokerRegistrationChangeRecord(broker, fenced: -1)), &batch)
        writeElections(&batch) { $0.replicas.contains(broker.id) }
        preferredDue[broker.id] = now.advanced(byMs: settings.preferredLeaderDelayMs)
    }

    /// Moves off what can be moved. Answers whether the broker may stop: nothing can be moved any more, and every
    /// active broker knows.
    private mutating func shutDown(_ broker: BrokerRegistration, _ batch: inout MetadataBatch) -> Bool {
        if !broker.inControlledShutdown {
            let record = BrokerRegistrationChangeRecord(broker, inControlledShutdown: 1)
            write(.brokerRegistrationChange(record), &batch)
        }
        var departure = Departure([broker.id])
        departure.onlyWhereOthersAreInSync = true
        writeDepartures(departure, &batch)
        preferredDue[broker.id] = nil
        if !batch.records.isEmpty { shutdownOffsets[broker.id] = batch.nextOffset - 1 }
        guard let needed = shutdownOffsets[broker.id] else { return batch.records.isEmpty }
        return image.brokers.values.allSatisfy { other in
            other.id == broker.id || other.fenced || (sessions[other.id]?.metadataOffset ?? -1) >= needed
        }
    }

    /// Kafka's AllocateProducerIds: a block that no other broker gets.
    package mutating func allocateProducerIDs(
        _ request: AllocateProducerIDsRequest, nextOffset: Offset, at now: Instant
    ) -> Decision<AllocateProducerIDsResponse> {
        var response = AllocateProducerIDsResponse()
        guard let broker = image.brokers[request.brokerID] else {
            response.errorCode = .brokerIdNotRegistered
            return Decision(records: [], response: response)
        }
        guard broker.epoch == request.brokerEpoch else {
            response.errorCode = .staleBrokerEpoch
            return Decision(records: [], response: response)
        }
        let (next, overflow) = image.nextProducerID.addingReportingOverflow(Int64(settings.producerIDBlockSize))
        guard !overflow else {
            response.errorCode = .unknownServerError
            return Decision(records: [], response: response)
        }
        response.producerIDStart = image.nextProducerID
        response.producerIDLen = settings.producerIDBlockSize
        var record = ProducerIDsRecord()
        record.brokerID = broker.id
        record.brokerEpoch = broker.epoch
        record.nextProducerID = next
        var batch = MetadataBatch(firstOffset: nextOffset)
        // Mutant: the next one who asks gets the same ids (I3).
        if settings.plantedBug != .producerIDsGivenTwice { write(.producerIDs(record), &batch) }
        return Decision(records: batch.records, response: response)
    }
}
