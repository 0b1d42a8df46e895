// How a cluster comes to be (DESIGN.md §2): only when all configured voters are reached and none belongs to a cluster
// yet. The lowest id draws the cluster id, makes it and the voters durable, and tells the others; from then on the log
// is the truth.

import Metadata
import Model
import NIOCore
import Raft
import Storage
import Wire

struct Formation {
    /// The voters that the cluster was formed with, from the zero snapshot; nil on a node that joined later.
    var voters: VoterSet?
    /// Directory ids of the peers that said hello and belong to no cluster.
    var unformed = SortedMap<NodeID, UUID128>()
    var saidWaitingFor: [NodeID] = []
    /// Configured nodes that belong to another cluster.
    var strangers = SortedMap<NodeID, String>()
}

extension Control {
    var isFormed: Bool { directory.identity.clusterID != nil }

    /// A peer's cluster, seen from here. INVALID_VOTER_KEY tells an empty node that this cluster was formed without its
    /// disk.
    func judge(node: NodeID, cluster: String?, directoryID: UUID128) -> ErrorCode {
        guard let own = directory.identity.clusterID else { return .none }
        if let cluster { return cluster == own ? .none : .inconsistentClusterId }
        let isFounder = formation.voters?.contains(ReplicaKey(id: node, directoryID: directoryID)) ?? false
        return isFounder ? .none : .invalidVoterKey
    }

    func peerHeard(_ node: NodeID, _ answer: NodeHelloResponse) {
        // Mutant: members of a cluster are asked to found another (R5).
        let isBlind = configuration.plantedBug == .secondCluster && !isFormed
        if answer.clusterID == nil || isBlind {
            formation.unformed[node] = answer.directoryID
            // A founder that missed the word, by its crash or ours: its disk was never used, so it may still be told.
            if isFormed, let voters = formation.voters,
                voters.contains(ReplicaKey(id: node, directoryID: answer.directoryID))
            {
                tellFormation(node, voters)
            }
        } else {
            formation.unformed.removeValue(forKey: node)
            if !isFormed, answer.errorCode == .invalidVoterKey, let cluster = answer.clusterID,
                UUID128(cluster) != nil
            {
                joinAsObserver(cluster)
            }
        }
        formIfPossible()
    }

    func formIfPossible() {
        guard !isFormed else { return }
        let missing = configuration.voters.keys.filter { $0 != me && formation.unformed[$0] == nil }
        guard missing.isEmpty else {
            if missing != formation.saidWaitingFor {
                formation.saidWaitingFor = missing
                log(
                    .notice,
                    "waiting for \(missing.map { "node \($0)" }.joined(separator: " and ")) to form the cluster")
            }
            return
        }
        guard configuration.voters.keys.first == me else { return }
        let voters = VoterSet(
            configuration.voters.map { id, endpoint in
                let directoryID = id == me ? directory.identity.directoryID : formation.unformed[id] ?? .zero
                return Voter(key: ReplicaKey(id: id, directoryID: directoryID), endpoint: endpoint)
            })
        let cluster = UUID128.random(using: &random).description
        guard form(cluster, voters) else { return }
        log(.notice, "formed cluster \(cluster) of \(voters.ids.map(String.init).joined(separator: ", "))")
        for id in voters.ids where id != me { tellFormation(id, voters) }
    }

    private func tellFormation(_ node: NodeID, _ voters: VoterSet) {
        guard let cluster = directory.identity.clusterID else { return }
        var request = FormClusterRequest()
        request.clusterID = cluster
        request.voters = voters.voters.map { member in
            var voter = FormClusterRequest.Voter()
            voter.nodeID = member.key.id
            voter.directoryID = member.key.directoryID
            voter.host = member.endpoint.host
            voter.port = member.endpoint.port
            return voter
        }
        send(request, on: LinkID(node: node, kind: .control), for: .formCluster(node))
    }

    func formClusterReceived(_ request: ControlRequest) throws(WireError) {
        let word = try request.read(FormClusterRequest.self)
        let voters = VoterSet(
            word.voters.map { voter in
                Voter(
                    key: ReplicaKey(id: voter.nodeID, directoryID: voter.directoryID),
                    endpoint: Endpoint(host: voter.host, port: voter.port))
            })
        var answer = FormClusterResponse()
        if let own = directory.identity.clusterID {
            answer.errorCode = own == word.clusterID ? .none : .inconsistentClusterId
        } else if UUID128(word.clusterID) == nil {
            // It would be written into meta.properties as it stands.
            answer.errorCode = .invalidRequest
        } else if !voters.contains(ReplicaKey(id: me, directoryID: directory.identity.directoryID)) {
            answer.errorCode = .invalidVoterKey
        } else if voters.ids != configuration.voters.keys {
            answer.errorCode = .inconsistentVoterSet
            answer.errorMessage = "node \(me) is configured with the voters \(configuration.voters.keys)"
        } else if form(word.clusterID, voters) {
            log(
                .notice,
                "joined cluster \(word.clusterID), formed by \(voters.ids.map(String.init).joined(separator: ", "))")
        } else {
            answer.errorCode = .kafkaStorageError
        }
        respond(answer, to: FormClusterRequest.self, request)
    }

    func formClusterAnswered(by node: NodeID, _ answer: FormClusterResponse) {
        if answer.errorCode == .none {
            formation.unformed.removeValue(forKey: node)
        } else {
            log(.error, "node \(node) refused the new cluster: \(answer.errorMessage ?? answer.errorCode.description)")
        }
    }

    /// Durable before anything is done with it: the zero snapshot with the voters first, then the cluster id, which
    /// makes it count.
    private func form(_ cluster: String, _ voters: VoterSet) -> Bool {
        do {
            try disk.createDirectory(directory.metadataPath)
            let zero = LogEnd(offset: 0, epoch: 0)
            try disk.replaceNow(
                path: "\(directory.metadataPath)/\(MetadataLog.snapshotName(zero))",
                contents: MetadataLog.snapshot(.empty, voters: voters, end: zero, wallMs: reading.wallMs))
            try disk.flushNow(files: [], directories: [directory.path])
            try directory.join(cluster: cluster, on: disk)
        } catch {
            halt("the new cluster could not be written down: \(error)")
            return false
        }
        formation.voters = voters
        startQuorum(saved: QuorumState(), voters: voters, later: [])
        return true
    }

    /// This disk had no part in the cluster's forming: it holds nothing and votes for nothing until the controller
    /// takes it in.
    private func joinAsObserver(_ cluster: String) {
        do {
            // Epoch, vote and log will lie in there: its name must not go with the power.
            try disk.createDirectory(directory.metadataPath)
            try disk.flushNow(files: [], directories: [directory.path])
            try directory.join(cluster: cluster, on: disk)
        } catch {
            return halt("the cluster could not be joined: \(error)")
        }
        log(.notice, "joined cluster \(cluster) as a new replica: this directory was empty")
        startQuorum(saved: QuorumState(), voters: VoterSet([]), later: [])
    }

    // MARK: Start

    /// What a fresh process does first. Throws where it cannot know what it promised.
    func start() throws {
        if isFormed {
            let saved = try QuorumStateSaves.read(
                directory.quorumStatePath, beside: metadataLog.positions.end.epoch, on: disk)
            startQuorum(saved: saved, voters: formation.voters ?? VoterSet([]), later: try metadataLog.votersInLog())
        } else {
            formIfPossible()
        }
        updateLinks()
    }

    func startQuorum(saved: QuorumState, voters: VoterSet, later: [VotersAt]) {
        let timing = configuration.timing
        raft = RaftNode(
            key: ReplicaKey(id: me, directoryID: directory.identity.directoryID),
            settings: RaftSettings(
                electionTimeoutMs: timing.quorumElectionTimeoutMs, fetchTimeoutMs: timing.quorumFetchTimeoutMs,
                fetchMaxWaitMs: timing.quorumFetchMaxWaitMs, requestTimeoutMs: timing.requestTimeoutMs,
                plantedBug: configuration.plantedBug),
            saved: saved, log: metadataLog.positions, voters: voters, laterVoters: later,
            bootstrap: configuration.voters.keys.filter { $0 != me }, seed: random.next(), now: reading.now)
        updateLinks()
        quorum(.ticked)
    }
}
