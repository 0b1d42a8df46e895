// What comes out of a consumer.

import NIOCore

/// A record that was read. Key, value and headers are slices of what came from the node: a record that is kept for long
/// keeps the whole answer alive, up to `fetchBytesMax`, unless its bytes are copied.
public struct ConsumerRecord: Equatable, Sendable {
    public var topic: String
    public var partition: Int32
    public var offset: Int64
    /// The epoch of the leader that wrote the record; −1 where the cluster does not say.
    public var leaderEpoch: Int32
    /// Milliseconds since 1970; −1: none.
    public var timestampMs: Int64
    public var key: ByteBuffer?
    /// Nil is a tombstone.
    public var value: ByteBuffer?
    public var headers: [Header]

    public init(
        topic: String, partition: Int32, offset: Int64, leaderEpoch: Int32 = -1, timestampMs: Int64 = -1,
        key: ByteBuffer? = nil, value: ByteBuffer?, headers: [Header] = []
    ) {
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.leaderEpoch = leaderEpoch
        self.timestampMs = timestampMs
        self.key = key
        self.value = value
        self.headers = headers
    }
}
