// One input on its way through a group: the time, the rules, and what it leads to.

import Model
import NIOCore
import Wire

struct GroupStep {
    enum Output {
        /// To leave once all below `after` is committed.
        case reply(GroupTicket, GroupResponse, after: Offset)
        case log(GroupEvent.Kind)
    }

    let at: ClockReading
    let settings: GroupSettings
    /// All below is committed.
    let committed: Offset
    /// Another one means that topics came, went or grew.
    let topicsRevision: UInt64
    var random: SeededRandom
    /// What expressions name in this revision.
    var patterns = PatternNames()
    var output: [Output] = []
    /// What the group wants written; at most one thing an input.
    var write: GroupWrite?
    /// A deadline of the group may have come nearer.
    var isRearmed = true

    var now: Instant { at.now }

    mutating func reply(_ ticket: GroupTicket, _ response: GroupResponse, after: Offset = 0) {
        output.append(.reply(ticket, response, after: after))
    }

    mutating func log(_ kind: GroupEvent.Kind) { output.append(.log(kind)) }
}

/// Records to append, and what to do when that is done or refused.
struct GroupWrite: Equatable, Sendable {
    var records: [GroupRecord]
    var then: Outcome

    enum Outcome: Equatable, Sendable {
        case emptied
        /// The leader's assignment, by member id.
        case assigned(SortedMap<String, ByteBuffer>)
        case replaced(StaticReplacement)
        case offsetsCommitted(GroupTicket, OffsetCommitResponse)
        case offsetsDeleted(GroupTicket, OffsetDeleteResponse)
        case offsetsExpired(Int)
        case topicsRemoved(Int)
        case deleting(GroupDeletion)
        case consumerChanged(ConsumerChange)
        /// The consumer group is a classic one from here on.
        case becameClassic(ClassicReturn)
    }
}
