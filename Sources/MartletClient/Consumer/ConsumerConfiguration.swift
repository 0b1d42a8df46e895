// How a consumer reads, and what it does where it cannot go on by itself.

/// Settings of a `Consumer`.
public struct ConsumerConfiguration: Sendable {
    public enum Isolation: Int8, Sendable {
        /// Everything, records of open and aborted transactions too.
        case readUncommitted = 0
        /// Records of committed transactions and those outside of any (KIP-98).
        case readCommitted = 1
    }

    /// What to do at a position that the log does not hold.
    public enum OutOfRangePolicy: Sendable {
        /// Throw `positionOutOfRange`; `seek` goes on.
        case fail
        /// Go on at the oldest record there is.
        case earliest
        /// Go on with what is written from now on.
        case latest
    }

    /// What to do where the log was cut off below what was read already (KIP-320).
    public enum TruncationPolicy: Sendable {
        /// Throw `logTruncated`; `seek` goes on.
        case fail
        /// Go on where the logs part: the records from there on are given out, perhaps for the second time.
        case resume
    }

    public var isolation = Isolation.readUncommitted
    public var onOutOfRange = OutOfRangePolicy.fail
    public var onTruncation = TruncationPolicy.fail
    /// How long a node may hold an answer back that would be smaller than `fetchBytesMin`.
    public var fetchWaitMs: Int32 = 500
    public var fetchBytesMin: Int32 = 1
    /// Bytes of one answer.
    public var fetchBytesMax: Int32 = 50 << 20
    /// Bytes of one partition in an answer. A batch that is larger comes whole.
    public var partitionBytesMax: Int32 = 1 << 20
    /// What one batch may take unpacked; a larger one ends reading with `unreadableRecords`.
    public var unpackedBatchBytesMax = 256 << 20
    /// Bytes that are fetched ahead of what is read. Fetching stops there and goes on when records are taken. One more
    /// answer of each node may come on top, and what partitions hold that are paused.
    public var prefetchBytesMax = 32 << 20
    /// How long one request may take beyond what it asks the node to wait.
    public var requestTimeoutMs: Int64 = 30_000
    /// After this time beyond `fetchWaitMs` without an answer the consumer asks who leads now.
    public var lateAnswerMs: Int64 = 1_000
    public var retryPauseMs: ClosedRange<Int64> = 20...1_000
    /// How long a partition that cannot be read is tried again before reading fails with `gaveUp`. Nil: forever.
    public var patienceMs: Int64?
    /// How often the consumer looks who leads although nothing went wrong.
    public var metadataMaxAgeMs: Int64 = 300_000
    /// Where the consumer runs, for clusters that let it read from a replica nearby (KIP-392).
    public var rack = ""

    public init() {}
}

/// A partition of a topic.
public struct TopicPartition: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var topic: String
    public var partition: Int32

    public init(_ topic: String, _ partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    public static func < (a: Self, b: Self) -> Bool { (a.topic, a.partition) < (b.topic, b.partition) }
    public var description: String { "\(topic)-\(partition)" }
}

/// Where reading starts in a partition.
public enum StartPosition: Equatable, Sendable {
    /// At the oldest record there is.
    case earliest
    /// With what is written from now on.
    case latest
    case offset(Int64)
    /// At the first record that is not older than this, in milliseconds since 1970; at the end when there is none.
    case timestamp(Int64)
}
