// The connections that one loop makes to other nodes, kept up for as long as they are wanted.

import Broker
import Glibc
import Model
import NIOCore
import NIOPosix

/// Reconnects after every failure, when `LinkRetry` says.
package final class Links {
    private final class Link {
        let id: LinkID
        let endpoint: Endpoint
        var channel: (any Channel)?
        var retry = LinkRetry()
        /// False once `closeLink` was asked for: nothing more is reported.
        var isWanted = true
        var hasUnflushed = false

        init(id: LinkID, endpoint: Endpoint) {
            self.id = id
            self.endpoint = endpoint
        }
    }

    private let loop: any EventLoop
    private let frameBytesMax: Int
    private let connectTimeoutMs: Int64
    /// Steps the machine.
    private let report: (LinkEvent) -> Void
    /// Sends what the steps asked for.
    private let endTurn: () -> Void
    private var links: [LinkID: Link] = [:]
    private var unflushed: [Link] = []

    package init(
        loop: any EventLoop, frameBytesMax: Int, connectTimeoutMs: Int64 = LinkTiming.connectTimeoutMs,
        report: @escaping (LinkEvent) -> Void, endTurn: @escaping () -> Void
    ) {
        self.loop = loop
        self.frameBytesMax = frameBytesMax
        self.connectTimeoutMs = connectTimeoutMs
        self.report = report
        self.endTurn = endTurn
    }

    package func open(_ id: LinkID, to endpoint: Endpoint) {
        if let link = links[id] {
            if link.endpoint == endpoint { return }
            close(id)
        }
        let link = Link(id: id, endpoint: endpoint)
        links[id] = link
        connect(link)
    }

    package func close(_ id: LinkID) {
        guard let link = links.removeValue(forKey: id) else { return }
        link.isWanted = false
        link.channel?.close(promise: nil)
        link.channel = nil
    }

    package func send(_ id: LinkID, _ frame: ByteBuffer) {
        guard let link = links[id], let channel = link.channel else { return }
        channel.write(frame, promise: nil)
        if !link.hasUnflushed {
            link.hasUnflushed = true
            unflushed.append(link)
        }
    }

    package func flush() {
        while let link = unflushed.popLast() {
            link.hasUnflushed = false
            link.channel?.flush()
        }
    }

    // MARK: Connecting

    private func connect(_ link: Link) {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.milliseconds(connectTimeoutMs))
            .channelOption(ChannelOptions.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.recvAllocator, value: receiveAllocator)
        let connecting: EventLoopFuture<any Channel>
        // An address is not sent to the resolver, which would block a thread and try twice.
        if let address = try? SocketAddress(ipAddress: link.endpoint.host, port: Int(link.endpoint.port)) {
            connecting = bootstrap.connect(to: address)
        } else {
            connecting = bootstrap.connect(host: link.endpoint.host, port: Int(link.endpoint.port))
        }
        connecting.hop(to: loop).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel): self.connected(link, channel)
            case .failure(let error): self.attemptFailed(link, Self.failure(for: error))
            }
        }
    }

    private func connected(_ link: Link, _ channel: any Channel) {
        guard link.isWanted else {
            channel.close(promise: nil)
            return
        }
        guard channel.isActive else { return attemptFailed(link, .reset) }
        // A connect to a dead port of this machine's own range can meet itself.
        if let local = channel.localAddress, local == channel.remoteAddress {
            channel.close(promise: nil)
            return attemptFailed(link, .refused)
        }
        let handler = LinkHandler(
            frameBytesMax: frameBytesMax,
            received: { if link.isWanted { self.report(.frameReceived(link.id, $0)) } },
            readEnded: endTurn,
            closed: { self.broke(link) })
        do {
            try channel.pipeline.syncOperations.addHandler(handler)
        } catch {
            channel.close(promise: nil)
            return attemptFailed(link, .reset)
        }
        link.channel = channel
        link.retry.connected(at: NodeClock.now)
        report(.connected(link.id))
        endTurn()
    }

    private func attemptFailed(_ link: Link, _ failure: LinkFailure) {
        guard link.isWanted else { return }
        retry(link, after: failure)
        report(.failed(link.id, failure))
        endTurn()
    }

    private func broke(_ link: Link) {
        guard link.isWanted, link.channel != nil else { return }
        link.channel = nil
        retry(link, after: .reset)
        report(.failed(link.id, .reset))
        endTurn()
    }

    private func retry(_ link: Link, after failure: LinkFailure) {
        let delayMs = link.retry.delayMs(after: failure, at: NodeClock.now)
        loop.assumeIsolated().scheduleTask(in: .milliseconds(delayMs)) {
            if link.isWanted { self.connect(link) }
        }
    }

    private static func failure(for error: any Error) -> LinkFailure {
        switch error {
        case let error as IOError:
            return error.errnoCode == ECONNREFUSED ? .refused : .timedOut
        case let error as NIOConnectionError:
            let attempts = error.connectionErrors.map { failure(for: $0.error) }
            return !attempts.isEmpty && attempts.allSatisfy { $0 == .refused } ? .refused : .timedOut
        default:
            return .timedOut
        }
    }
}

/// Cuts what a peer answers into frames.
private final class LinkHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var splitter: FrameSplitter
    private var lowWater = ReceiveLowWater()
    private let received: (ByteBuffer) -> Void
    private let readEnded: () -> Void
    private let closed: () -> Void

    init(
        frameBytesMax: Int, received: @escaping (ByteBuffer) -> Void, readEnded: @escaping () -> Void,
        closed: @escaping () -> Void
    ) {
        splitter = FrameSplitter(frameBytesMax: frameBytesMax)
        self.received = received
        self.readEnded = readEnded
        self.closed = closed
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        splitter.receive(unwrapInboundIn(data))
        do throws(BadFrameLength) {
            while let frame = try splitter.next() { received(frame) }
        } catch {
            context.close(promise: nil)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        lowWater.update(context.channel, missingBytes: splitter.missingBytes)
        readEnded()
    }

    func channelInactive(context: ChannelHandlerContext) {
        closed()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// Reads grow to 1 MiB when a peer sends much: a third of the CPU a byte at batches of 256 KiB. They begin small,
/// because a connection keeps its buffer: 64 KiB for each of 10,000 were 600 MiB.
let receiveAllocator = AdaptiveRecvByteBufferAllocator(minimum: 2_048, initial: 4_096, maximum: 1 << 20)
