// Outgoing connections: what is reported, and that they come back.

import Broker
import Glibc
import Model
import NIOCore
import NIOPosix
import Server
import Testing

@Suite(.timeLimit(.minutes(1)))
struct LinksTests {
    private let group = MultiThreadedEventLoopGroup.singleton
    private let id = LinkID(node: 2, kind: .control)

    /// A peer that sends what it is told to, and hands its connections out.
    private func listen(_ port: UInt16) async throws -> (any Channel, AsyncStream<any Channel>) {
        let (stream, continuation) = AsyncStream<any Channel>.makeStream()
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                continuation.yield(channel)
                return channel.eventLoop.makeSucceededVoidFuture()
            }
            .bind(host: "127.0.0.1", port: Int(port)).get()
        return (channel, stream)
    }

    @Test func aLinkReportsWhatHappensAndConnectsAgain() async throws {
        let port = try freePort()
        let loop = group.next()
        let (events, continuation) = AsyncStream<LinkEvent>.makeStream()
        let links = try await loop.submit {
            let links = Links(
                loop: loop, frameBytesMax: 1_000, connectTimeoutMs: 5_000, report: { continuation.yield($0) },
                endTurn: {})
            return NIOLoopBound(links, eventLoop: loop)
        }.get()
        var event = events.makeAsyncIterator()
        let id = id
        loop.execute { links.value.open(id, to: Endpoint(host: "127.0.0.1", port: port)) }
        #expect(name(await event.next()) == "2/control refused")
        #expect(name(await event.next()) == "2/control refused")

        let (listener, peers) = try await listen(port)
        var peer = peers.makeAsyncIterator()
        var next = name(await event.next())
        while next == "2/control refused" { next = name(await event.next()) }
        #expect(next == "2/control connected")

        let first = try #require(await peer.next())
        try await first.writeAndFlush(ByteBuffer(bytes: framed("one") + framed("two"))).get()
        #expect(name(await event.next()) == "2/control one")
        #expect(name(await event.next()) == "2/control two")

        try await first.close().get()
        #expect(name(await event.next()) == "2/control reset")
        #expect(name(await event.next()) == "2/control connected")

        // A bad length prefix is a broken connection too.
        let second = try #require(await peer.next())
        try await second.writeAndFlush(ByteBuffer(bytes: [0x7f, 0, 0, 0])).get()
        #expect(name(await event.next()) == "2/control reset")
        #expect(name(await event.next()) == "2/control connected")

        loop.execute { links.value.close(id) }
        let third = try #require(await peer.next())
        try await third.closeFuture.get()
        try await listener.close().get()
        // Were the closed link still alive, its refusals would come before the other link's.
        let other = LinkID(node: 3, kind: .quorum)
        loop.execute { links.value.open(other, to: Endpoint(host: "127.0.0.1", port: port)) }
        #expect(name(await event.next()) == "3/quorum refused")
        #expect(name(await event.next()) == "3/quorum refused")
        loop.execute { links.value.close(other) }
    }

    @Test func whatIsSentArrivesAndIsDroppedWhileThereIsNoConnection() async throws {
        let port = try freePort()
        let loop = group.next()
        let (listener, peers) = try await listen(port)
        var peer = peers.makeAsyncIterator()
        let (events, continuation) = AsyncStream<LinkEvent>.makeStream()
        var event = events.makeAsyncIterator()
        let id = id
        let links = try await loop.submit {
            let links = Links(
                loop: loop, frameBytesMax: 1_000, connectTimeoutMs: 5_000, report: { continuation.yield($0) },
                endTurn: {})
            links.open(id, to: Endpoint(host: "localhost", port: port))
            links.send(id, ByteBuffer(bytes: framed("lost")))
            links.flush()
            return NIOLoopBound(links, eventLoop: loop)
        }.get()
        #expect(name(await event.next()) == "2/control connected")
        let channel = try #require(await peer.next())
        let received = channel.eventLoop.makePromise(of: ByteBuffer.self)
        try await channel.pipeline.addHandler(FirstRead(received)).get()
        loop.execute {
            links.value.send(id, ByteBuffer(bytes: framed("kept")))
            links.value.flush()
        }
        #expect(try await received.futureResult.get() == ByteBuffer(bytes: framed("kept")))
        loop.execute { links.value.close(id) }
        try await listener.close().get()
    }

    private func name(_ event: LinkEvent?) -> String {
        switch event {
        case .connected(let id): "\(id) connected"
        case .frameReceived(let id, let frame): "\(id) \(String(buffer: frame))"
        case .failed(let id, let failure): "\(id) \(failure)"
        case nil: "nothing"
        }
    }
}

/// Succeeds with the first bytes that come.
private final class FirstRead: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let promise: EventLoopPromise<ByteBuffer>

    init(_ promise: EventLoopPromise<ByteBuffer>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        promise.succeed(unwrapInboundIn(data))
    }
}
