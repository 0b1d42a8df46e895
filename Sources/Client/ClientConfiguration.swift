// How a client names itself and how long it waits.

package struct ClientConfiguration: Sendable {
    package var clientID = "martlet"
    /// For a TCP connection and the ApiVersions exchange that opens it.
    package var connectTimeoutMs: Int64 = 2_000
    /// For one answer; waits that a request asks the node for come on top.
    package var requestTimeoutMs: Int64 = 10_000
    /// How long an operation is tried again before it fails.
    package var patienceMs: Int64 = 30_000
    /// How long a topic that metadata does not know may still be on its way to the node that was asked.
    package var newTopicPatienceMs: Int64 = 2_000
    package var retryPauseMs: ClosedRange<Int64> = 50...500

    package init() {}
}
