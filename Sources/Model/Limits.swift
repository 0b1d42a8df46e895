// Every bound of the house by name. A queue, map or buffer that can grow on a peer's word names its limit here.

public enum Limits {
    /// The largest frame a connection may send, Kafka's `socket.request.max.bytes`.
    public static let frameBytesMax = 100 * 1024 * 1024
    /// The largest frame before a connection is known, once there is authentication.
    public static let frameBytesMaxUnauthenticated = 64 * 1024
    /// Requests of one connection that wait for their answer; reading pauses above it.
    public static let requestsInFlightPerConnection = 128
    /// Bytes of answers queued on one connection before reading pauses.
    public static let outboundBytesPerConnection = 16 * 1024 * 1024
    /// `max.connections`: connections a node serves at once.
    public static let connectionsMax = 16_000
    /// The default of `max.message.bytes`: one batch, as produced.
    public static let messageBytesMax = 1_048_588
    /// A batch may not unpack to more than this many times `max.message.bytes`.
    public static let decompressionFactorMax = 10
    /// `fetch.max.bytes`: what one Fetch answer holds at most, whatever the client asks.
    public static let fetchBytesMax = 55 * 1024 * 1024
    /// Of one partition's records that are not in memory, a fetch waits for so much.
    public static let broughtInBytesMax = 4 * 1024 * 1024
    /// And of all its partitions together, when that is reached.
    public static let broughtInByFetchBytesMax = 8 * 1024 * 1024
    /// `max.incremental.fetch.session.cache.slots`.
    public static let fetchSessionsMax = 1_000
    /// Producers remembered per partition.
    public static let producersPerPartitionMax = 100_000
    /// Producers that a leader tells a follower of which begins anew: 46 bytes for each of their last batches.
    public static let producersHandedOverMax = 10_000
    /// Of these, unknown ones that a leader has refused once; beyond them any sequence is accepted at once.
    public static let unknownProducersPerPartitionMax = 10_000
    /// Batches remembered per producer for duplicate detection, Kafka's five.
    public static let producerBatchesRemembered = 5
    /// Partitions one topic may have, and all topics together.
    public static let partitionsPerTopicMax = 10_000
    public static let partitionsMax = 200_000
    /// Topic names: 1…249 of `[a-zA-Z0-9._-]`, not `.` or `..`.
    public static let topicNameLengthMax = 249
    /// What the map of keys of one cleaning takes at most: at 24 bytes a key about a million keys. With more of them a
    /// cleaning ends earlier in the log, and the next one goes on from there.
    public static let cleanerMapBytesMax = 32 * 1024 * 1024
    /// File handles a node keeps open; the least recently used is closed and opened again on need.
    public static let openFilesMax = 4_000
    /// Requests parked on one node.
    public static let parkedRequestsMax = 100_000
}

/// Whether Kafka would take this topic name.
public func isValidTopicName(_ name: String) -> Bool {
    guard !name.isEmpty, name.utf8.count <= Limits.topicNameLengthMax, name != ".", name != ".." else { return false }
    return name.utf8.allSatisfy { c in
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(c) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(c)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(c) || c == UInt8(ascii: ".") || c == UInt8(ascii: "_")
            || c == UInt8(ascii: "-")
    }
}
