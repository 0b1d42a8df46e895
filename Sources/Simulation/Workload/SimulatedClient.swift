// A client of the cluster: one connection per node, real frames, answers matched by correlation id, and the leaders as
// it last heard.

import Broker
import Model
import NIOCore
import Wire

final class SimulatedClient {
    private struct Outstanding {
        var deadline: Int64
        var complete: (ByteBuffer?) -> Void
        /// Looks at the answer in the moment in which the node lets it go.
        var peek: ((ByteBuffer, SimulatedNode) -> Void)?
    }

    private struct Link {
        var connection: Connection
        var isConnected = false
        var waiting: [ByteBuffer] = []
        var outstanding = SortedMap<Int32, Outstanding>()
    }

    let number: Int
    unowned let world: World
    /// What this client does, and when.
    var lots: SeededRandom
    private var links = SortedMap<NodeID, Link>()
    private var nextCorrelation: Int32 = 1
    private(set) var leaders = SortedMap<TopicPartition, NodeID>()
    private var leaderEpochs = SortedMap<TopicPartition, LeaderEpoch>()
    private(set) var topicIDs = SortedMap<String, UUID128>()
    /// As far as this client knows.
    private(set) var partitionCounts = SortedMap<String, Int>()
    private var isRefreshing = false
    private var lastRefresh: Int64 = -1_000_000_000
    private var isWatching = false
    private static let refreshBackoffMs: Int64 = 40
    /// Requests that no end was found for yet.
    private(set) var operationsPending = 0

    init(number: Int, world: World) {
        self.number = number
        self.world = world
        lots = world.lots.stream(.load, UInt64(number))
    }

    // MARK: Asking

    /// `then` gets nil when no answer will come. Acks=0 is asked with `expectsAnswer` false.
    func ask<M: WireRequest>(
        _ message: M, version: Int16, of node: NodeID, timeoutMs: Int64, expectsAnswer: Bool = true,
        peek: ((M.Response, SimulatedNode) -> Void)? = nil, then: @escaping (M.Response?) -> Void
    ) {
        let id = nextCorrelation
        nextCorrelation += 1
        var frame = encodeRequestFrame(message, version: version, correlationID: id, clientID: "client-\(number)")
        frame.moveReaderIndex(forwardBy: 4)
        var link = links[node] ?? Link(connection: world.makeConnection(.client(self), to: node))
        if expectsAnswer {
            operationsPending += 1
            func decoded(_ frame: ByteBuffer) -> M.Response? {
                var frame = frame
                do throws(WireError) {
                    return try decodeResponse(of: M.self, version: version, from: &frame).response
                } catch {
                    world.violated("W11", "node \(node) answers \(M.api) with what cannot be read: \(error)")
                    return nil
                }
            }
            link.outstanding[id] = Outstanding(
                deadline: world.now + timeoutMs * 1_000_000,
                complete: { [unowned self] frame in
                    operationsPending -= 1
                    then(frame.flatMap(decoded))
                },
                peek: peek.map { peek in { frame, node in if let answer = decoded(frame) { peek(answer, node) } } })
        }
        if link.isConnected {
            world.load(.frame(frame), on: link.connection, towards: .acceptor)
        } else {
            link.waiting.append(frame)
        }
        links[node] = link
        guard expectsAnswer else {
            return world.plan(.run("client \(number) expects no answer") { then(nil) }, inMicroseconds: 1)
        }
        watch()
    }

    /// Looks from time to time whether patience with some node has ended.
    private func watch() {
        guard !isWatching else { return }
        isWatching = true
        later("looks at the clock", ms: 100) { [unowned self] in
            isWatching = false
            for (node, link) in links where link.outstanding.values.contains(where: { $0.deadline <= world.now }) {
                world.trace.note(world.now, "client \(number) has no patience left with node \(node)")
                lose(node)
            }
            if operationsPending > 0 { watch() }
        }
    }

    func later(_ words: String, ms: Int64, _ action: @escaping () -> Void) {
        world.plan(.run("client \(number) \(words)", action), inMicroseconds: max(1, ms) * 1_000)
    }

    // MARK: From the network

    func connected(_ connection: Connection) {
        guard var link = links[connection.target], link.connection === connection else { return }
        link.isConnected = true
        for frame in link.waiting { world.load(.frame(frame), on: connection, towards: .acceptor) }
        link.waiting = []
        links[connection.target] = link
    }

    func connectionFailed(_ connection: Connection) {
        guard let link = links[connection.target], link.connection === connection else { return }
        lose(connection.target)
    }

    /// Closes the connection, and nothing that was asked on it will be answered.
    private func lose(_ node: NodeID) {
        guard let link = links.removeValue(forKey: node) else { return }
        world.close(link.connection, by: .initiator)
        for outstanding in link.outstanding.values { outstanding.complete(nil) }
    }

    /// The process ends, and its kernel closes what it held.
    func hangUp() {
        for node in links.keys { lose(node) }
    }

    func frameReceived(_ frame: ByteBuffer, on connection: Connection) {
        guard let id = frame.getInteger(at: frame.readerIndex, as: Int32.self),
            links[connection.target]?.connection === connection,
            let outstanding = links[connection.target, default: Link(connection: connection)]
                .outstanding.removeValue(forKey: id)
        else { return world.trace.note(world.now, "client \(number) cannot place an answer") }
        outstanding.complete(frame)
    }

    func answerLeaves(_ frame: ByteBuffer, _ connection: Connection, from node: SimulatedNode) {
        guard let link = links[connection.target], link.connection === connection,
            let id = frame.getInteger(at: frame.readerIndex, as: Int32.self)
        else { return }
        link.outstanding[id]?.peek?(frame, node)
    }

    // MARK: Metadata

    func leader(of topicPartition: TopicPartition) -> NodeID? { leaders[topicPartition] }

    func anyNode() -> NodeID { NodeID(1 + lots.below(Int64(world.nodes.count))) }

    /// Asks some node for the leaders, unless it did a moment ago.
    func refresh() {
        guard !isRefreshing, world.now - lastRefresh >= Self.refreshBackoffMs * 1_000_000 else { return }
        isRefreshing = true
        lastRefresh = world.now
        var request = MetadataRequest()
        request.topics = nil
        request.allowAutoTopicCreation = false
        ask(request, version: 12, of: anyNode(), timeoutMs: 1_500) { [unowned self] answer in
            isRefreshing = false
            guard let answer else { return }
            for topic in answer.topics where topic.errorCode == .none {
                if let name = topic.name {
                    topicIDs[name] = topic.topicID
                    partitionCounts[name] = topic.partitions.count
                }
                for partition in topic.partitions {
                    let key = TopicPartition(topic.topicID, partition.partitionIndex)
                    // As clients have done since KIP-320: a node that is behind does not take them back to a leader
                    // that was.
                    guard partition.leaderEpoch >= leaderEpochs[key] ?? -1 else { continue }
                    leaderEpochs[key] = partition.leaderEpoch
                    leaders[key] = partition.leaderID >= 1 ? partition.leaderID : nil
                }
            }
        }
    }
}
