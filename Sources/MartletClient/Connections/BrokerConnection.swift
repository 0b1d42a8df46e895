// One connection to one node: opened by ApiVersions, then request by request, each in the best version both sides
// speak.

import Model
import NIOCore
import NIOPosix
import Synchronization
import Wire

package final class BrokerConnection: Sendable {
    package let endpoint: Endpoint
    private let channel: any Channel
    private let configuration: ClientConfiguration
    private let served: [APIKey: ClosedRange<Int16>]
    private let lastCorrelationID = Atomic<Int32>(0)

    private init(
        _ endpoint: Endpoint, _ channel: any Channel, _ configuration: ClientConfiguration,
        served: [APIKey: ClosedRange<Int16>]
    ) {
        self.endpoint = endpoint
        self.channel = channel
        self.configuration = configuration
        self.served = served
    }

    package var isOpen: Bool { channel.isActive }

    /// Whether the node advertises a request in any version from `first` on that this build speaks.
    package func serves<R: WireRequest>(_: R.Type, from first: Int16 = 0) -> Bool {
        guard let theirs = served[R.api], theirs.overlaps(R.versions) else { return false }
        return min(theirs.upperBound, R.versions.upperBound) >= first
    }

    /// Connects and asks what the node serves. Throws `ClientError` only.
    package static func open(
        _ endpoint: Endpoint, _ configuration: ClientConfiguration,
        on loop: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) async throws -> BrokerConnection {
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop)
                .connectTimeout(.milliseconds(configuration.connectTimeoutMs))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(
                    .recvAllocator,
                    value: AdaptiveRecvByteBufferAllocator(minimum: 4096, initial: 65_536, maximum: 1 << 20)
                )
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandlers(
                            ByteToMessageHandler(FrameDecoder()), AnswerQueue(endpoint: endpoint))
                    }
                }
                .connect(host: endpoint.host, port: Int(endpoint.port)).get()
        } catch {
            throw ClientError.unreachable(endpoint, reason: reason(for: error))
        }
        let opening = BrokerConnection(endpoint, channel, configuration, served: [:])
        do {
            return BrokerConnection(endpoint, channel, configuration, served: try await opening.negotiate())
        } catch {
            channel.close(promise: nil)
            throw error
        }
    }

    package func close() { channel.close(promise: nil) }

    /// Sends one request and waits for its answer. `extraWaitMs`: what the request itself asks the node to wait.
    /// Throws `ClientError` only.
    package func send<R: WireRequest>(
        _ request: R, maxVersion: Int16 = .max, extraWaitMs: Int64 = 0
    ) async throws -> R.Response {
        let version = try self.version(of: R.self, maxVersion: maxVersion)
        let answer = exchange(request, version: version, timeoutMs: configuration.requestTimeoutMs + extraWaitMs)
        let endpoint = endpoint
        return try await answer.flatMapThrowing { frame in
            try Self.decoded(R.self, version: version, .success(frame), from: endpoint).get()
        }.get()
    }

    /// Sends a request that has no answer, which is Produce with acks=0; returns when it is in the socket.
    package func sendOnly<R: WireRequest>(_ request: R, maxVersion: Int16 = .max) async throws {
        let version = try self.version(of: R.self, maxVersion: maxVersion)
        do {
            try await channel.writeAndFlush(outbound(request, version: version, answer: nil))
        } catch {
            throw ClientError.connectionLost(endpoint)
        }
    }

    private func version<R: WireRequest>(of _: R.Type, maxVersion: Int16) throws(ClientError) -> Int16 {
        guard let theirs = served[R.api] else { throw .unsupported("\(R.api)", endpoint) }
        let version = min(theirs.upperBound, R.versions.upperBound, maxVersion)
        guard version >= theirs.lowerBound, version >= R.versions.lowerBound else {
            throw .unsupported("\(R.api)", endpoint)
        }
        return version
    }

    private func outbound<R: WireRequest>(
        _ request: R, version: Int16, answer: EventLoopPromise<ByteBuffer>?
    ) -> OutboundRequest {
        let id = lastCorrelationID.wrappingAdd(1, ordering: .relaxed).newValue
        let frame = encodeRequestFrame(
            request, version: version, correlationID: id, clientID: configuration.clientID)
        return OutboundRequest(frame: frame, correlationID: id, answer: answer)
    }

    private func exchange<R: WireRequest>(
        _ request: R, version: Int16, timeoutMs: Int64
    ) -> EventLoopFuture<ByteBuffer> {
        let answer = channel.eventLoop.makePromise(of: ByteBuffer.self)
        let (channel, endpoint) = (channel, endpoint)
        // Answers come in order: one that is late holds up all behind it, so the connection is given up with it.
        let alarm = channel.eventLoop.scheduleTask(in: .milliseconds(timeoutMs)) {
            let error = ClientError.requestTimedOut("\(R.api)", endpoint, afterMs: timeoutMs)
            channel.triggerUserOutboundEvent(LateAnswer(answer: answer, error: error), promise: nil)
            answer.fail(error)
        }
        answer.futureResult.whenComplete { _ in alarm.cancel() }
        let written = channel.eventLoop.makePromise(of: Void.self)
        written.futureResult.whenFailure { _ in answer.fail(ClientError.connectionLost(endpoint)) }
        channel.writeAndFlush(outbound(request, version: version, answer: answer), promise: written)
        return answer.futureResult
    }

    /// As `send`, for callers that are no task: requests go out in the order of the calls from one thread, and `done`
    /// runs on the connection's event loop.
    func send<R: WireRequest>(
        _ request: R, maxVersion: Int16, timeoutMs: Int64,
        done: @escaping @Sendable (Result<R.Response, ClientError>) -> Void
    ) {
        let endpoint = endpoint
        do throws(ClientError) {
            let version = try self.version(of: R.self, maxVersion: maxVersion)
            exchange(request, version: version, timeoutMs: timeoutMs).whenComplete { result in
                done(Self.decoded(R.self, version: version, result, from: endpoint))
            }
        } catch {
            done(.failure(error))
        }
    }

    /// As `sendOnly`, for callers that are no task.
    func sendOnly<R: WireRequest>(
        _ request: R, maxVersion: Int16, done: @escaping @Sendable (Result<Void, ClientError>) -> Void
    ) {
        let endpoint = endpoint
        do throws(ClientError) {
            let version = try self.version(of: R.self, maxVersion: maxVersion)
            channel.writeAndFlush(outbound(request, version: version, answer: nil)).whenComplete { result in
                done(result.mapError { _ in ClientError.connectionLost(endpoint) })
            }
        } catch {
            done(.failure(error))
        }
    }

    /// Runs on the event loop when the connection has ended.
    func whenClosed(_ body: @escaping @Sendable () -> Void) { channel.closeFuture.whenComplete { _ in body() } }

    private static func decoded<R: WireRequest>(
        _: R.Type, version: Int16, _ answer: Result<ByteBuffer, any Error>, from endpoint: Endpoint
    ) -> Result<R.Response, ClientError> {
        switch answer {
        case .failure(let error): return .failure(error as? ClientError ?? .connectionLost(endpoint))
        case .success(var frame):
            do throws(WireError) {
                return .success(try decodeResponse(of: R.self, version: version, from: &frame).response)
            } catch {
                return .failure(.malformedAnswer("\(R.api)", endpoint, reason: "\(error)"))
            }
        }
    }

    /// ApiVersions at our best version; a node that does not know it answers in version 0 and names its own (KIP-511).
    private func negotiate() async throws -> [APIKey: ClosedRange<Int16>] {
        var request = ApiVersionsRequest()
        request.clientSoftwareName = "martlet"
        request.clientSoftwareVersion = martletVersion
        var version: Int16 = 3
        while true {
            var frame = try await exchange(
                request, version: version, timeoutMs: configuration.connectTimeoutMs
            ).get()
            let code = frame.getInteger(at: frame.readerIndex + 4, as: Int16.self).map(ErrorCode.init(rawValue:))
            let isTooNew = code == .unsupportedVersion && version > 0
            let response: ApiVersionsResponse
            do {
                let read: Int16 = isTooNew ? 0 : version
                response = try decodeResponse(of: ApiVersionsRequest.self, version: read, from: &frame).response
            } catch {
                throw ClientError.malformedAnswer("ApiVersions", endpoint, reason: "\(error)")
            }
            if isTooNew {
                let theirs = response.apiKeys.first { $0.apiKey == .apiVersions }?.maxVersion ?? 0
                version = max(0, min(theirs, version - 1))
                continue
            }
            guard response.errorCode == .none else {
                throw ClientError.refused(what: "open a connection to \(endpoint)", response.errorCode, message: nil)
            }
            return Dictionary(
                response.apiKeys.filter { $0.minVersion <= $0.maxVersion }
                    .map { ($0.apiKey, $0.minVersion...$0.maxVersion) },
                uniquingKeysWith: { first, _ in first })
        }
    }

    private static func reason(for error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let dns = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty { return "\(dns)" }
            return error.connectionErrors.first.map { reason(for: $0.error) } ?? "no address"
        case let error as IOError where error.errnoCode == ECONNREFUSED: return "connection refused"
        case let error as IOError: return error.description
        case let error as ChannelError:
            if case .connectTimeout = error { return "no answer in time" }
            return "\(error)"
        default: return "\(error)"
        }
    }
}
