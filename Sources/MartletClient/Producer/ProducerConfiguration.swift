// How a producer batches, waits and tries again. Names and defaults are those of Kafka's producer where it has them.

/// Settings of a `Producer`.
public struct ProducerConfiguration: Sendable {
    /// Who must have a record before it counts as written.
    public enum Acks: Int16, Sendable {
        /// Every in-sync replica; on Martlet, on their disks.
        case all = -1
        /// The leader alone.
        case leader = 1
        /// Nobody answers: a record that is lost is lost silently.
        case none = 0
    }

    public var acks = Acks.all
    /// Whether the cluster recognises a batch that is sent twice, so that a record is written once and in order
    /// (KIP-98). Needs `acks` to be `.all`, and is off with less. The user of a cluster that does not serve
    /// InitProducerId turns it off.
    public var isIdempotent = true
    public var compression = CompressionCodec.none
    public var partitioner = Partitioner.murmur2
    /// How long a batch waits for more records while an earlier one of its partition is on its way. Nothing waits for
    /// a partition that is idle, unlike in Kafka's own producer.
    public var lingerMs: Int64 = 5
    /// Bytes of a batch before compression at which it is sent without waiting.
    public var batchBytesMax = 262_144
    /// The largest record, with its keys and headers; larger ones are refused at once.
    public var recordBytesMax = 1_048_000
    /// Bytes of one Produce request, over all its partitions.
    public var requestBytesMax = 4 << 20
    /// Bytes of records that wait to be sent or acknowledged. A full buffer makes `submit` and `send` wait.
    public var bufferBytesMax = 64 << 20
    /// How long `submit` and `send` wait for room in the buffer. (How long they look for a topic is the client's
    /// `patienceMs`.)
    public var maxBlockMs: Int64 = 60_000
    /// From `submit` to the end of all attempts.
    public var deliveryTimeoutMs: Int64 = 120_000
    /// How long one request may take.
    public var requestTimeoutMs: Int64 = 30_000
    /// After this time without an answer to a request the producer asks who leads now, and moves on if another node
    /// does.
    public var lateAnswerMs: Int64 = 1_000
    /// Pauses between attempts: they double from the lower bound to the upper.
    public var retryPauseMs: ClosedRange<Int64> = 20...1_000
    /// Produce requests on their way to one node.
    public var inFlightPerNodeMax = 5
    /// Batches of one partition on their way. Nil: 5 for an idempotent producer, whose batches cannot overtake each
    /// other, else 1, which keeps the order. At most 5 for an idempotent one: the cluster remembers no more.
    public var inFlightPerPartitionMax: Int?
    /// How often the producer looks for new partitions.
    public var metadataMaxAgeMs: Int64 = 300_000

    public init() {}

    /// Idempotence as it acts: it needs the acknowledgement of all.
    var actsIdempotently: Bool { isIdempotent && acks == .all }

    var partitionWindow: Int {
        let wanted = max(1, inFlightPerPartitionMax ?? (actsIdempotently ? 5 : 1))
        return actsIdempotently ? min(wanted, 5) : wanted
    }
}
