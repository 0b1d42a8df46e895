// What goes into a producer, and what comes back when it is written.

import NIOCore

/// A record to be written.
public struct ProducerRecord: Equatable, Sendable {
    public var topic: String
    /// The partition to write to; nil leaves the choice to the producer's partitioner.
    public var partition: Int32?
    /// Records of one key go to one partition, in order.
    public var key: ByteBuffer?
    /// Nil is a tombstone: it deletes the key from a compacted topic.
    public var value: ByteBuffer?
    public var headers: [Header]
    /// Milliseconds since 1970; nil is the time of the call.
    public var timestampMs: Int64?

    public init(
        topic: String, partition: Int32? = nil, key: ByteBuffer? = nil, value: ByteBuffer?, headers: [Header] = [],
        timestampMs: Int64? = nil
    ) {
        self.topic = topic
        self.partition = partition
        self.key = key
        self.value = value
        self.headers = headers
        self.timestampMs = timestampMs
    }

    /// A record of text.
    public init(topic: String, key: String? = nil, value: String) {
        self.init(topic: topic, key: key.map { ByteBuffer(string: $0) }, value: ByteBuffer(string: value))
    }

    /// What the record takes in a batch at most: its bytes and those of its lengths.
    package var sizeBytes: Int {
        var size = 32 + (key?.readableBytes ?? 0) + (value?.readableBytes ?? 0)
        for header in headers { size += 10 + header.name.utf8.count + (header.value?.readableBytes ?? 0) }
        return size
    }
}

/// Where a record was written.
public struct RecordMetadata: Equatable, Sendable {
    public var topic: String
    public var partition: Int32
    /// The record's offset. −1 when it is not known: with acks=0, and when the cluster had the record already because
    /// an earlier answer was lost.
    public var offset: Int64
    /// Milliseconds since 1970: the record's own time, or the leader's where the topic stamps records itself.
    public var timestampMs: Int64

    public init(topic: String, partition: Int32, offset: Int64, timestampMs: Int64) {
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.timestampMs = timestampMs
    }
}
