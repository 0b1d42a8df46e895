// One accepted connection: who speaks on it, and its answers kept in the order of its requests.

import Model
import NIOCore

/// The node that said NodeHello on a connection, and which start of it. Clients are told no node's incarnation, so a
/// guess does not make one; until there is authentication that is what can be had.
package struct NodeIdentity: Hashable, Sendable {
    var id: NodeID
    var incarnationID: UUID128
}

/// A class, because every request looks at it several times: a value in the shard's dictionary was copied out and in
/// again at each of them.
final class ClientConnection {
    let id: ConnectionID
    let client: String
    /// From ApiVersions, for log lines: the cheapest "who is still on the old client" report.
    var software = ""
    /// Set by NodeHello.
    var node: NodeIdentity?
    /// Its first refused input has been told of; a flood of them fills no log.
    var hasComplaint = false
    private var nextSlot: UInt64 = 0
    private var nextAnswer: UInt64 = 0
    private var early: [UInt64: [OutboundPiece]] = [:]
    private var undrainedBytes = 0
    private var isPaused = false
    private(set) var isClosing = false

    /// The address alone, as Kafka shows a member's host: `/127.0.0.1`.
    var clientHost: String { "/" + (client.lastIndex(of: ":").map { String(client[..<$0]) } ?? client) }

    init(id: ConnectionID, client: String) {
        self.id = id
        self.client = client
    }

    /// Takes the next place in the line of answers.
    func takeSlot() -> UInt64 {
        defer { nextSlot += 1 }
        return nextSlot
    }

    /// Gives the answer of `slot`; what may leave now, in order.
    func answer(_ slot: UInt64, with pieces: [OutboundPiece]) -> [OutboundPiece] {
        guard !isClosing else { return [] }
        guard slot == nextAnswer else {
            early[slot] = pieces
            return []
        }
        var leaving = pieces
        nextAnswer += 1
        while let next = early.removeValue(forKey: nextAnswer) {
            leaving += next
            nextAnswer += 1
        }
        for piece in leaving { undrainedBytes += piece.sizeBytes }
        return leaving
    }

    /// Whether an answer that waits for the one before it has such a part.
    func holds(where isWanted: (OutboundPiece) -> Bool) -> Bool {
        early.values.contains { $0.contains(where: isWanted) }
    }

    func drained() { undrainedBytes = 0 }

    func closed() {
        isClosing = true
        early.removeAll()
    }

    /// Whether reading must stop or may go on, when that is news.
    func readingChange() -> Bool? {
        let waiting = nextSlot - nextAnswer
        let full =
            waiting >= UInt64(Limits.requestsInFlightPerConnection)
            || undrainedBytes > Limits.outboundBytesPerConnection
        guard full != isPaused else { return nil }
        isPaused = full
        return full
    }

    var description: String { software.isEmpty ? client : "\(client) (\(software))" }
}
