// Accepted connections against a shard that does what a test says.

import Broker
import Glibc
import Model
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Server
import Storage
import Testing

/// Steps by a closure, and tells the test what came in.
private final class ScriptedShard: ShardMachine {
    private let script: (ShardInput, inout [ShardEffect]) -> Void
    var nextDeadline: Instant { .distantFuture }

    init(_ script: @escaping (ShardInput, inout [ShardEffect]) -> Void) { self.script = script }

    func step(_ input: ShardInput, at reading: ClockReading, into effects: inout [ShardEffect]) {
        script(input, &effects)
    }
}

/// A listening loop with a scripted shard behind it.
private final class Bench {
    let port: UInt16
    let directory: TemporaryDirectory
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let listener: any Channel

    /// `script` runs on the loop, with the disk that slices are sent from.
    init(
        _ settings: ConnectionSettings = ConnectionSettings(),
        script: @escaping @Sendable (PosixDisk) -> (ShardInput, inout [ShardEffect]) -> Void
    ) throws {
        port = try freePort()
        directory = try TemporaryDirectory()
        let (loop, root) = (group.next(), directory.path)
        let shard = try loop.submit {
            let flushes = Mailbox<(FlushTicket, FlushResult)>(loop: loop)
            let disk = PosixDisk(
                root: root, flushers: FlusherPool(threadCount: 1), openFilesMax: 10,
                deliver: { flushes.post([($0, $1)]) })
            let runner = ShardRunner(
                machine: ScriptedShard(script(disk)), disk: disk, loop: loop, index: 0, shardCount: 1,
                toControl: Mailbox(loop: loop), settings: settings,
                budget: FrameBudget(limitBytes: settings.partialFrameBytesMax),
                count: ConnectionCount(limit: settings.connectionsMax),
                hooks: ProcessHooks(log: { _ in }, halt: { _ in }))
            runner.start(flushes: flushes, mail: Mailbox(loop: loop))
            return NIOLoopBound(runner, eventLoop: loop)
        }.wait()
        listener = try Listener.open(on: Endpoint(host: "127.0.0.1", port: port), group: group, shards: [shard])
    }

    deinit {
        try? listener.close().wait()
        try? group.syncShutdownGracefully()
    }
}

/// The shard's inputs in words, for a test thread to wait for.
private final class Record: Sendable {
    private let lines = NIOLockedValueBox<[String]>([])
    private let changed = ConditionLock<Int>(value: 0)

    func add(_ line: String) {
        changed.lock()
        let count = lines.withLockedValue {
            $0.append(line)
            return $0.count
        }
        changed.unlock(withValue: count)
    }

    func add(_ input: ShardInput) {
        switch input {
        case .connectionOpened: add("opened")
        case .frameReceived(_, let frame): add("frame of \(frame.readableBytes)")
        case .frameRejected(_, let fault): add("rejected \(fault)")
        case .connectionClosed: add("closed")
        default: break
        }
    }

    func wait(for count: Int) throws -> [String] {
        guard changed.lock(whenValue: count, timeoutSeconds: 20) else {
            throw TestFailure("only \(lines.withLockedValue { $0 })")
        }
        defer { changed.unlock() }
        return lines.withLockedValue { $0 }
    }
}

private func answer(_ frame: ByteBuffer) -> ByteBuffer {
    ByteBuffer(bytes: framed(String(buffer: frame)))
}

struct ConnectionTests {
    @Test func pipelinedFramesAreAnsweredInOrder() throws {
        let bench = try Bench { _ in
            { input, effects in
                if case .frameReceived(let id, let frame) = input {
                    effects.append(.respond(id, [.bytes(answer(frame))]))
                }
            }
        }
        let client = try PlainSocket(port: bench.port)
        let all = (0..<2_000).flatMap { framed("request \($0)") }
        try client.send(all)
        #expect(try client.receive(all.count) == all)
    }

    @Test func aPausedConnectionHandsOutNothingUntilItIsResumed() throws {
        let overlaps = NIOLockedValueBox(0)
        let bench = try Bench { _ in
            var isPaused = false
            return { input, effects in
                switch input {
                case .frameReceived(let id, let frame):
                    if isPaused { overlaps.withLockedValue { $0 += 1 } }
                    isPaused = true
                    effects += [.pauseReading(id), .respond(id, [.bytes(answer(frame))])]
                case .outboundDrained(let id):
                    isPaused = false
                    effects.append(.resumeReading(id))
                default: break
                }
            }
        }
        let client = try PlainSocket(port: bench.port)
        let all = (0..<300).flatMap { framed("request \($0)") }
        try client.send(all)
        #expect(try client.receive(all.count) == all)
        #expect(overlaps.withLockedValue { $0 } == 0)
    }

    @Test func partsOfFilesGoOutBetweenBytesAndLeakNoDescriptor() throws {
        let bench = try Bench { disk in
            var sent: [FileHandle] = []
            return { input, effects in
                // The connection, and with it the slice, may still be on its way when the handle goes.
                if case .outboundDrained = input {
                    for file in sent { disk.close(file) }
                    sent = []
                }
                guard case .frameReceived(let id, _) = input, let file = try? disk.open("log", create: true) else {
                    return
                }
                sent.append(file)
                try? disk.write(ByteBuffer(), ByteBuffer(string: "0123456789"), to: file, at: 0)
                let slice = LogSlice(file: file, position: 2, length: 5, firstOffset: 0, nextOffset: 1)
                let pieces: [OutboundPiece] = [
                    .bytes(ByteBuffer(string: "<")), .file(slice), .file(slice), .bytes(ByteBuffer(string: ">")),
                ]
                effects += [.respond(id, pieces)]
            }
        }
        for _ in 0..<20 {
            let client = try PlainSocket(port: bench.port)
            try client.send(framed("go"))
            #expect(String(decoding: try client.receive(12), as: UTF8.self) == "<2345623456>")
            try client.send(framed("go"))
        }
        // What is under way on the connections that just went away ends while others are answered.
        let last = try PlainSocket(port: bench.port)
        for _ in 0..<2_000 where try descriptors(of: bench.directory.path + "/log") > 1 {
            try last.send(framed("go"))
            #expect(try last.receive(12).count == 12)
        }
        // The last answer's handle may still be open; those of the connections that went away under an answer may not.
        #expect(try descriptors(of: bench.directory.path + "/log") <= 1)
    }

    @Test func anAnswerFromAFileThatTheSameStepRemovedEndsOnlyItsConnection() throws {
        let bench = try Bench { disk in
            { input, effects in
                guard case .frameReceived(let id, let frame) = input else { return }
                guard frame.readableBytes == 1, let file = try? disk.open("log", create: true) else {
                    return effects.append(.respond(id, [.bytes(answer(frame))]))
                }
                disk.close(file)
                let slice = LogSlice(file: file, position: 0, length: 5, firstOffset: 0, nextOffset: 1)
                effects.append(.respond(id, [.file(slice)]))
            }
        }
        let client = try PlainSocket(port: bench.port)
        try client.send(framed("1"))
        #expect(try client.receive(1) == [])
        let other = try PlainSocket(port: bench.port)
        try other.send(framed("22"))
        #expect(try other.receive(6) == framed("22"))
    }

    @Test func aFileCutUnderAnAnswerEndsTheConnection() throws {
        let bench = try Bench { disk in
            var file: FileHandle?
            return { input, effects in
                guard case .frameReceived(let id, let frame) = input else { return }
                if frame.readableBytes == 1, let made = try? disk.open("log", create: true) {
                    file = made
                    try? disk.truncate(made, to: 64 << 20)
                    let slice = LogSlice(file: made, position: 0, length: 64 << 20, firstOffset: 0, nextOffset: 1)
                    effects.append(.respond(id, [.file(slice)]))
                } else if let file {
                    try? disk.truncate(file, to: 1_000)
                }
            }
        }
        let client = try PlainSocket(port: bench.port)
        try client.send(framed("1"))
        #expect(try client.receive(10).count == 10)
        try client.send(framed("22"))
        #expect(try client.receive(64 << 20).count < (64 << 20) - 10)
    }

    @Test func aBadLengthIsReportedAndEndsTheConnection() throws {
        let record = Record()
        let bench = try Bench { _ in { input, _ in record.add(input) } }
        let client = try PlainSocket(port: bench.port)
        try client.send(framed("fine") + Array("GET / HTTP/1.1\r\n\r\n".utf8))
        #expect(try client.receive(1) == [])
        let get = 0x4745_5420
        #expect(
            try record.wait(for: 4) == [
                "opened", "frame of 4", "rejected badLength(\(get), firstBytes: \(get))", "closed",
            ])
    }

    @Test func halfAFrameMayNotStayHalf() throws {
        var settings = ConnectionSettings()
        settings.stallMs = 60
        let record = Record()
        let bench = try Bench(settings) { _ in { input, _ in record.add(input) } }
        let client = try PlainSocket(port: bench.port)
        try client.send(framed("whole") + framed("half").dropLast())
        #expect(try client.receive(1) == [])
        #expect(try record.wait(for: 4) == ["opened", "frame of 5", "rejected stalled", "closed"])
    }

    @Test func aConnectionThatSaysNothingIsClosed() throws {
        var settings = ConnectionSettings()
        settings.idleMs = 60
        let record = Record()
        let bench = try Bench(settings) { _ in { input, _ in record.add(input) } }
        let client = try PlainSocket(port: bench.port)
        #expect(try client.receive(1) == [])
        #expect(try record.wait(for: 3) == ["opened", "rejected idle", "closed"])
    }

    @Test func connectionsAboveTheLimitAreTurnedAway() throws {
        var settings = ConnectionSettings()
        settings.connectionsMax = 1
        let record = Record()
        let bench = try Bench(settings) { _ in
            { input, effects in
                record.add(input)
                if case .frameReceived(let id, let frame) = input {
                    effects.append(.respond(id, [.bytes(answer(frame))]))
                }
            }
        }
        var first: PlainSocket? = try PlainSocket(port: bench.port)
        try first?.send(framed("a"))
        #expect(try first?.receive(5) == framed("a"))
        #expect(try PlainSocket(port: bench.port).receive(1) == [])
        first = nil
        #expect(try record.wait(for: 3) == ["opened", "frame of 1", "closed"])
        let next = try PlainSocket(port: bench.port)
        try next.send(framed("b"))
        #expect(try next.receive(5) == framed("b"))
    }

    @Test func halfFramesAboveTheNodesBudgetStillBecomeWhole() throws {
        var settings = ConnectionSettings()
        settings.partialFrameBytesMax = 1_000
        let bench = try Bench(settings) { _ in
            { input, effects in
                if case .frameReceived(let id, let frame) = input {
                    effects.append(.respond(id, [.bytes(answer(frame))]))
                }
            }
        }
        let frame = framed(String(repeating: "x", count: 50_000))
        let clients = try (0..<5).map { _ in try PlainSocket(port: bench.port) }
        for client in clients { try client.send(Array(frame[..<20_000])) }
        for client in clients.reversed() { try client.send(Array(frame[20_000...])) }
        for client in clients { #expect(try client.receive(frame.count) == frame) }
    }

    /// How many of this process's descriptors name the file.
    private func descriptors(of path: String) throws -> Int {
        guard let stream = opendir("/proc/self/fd") else { throw TestFailure("opendir: errno \(errno)") }
        defer { closedir(stream) }
        var found = 0
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            var target = [UInt8](repeating: 0, count: 4_096)
            let count = target.withUnsafeMutableBytes { bytes in
                readlink("/proc/self/fd/" + name, bytes.assumingMemoryBound(to: CChar.self).baseAddress!, bytes.count)
            }
            if count > 0, String(decoding: target[..<count], as: UTF8.self) == path { found += 1 }
        }
        return found
    }
}
