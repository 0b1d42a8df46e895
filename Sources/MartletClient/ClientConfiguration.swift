// How a client names itself and how long it waits.

public struct ClientConfiguration: Sendable {
    public var clientID = "martlet"
    /// For a TCP connection and the ApiVersions exchange that opens it.
    public var connectTimeoutMs: Int64 = 2_000
    /// For one answer; waits that a request asks the node for come on top.
    public var requestTimeoutMs: Int64 = 10_000
    /// After this time without an answer to a question that any node can answer, another one is asked beside.
    public var hedgeMs: Int64 = 250
    /// How long an operation is tried again before it fails.
    public var patienceMs: Int64 = 30_000
    /// How long a topic that metadata does not know may still be on its way to the node that was asked.
    public var newTopicPatienceMs: Int64 = 2_000
    public var retryPauseMs: ClosedRange<Int64> = 50...500

    public init() {}
}
