// Links to the other nodes: who is reached where, who answers, and the proof that somebody is gone.

import Metadata
import Model
import NIOCore
import Raft
import Wire

extension Control {
    var me: NodeID { configuration.nodeID }

    /// Every node that is configured, votes or is registered, and where it listens. The configuration knows best: a
    /// directory of another cluster must not lead this node to that one's addresses.
    var knownNodes: SortedMap<NodeID, Endpoint> {
        var nodes = SortedMap<NodeID, Endpoint>()
        for voter in raft?.voters.voters ?? [] where !voter.endpoint.host.isEmpty {
            nodes[voter.key.id] = voter.endpoint
        }
        for broker in image.brokers.values { nodes[broker.id] = broker.endpoint }
        for (id, endpoint) in configuration.voters { nodes[id] = endpoint }
        nodes.removeValue(forKey: me)
        return nodes
    }

    /// Keeps one control and one quorum link to every known node.
    func updateLinks() {
        let nodes = knownNodes
        for (link, endpoint) in links where nodes[link.node] != endpoint {
            links.removeValue(forKey: link)
            connected.removeValue(forKey: link)
            effects.append(.closeLink(link))
            failRequests(on: link)
        }
        for (node, endpoint) in nodes {
            for kind in [LinkID.Kind.quorum, .control] {
                let link = LinkID(node: node, kind: kind)
                guard links[link] == nil else { continue }
                links[link] = endpoint
                effects.append(.openLink(link, endpoint))
            }
        }
    }

    func isConnected(_ link: LinkID) -> Bool { connected[link] == true }

    func linkEvent(_ event: LinkEvent) {
        switch event {
        case .connected(let link):
            guard links[link] != nil else { return }
            connected[link] = true
            switch link.kind {
            case .control:
                sayHello(on: link, for: .hello(link.node))
                sendWaiting()
            default: sayHello(on: link, for: .introduction)
            }
        case .failed(let link, let failure):
            guard links[link] != nil else { return }
            connected.removeValue(forKey: link)
            failRequests(on: link)
            // Nobody listens at the address where that incarnation did: it is gone. A broken connection alone proves
            // nothing.
            if failure == .refused, let incarnation = incarnations[link.node] {
                proveDead(link.node, incarnation, isSilent: true)
            }
        case .frameReceived(let link, let frame): answerReceived(frame, on: link)
        }
    }

    private func reopen(_ link: LinkID) {
        guard let endpoint = links[link], isConnected(link) else { return }
        connected.removeValue(forKey: link)
        effects.append(.closeLink(link))
        effects.append(.openLink(link, endpoint))
        failRequests(on: link)
    }

    private func failRequests(on link: LinkID) {
        for request in requests.takeAll(on: link) { requestFailed(request.purpose, timedOut: false) }
    }

    // MARK: Hello

    /// Asks again who answers there.
    func probe(_ link: LinkID) {
        let isAsking = requests.purposes.contains { if case .hello(link.node) = $0 { true } else { false } }
        if !isAsking { sayHello(on: link, for: .hello(link.node)) }
    }

    /// The first word on every link: node requests are believed only behind it.
    private func sayHello(on link: LinkID, for purpose: ControlPurpose) {
        var hello = NodeHelloRequest()
        hello.nodeID = me
        hello.clusterID = directory.identity.clusterID
        hello.directoryID = directory.identity.directoryID
        hello.incarnationID = incarnationID
        hello.brokerEpoch = broker.epoch
        hello.voters = configuration.voters.map { id, endpoint in
            var voter = NodeHelloRequest.Voter()
            voter.nodeID = id
            voter.host = endpoint.host
            voter.port = endpoint.port
            return voter
        }
        hello.host = configuration.advertised.host
        hello.port = configuration.advertised.port
        send(hello, on: link, for: purpose)
    }

    func helloReceived(_ request: ControlRequest) throws(WireError) {
        let hello = try request.read(NodeHelloRequest.self)
        var answer = NodeHelloResponse()
        answer.nodeID = me
        answer.clusterID = directory.identity.clusterID
        answer.directoryID = directory.identity.directoryID
        answer.incarnationID = incarnationID
        answer.brokerEpoch = broker.epoch
        answer.voters = configuration.voters.map { id, endpoint in
            var voter = NodeHelloResponse.Voter()
            voter.nodeID = id
            voter.host = endpoint.host
            voter.port = endpoint.port
            return voter
        }
        answer.errorCode = judge(
            node: hello.nodeID, cluster: hello.clusterID, directoryID: hello.directoryID)
        respond(answer, to: NodeHelloRequest.self, request)
    }

    func helloAnswered(by node: NodeID, _ answer: NodeHelloResponse) {
        guard answer.nodeID == node else {
            return log(
                .error, "the address of node \(node) is answered by node \(answer.nodeID): check the configuration")
        }
        if let cluster = answer.clusterID, let own = directory.identity.clusterID, cluster != own {
            return foundStranger(node, of: cluster, own)
        }
        if let before = incarnations[node], before != answer.incarnationID {
            proveDead(node, before, isSilent: false)
        }
        incarnations[node] = answer.incarnationID
        if dead[node] == answer.incarnationID { dead.removeValue(forKey: node) }
        peerHeard(node, answer)
    }

    /// A configured node of another cluster. When most of them are, it is this node's directory that is the wrong one.
    private func foundStranger(_ node: NodeID, of cluster: String, _ own: String) {
        log(.error, "node \(node) belongs to cluster \(cluster), and this node to \(own)")
        formation.strangers[node] = cluster
        guard formation.strangers.count > configuration.voters.count / 2 else { return }
        halt(
            "the data directory \(directory.path) belongs to cluster \(own), and the configured nodes to \(cluster):"
                + " check which directory this node was given")
    }

    // MARK: Proof of death

    /// `isSilent`: nobody listens there. Where another start answers, the quorum needs no proof: a node that restarted
    /// leads no epoch of before and says so to the next Fetch, while the one that answers may lead the present epoch.
    private func proveDead(_ node: NodeID, _ incarnation: UUID128, isSilent: Bool) {
        guard dead[node] != incarnation else { return }
        dead[node] = incarnation
        let proof = isSilent ? "nobody listens where it did" : "another start of it answers"
        log(.notice, "node \(node) is gone: \(proof)")
        if raft != nil, isSilent { quorum(.peerDied(node)) }
        controllerLearnsOfDeath(node, incarnation)
    }

    // MARK: Answers

    /// An answer frame without its length: from a link, or from this node itself.
    func answerReceived(_ frame: ByteBuffer, on link: LinkID?) {
        guard let id = frame.getInteger(at: frame.readerIndex, as: Int32.self),
            let request = requests.take(id, from: link)
        else { return }
        do throws(WireError) {
            try answered(request.purpose, request.version, frame)
        } catch {
            log(
                .error,
                "an answer of \(link.map { "node \($0.node)" } ?? "this node") to \(request.api) cannot be read "
                    + "(\(error))"
            )
            requestFailed(request.purpose, timedOut: false)
        }
    }

    private func answered(_ purpose: ControlPurpose, _ version: Int16, _ frame: ByteBuffer) throws(WireError) {
        func decode<M: WireRequest>(_ type: M.Type) throws(WireError) -> M.Response {
            var frame = frame
            return try decodeResponse(of: type, version: version, from: &frame).response
        }
        switch purpose {
        case .hello(let node): helloAnswered(by: node, try decode(NodeHelloRequest.self))
        case .formCluster(let node): formClusterAnswered(by: node, try decode(FormClusterRequest.self))
        case .vote(let node, let epoch, let preVote):
            voteAnswered(by: node, epoch, preVote, try decode(Wire.VoteRequest.self))
        case .beginQuorumEpoch(let node, _):
            beginQuorumEpochAnswered(by: node, try decode(BeginQuorumEpochRequest.self))
        case .endQuorumEpoch, .introduction: break
        case .quorumFetch(let node): quorumFetchAnswered(by: node, try decode(FetchRequest.self))
        case .fetchSnapshot(let node): fetchSnapshotAnswered(by: node, try decode(FetchSnapshotRequest.self))
        case .registration: registrationAnswered(try decode(BrokerRegistrationRequest.self))
        case .heartbeat: heartbeatAnswered(try decode(BrokerHeartbeatRequest.self))
        case .alterPartition(let request): isrsAnswered(try decode(AlterPartitionRequest.self), request)
        case .assignReplicasToDirs(let assignments):
            directoriesAnswered(try decode(AssignReplicasToDirsRequest.self), assignments)
        case .allocateProducerIDs: producerIDsAllocated(try decode(AllocateProducerIDsRequest.self))
        case .forwarded(let request, let deadline):
            forwardedAnswered(try decode(EnvelopeRequest.self), request, deadline)
        case .autoCreation(let names): autoCreationAnswered(names, try decode(CreateTopicsRequest.self))
        }
    }

    /// No answer will come.
    func requestFailed(_ purpose: ControlPurpose, timedOut: Bool) {
        switch purpose {
        case .hello(let node), .formCluster(let node):
            // A peer that takes bytes and answers nothing, or lost its power with the word: begin anew on another
            // connection, which says hello again.
            if timedOut { reopen(LinkID(node: node, kind: .control)) }
        case .endQuorumEpoch, .introduction: break
        case .vote(let node, let epoch, let preVote):
            quorum(.requestFailed(.vote(epoch: epoch, preVote: preVote), to: node))
        case .beginQuorumEpoch(let node, let epoch): quorum(.requestFailed(.beginQuorumEpoch(epoch: epoch), to: node))
        case .quorumFetch(let node): quorum(.requestFailed(.fetch, to: node))
        case .fetchSnapshot(let node):
            snapshotFetch = nil
            quorum(.requestFailed(.fetchSnapshot, to: node))
        case .registration: broker.isRegistering = false
        case .heartbeat: broker.isHeartbeating = false
        case .alterPartition(let request): isrRequestEnded(request, .requestTimedOut)
        case .assignReplicasToDirs(let assignments): directoriesFailed(assignments)
        case .allocateProducerIDs:
            producerIDs.isAsking = false
            failProducerIDs()
        case .forwarded(let request, let deadline):
            // After a broken connection it is asked again; after a long silence the client decides.
            if timedOut { giveUp(request) } else { wait(request, until: deadline) }
        case .autoCreation: break
        }
    }

    // MARK: Requests

    /// A request of a connection, of an Envelope, or of this node.
    func receive(_ request: ControlRequest) {
        do throws(WireError) {
            try dispatch(request)
        } catch {
            refuse(
                request,
                because: "sent a \(request.header.api) version \(request.header.version) that cannot be read (\(error))"
            )
        }
    }

    private func dispatch(_ request: ControlRequest) throws(WireError) {
        let isForNodes = Routes.route(request.header.api).map { $0.scope != .client } ?? true
        if isForNodes, request.header.api != .nodeHello, request.node == nil, case .connection = request.route {
            return refuse(request, because: "asked for \(request.header.api), which is for nodes of the cluster")
        }
        switch request.header.api {
        case .nodeHello: try helloReceived(request)
        case .formCluster: try formClusterReceived(request)
        case .vote: try voteReceived(request)
        case .beginQuorumEpoch: try beginQuorumEpochReceived(request)
        case .endQuorumEpoch: try endQuorumEpochReceived(request)
        case .fetch: try quorumFetchReceived(request)
        case .fetchSnapshot: try fetchSnapshotReceived(request)
        case .describeQuorum: try describeQuorumReceived(request)
        case .envelope: try envelopeReceived(request)
        case .initProducerID: try initProducerIDReceived(request)
        case .describeConfigs: try describeConfigsReceived(request)
        case .createTopics:
            try complainOfNames(request)
            try controllerRequestReceived(request)
        default: try controllerRequestReceived(request)
        }
    }

    /// The node that a client speaks to tells of its wrong names; the controller sees only this node.
    private func complainOfNames(_ request: ControlRequest) throws(WireError) {
        guard case .connection(let shard, let id, _) = request.route,
            let wrong = try request.read(CreateTopicsRequest.self).topics.first(where: { !isValidTopicName($0.name) })
        else { return }
        effects.append(.mail(.complained(id, "a topic named \(wrong.name.prefix(64))"), toShard: shard))
    }

    func connectionClosed(_ shard: Int, _ id: ConnectionID) {
        for (requestID, request) in quorumRequests {
            guard let connection = request.route.connection, connection.shard == shard, connection.id == id else {
                continue
            }
            quorumRequests.removeValue(forKey: requestID)
            quorum(.fetchCancelled(requestID))
        }
    }
}
