// What a producer and a consumer have in common: a machine behind a lock that asks for connections and metadata, and an
// event loop that gets them.

import Model
import NIOConcurrencyHelpers
import NIOCore

/// A machine that talks to nodes it was told of.
protocol ClusterMachine: Sendable {
    mutating func connected(_ node: NodeID)
    mutating func disconnected(_ node: NodeID, at now: Instant)
    mutating func learned(topics: [ClusterView.Topic], at now: Instant)
    mutating func failedToLearn(at now: Instant)
}

extension ProducerMachine: ClusterMachine {}
extension ConsumerMachine: ClusterMachine {}

/// What a shell keeps behind its lock.
protocol MachineShellState: Sendable {
    associatedtype Machine: ClusterMachine
    var machine: Machine { get set }
    var links: [NodeID: BrokerConnection] { get set }
}

protocol MachineShell: AnyObject, Sendable {
    associatedtype State: MachineShellState
    var client: ClusterClient { get }
    /// The connections of this shell alone.
    var lane: ClusterClient.Lane { get }
    var pump: Pump { get }
    var state: NIOLockedValueBox<State> { get }

    /// Asks the machine what to do, and does it. On the loop only, so that requests go out in the machine's order.
    func drain()

    /// The client was closed: nothing can be asked any more, and all that waits ends with `closed`.
    func clientWasClosed()
}

extension MachineShell {
    func drainSoon() { pump.soon { self.drain() } }

    /// Opens a connection, after `learning`, which may bring the node's address.
    func connect(to node: NodeID, after learning: Task<Void, Never>? = nil) {
        Task {
            await learning?.value
            var link: BrokerConnection?
            do {
                link = try await client.link(to: node, lane)
            } catch {
                if error as? ClientError == .closed { return clientWasClosed() }
            }
            pump.loop.execute { [link] in self.connected(to: node, link) }
        }
    }

    private func connected(to node: NodeID, _ link: BrokerConnection?) {
        let now = pump.now
        state.withLockedValue { state in
            state.links[node] = link
            if link != nil { state.machine.connected(node) } else { state.machine.disconnected(node, at: now) }
        }
        link?.whenClosed { [weak self, weak link] in self?.closed(node, link) }
        drain()
    }

    private func closed(_ node: NodeID, _ link: BrokerConnection?) {
        let now = pump.now
        state.withLockedValue { state in
            guard let link, state.links[node] === link else { return }
            state.links[node] = nil
            state.machine.disconnected(node, at: now)
        }
        drainSoon()
    }

    /// Ends the connection to a node that does not answer.
    func abandon(_ node: NodeID) { state.withLockedValue { $0.links[node] }?.close() }

    /// The open connection to a node; nil, and the machine knows, where there is none.
    func openLink(to node: NodeID) -> BrokerConnection? {
        if let link = state.withLockedValue({ $0.links[node] }), link.isOpen { return link }
        let now = pump.now
        state.withLockedValue { $0.machine.disconnected(node, at: now) }
        return nil
    }

    func askMetadata(_ topics: [String]) {
        Task {
            var found: [ClusterView.Topic]?
            do {
                found = try await client.freshTopics(topics)
            } catch {
                if error as? ClientError == .closed { return clientWasClosed() }
            }
            let now = pump.now
            state.withLockedValue { [found] state in
                if let found {
                    state.machine.learned(topics: found, at: now)
                } else {
                    state.machine.failedToLearn(at: now)
                }
            }
            drainSoon()
        }
    }
}

extension ClusterClient {
    /// Asks the cluster for these topics, whatever is remembered. One attempt; topics that are not there are left out.
    fileprivate func freshTopics(_ names: [String]) async throws -> [ClusterView.Topic] {
        try await refreshMetadata(of: names)
        return names.compactMap { view.topics[$0] }
    }
}
