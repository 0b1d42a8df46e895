// A member of a classic group: who it is, what it said when it joined, what it was given, and what it waits for.

import Model
import NIOCore
import Wire

package struct GroupMember: Equatable, Sendable {
    package let id: String
    /// `group.instance.id` of a static member (KIP-345).
    package var instanceID: String?
    package var clientID: String
    package var clientHost: String
    package var sessionTimeoutMs: Int32
    package var rebalanceTimeoutMs: Int32
    /// What it can do, in the order it prefers, each with the metadata that goes to the leader.
    package var protocols: [JoinGroupRequest.GroupProtocol]
    /// What the leader of the generation gave it.
    package var assignment = ByteBuffer()

    /// What it had in the consumer group that this group was, until a leader gives it something.
    var carried: [TopicPartition] = []
    /// It was loaded: of its protocols only the chosen one is known.
    var isLoaded = false
    /// Counts the joins of a group: the first to have come is the leader.
    var joinSequence = 0
    /// Its JoinGroup that waits for the generation: it has joined the rebalance under way.
    var parkedJoin: ParkedRequest?
    /// Its SyncGroup that waits for the leader's assignment.
    var parkedSync: ParkedRequest?
    /// It was told of the generation and has not asked for its assignment yet.
    var owesSync = false
    var joinedAt = Instant.zero
    /// When it is taken for dead unless it is heard from. Nobody whose request waits here is.
    var sessionDeadline = Instant.distantFuture

    var hasJoined: Bool { parkedJoin != nil }
    var canExpire: Bool { parkedJoin == nil && parkedSync == nil }
    var name: MemberName { MemberName(id: id, instanceID: instanceID, clientHost: clientHost) }

    func metadata(for name: String?) -> ByteBuffer {
        protocols.first { $0.name == name }?.metadata ?? ByteBuffer()
    }

    mutating func heard(at now: Instant) { sessionDeadline = now.advanced(byMs: Int64(sessionTimeoutMs)) }

    /// Takes over what a JoinGroup says.
    mutating func take(_ request: JoinGroupRequest, _ call: GroupCall, at now: Instant) {
        isLoaded = false
        clientID = call.clientID
        clientHost = call.clientHost
        sessionTimeoutMs = request.sessionTimeoutMs
        rebalanceTimeoutMs = request.effectiveRebalanceTimeoutMs
        protocols = request.ownProtocols
        heard(at: now)
    }
}

extension GroupMember {
    init(id: String, _ request: JoinGroupRequest, _ call: GroupCall, sequence: Int, at now: Instant) {
        self.init(
            id: id, instanceID: request.groupInstanceID, clientID: "", clientHost: "", sessionTimeoutMs: 0,
            rebalanceTimeoutMs: 0, protocols: [])
        joinSequence = sequence
        take(request, call, at: now)
    }

    /// The same member under the id of its new process.
    func renamed(_ id: String) -> GroupMember {
        var member = GroupMember(
            id: id, instanceID: instanceID, clientID: clientID, clientHost: clientHost,
            sessionTimeoutMs: sessionTimeoutMs, rebalanceTimeoutMs: rebalanceTimeoutMs, protocols: protocols,
            assignment: assignment)
        member.joinSequence = joinSequence
        member.owesSync = owesSync
        member.carried = carried
        member.sessionDeadline = sessionDeadline
        return member
    }
}

/// A request that is answered later.
struct ParkedRequest: Equatable, Sendable {
    var ticket: GroupTicket
    var version: Int16

    init(_ call: GroupCall) {
        ticket = call.ticket
        version = call.version
    }
}

/// A member id that was given out and has not come back (KIP-394).
struct PendingMember: Equatable, Sendable {
    /// A rebalance waits so long for it; nil: no longer.
    var holdsUntil: Instant?
    /// It is forgotten then.
    var deadline: Instant
}

extension JoinGroupRequest {
    /// Version 0 has no rebalance timeout; the session's stands for it.
    var effectiveRebalanceTimeoutMs: Int32 { rebalanceTimeoutMs > 0 ? rebalanceTimeoutMs : sessionTimeoutMs }

    /// Nil: it does not offer that protocol.
    func metadata(for name: String?) -> ByteBuffer? { protocols.first { $0.name == name }?.metadata }
}
