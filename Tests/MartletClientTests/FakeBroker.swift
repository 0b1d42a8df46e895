// A node made of one closure: it sees each request's header and body and gives the frame to answer with.

import MartletClient
import Model
import NIOCore
import NIOPosix
import Synchronization
import Wire

final class FakeBroker: Sendable {
    enum Answer {
        case frame(ByteBuffer)
        case silence
        case hangUp
    }

    typealias Script = @Sendable (RequestHeader, ByteBuffer) -> Answer

    let endpoint: Endpoint
    private let channel: any Channel

    /// Listens on a free port below the range that outgoing connections draw from.
    init(_ script: @escaping Script) async throws {
        (channel, endpoint) = try await Self.listen(script)
    }

    func stop() async throws { try await channel.close() }

    private static let nextPort = Atomic<Int>(21_000)

    private static func listen(_ script: @escaping Script) async throws -> (any Channel, Endpoint) {
        while true {
            let port = nextPort.wrappingAdd(1, ordering: .relaxed).newValue
            let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(Handler(script))
                    }
                }
            do {
                let channel = try await bootstrap.bind(host: "127.0.0.1", port: port).get()
                return (channel, Endpoint(host: "127.0.0.1", port: UInt16(port)))
            } catch let error as IOError where error.errnoCode == 98 && port < 31_000 {
                continue
            }
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let script: Script
        private var received = ByteBuffer()

        init(_ script: @escaping Script) { self.script = script }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = unwrapInboundIn(data)
            received.writeBuffer(&bytes)
            while let length = received.getInteger(at: received.readerIndex, as: Int32.self),
                received.readableBytes >= 4 + Int(length)
            {
                received.moveReaderIndex(forwardBy: 4)
                guard var frame = received.readSlice(length: Int(length)),
                    let header = try? RequestHeader.decode(from: &frame)
                else { return context.close(promise: nil) }
                switch script(header, frame) {
                case .frame(let answer): context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
                case .silence: break
                case .hangUp: context.close(promise: nil)
                }
            }
        }
    }
}

func answer<R: WireRequest>(
    _ response: R.Response, to request: R.Type, _ header: RequestHeader
) -> FakeBroker.Answer {
    .frame(encodeResponseFrame(response, to: request, version: header.version, correlationID: header.correlationID))
}

/// ApiVersions with everything that this build's messages speak.
func servesAll(_ header: RequestHeader) -> FakeBroker.Answer {
    var response = ApiVersionsResponse()
    response.apiKeys = [
        (APIKey.produce, ProduceRequest.versions), (.fetch, FetchRequest.versions),
        (.listOffsets, ListOffsetsRequest.versions), (.metadata, MetadataRequest.versions),
        (.apiVersions, ApiVersionsRequest.versions), (.createTopics, CreateTopicsRequest.versions),
        (.initProducerID, InitProducerIDRequest.versions), (.describeCluster, DescribeClusterRequest.versions),
        (.describeQuorum, DescribeQuorumRequest.versions),
        (.offsetForLeaderEpoch, OffsetForLeaderEpochRequest.versions),
        (.findCoordinator, FindCoordinatorRequest.versions), (.joinGroup, JoinGroupRequest.versions),
        (.syncGroup, SyncGroupRequest.versions), (.heartbeat, HeartbeatRequest.versions),
        (.leaveGroup, LeaveGroupRequest.versions), (.offsetCommit, OffsetCommitRequest.versions),
        (.offsetFetch, OffsetFetchRequest.versions),
        (.describeGroups, DescribeGroupsRequest.versions), (.offsetDelete, OffsetDeleteRequest.versions),
        (.deleteGroups, DeleteGroupsRequest.versions),
        (.consumerGroupHeartbeat, ConsumerGroupHeartbeatRequest.versions),
    ].map { key, versions in
        var entry = ApiVersionsResponse.ApiVersion()
        entry.apiKey = key
        entry.minVersion = versions.lowerBound
        entry.maxVersion = versions.upperBound
        return entry
    }
    return answer(response, to: ApiVersionsRequest.self, header)
}

/// Metadata of nodes 1… at `endpoints` and one topic with one partition.
func metadata(_ endpoints: [Endpoint], topic: String, leader: NodeID, epoch: LeaderEpoch = 0) -> MetadataResponse {
    var partition = MetadataResponse.Partition()
    partition.leaderID = leader
    partition.leaderEpoch = epoch
    partition.replicaNodes = endpoints.indices.map { NodeID($0 + 1) }
    partition.isrNodes = partition.replicaNodes
    var entry = MetadataResponse.Topic()
    entry.name = topic
    entry.topicID = UUID128(high: 7, low: 7)
    entry.partitions = [partition]
    var response = MetadataResponse()
    response.topics = [entry]
    response.controllerID = 1
    response.brokers = endpoints.enumerated().map { index, endpoint in
        var broker = MetadataResponse.Broker()
        broker.nodeID = NodeID(index + 1)
        broker.host = endpoint.host
        broker.port = Int32(endpoint.port)
        return broker
    }
    return response
}

extension FetchedChunk {
    /// All records, or why not all can be read.
    func records() throws -> [ConsumerRecord] {
        let unpacked = unpacked(batchBytesMax: 64 << 20)
        if let failure = unpacked.failure { throw failure.error }
        return unpacked.records
    }
}
