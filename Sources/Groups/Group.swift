// One group: its offsets, and the classic protocol's state. A value; the coordinator gives it inputs one at a time.

import Model
import Wire

/// Kafka's names of a classic group's states.
package enum GroupState: String, Sendable, CaseIterable {
    case empty = "Empty"
    /// Members are awaited.
    case preparingRebalance = "PreparingRebalance"
    /// The leader's assignment is awaited.
    case completingRebalance = "CompletingRebalance"
    case stable = "Stable"
    /// Only said of groups that do not exist.
    case dead = "Dead"
}

package struct Group: Equatable, Sendable {
    package let id: String
    package internal(set) var state = GroupState.empty
    /// Wall clock; nil: written by a Kafka that did not say.
    package internal(set) var stateChangedMs: Int64?
    /// Nil: nobody ever joined, offsets were committed from outside.
    package internal(set) var protocolType: String?
    package internal(set) var protocolName: String?
    package internal(set) var generation: Int32 = 0
    package internal(set) var leaderID: String?
    package internal(set) var members = SortedMap<String, GroupMember>()
    /// Why and when it last rebalanced under this coordinator.
    package internal(set) var lastRebalance: LastRebalance?
    package internal(set) var offsets = OffsetTable()
    /// The next-generation protocol's state (KIP-848), while it is a group of that; nothing of the classic one's is in
    /// use then.
    package internal(set) var consumer: ConsumerGroup?

    /// In the order in which they came.
    var membersInOrder: [GroupMember] { members.values.sorted { $0.joinSequence < $1.joinSequence } }

    /// Member ids by instance id.
    var instances = SortedMap<String, String>()
    var pendingMembers = SortedMap<String, PendingMember>()
    /// While members are awaited.
    var rebalance: Rebalance?
    /// While some owe their SyncGroup.
    var syncDeadline: Instant?
    var generationBeganAt = Instant.zero
    var joinSequence = 0
    /// How many members the last generation had: when so many are back, nobody else is awaited.
    var companyBefore = 0
    /// Whether the log holds a GroupMetadata record of it.
    var isPersisted = false
    /// It has members, and no assignment of theirs was in the log: what they still have nobody knows before they have
    /// joined again.
    var isAssignmentUnknown = false
    /// Tombstones of what the group was in the other protocol, to be written with its next record.
    var obsolete: [GroupRecord] = []
    /// The end offset of its last record that is no offset, and of its last offset record.
    var metadataEnd: Offset = 0
    package internal(set) var offsetsEnd: Offset = 0
    /// An append was asked for and its outcome is not known.
    var isWriting = false

    package struct LastRebalance: Hashable, Sendable {
        package var reason: RebalanceReason
        package var wallMs: Int64
    }

    struct Rebalance: Hashable, Sendable {
        var reason: RebalanceReason
        var beganAt: Instant
        /// Whoever has not joined by then is removed.
        var deadline: Instant
        /// The first members wait for company until then; each arrival moves it, up to `quietEnd`.
        var quietUntil: Instant?
        var quietEnd: Instant
    }

    init(_ id: String) { self.id = id }

    /// Nothing to remember: not in the log, nobody here, nobody expected.
    var isVoid: Bool {
        consumer == nil && obsolete.isEmpty && !isPersisted && !isWriting && state == .empty && members.isEmpty
            && pendingMembers.isEmpty && offsets.isEmpty
    }

    /// Ids given and not used yet, where they are all that there is of it.
    var strangers: Int {
        guard !pendingMembers.isEmpty, members.isEmpty, state == .empty, !isPersisted, !isWriting, consumer == nil,
            obsolete.isEmpty, offsets.isEmpty
        else { return 0 }
        return pendingMembers.count
    }

    var hasMembers: Bool { !members.isEmpty || consumer?.members.isEmpty == false }

    /// The longest rebalance timeout of its members.
    var rebalanceTimeoutMs: Int64 { Int64(members.values.map(\.rebalanceTimeoutMs).max() ?? 0) }

    /// When `ticked` has something to do.
    var nextDeadline: Instant {
        var earliest = syncDeadline ?? .distantFuture
        for member in members.values where member.canExpire { earliest = min(earliest, member.sessionDeadline) }
        for pending in pendingMembers.values {
            earliest = min(earliest, pending.deadline)
            if rebalance != nil { earliest = min(earliest, pending.holdsUntil ?? .distantFuture) }
        }
        if let rebalance { earliest = min(earliest, rebalance.quietUntil ?? .distantFuture, rebalance.deadline) }
        for member in consumer?.members.values ?? [] {
            earliest = min(earliest, member.sessionDeadline, member.revocationDeadline ?? .distantFuture)
            earliest = min(earliest, member.classic?.deadline ?? .distantFuture)
        }
        return earliest
    }

    mutating func move(to next: GroupState, _ step: GroupStep) {
        state = next
        stateChangedMs = step.at.wallMs
    }
}
