// A whole broker that is its cluster's only node, over disks in memory, with a topic `t` of one partition
// (flush.mode=sync) and one client. Time stands still while it is measured.

import Broker
import Model
import NIOCore
import Storage
import Wire

final class StandingNode {
    private enum Input {
        case control(ControlInput)
        case shard(ShardInput)
    }

    private let controlDisk = MemoryDisk()
    private let shardDisk: MemoryDisk
    private let node: Node
    private let shard: Shard
    private var reading = ClockReading(now: Instant(nanoseconds: 1_000_000_000), wallMs: wallMs)
    private let connection = ConnectionID(number: 1)
    /// Kept, as the shard's runner keeps its own.
    private var effects: [ShardEffect] = []
    private var inputs = CircularBuffer<Input>()
    private var isReady = false
    private var answer: ByteBuffer?

    /// Without the records it can be produced to for long, and nothing can be fetched.
    init(keepsRecords: Bool, flushMode: String = "sync") {
        shardDisk = MemoryDisk(keepsBytes: keepsRecords)
        let endpoint = Endpoint(host: "h", port: 9_092)
        var voters = SortedMap<NodeID, Endpoint>()
        voters[1] = endpoint
        let configuration = NodeConfiguration(nodeID: 1, voters: voters, advertised: endpoint, dataDirectory: "/d")
        let (controlDisk, shardDisk, reading) = (controlDisk, shardDisk, reading)
        node = sure { () throws(BootError) in
            try Node.boot(
                configuration, controlDisk: controlDisk, shardDisks: [shardDisk], seed: 7, secret: 8, at: reading)
        }
        shard = node.shards[0]
        inputs.append(.control(.ticked))
        inputs.append(.shard(.ticked))
        run { isReady }
        inputs.append(.shard(.connectionOpened(connection, client: "client")))
        var topic = CreateTopicsRequest.Topic()
        topic.name = "t"
        topic.numPartitions = 1
        topic.replicationFactor = 1
        var config = CreateTopicsRequest.Config()
        config.name = "flush.mode"
        config.value = flushMode
        topic.configs = [config]
        var request = CreateTopicsRequest()
        request.timeoutMs = 5_000
        request.topics = [topic]
        let made = call(request, version: 7)
        precondition(made.topics.map(\.errorCode) == [.none], "the topic is made")
    }

    // MARK: Not measured

    static func frame<M: WireRequest>(_ message: M, version: Int16) -> ByteBuffer {
        var frame = encodeRequestFrame(message, version: version, correlationID: 1, clientID: "micro")
        frame.moveReaderIndex(forwardBy: 4)
        return frame
    }

    /// Sends, lets time pass and mail go round until the answer is there.
    func call<M: WireRequest>(_ message: M, version: Int16) -> M.Response {
        answer = nil
        inputs.append(.shard(.frameReceived(connection, Self.frame(message, version: version))))
        run { answer != nil }
        guard var frame = answer else { preconditionFailure("answered") }
        frame.moveReaderIndex(forwardBy: 4)
        return sure { () throws(WireError) in try decodeResponse(of: M.self, version: version, from: &frame) }.response
    }

    private func run(until done: () -> Bool) {
        for _ in 0..<100_000 {
            if let input = inputs.popFirst() {
                step(input)
            } else if done() {
                return
            } else {
                let next = min(node.control.nextDeadline, shard.nextDeadline)
                let passedMs = max(0, next.milliseconds(since: reading.now)) + 1
                reading = ClockReading(
                    now: reading.now.advanced(byMs: passedMs), wallMs: reading.wallMs + passedMs)
                inputs.append(.control(.ticked))
                inputs.append(.shard(.ticked))
            }
        }
        preconditionFailure("the node does not come to it")
    }

    private func step(_ input: Input) {
        switch input {
        case .control(let input):
            var effects: [ControlEffect] = []
            node.control.step(input, at: reading, into: &effects)
            for effect in effects { carryOut(effect) }
        case .shard(let input):
            var effects: [ShardEffect] = []
            shard.step(input, at: reading, into: &effects)
            for effect in effects { carryOut(effect) }
        }
        while let ticket = controlDisk.takeBarrier() { inputs.append(.control(.flushed(ticket, .done))) }
        while let ticket = shardDisk.takeBarrier() { inputs.append(.shard(.flushed(ticket, .done))) }
    }

    private func carryOut(_ effect: ControlEffect) {
        switch effect {
        case .mail(let mail, _): inputs.append(.shard(.mailed(mail)))
        case .ready: isReady = true
        case .halt(let reason): preconditionFailure(reason)
        default: break
        }
    }

    private func carryOut(_ effect: ShardEffect) {
        switch effect {
        case .mail(let mail): inputs.append(.control(.mailed(mail)))
        case .respond(let id, let pieces):
            answer = gathered(pieces)
            inputs.append(.shard(.outboundDrained(id)))
        case .halt(let reason): preconditionFailure(reason)
        default: break
        }
    }

    private func gathered(_ pieces: [OutboundPiece]) -> ByteBuffer {
        var bytes = ByteBuffer()
        for piece in pieces {
            switch piece {
            case .bytes(let buffer): bytes.writeImmutableBuffer(buffer)
            case .file(let slice):
                bytes.writeImmutableBuffer(
                    sure { () throws(DiskError) in
                        try shardDisk.read(slice.file, at: slice.position, length: slice.length)
                    })
            }
        }
        return bytes
    }

    // MARK: Measured

    /// A frame in, the flushes that it asks for reported, the answer out and gone: four steps of a produce, two of a
    /// fetch that need not wait. Answers how many pieces left.
    func serve(_ frame: ByteBuffer) -> Int {
        shard.step(.frameReceived(connection, frame), at: reading, into: &effects)
        while let ticket = shardDisk.takeBarrier() {
            shard.step(.flushed(ticket, .done), at: reading, into: &effects)
        }
        var pieces = 0
        for effect in effects {
            guard case .respond(_, let answer) = effect else { preconditionFailure("only the answer leaves") }
            pieces += answer.count
        }
        effects.removeAll(keepingCapacity: true)
        shard.step(.outboundDrained(connection), at: reading, into: &effects)
        precondition(effects.isEmpty, "nothing more leaves")
        return pieces
    }
}
