// What a coordinator says in the node's log: every change of a group, and who was waited for.

import Model

package struct GroupEvent: Hashable, Sendable, CustomStringConvertible {
    package var group: String
    package var kind: Kind

    package enum Kind: Hashable, Sendable {
        case rebalanceBegan(RebalanceReason, generation: Int32, state: GroupState)
        /// Everyone who still belongs to the group has joined the new generation.
        case generationBegan(
            Int32, members: Int, leader: MemberName, protocolName: String, tookMs: Int64, last: MemberName?)
        /// The rebalance timeout passed, and only static members that are away are left.
        case rebalanceWaits([MemberName])
        /// They did not join again within the rebalance timeout, and held everyone up until then.
        case laggardsRemoved([MemberName], waitedMs: Int64)
        /// They were given an id and did not come back with it.
        case pendingMembersForgotten([String])
        case stabilized(Int32, tookMs: Int64)
        case emptied(Int32, RebalanceReason)
        case staticMemberReplaced(MemberName, by: String, keepsAssignment: Bool)
        /// A consumer group (KIP-848) moves to another assignment.
        case groupEpochRaised(Int32, members: Int, RebalanceReason)
        case deleted
        case offsetsExpired(Int)
        case offsetsOfDeletedTopicsRemoved(Int)
        case appendRefused(ErrorCode, what: String)
    }

    /// One line. What clients chose in it is cut.
    package var description: String { "group \(shown(group)): \(kind)" }
}

extension GroupEvent.Kind: CustomStringConvertible {
    package var description: String {
        switch self {
        case .rebalanceBegan(let reason, let generation, let state):
            "rebalances from generation \(generation) in state \(state.rawValue): \(reason)"
        case .generationBegan(let generation, let members, let leader, let name, let tookMs, let last):
            "generation \(generation) has \(members) members, protocol \(shown(name)), leader \(leader); "
                + "it took \(tookMs) ms"
                + (last.map { ", last to join was \($0)" } ?? "")
        case .rebalanceWaits(let names): "still waits for \(list(names))"
        case .laggardsRemoved(let names, let waitedMs):
            "removed \(list(names)): not joined again within the rebalance timeout, waited \(waitedMs) ms"
        case .pendingMembersForgotten(let ids):
            "forgot the member ids \(ids.prefix(5).map(shown).joined(separator: ", ")): nobody came back with them"
        case .stabilized(let generation, let tookMs): "generation \(generation) is stable, \(tookMs) ms after its start"
        case .emptied(let generation, let reason): "is empty since generation \(generation): \(reason)"
        case .staticMemberReplaced(let name, let id, let keeps):
            "\(name) is \(shown(id)) now" + (keeps ? " and keeps its assignment" : "")
        case .groupEpochRaised(let epoch, let members, let reason):
            "epoch \(epoch) with \(members) members: \(reason)"
        case .deleted: "is deleted"
        case .offsetsExpired(let count): "\(count) offsets ran out"
        case .offsetsOfDeletedTopicsRemoved(let count): "\(count) offsets of deleted topics removed"
        case .appendRefused(let error, let what): "\(what) could not be written: \(error)"
        }
    }
}
