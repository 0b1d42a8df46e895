// Where connections come in.

import Broker
import Glibc
import Model
import NIOCore
import NIOPosix

package enum Listener {
    /// Binds and accepts; each connection goes to one of the shards' loops and stays there.
    package static func open(
        on endpoint: Endpoint, group: MultiThreadedEventLoopGroup, shards: [NIOLoopBound<ShardRunner>]
    ) throws(StartError) -> any Channel {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1_024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.recvAllocator, value: receiveAllocator)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let loop = channel.eventLoop
                    guard let shard = shards.first(where: { $0.eventLoop === loop }) else {
                        preconditionFailure("a connection came to a loop without a shard")
                    }
                    guard let connection = shard.value.accept() else { throw ChannelError.operationUnsupported }
                    try channel.pipeline.syncOperations.addHandler(connection)
                }
            }
        do {
            return try bootstrap.bind(host: endpoint.host, port: Int(endpoint.port)).wait()
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw StartError(
                "port \(endpoint.port) on \(endpoint.host) is in use by another process: "
                    + "`ss -ltnp sport = :\(endpoint.port)` shows which; stop it or choose another port")
        } catch let error as IOError {
            throw StartError("cannot listen on \(endpoint): \(reason(errno: error.errnoCode))")
        } catch {
            throw StartError("cannot listen on \(endpoint): \(error)")
        }
    }

    /// Whether a connection to `endpoint` can be made from here.
    package static func canReach(_ endpoint: Endpoint, from loop: any EventLoop) -> EventLoopFuture<Bool> {
        ClientBootstrap(group: loop)
            .connectTimeout(.seconds(2))
            .connect(host: endpoint.host, port: Int(endpoint.port))
            .flatMap { channel in channel.close().map { true } }
            .recover { _ in false }
    }
}
