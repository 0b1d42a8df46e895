// The quorum's machine at work: its inputs fed, its effects run on the metadata log, its committed records folded into
// the image.

import Metadata
import Model
import NIOCore
import Raft
import Records
import Storage
import Wire

/// A snapshot on its way in.
struct SnapshotFetch {
    var end: LogEnd
    var from: NodeID
    var bytes = ByteBuffer()
    /// Written, not yet durable.
    var isWriting = false

    static let owner: UInt32 = 3
    static let chunkBytes: Int32 = 1 << 20
}

extension Control {
    func quorum(_ input: RaftInput) { quorumInputs.append(input) }

    func quorumStep(_ input: RaftInput) {
        guard raft != nil else { return }
        var effects: [RaftEffect] = []
        raft?.step(input, at: reading.now, into: &effects)
        for effect in effects {
            do {
                try run(effect)
            } catch {
                return halt("the metadata log cannot be used: \(error)")
            }
        }
        if case .fetchAnswered = input { fetchedRecords = nil }
    }

    private func run(_ effect: RaftEffect) throws {
        switch effect {
        case .save(let state): saves.save(state, path: directory.quorumStatePath, on: disk)
        case .appendLeaderChange(let epoch, let voters, let granting): try appendLeaderChange(epoch, voters, granting)
        case .appendVoters(let voters, let epoch): try appendVoters(voters, epoch)
        case .appendFetched: try appendFetched()
        case .truncate(let offset):
            log(.notice, "metadata log: truncating from \(metadataLog.log.endOffset) to \(offset)")
            try metadataLog.log.truncate(to: offset)
        case .flush: metadataLog.log.requestFlush()
        case .fetchSnapshot(let end, let node):
            snapshotFetch = SnapshotFetch(end: end, from: node)
            fetchSnapshotChunk()
        case .sendVote(let request, let node): sendVote(request, to: node)
        case .sendBeginQuorumEpoch(let epoch, let voter): sendBeginQuorumEpoch(epoch, to: voter)
        case .sendEndQuorumEpoch(let epoch, let candidates, let node): sendEndQuorumEpoch(epoch, candidates, to: node)
        case .sendFetch(let fetch, let node): sendQuorumFetch(fetch, to: node)
        case .answerVote(let id, let response): answerVote(id, response)
        case .answerBeginQuorumEpoch(let id, let error, let epoch, let leaderID):
            answerBeginQuorumEpoch(id, error, epoch, leaderID)
        case .answerEndQuorumEpoch(let id, let error, let epoch, let leaderID):
            answerEndQuorumEpoch(id, error, epoch, leaderID)
        case .answerFetch(let id, let verdict, let highWatermark, let epoch, let leaderID):
            try answerQuorumFetch(id, verdict, highWatermark, epoch, leaderID)
        case .answerVoterChange(let id, let error): voterChangeAnswered(id, error)
        case .advanceHighWatermark(let offset): try committed(through: offset)
        case .changeRole(let role, let epoch, let leaderID): try roleChanged(role, epoch, leaderID)
        }
    }

    // MARK: Disk

    func quorumStateSaved(_ result: FlushResult) {
        if case .failed(let error) = result { return halt("the quorum's state could not be written: \(error)") }
        if let state = saves.saved(path: directory.quorumStatePath, on: disk) { quorum(.saved(state)) }
    }

    private func appendLeaderChange(_ epoch: LeaderEpoch, _ voters: VoterSet, _ granting: [ReplicaKey]) throws {
        func named(_ key: ReplicaKey) -> LeaderChangeMessage.Voter {
            var voter = LeaderChangeMessage.Voter()
            voter.voterID = key.id
            voter.voterDirectoryID = key.directoryID
            return voter
        }
        var change = LeaderChangeMessage()
        change.leaderID = me
        change.voters = voters.voters.map { named($0.key) }
        change.grantingVoters = granting.map(named)
        let start = metadataLog.log.endOffset
        try metadataLog.append(change, epoch: epoch, wallMs: reading.wallMs)
        var found: [VotersAt] = []
        // The founders' set stands only in their zero snapshots; a node that joins later learns it from the log.
        if start == 0 {
            found.append(VotersAt(offset: metadataLog.log.endOffset, voters: voters))
            try metadataLog.append(VotersRecord(voters), epoch: epoch, wallMs: reading.wallMs)
        }
        quorum(
            .appended(
                endOffset: metadataLog.log.endOffset, epochs: [.init(epoch: epoch, startOffset: start)], voters: found))
    }

    private func appendVoters(_ voters: VoterSet, _ epoch: LeaderEpoch) throws {
        let offset = metadataLog.log.endOffset
        try metadataLog.append(VotersRecord(voters), epoch: epoch, wallMs: reading.wallMs)
        quorum(
            .appended(
                endOffset: metadataLog.log.endOffset, epochs: [], voters: [VotersAt(offset: offset, voters: voters)]))
        updateLinks()
    }

    private func appendFetched() throws {
        guard let fetched = fetchedRecords else { preconditionFailure("nothing was fetched") }
        let facts = try MetadataLog.quorumFacts(
            fetched.bytes, fetched.headers, after: metadataLog.log.epochs.latestEpoch)
        try metadataLog.appendFetched(fetched.bytes, headers: fetched.headers, wallMs: reading.wallMs)
        quorum(.appended(endOffset: metadataLog.log.endOffset, epochs: facts.epochs, voters: facts.voters))
    }

    // MARK: What is committed

    private func committed(through end: Offset) throws {
        guard end > image.lastOffset + 1 else { return }
        var changes = ImageChanges()
        try metadataLog.forEachEntry(from: image.lastOffset + 1, to: end) { offset, epoch, entry in
            if case .record(let record) = entry { image.apply(record, at: offset, changes: &changes) }
            image.lastEpoch = epoch
        }
        image.lastOffset = end - 1
        // The last record may be one that the image passes over, a LeaderChange: its epoch names a snapshot that ends
        // here.
        image.lastEpoch = metadataLog.log.epochs.epoch(at: end - 1) ?? image.lastEpoch
        imageAdvanced(changes)
    }

    /// The committed image grew: everybody who lives by it is told.
    func imageAdvanced(_ changes: ImageChanges) {
        noteOwnRegistration()
        if !changes.isEmpty { updateLinks() }
        if !broker.hasPublished {
            // What came with this node's own snapshot is news to the shards as well.
            publish(ImageChanges(from: .empty, to: image))
        } else if !changes.isEmpty {
            publish(changes)
        }
        completeCommitted()
        checkReady()
    }

    func publish(_ changes: ImageChanges) {
        broker.hasPublished = true
        let view = ClusterView(
            image: image, clusterID: directory.identity.clusterID ?? "", controllerID: raft?.leaderID,
            brokerEpoch: broker.epoch, incarnationID: incarnationID)
        for shard in 0..<shardCount { effects.append(.mail(.viewPublished(view, changes), toShard: shard)) }
    }

    func roleChanged(_ role: RaftRole, _ epoch: LeaderEpoch, _ leaderID: NodeID?) throws {
        log(.notice, "quorum: \(role) in epoch \(epoch), leader \(leaderID.map { "node \($0)" } ?? "none")")
        if role == .leader { try becomeController() } else if controller != nil { resignController() }
        tellShards()
        broker.nextHeartbeatAt = reading.now
        updateLinks()
        sendWaiting()
        // What waits for the controller before this one.
        sendISRChanges()
    }

    // MARK: Snapshots

    /// Enough new log: the committed state is written down, and the log before it may go.
    func takeSnapshotIfDue() {
        guard let raft, snapshotUnderWay == nil, snapshotFetch == nil,
            metadataLog.bytesSinceSnapshot >= configuration.log.metadataSnapshotBytes,
            image.lastOffset + 1 > (metadataLog.snapshotEnd?.offset ?? 0)
        else { return }
        let end = LogEnd(offset: image.lastOffset + 1, epoch: image.lastEpoch)
        // Voters that are in force but not committed do not belong in a snapshot of what is.
        let voters = raft.committedVoters
        snapshotUnderWay = end
        // Mutant: what is not committed is in it, and comes again from the log (M1).
        let state = configuration.plantedBug == .snapshotOfUncommitted ? controller?.image ?? image : image
        disk.replace(
            FlushTicket(owner: SnapshotFetch.owner, generation: 0, sequence: UInt64(end.offset)),
            path: "\(directory.metadataPath)/\(MetadataLog.snapshotName(end))",
            contents: MetadataLog.snapshot(state, voters: voters, end: end, wallMs: reading.wallMs))
    }

    func snapshotWritten(_ ticket: FlushTicket, _ result: FlushResult) {
        if case .failed(let error) = result { return halt("a metadata snapshot could not be written: \(error)") }
        do {
            if ticket.generation == 1 {
                if let fetch = snapshotFetch, fetch.isWriting { try installSnapshot(fetch) }
                return
            }
            guard let end = snapshotUnderWay else { return }
            snapshotUnderWay = nil
            // A later one of the leader's may have been put in place meanwhile.
            guard end.offset > metadataLog.snapshotEnd?.offset ?? 0 else { return }
            try metadataLog.adopt(end)
            quorum(.logStartAdvanced(to: end.offset))
        } catch {
            halt("a metadata snapshot could not be put in place: \(error)")
        }
    }

    func fetchSnapshotChunk() {
        guard let fetch = snapshotFetch, let raft else { return }
        var request = FetchSnapshotRequest()
        request.clusterID = directory.identity.clusterID
        request.replicaID = me
        request.maxBytes = SnapshotFetch.chunkBytes
        var partition = FetchSnapshotRequest.Partition()
        partition.currentLeaderEpoch = raft.epoch
        partition.snapshotID.endOffset = fetch.end.offset
        partition.snapshotID.epoch = fetch.end.epoch
        partition.position = Int64(fetch.bytes.readableBytes)
        partition.replicaDirectoryID = directory.identity.directoryID
        var topic = FetchSnapshotRequest.Topic()
        topic.name = MetadataTopic.name
        topic.partitions = [partition]
        request.topics = [topic]
        send(request, on: LinkID(node: fetch.from, kind: .quorum), for: .fetchSnapshot(fetch.from))
    }

    func fetchSnapshotAnswered(by node: NodeID, _ answer: FetchSnapshotResponse) {
        guard var fetch = snapshotFetch, fetch.from == node, !fetch.isWriting else { return }
        let partition = answer.topics.first?.partitions.first
        guard answer.errorCode == .none, let partition, partition.errorCode == .none,
            partition.snapshotID.endOffset == fetch.end.offset, partition.snapshotID.epoch == fetch.end.epoch,
            partition.position == Int64(fetch.bytes.readableBytes), partition.unalignedRecords.readableBytes > 0
        else {
            snapshotFetch = nil
            return quorum(.requestFailed(.fetchSnapshot, to: node))
        }
        fetch.bytes.writeImmutableBuffer(partition.unalignedRecords)
        snapshotFetch = fetch
        guard Int64(fetch.bytes.readableBytes) >= partition.size else { return fetchSnapshotChunk() }
        // Read before it is written: under its name it is what the next start trusts.
        do { _ = try MetadataLog.decodeSnapshot(fetch.bytes, end: fetch.end) } catch {
            log(.error, "node \(node) sent a metadata snapshot that fails its check: \(error)")
            snapshotFetch = nil
            return quorum(.requestFailed(.fetchSnapshot, to: node))
        }
        snapshotFetch?.isWriting = true
        disk.replace(
            FlushTicket(owner: SnapshotFetch.owner, generation: 1, sequence: UInt64(fetch.end.offset)),
            path: "\(directory.metadataPath)/\(MetadataLog.snapshotName(fetch.end))", contents: fetch.bytes)
    }

    private func installSnapshot(_ fetch: SnapshotFetch) throws {
        snapshotFetch = nil
        let snapshot = try MetadataLog.decodeSnapshot(fetch.bytes, end: fetch.end)
        try metadataLog.log.truncateFully(startingAt: fetch.end.offset)
        try metadataLog.adopt(fetch.end)
        log(.notice, "metadata: went on from the leader's snapshot at \(fetch.end)")
        let changes = ImageChanges(from: image, to: snapshot.image)
        image = snapshot.image
        quorum(.snapshotInstalled(end: fetch.end, voters: snapshot.voters ?? VoterSet([])))
        imageAdvanced(changes)
    }
}
