// Who votes: the members of the metadata quorum, as one Voters record holds them (KIP-853).

import Model

package struct Voter: Hashable, Sendable {
    package var key: ReplicaKey
    package var endpoint: Endpoint

    package init(key: ReplicaKey, endpoint: Endpoint) {
        self.key = key
        self.endpoint = endpoint
    }
}

package struct VoterSet: Hashable, Sendable, CustomStringConvertible {
    /// Sorted by node id; a node id stands at most once.
    package private(set) var voters: [Voter]

    package init(_ voters: [Voter]) {
        self.voters = voters.sorted { $0.key < $1.key }
    }

    package var ids: [NodeID] { voters.map(\.key.id) }
    package var count: Int { voters.count }
    package var majority: Int { voters.count / 2 + 1 }

    package func voter(_ id: NodeID) -> Voter? { voters.first { $0.key.id == id } }
    package func contains(_ key: ReplicaKey) -> Bool { voters.contains { $0.key == key } }

    package func adding(_ voter: Voter) -> VoterSet { VoterSet(voters + [voter]) }
    package func removing(_ key: ReplicaKey) -> VoterSet { VoterSet(voters.filter { $0.key != key }) }

    package var description: String { "{" + voters.map(\.key.description).joined(separator: " ") + "}" }
}
