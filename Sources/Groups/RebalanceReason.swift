// Why a group rebalances, in one sentence: every rebalance has one.

import Model

package enum RebalanceReason: Hashable, Sendable, CustomStringConvertible {
    case memberJoined(MemberName)
    /// They said so, or someone said it for them.
    case membersLeft([MemberName], said: String?)
    /// Nothing was heard of them for a session timeout.
    case membersSilent([MemberName])
    /// They had their generation and did not ask for their assignment within the rebalance timeout.
    case syncMissing([MemberName])
    /// The group was full when it joined again.
    case memberTurnedAway(MemberName)
    case leaderRejoined(MemberName, said: String?)
    case metadataChanged(MemberName)
    /// A static member came back with another subscription, or with protocols that lead to another choice.
    case staticMemberChanged(MemberName)
    /// A static member came back while the leader computed an assignment for its former id.
    case staticMemberReturned(MemberName)
    /// Someone joins who does not speak the chosen protocol. What else the members speak is not known after a load;
    /// they say it when they join again.
    case protocolsUnknown(String)
    case assignmentNotStored(ErrorCode)
    /// The coordinator that loaded the group found that nobody in it has an assignment.
    case assignmentMissing
    /// Topics that are subscribed to came, went or grew.
    case topicsChanged
    /// They did not give up within the rebalance timeout what they were told to.
    case revocationMissing([MemberName])

    package var description: String {
        switch self {
        case .memberJoined(let name): "\(name) joined"
        case .membersLeft(let names, let said): "\(list(names)) left\(quote(said))"
        case .membersSilent(let names): "\(list(names)) let the session timeout pass"
        case .syncMissing(let names): "\(list(names)) did not ask for the assignment within the rebalance timeout"
        case .memberTurnedAway(let name): "\(name) was turned away, because the group is full"
        case .leaderRejoined(let name, let said): "the leader \(name) joined again\(quote(said))"
        case .metadataChanged(let name): "\(name) changed its metadata"
        case .staticMemberChanged(let name): "\(name) came back with another subscription"
        case .staticMemberReturned(let name): "\(name) came back while the assignment was computed"
        case .protocolsUnknown(let client):
            "\(shown(client)) speaks other protocols, and those of loaded members are not known"
        case .topicsChanged: "subscribed topics changed"
        case .revocationMissing(let names):
            "\(list(names)) did not give partitions up within the rebalance timeout"
        case .assignmentMissing: "no member has an assignment in the log"
        case .assignmentNotStored(let error): "the assignment could not be stored: \(error)"
        }
    }

    private func quote(_ said: String?) -> String {
        guard let said, !said.isEmpty else { return "" }
        return ", saying: \(shown(said))"
    }
}

/// A member in a sentence.
package struct MemberName: Hashable, Sendable, CustomStringConvertible {
    package var id: String
    package var instanceID: String?
    package var clientHost: String

    package var description: String {
        let instance = instanceID.map { ", instance \(shown($0))" } ?? ""
        return "member \(shown(id)) (\(clientHost.isEmpty ? "unknown host" : clientHost)\(instance))"
    }
}

func list(_ names: [MemberName]) -> String {
    let shown = names.prefix(5).map(\.description).joined(separator: ", ")
    return names.count > 5 ? "\(shown) and \(names.count - 5) more" : shown
}
