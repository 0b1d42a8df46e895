// A client of one cluster: finds nodes, keeps connections to them, knows who leads what, and tries again.

import Model
import NIOCore
import NIOPosix
import Synchronization
import Wire

/// The entry to a cluster: hand it to a `Producer` or a `Consumer`, or ask it about topics, configs, nodes and offsets.
/// One client serves any number of them. Each of them, and the client itself, has a connection of its own to each node
/// that it needs: a node answers in order, so that a Fetch it holds back would hold up all that comes behind it.
///
/// ```swift
/// let client = ClusterClient(bootstrap: [BrokerAddress(host: "127.0.0.1", port: 9092)])
/// ```
public actor ClusterClient {
    public nonisolated let configuration: ClientConfiguration
    private let bootstrap: [Endpoint]
    private var connections: [Slot: Task<BrokerConnection, any Error>] = [:]
    private var isClosed = false
    private let lastLane = Atomic<Int>(0)
    private(set) var view = ClusterView()
    /// All connections of a client live on one event loop, so that what is written in order goes out in order.
    nonisolated let eventLoop = MultiThreadedEventLoopGroup.singleton.any()

    /// `bootstrap`: nodes to ask first; the others are found through them.
    public init(bootstrap: [Endpoint], configuration: ClientConfiguration = ClientConfiguration()) {
        self.bootstrap = bootstrap
        self.configuration = configuration
    }

    /// Ends the client for good, with the producers and consumers that were made of it: what they wait for ends with
    /// `closed`. A producer's own `close`, before, writes what it has taken in.
    public func close() async {
        isClosed = true
        let open = connections.values
        connections = [:]
        for connection in open { try? await connection.value.close() }
    }

    // MARK: Lanes

    /// Those who share connections.
    final class Lane: Hashable, Sendable {
        private let number: Int
        private let closed = Atomic<Bool>(false)
        /// The client's own: metadata and admin requests.
        static let own = Lane(number: 0)

        init(number: Int) { self.number = number }

        var isClosed: Bool { closed.load(ordering: .relaxed) }
        func close() { closed.store(true, ordering: .relaxed) }

        static func == (one: Lane, other: Lane) -> Bool { one.number == other.number }
        func hash(into hasher: inout Hasher) { hasher.combine(number) }
    }

    private struct Slot: Hashable {
        let endpoint: Endpoint
        let lane: Lane
    }

    nonisolated func newLane() -> Lane { Lane(number: lastLane.wrappingAdd(1, ordering: .relaxed).newValue) }

    /// For good: what its user still asks for ends with `closed`.
    func close(_ lane: Lane) async {
        lane.close()
        await close(connections.keys.filter { $0.lane == lane })
    }

    /// The lane's connection to one node; the next request there opens another.
    func close(_ lane: Lane, to node: NodeID) async {
        guard let endpoint = view.nodes[node] else { return }
        await close([Slot(endpoint: endpoint, lane: lane)])
    }

    private func close(_ slots: [Slot]) async {
        let open = slots.compactMap { connections.removeValue(forKey: $0) }
        for connection in open { try? await connection.value.close() }
    }

    // MARK: Requests

    /// Sends a request to `node`, or to any node when nil. One attempt.
    func ask<R: WireRequest>(
        _ request: R, of node: NodeID? = nil, maxVersion: Int16 = .max, extraWaitMs: Int64 = 0
    ) async throws -> R.Response {
        try await link(to: node).send(request, maxVersion: maxVersion, extraWaitMs: extraWaitMs)
    }

    func tell<R: WireRequest>(_ request: R, of node: NodeID, maxVersion: Int16 = .max) async throws {
        try await link(to: node).sendOnly(request, maxVersion: maxVersion)
    }

    /// The open connection to a node, or to any.
    func link(to node: NodeID?, _ lane: Lane = .own) async throws -> BrokerConnection {
        guard let node else { return try await anyConnection() }
        if view.nodes[node] == nil { try await refreshMetadata(of: []) }
        guard let endpoint = view.nodes[node] else {
            throw ClientError.refused(what: "reach node \(node)", .brokerNotAvailable, message: nil)
        }
        return try await connection(at: endpoint, lane)
    }

    /// Every address that is known. One with an open connection comes first: a dead bootstrap address costs its timeout
    /// only once.
    private var endpoints: [Endpoint] {
        var endpoints = bootstrap
        for endpoint in view.nodes.values where !endpoints.contains(endpoint) { endpoints.append(endpoint) }
        let isOpen = { (endpoint: Endpoint) in self.connections[Slot(endpoint: endpoint, lane: .own)] != nil }
        return endpoints.filter(isOpen) + endpoints.filter { !isOpen($0) }
    }

    private func anyConnection() async throws -> BrokerConnection {
        let endpoints = endpoints
        var reason = "no address to try"
        for endpoint in endpoints {
            do {
                return try await connection(at: endpoint)
            } catch let error as ClientError where error.isRetriable {
                reason = error.reason
            }
        }
        throw ClientError.noNodeAnswered(endpoints, reason: reason)
    }

    /// Asks a node, and others beside it while it does not answer: one that stands still but keeps its connections
    /// would hold the question up until it times out. For what may be asked twice.
    func askAny<R: WireRequest>(_ request: R, maxVersion: Int16 = .max) async throws -> R.Response {
        let endpoints = endpoints
        guard !endpoints.isEmpty else { throw ClientError.noNodeAnswered([], reason: "no address to try") }
        let attempts = endpoints.map { endpoint in
            { @Sendable in
                let link: BrokerConnection
                do {
                    link = try await self.connection(at: endpoint)
                } catch let error as ClientError where error.isRetriable {
                    throw ClientError.noNodeAnswered(endpoints, reason: error.reason)
                }
                return try await link.send(request, maxVersion: maxVersion)
            }
        }
        return try await Race(loop: eventLoop, patienceMs: configuration.hedgeMs, attempts).run()
    }

    private func connection(at endpoint: Endpoint, _ lane: Lane = .own) async throws -> BrokerConnection {
        let slot = Slot(endpoint: endpoint, lane: lane)
        if let known = connections[slot] {
            if let connection = try? await known.value, connection.isOpen { return connection }
            // While we waited, another caller may have put a fresh one in its place.
            if connections[slot] == known { connections[slot] = nil }
        }
        if isClosed || lane.isClosed { throw ClientError.closed }
        let opening =
            connections[slot]
            ?? Task { [configuration, eventLoop] in
                try await BrokerConnection.open(endpoint, configuration, on: eventLoop)
            }
        connections[slot] = opening
        do {
            return try await opening.value
        } catch {
            if connections[slot] == opening { connections[slot] = nil }
            throw error
        }
    }

    // MARK: Metadata

    /// Asks any node for the cluster and for `topics`; nil asks for all of them.
    @discardableResult
    func refreshMetadata(of topics: [String]?, mayCreate: Bool = false) async throws -> MetadataResponse {
        var request = MetadataRequest()
        request.topics = topics?.map { name in
            var topic = MetadataRequest.Topic()
            topic.name = name
            return topic
        }
        request.allowAutoTopicCreation = mayCreate
        let response = try await askAny(request, maxVersion: 12)
        view.learned(response)
        return response
    }

    /// The partitions of a topic, from memory unless `isFresh`, or from the cluster. One attempt.
    func topic(_ name: String, mayCreate: Bool = false, isFresh: Bool = false) async throws -> ClusterView.Topic {
        if !isFresh, let known = view.topics[name], !known.partitions.isEmpty { return known }
        let response = try await refreshMetadata(of: [name], mayCreate: mayCreate)
        let known = view.topics[name]
        if let known, !known.partitions.isEmpty { return known }
        let code = response.topics.first?.errorCode ?? .unknownTopicOrPartition
        if code == .unknownTopicOrPartition { throw ClientError.noSuchTopic(name) }
        // A topic that is being made may show no partitions yet.
        throw ClientError.refused(
            what: "find topic \(name)", code == .none ? .leaderNotAvailable : code, message: nil)
    }

    func leader(
        of name: String, _ partition: PartitionIndex, mayCreate: Bool = false
    ) async throws -> (node: NodeID, epoch: LeaderEpoch) {
        let topic = try await topic(name, mayCreate: mayCreate)
        guard let found = topic.partitions.first(where: { $0.index == partition }) else {
            throw ClientError.noSuchPartition(topic: name, partition, count: topic.partitions.count)
        }
        guard let leader = found.leader else {
            doubt(name)
            throw ClientError.noLeader(topic: name, partition)
        }
        return (leader, found.leaderEpoch)
    }

    /// Addresses that came with a hint of who leads now (KIP-951).
    func learned(_ nodes: [(NodeID, Endpoint)]) { view.learned(nodes) }

    /// Forgets who leads a topic's partitions: a node has just said, or shown, that it is otherwise.
    func doubt(_ topic: String) { view.doubted(topic) }

    /// The partitions of a topic with retries.
    package func partitions(
        of name: String, mayCreate: Bool = false, isFresh: Bool = false
    ) async throws -> ClusterView.Topic {
        try await retrying("find topic \(name)") {
            try await topic(name, mayCreate: mayCreate, isFresh: isFresh)
        }
    }

    // MARK: Retries

    /// Runs `attempt` until it succeeds, fails for good, or the client's patience ends; pauses double in between.
    func retrying<T: Sendable>(_ what: String, _ attempt: () async throws -> T) async throws -> T {
        let clock = ContinuousClock()
        let start = clock.now
        var pauseMs = configuration.retryPauseMs.lowerBound
        while true {
            do {
                return try await attempt()
            } catch let error as ClientError where error.isRetriable {
                let spentMs = (clock.now - start).milliseconds
                if case .noSuchTopic = error, spentMs >= configuration.newTopicPatienceMs { throw error }
                // A cluster that nobody answers for is not there: say so at once rather than wait for it.
                if case .noNodeAnswered = error, view.nodes.isEmpty { throw error }
                if spentMs >= configuration.patienceMs {
                    throw ClientError.gaveUp(what: what, afterMs: spentMs, last: error.description)
                }
            }
            try await Task.sleep(for: .milliseconds(pauseMs))
            pauseMs = min(pauseMs * 2, configuration.retryPauseMs.upperBound)
        }
    }
}

extension Duration {
    var milliseconds: Int64 { components.seconds * 1_000 + components.attoseconds / 1_000_000_000_000_000 }
}
