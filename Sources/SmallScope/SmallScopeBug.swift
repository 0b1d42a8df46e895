// Bugs planted in what surrounds the machines, to see that the search finds them.

package enum SmallScopeBug: String, CaseIterable, Sendable {
    case none
    /// A restart reads the epoch and forgets the vote.
    case voteForgotten
    /// The quorum's state is reported durable when it is handed over.
    case savedEarly
    /// A log is reported durable when the barrier is asked for.
    case flushedEarly
    /// A leader counts the end of its own log instead of the durable end.
    case ownEndCounted
    /// A replica that begins to follow cuts its log to its high watermark, as Kafka did before KIP-101.
    case truncatedToHighWatermark
}
