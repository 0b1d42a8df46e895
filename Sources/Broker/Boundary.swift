// The line between the node's decisions and the outside world: what comes in, what goes out. Server and Simulation both
// speak exactly this.

import Model
import NIOCore
import Storage

/// One accepted connection.
package struct ConnectionID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let number: UInt64

    package init(number: UInt64) { self.number = number }

    package static func < (a: Self, b: Self) -> Bool { a.number < b.number }
    package var description: String { "#\(number)" }
}

/// A connection that this node makes to another. One of each kind per node, because answers on a connection come in
/// order.
package struct LinkID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package enum Kind: UInt8, Sendable {
        /// Raft's messages.
        case quorum
        /// Hello, formation, registration, heartbeats, forwarded calls.
        case control
        /// Fetches of synced topics' partitions: the next one leaves when the last one's records are on disk.
        case fetchSync
        /// Fetches of async topics' partitions.
        case fetchAsync
        /// What a damaged replica lacks.
        case repair
    }

    package var node: NodeID
    package var kind: Kind

    package init(node: NodeID, kind: Kind) {
        self.node = node
        self.kind = kind
    }

    package static func < (a: Self, b: Self) -> Bool {
        a.node == b.node ? a.kind.rawValue < b.kind.rawValue : a.node < b.node
    }

    package var description: String { "\(node)/\(kind)" }
}

package enum LinkFailure: Hashable, Sendable {
    /// Nobody listens there: the process is gone (or not yet there).
    case refused
    /// An established connection broke.
    case reset
    /// No answer to the connection attempt within its time, or no route.
    case timedOut
}

/// What happens on links. After `openLink` the shell connects, and while the link stays open connects again after every
/// failure, when `LinkRetry` says; each failed attempt is reported.
package enum LinkEvent: Sendable {
    case connected(LinkID)
    /// A whole answer frame, without its length prefix.
    case frameReceived(LinkID, ByteBuffer)
    case failed(LinkID, LinkFailure)

    var link: LinkID {
        switch self {
        case .connected(let link), .frameReceived(let link, _), .failed(let link, _): link
        }
    }
}

package enum LinkTiming {
    package static let retryMs: Int64 = 50
    package static let connectTimeoutMs: Int64 = 1_000
}

/// When a link that failed is tried again: after a reset at once, then soon, then every `LinkTiming.retryMs`.
///
/// A process that dies loses its connections before its listener. A try that comes between the two is taken and
/// dropped, which proves nothing; the next is refused, and that is the proof of its death (docs/decisions/0008).
package struct LinkRetry: Sendable {
    package static let earlyMs: [Int64] = [0, 1, 2, 5, 10, 20]
    /// A connection that stood this long has the row begin anew: a peer that takes connections only to drop them does
    /// not.
    package static let stoodMs: Int64 = 1_000

    private var resets = 0
    private var connectedAt: Instant?

    package init() {}

    package mutating func connected(at now: Instant) { connectedAt = now }

    package mutating func delayMs(after failure: LinkFailure, at now: Instant) -> Int64 {
        if let since = connectedAt, now.milliseconds(since: since) >= Self.stoodMs { resets = 0 }
        connectedAt = nil
        guard failure == .reset, resets < Self.earlyMs.count else { return LinkTiming.retryMs }
        defer { resets += 1 }
        return Self.earlyMs[resets]
    }
}

/// Why a connection's bytes are no request.
package enum FrameFault: Hashable, Sendable {
    /// The length prefix is negative, zero or above the limit. `firstBytes` tells a TLS hello from an HTTP request in
    /// the log line.
    case badLength(Int32, firstBytes: UInt32)
    /// Part of a frame came, and then nothing for too long.
    case stalled
    /// Nothing came for `connections.max.idle.ms`.
    case idle
}

package enum ShardInput: Sendable {
    case connectionOpened(ConnectionID, client: String)
    /// A whole request frame, without its length prefix.
    case frameReceived(ConnectionID, ByteBuffer)
    /// The shell closes the connection by itself after this.
    case frameRejected(ConnectionID, FrameFault)
    case connectionClosed(ConnectionID)
    /// All that was responded on it has gone to the socket.
    case outboundDrained(ConnectionID)
    case link(LinkEvent)
    case flushed(FlushTicket, FlushResult)
    case mailed(ShardMail)
    /// `nextDeadline` has come.
    case ticked
}

package enum OutboundPiece: Sendable {
    case bytes(ByteBuffer)
    /// Goes out by sendfile where the connection is plain. Of the shard's own disk.
    case file(LogSlice)

    var sizeBytes: Int {
        switch self {
        case .bytes(let buffer): buffer.readableBytes
        case .file(let slice): slice.length
        }
    }

    var isSlice: Bool {
        if case .file = self { true } else { false }
    }
}

package enum ShardEffect: Sendable {
    /// One or more whole answer frames, with their length prefixes, in order.
    case respond(ConnectionID, [OutboundPiece])
    /// Close once all that was responded before has left.
    case close(ConnectionID)
    case pauseReading(ConnectionID)
    case resumeReading(ConnectionID)
    case openLink(LinkID, Endpoint)
    case closeLink(LinkID)
    /// A whole request frame, with its length prefix. On a link that is not connected it is dropped: the failure was or
    /// will be reported.
    case send(LinkID, ByteBuffer)
    case mail(ControlMail)
    /// To another shard of the node, by its index.
    case mailShard(Int, ShardMail)
    case log(LogLine)
    /// The node cannot go on: print and end the process with a failure.
    case halt(String)
}

package enum ControlInput: Sendable {
    case link(LinkEvent)
    case flushed(FlushTicket, FlushResult)
    case mailed(ControlMail)
    case ticked
    /// An orderly stop: hand over, flush, mark the clean shutdown; `.stopped` ends it. The shell gives it
    /// `stopTimeoutMs` at most.
    case stopRequested
}

package enum ControlEffect: Sendable {
    case openLink(LinkID, Endpoint)
    case closeLink(LinkID)
    case send(LinkID, ByteBuffer)
    case mail(ShardMail, toShard: Int)
    case log(LogLine)
    /// The node leads, follows or waits, and can serve: the shell prints the ready line once.
    case ready
    case stopped
    case halt(String)
}

/// A line for the operator.
package struct LogLine: Hashable, Sendable {
    package enum Level: Hashable, Sendable { case debug, notice, warning, error }

    package var level: Level
    package var text: String

    package init(_ level: Level, _ text: String) {
        self.level = level
        self.text = text
    }
}
