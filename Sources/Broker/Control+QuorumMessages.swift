// The quorum's messages on the wire: Vote (52), BeginQuorumEpoch (53), EndQuorumEpoch (54), Fetch (1) and FetchSnapshot
// (59) of the metadata log, and DescribeQuorum (55), which tells what the leader knows.

import Metadata
import Model
import NIOCore
import Raft
import Records
import Storage
import Wire

extension Control {
    /// Keeps a peer's request until the machine answers it.
    private func keep(_ request: ControlRequest) -> RequestID {
        defer { nextRequestID += 1 }
        quorumRequests[nextRequestID] = request
        return nextRequestID
    }

    private func isOurCluster(_ id: String?) -> Bool { id != nil && id == directory.identity.clusterID && raft != nil }

    // MARK: Vote

    func sendVote(_ vote: Raft.VoteRequest, to node: NodeID) {
        var partition = Wire.VoteRequest.Partition()
        partition.replicaEpoch = vote.epoch
        partition.replicaID = vote.candidate.id
        partition.replicaDirectoryID = vote.candidate.directoryID
        partition.voterDirectoryID = vote.voter.directoryID
        partition.lastOffsetEpoch = vote.logEnd.epoch
        partition.lastOffset = vote.logEnd.offset
        partition.preVote = vote.preVote
        var topic = Wire.VoteRequest.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [partition]
        var request = Wire.VoteRequest()
        request.clusterID = directory.identity.clusterID
        request.voterID = vote.voter.id
        request.topics = [topic]
        send(
            request, on: LinkID(node: node, kind: .quorum), for: .vote(node, epoch: vote.epoch, preVote: vote.preVote))
    }

    func voteReceived(_ request: ControlRequest) throws(WireError) {
        let message = try request.read(Wire.VoteRequest.self)
        // A negative id would stand in the quorum's state as "nobody", and a vote would be forgotten.
        guard isOurCluster(message.clusterID), let partition = message.topics.first?.partitions.first,
            message.topics.first?.name == MetadataTopic.name, partition.replicaID >= 0
        else {
            var answer = Wire.VoteResponse()
            answer.errorCode = isOurCluster(message.clusterID) ? .invalidRequest : .inconsistentClusterId
            return respond(answer, to: Wire.VoteRequest.self, request)
        }
        quorum(
            .voteRequested(
                Raft.VoteRequest(
                    candidate: ReplicaKey(id: partition.replicaID, directoryID: partition.replicaDirectoryID),
                    voter: ReplicaKey(id: message.voterID, directoryID: partition.voterDirectoryID),
                    epoch: partition.replicaEpoch,
                    logEnd: LogEnd(offset: partition.lastOffset, epoch: partition.lastOffsetEpoch),
                    preVote: partition.preVote), keep(request)))
    }

    func answerVote(_ id: RequestID, _ response: Raft.VoteResponse) {
        guard let request = quorumRequests.removeValue(forKey: id) else { return }
        var partition = Wire.VoteResponse.Partition()
        partition.errorCode = response.error
        partition.leaderID = response.leaderID ?? -1
        partition.leaderEpoch = response.epoch
        partition.voteGranted = response.granted
        var topic = Wire.VoteResponse.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [partition]
        var answer = Wire.VoteResponse()
        answer.topics = [topic]
        respond(answer, to: Wire.VoteRequest.self, request)
    }

    func voteAnswered(by node: NodeID, _ epoch: LeaderEpoch, _ preVote: Bool, _ answer: Wire.VoteResponse) {
        guard answer.errorCode == .none, let partition = answer.topics.first?.partitions.first else {
            return quorum(.requestFailed(.vote(epoch: epoch, preVote: preVote), to: node))
        }
        quorum(
            .voteAnswered(
                Raft.VoteResponse(
                    error: partition.errorCode, granted: partition.voteGranted, epoch: partition.leaderEpoch,
                    leaderID: partition.leaderID < 0 ? nil : partition.leaderID, preVote: preVote, requestEpoch: epoch),
                from: node))
    }

    // MARK: Beginning and end of an epoch

    func sendBeginQuorumEpoch(_ epoch: LeaderEpoch, to voter: ReplicaKey) {
        var partition = BeginQuorumEpochRequest.Partition()
        partition.voterDirectoryID = voter.directoryID
        partition.leaderID = me
        partition.leaderEpoch = epoch
        var topic = BeginQuorumEpochRequest.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [partition]
        var request = BeginQuorumEpochRequest()
        request.clusterID = directory.identity.clusterID
        request.voterID = voter.id
        request.topics = [topic]
        send(
            request, on: LinkID(node: voter.id, kind: .quorum), for: .beginQuorumEpoch(voter.id, epoch: epoch))
    }

    func beginQuorumEpochReceived(_ request: ControlRequest) throws(WireError) {
        let message = try request.read(BeginQuorumEpochRequest.self)
        guard isOurCluster(message.clusterID), let partition = message.topics.first?.partitions.first,
            partition.leaderID >= 0
        else {
            var answer = BeginQuorumEpochResponse()
            answer.errorCode = isOurCluster(message.clusterID) ? .invalidRequest : .inconsistentClusterId
            return respond(answer, to: BeginQuorumEpochRequest.self, request)
        }
        quorum(
            .beginQuorumEpochReceived(
                leader: partition.leaderID, epoch: partition.leaderEpoch,
                voter: ReplicaKey(id: message.voterID, directoryID: partition.voterDirectoryID), keep(request)))
    }

    func answerBeginQuorumEpoch(_ id: RequestID, _ error: ErrorCode, _ epoch: LeaderEpoch, _ leaderID: NodeID?) {
        guard let request = quorumRequests.removeValue(forKey: id) else { return }
        var partition = BeginQuorumEpochResponse.Partition()
        partition.errorCode = error
        partition.leaderID = leaderID ?? -1
        partition.leaderEpoch = epoch
        var topic = BeginQuorumEpochResponse.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [partition]
        var answer = BeginQuorumEpochResponse()
        answer.topics = [topic]
        respond(answer, to: BeginQuorumEpochRequest.self, request)
    }

    func beginQuorumEpochAnswered(by node: NodeID, _ answer: BeginQuorumEpochResponse) {
        let partition = answer.topics.first?.partitions.first
        quorum(
            .beginQuorumEpochAnswered(
                from: node, error: answer.errorCode == .none ? partition?.errorCode ?? .none : answer.errorCode,
                epoch: partition?.leaderEpoch ?? -1,
                leaderID: partition.flatMap { $0.leaderID < 0 ? nil : $0.leaderID }))
    }

    func sendEndQuorumEpoch(_ epoch: LeaderEpoch, _ candidates: [ReplicaKey], to node: NodeID) {
        var partition = EndQuorumEpochRequest.Partition()
        partition.leaderID = me
        partition.leaderEpoch = epoch
        partition.preferredCandidates = candidates.map { key in
            var candidate = EndQuorumEpochRequest.PreferredCandidate()
            candidate.candidateID = key.id
            candidate.candidateDirectoryID = key.directoryID
            return candidate
        }
        var topic = EndQuorumEpochRequest.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [partition]
        var request = EndQuorumEpochRequest()
        request.clusterID = directory.identity.clusterID
        request.topics = [topic]
        send(request, on: LinkID(node: node, kind: .quorum), for: .endQuorumEpoch(node))
    }

    func endQuorumEpochReceived(_ request: ControlRequest) throws(WireError) {
        let message = try request.read(EndQuorumEpochRequest.self)
        guard isOurCluster(message.clusterID), let partition = message.topics.first?.partitions.first else {
            var answer = EndQuorumEpochResponse()
            answer.errorCode = isOurCluster(message.clusterID) ? .invalidRequest : .inconsistentClusterId
            return respond(answer, to: EndQuorumEpochRequest.self, request)
        }
        let candidates = partition.preferredCandidates.map {
            ReplicaKey(id: $0.candidateID, directoryID: $0.candidateDirectoryID)
        }
        quorum(
            .endQuorumEpochReceived(
                leader: partition.leaderID, epoch: partition.leaderEpoch, preferredCandidates: candidates, keep(request)
            ))
    }

    func answerEndQuorumEpoch(_ id: RequestID, _ error: ErrorCode, _ epoch: LeaderEpoch, _ leaderID: NodeID?) {
        guard let request = quorumRequests.removeValue(forKey: id) else { return }
        var partition = EndQuorumEpochResponse.Partition()
        partition.errorCode = error
        partition.leaderID = leaderID ?? -1
        partition.leaderEpoch = epoch
        var topic = EndQuorumEpochResponse.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [partition]
        var answer = EndQuorumEpochResponse()
        answer.topics = [topic]
        respond(answer, to: EndQuorumEpochRequest.self, request)
    }

    // MARK: Fetch

    func sendQuorumFetch(_ fetch: QuorumFetch, to node: NodeID) {
        var partition = FetchRequest.Partition()
        partition.currentLeaderEpoch = fetch.currentLeaderEpoch
        partition.fetchOffset = fetch.fetchOffset
        partition.lastFetchedEpoch = fetch.lastFetchedEpoch
        partition.logStartOffset = metadataLog.log.startOffset
        partition.partitionMaxBytes = 8 * 1024 * 1024
        partition.replicaDirectoryID = fetch.replica.directoryID
        partition.highWatermark = fetch.highWatermark
        var topic = FetchRequest.Topic()
        topic.topicID = MetadataTopic.id
        topic.partitions = [partition]
        var request = FetchRequest()
        request.clusterID = directory.identity.clusterID
        request.replicaState.replicaID = fetch.replica.id
        request.replicaState.replicaEpoch = broker.epoch
        request.maxWaitMs = Int32(fetch.maxWaitMs)
        request.maxBytes = 8 * 1024 * 1024
        request.topics = [topic]
        send(
            request, on: LinkID(node: node, kind: .quorum), for: .quorumFetch(node),
            timeoutMs: fetch.maxWaitMs + configuration.timing.requestTimeoutMs)
    }

    func quorumFetchReceived(_ request: ControlRequest) throws(WireError) {
        let message = try request.read(FetchRequest.self)
        guard let partition = message.topics.first?.partitions.first, message.replicaState.replicaID >= 0,
            isOurCluster(message.clusterID)
        else {
            var answer = FetchResponse()
            answer.errorCode = .inconsistentClusterId
            return respond(answer, to: FetchRequest.self, request)
        }
        let fetch = QuorumFetch(
            replica: ReplicaKey(id: message.replicaState.replicaID, directoryID: partition.replicaDirectoryID),
            fetchOffset: partition.fetchOffset, lastFetchedEpoch: partition.lastFetchedEpoch,
            currentLeaderEpoch: partition.currentLeaderEpoch,
            highWatermark: partition.highWatermark, maxWaitMs: Int64(max(0, message.maxWaitMs)))
        quorum(.fetchReceived(fetch, keep(request)))
    }

    func answerQuorumFetch(
        _ id: RequestID, _ verdict: FetchVerdict, _ highWatermark: Offset, _ epoch: LeaderEpoch, _ leaderID: NodeID?
    ) throws {
        guard let request = quorumRequests.removeValue(forKey: id) else { return }
        var partition = FetchResponse.Partition()
        partition.highWatermark = highWatermark
        partition.logStartOffset = metadataLog.log.startOffset
        partition.currentLeader.leaderID = leaderID ?? -1
        partition.currentLeader.leaderEpoch = epoch
        partition.records = ByteBuffer()
        switch verdict {
        case .error(let error): partition.errorCode = error
        case .diverging(let epoch, let endOffset):
            partition.divergingEpoch.epoch = epoch
            partition.divergingEpoch.endOffset = endOffset
        case .snapshot(let end):
            partition.snapshotID.endOffset = end.offset
            partition.snapshotID.epoch = end.epoch
        case .read(let offset):
            let log = metadataLog.log
            if let slice = try log.read(from: offset, maxBytes: 8 * 1024 * 1024, below: log.endOffset, atLeastOne: true)
            {
                partition.records = try log.bytes(of: slice)
            }
        }
        var topic = FetchResponse.Topic()
        topic.topicID = MetadataTopic.id
        topic.partitions = [partition]
        var answer = FetchResponse()
        answer.topics = [topic]
        respond(answer, to: FetchRequest.self, request)
    }

    func quorumFetchAnswered(by node: NodeID, _ answer: FetchResponse) {
        guard answer.errorCode == .none, let partition = answer.topics.first?.partitions.first else {
            return quorum(.requestFailed(.fetch, to: node))
        }
        var verdict = FetchVerdict.read(from: metadataLog.log.endOffset)
        if partition.errorCode != .none { verdict = .error(partition.errorCode) }
        if partition.divergingEpoch.epoch >= 0 {
            verdict = .diverging(epoch: partition.divergingEpoch.epoch, endOffset: partition.divergingEpoch.endOffset)
        }
        if partition.snapshotID.endOffset >= 0 {
            verdict = .snapshot(LogEnd(offset: partition.snapshotID.endOffset, epoch: partition.snapshotID.epoch))
        }
        fetchedRecords = nil
        if let records = partition.records, records.readableBytes > 0 {
            do throws(BatchError) {
                let checked = try checkReplicated(records, expectedOffset: metadataLog.log.endOffset)
                var bytes = records
                if !checked.headers.isEmpty, let whole = bytes.readSlice(length: checked.sizeBytes) {
                    fetchedRecords = (whole, checked.headers)
                }
            } catch {
                log(.error, "metadata log: node \(node) sent records that fail their check: \(error.message)")
                return quorum(.requestFailed(.fetch, to: node))
            }
        }
        // Run at once: the bytes are kept for this one input.
        quorumStep(
            .fetchAnswered(
                QuorumFetchAnswer(
                    from: node, verdict: verdict,
                    leaderID: partition.currentLeader.leaderID < 0 ? nil : partition.currentLeader.leaderID,
                    epoch: partition.currentLeader.leaderEpoch, highWatermark: partition.highWatermark,
                    hasRecords: fetchedRecords != nil)))
    }

    // MARK: Snapshots and description

    func fetchSnapshotReceived(_ request: ControlRequest) throws(WireError) {
        let message = try request.read(FetchSnapshotRequest.self)
        var answer = FetchSnapshotResponse()
        guard isOurCluster(message.clusterID), let asked = message.topics.first?.partitions.first else {
            answer.errorCode = .inconsistentClusterId
            return respond(answer, to: FetchSnapshotRequest.self, request)
        }
        var partition = FetchSnapshotResponse.Partition()
        partition.snapshotID.endOffset = asked.snapshotID.endOffset
        partition.snapshotID.epoch = asked.snapshotID.epoch
        partition.position = asked.position
        let end = LogEnd(offset: asked.snapshotID.endOffset, epoch: asked.snapshotID.epoch)
        if end != metadataLog.snapshotEnd {
            partition.errorCode = .snapshotNotFound
        } else {
            do throws(DiskError) {
                let file = try disk.open("\(directory.metadataPath)/\(MetadataLog.snapshotName(end))", create: false)
                defer { disk.close(file) }
                partition.size = try disk.sizeBytes(of: file)
                if asked.position < 0 || asked.position >= partition.size {
                    partition.errorCode = .positionOutOfRange
                } else {
                    let room = min(
                        Int64(min(max(1, message.maxBytes), SnapshotFetch.chunkBytes)), partition.size - asked.position)
                    partition.unalignedRecords = try disk.read(file, at: asked.position, length: Int(room))
                }
            } catch {
                partition.errorCode = .kafkaStorageError
            }
        }
        var topic = FetchSnapshotResponse.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [partition]
        answer.topics = [topic]
        respond(answer, to: FetchSnapshotRequest.self, request)
    }

    func describeQuorumReceived(_ request: ControlRequest) throws(WireError) {
        let message = try request.read(DescribeQuorumRequest.self)
        guard let raft, raft.isLeader else { return forward(request) }
        var answer = DescribeQuorumResponse()
        answer.topics = message.topics.map { asked in
            var topic = DescribeQuorumResponse.Topic()
            topic.name = asked.name
            topic.partitions = asked.partitions.map { described($0.partitionIndex, asked.name, raft) }
            return topic
        }
        if request.header.version >= 2 {
            answer.nodes = raft.voters.voters.map { voter in
                var node = DescribeQuorumResponse.Node()
                node.nodeID = voter.key.id
                var listener = DescribeQuorumResponse.Listener()
                listener.name = "PLAINTEXT"
                listener.host = voter.endpoint.host
                listener.port = voter.endpoint.port
                node.listeners = [listener]
                return node
            }
        }
        respond(answer, to: DescribeQuorumRequest.self, request)
    }

    private func described(_ index: Int32, _ topic: String, _ raft: RaftNode) -> DescribeQuorumResponse.Partition {
        var partition = DescribeQuorumResponse.Partition()
        partition.partitionIndex = index
        guard topic == MetadataTopic.name, index == 0 else {
            partition.errorCode = .unknownTopicOrPartition
            return partition
        }
        partition.leaderID = me
        partition.leaderEpoch = raft.epoch
        partition.highWatermark = raft.highWatermark
        func wallMs(_ instant: Instant?) -> Int64 {
            instant.map { reading.wallMs - reading.now.milliseconds(since: $0) } ?? -1
        }
        for progress in raft.progress {
            var replica = DescribeQuorumResponse.Replica()
            replica.replicaID = progress.key.id
            replica.replicaDirectoryID = progress.key.directoryID
            replica.logEndOffset = progress.key == raft.key ? raft.log.endOffset : progress.fetchedOffset ?? -1
            replica.lastFetchTimestamp = progress.key == raft.key ? reading.wallMs : wallMs(progress.lastFetch)
            replica.lastCaughtUpTimestamp = progress.key == raft.key ? reading.wallMs : wallMs(progress.lastCaughtUp)
            if raft.voters.contains(progress.key) {
                partition.currentVoters.append(replica)
            } else {
                partition.observers.append(replica)
            }
        }
        return partition
    }
}
