// A whole broker that is its cluster's only node, over simulated disks, with time that moves when asked: for what comes
// in on connections, and for what stands in its files at the start.

import Broker
import DiskSimulation
import Model
import NIOCore
import Records
import Storage
import Wire

final class LoneNode {
    private enum Input {
        case control(ControlInput)
        case shard(ShardInput)
    }

    private let controlDisk = SimulatedDisk(seed: 1)
    private let shardDisk = SimulatedDisk(seed: 2)
    private var node: Node?
    private var inputs = CircularBuffer<Input>()
    private var nowMs: Int64 = 1_000
    private var connection = ConnectionID(number: 1)
    private var isOpen = false
    private var isHalted = false
    private var isReady = false

    /// Empty disks, or `files`.
    init?(_ files: [NodeFile]) {
        for file in files {
            let disk = file.isControls ? controlDisk : shardDisk
            if let slash = file.path.lastIndex(of: "/") { makeDirectory(String(file.path[..<slash]), on: disk) }
            disk.overwrite(file.path, with: file.bytes)
        }
        let endpoint = Endpoint(host: "h", port: 9_092)
        var voters = SortedMap<NodeID, Endpoint>()
        voters[1] = endpoint
        var configuration = NodeConfiguration(nodeID: 1, voters: voters, advertised: endpoint, dataDirectory: "/d")
        // The first one who looks for a coordinator makes it: that costs by the partition, whatever was sent.
        configuration.offsetsTopicPartitions = 2
        node = try? Node.boot(
            configuration, controlDisk: controlDisk, shardDisks: [shardDisk], seed: 7, secret: 8, at: reading)
        if node == nil { return nil }
        inputs.append(.control(.ticked))
        inputs.append(.shard(.ticked))
    }

    /// The files of a formed node, with one of them replaced; nil when the node refuses to start.
    convenience init?(replacing suffix: String, by bytes: [UInt8]) {
        var files = Self.formedFiles
        if let index = files.firstIndex(where: { $0.path.hasSuffix(suffix) }) {
            files[index].bytes = bytes
        } else {
            // The node that was formed did not need it.
            files.append(NodeFile(path: "/d" + suffix, bytes: bytes, isControls: true))
        }
        self.init(files)
    }

    private var reading: ClockReading {
        ClockReading(now: Instant.zero.advanced(byMs: nowMs), wallMs: 1_700_000_000_000 + nowMs)
    }

    // MARK: Its time

    /// Takes all that is to be done now, then lets time pass; with `untilReady` no more than it needs.
    func run(forMs: Int64, untilReady: Bool = false) {
        let end = nowMs + forMs
        drain()
        while let node, !isHalted, !(untilReady && isReady) {
            let control = milliseconds(node.control.nextDeadline)
            let shard = milliseconds(node.shards[0].nextDeadline)
            guard min(control, shard) <= end else { break }
            nowMs = max(nowMs + 1, min(control, shard))
            inputs.append(control <= shard ? .control(.ticked) : .shard(.ticked))
            drain()
        }
        if !untilReady { nowMs = max(nowMs, end) }
    }

    private func milliseconds(_ instant: Instant) -> Int64 {
        instant == .distantFuture ? .max : (instant.nanoseconds + 999_999) / 1_000_000
    }

    private func drain() {
        var steps = 0
        while let input = inputs.popFirst(), let node, !isHalted {
            steps += 1
            check(steps < 20_000, "the node goes round in circles")
            switch input {
            case .control(let input):
                var effects: [ControlEffect] = []
                node.control.step(input, at: reading, into: &effects)
                for effect in effects { carryOut(effect) }
            case .shard(let input):
                var effects: [ShardEffect] = []
                node.shards[0].step(input, at: reading, into: &effects)
                for effect in effects { carryOut(effect) }
            }
            for ticket in controlDisk.takeRequestedBarriers() {
                if let done = controlDisk.completeBarrier(ticket) {
                    inputs.append(.control(.flushed(done.ticket, done.result)))
                }
            }
            for ticket in shardDisk.takeRequestedBarriers() {
                if let done = shardDisk.completeBarrier(ticket) {
                    inputs.append(.shard(.flushed(done.ticket, done.result)))
                }
            }
        }
    }

    private func carryOut(_ effect: ControlEffect) {
        switch effect {
        case .mail(let mail, _): inputs.append(.shard(.mailed(mail)))
        case .openLink(let link, _): inputs.append(.control(.link(.failed(link, .refused))))
        case .ready: isReady = true
        case .halt: isHalted = true
        default: break
        }
    }

    private func carryOut(_ effect: ShardEffect) {
        switch effect {
        case .mail(let mail): inputs.append(.control(.mailed(mail)))
        case .openLink(let link, _): inputs.append(.shard(.link(.failed(link, .refused))))
        case .respond(let id, _): inputs.append(.shard(.outboundDrained(id)))
        case .close(let id):
            inputs.append(.shard(.connectionClosed(id)))
            isOpen = false
        case .halt: isHalted = true
        default: break
        }
    }

    // MARK: Its client

    /// A frame without its length, on the connection that is open, or else on a new one.
    func receive(_ frame: ByteBuffer) {
        if !isOpen {
            connection = ConnectionID(number: connection.number + 1)
            inputs.append(.shard(.connectionOpened(connection, client: "fuzzer")))
            isOpen = true
        }
        inputs.append(.shard(.frameReceived(connection, frame)))
        drain()
    }

    var hasHalted: Bool { isHalted }

    // MARK: One that stands

    /// What lies on the disks of a node with a topic `t` and a batch in it; made once.
    static let formedFiles: [NodeFile] = {
        guard let node = LoneNode([]) else { broken("an empty node does not start") }
        node.run(forMs: 3_000)
        for frame in openingFrames {
            node.receive(frame)
            node.run(forMs: 2_000)
        }
        return node.files
    }()

    private var files: [NodeFile] {
        controlDisk.filePaths.map { NodeFile(path: $0, bytes: controlDisk.contents(of: $0) ?? [], isControls: true) }
            + shardDisk.filePaths.map { NodeFile(path: $0, bytes: shardDisk.contents(of: $0) ?? [], isControls: false) }
    }
}

struct NodeFile: Sendable {
    var path: String
    var bytes: [UInt8]
    /// On control's disk.
    var isControls: Bool
}

/// Decoding, mail between the machines, the answer, what is written to the metadata log and to a log; the constant is
/// the smallest request's share of these.
private let serving = Bound(perByte: 256, constant: 256 * 1024)

extension Fuzz {
    /// Frames to a broker that stands: a length of two bytes each, and up to 12 of them. A closed connection is
    /// followed by a new one.
    static let connectionEntry = Entry(
        name: "connection",
        run: { feed in
            var feed = feed
            guard let node = LoneNode(LoneNode.formedFiles) else { broken("the node does not start") }
            node.run(forMs: 3_000, untilReady: true)
            for _ in 0..<12 where feed.rest.readableBytes > 2 {
                let length = feed.byte() << 8 | feed.byte()
                let frame = feed.slice(length)
                guard !asksForManyPartitions(frame) else { continue }
                feed.within(serving, of: frame.readableBytes) { node.receive(frame) }
            }
            node.run(forMs: 200)
            check(!node.hasHalted, "what a client sent made the node halt")
        },
        seeds: { connectionSeeds() })
}

/// How many partitions a few bytes may ask for is a limit of its own (`Limits.partitionsPerTopicMax`), and the
/// simulated disk takes seconds for thousands of them: such frames are left out.
private func asksForManyPartitions(_ frame: ByteBuffer) -> Bool {
    var body = frame
    guard let header = try? RequestHeader.decode(from: &body) else { return false }
    func message<M: WireRequest>(_: M.Type) -> M? {
        guard M.versions.contains(header.version) else { return nil }
        return try? wireDecode(M.self, from: &body, version: header.version)
    }
    switch header.api {
    case .createTopics: return message(CreateTopicsRequest.self)?.topics.contains { $0.numPartitions > 16 } ?? false
    case .createPartitions: return message(CreatePartitionsRequest.self)?.topics.contains { $0.count > 16 } ?? false
    case .envelope: return message(EnvelopeRequest.self).map { asksForManyPartitions($0.requestData) } ?? false
    default: return false
    }
}
