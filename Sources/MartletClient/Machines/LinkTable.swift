// What a machine knows of its connections, and how often it may ask for one or for metadata.

import Model

/// The connections to the nodes of a cluster.
package struct LinkTable: Sendable {
    package struct Link: Sendable {
        package var isConnected = false
        package var isConnecting = false
        /// Requests without an answer.
        package var inFlight = 0
        package var retryAt = Instant.zero
        package var pauseMs: Int64 = 0
    }

    package private(set) var links = SortedMap<NodeID, Link>()
    package let pauseMs: ClosedRange<Int64>

    package init(pauseMs: ClosedRange<Int64>) { self.pauseMs = pauseMs }

    package func isConnected(_ node: NodeID) -> Bool { links[node]?.isConnected ?? false }
    package func inFlight(_ node: NodeID) -> Int { links[node]?.inFlight ?? 0 }
    /// The last attempt to reach the node failed, or its connection broke.
    package func isTroubled(_ node: NodeID) -> Bool { links[node].map { $0.pauseMs > 0 } ?? false }

    /// When a node without a connection may be tried again; nil when there is nothing to wait for.
    package func retryAt(_ node: NodeID) -> Instant? {
        links[node].flatMap { $0.isConnected || $0.isConnecting ? nil : $0.retryAt }
    }

    /// True when the owner should open a connection to the node now.
    package mutating func shouldConnect(_ node: NodeID, at now: Instant) -> Bool {
        var link = links[node] ?? Link()
        guard !link.isConnected, !link.isConnecting, link.retryAt <= now else { return false }
        link.isConnecting = true
        links[node] = link
        return true
    }

    package mutating func connected(_ node: NodeID) {
        var link = links[node] ?? Link()
        (link.isConnected, link.isConnecting, link.pauseMs) = (true, false, 0)
        links[node] = link
    }

    package mutating func disconnected(_ node: NodeID, at now: Instant) {
        var link = links[node] ?? Link()
        (link.isConnected, link.isConnecting) = (false, false)
        link.pauseMs = min(max(pauseMs.lowerBound, link.pauseMs * 2), pauseMs.upperBound)
        link.retryAt = now.advanced(byMs: link.pauseMs)
        links[node] = link
    }

    package mutating func sent(to node: NodeID) { links[node]?.inFlight += 1 }
    package mutating func ended(at node: NodeID) { links[node]?.inFlight -= 1 }
}

/// How often metadata is asked: at once at the first doubt, then often for a while, because that is how the next leader
/// is found, and then with growing pauses.
package struct MetadataPace: Sendable {
    package private(set) var isAsking = false
    package private(set) var retryAt = Instant.zero
    package private(set) var learnedAt = Instant.zero
    private var pauseMs: Int64 = 0
    /// Questions since the first doubt.
    private var count = 0
    private let pausesMs: ClosedRange<Int64>
    /// An election is over in a second or two: until then pauses stay short.
    private static let eagerCount = 16
    private static let eagerPauseMs: Int64 = 100

    package init(pausesMs: ClosedRange<Int64>) { self.pausesMs = pausesMs }

    package mutating func doubted() {
        (pauseMs, count) = (0, 0)
        retryAt = .zero
    }

    package mutating func asked() { isAsking = true }

    package mutating func answered(at now: Instant, isNews: Bool) {
        isAsking = false
        if isNews { learnedAt = now }
        count += 1
        let longestMs = count < Self.eagerCount ? min(Self.eagerPauseMs, pausesMs.upperBound) : pausesMs.upperBound
        pauseMs = min(max(pausesMs.lowerBound, pauseMs * 2), max(longestMs, pausesMs.lowerBound))
        retryAt = now.advanced(byMs: pauseMs)
    }
}
