// A request to a coordinator, who asks, and what there is to know about topics.

import Model

/// Names a request that waits for its answer. The shard draws it, and each is answered exactly once.
package struct GroupTicket: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var rawValue: UInt64

    package init(_ rawValue: UInt64) { self.rawValue = rawValue }

    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    package var description: String { "#\(rawValue)" }
}

package struct GroupCall: Equatable, Sendable {
    package var ticket: GroupTicket
    package var request: GroupRequest
    /// The version the client speaks; some rules hold from a version on.
    package var version: Int16
    /// The header's client id.
    package var clientID: String
    /// Where the client is, as Kafka prints it: `/127.0.0.1`.
    package var clientHost: String

    package init(
        _ request: GroupRequest, version: Int16, ticket: GroupTicket, clientID: String = "", clientHost: String = ""
    ) {
        self.request = request
        self.version = version
        self.ticket = ticket
        self.clientID = clientID
        self.clientHost = clientHost
    }
}

/// A topic as far as groups need to know it.
package struct KnownTopic: Hashable, Sendable {
    package var name: String
    package var id: UUID128
    package var partitions: Int32

    package init(name: String, id: UUID128, partitions: Int32) {
        self.name = name
        self.id = id
        self.partitions = partitions
    }
}

/// The topics that exist now, by the newest metadata of the node.
package protocol TopicLookup {
    func topic(named name: String) -> KnownTopic?
    func topic(_ id: UUID128) -> KnownTopic?
    /// For expressions over names; the order is of no account.
    var topicNames: [String] { get }
}
