// A consumer group of one world: its members, and when all is well with it.

import Broker
import Model
import Wire

package enum GroupKind: String, CaseIterable, Sendable, Codable {
    /// JoinGroup and SyncGroup; everyone gives up everything in a rebalance.
    case eager
    /// The same, and members keep what stays theirs (KIP-429).
    case cooperative
    /// ConsumerGroupHeartbeat (KIP-848).
    case consumer
    /// Rolled from one to the other and back: every new process draws which of the last two it speaks.
    case rolling
}

final class SimulatedGroup {
    let name: String
    let kind: GroupKind
    let topics: [String]
    unowned let world: World
    private(set) var members: [SimulatedMember] = []
    /// The processes that were and those that are.
    private var clients: [SimulatedClient] = []
    private let number: Int
    /// Of this group alone, so that other clients' lots stay what they are.
    private(set) var lots: SeededRandom
    let sessionTimeoutMs: Int32
    /// Names all topics that groups read, and no others.
    static let topicPattern = "t(-.*)?"
    static let rebalanceTimeoutMs: Int32 = 3_000
    static let heartbeatMs: Int64 = 400
    /// For members of the next-generation protocol, whom the cluster tells.
    static let consumerSessionTimeoutMs: Int64 = 2_500

    /// Some member was shown all offsets after the load.
    var isShownAtEnd = false

    init(_ number: Int, _ kind: GroupKind, topics: [String], members count: Int, world: World) {
        self.number = number
        self.kind = kind
        self.topics = topics
        self.world = world
        name = "group-\(number)"
        lots = world.lots.stream(.groups, UInt64(number))
        sessionTimeoutMs = kind == .consumer ? Int32(Self.consumerSessionTimeoutMs) : Int32(1_500 + lots.below(2_500))
        for place in 0..<count {
            let instanceID = lots.oneIn(3) ? "\(name)-instance-\(place)" : nil
            members.append(SimulatedMember(self, place, instanceID: instanceID))
        }
        // By mistake somebody starts a static member twice: one of the two is fenced, and stays away.
        if kind == .eager || kind == .cooperative, lots.oneIn(3),
            let instanceID = members.compactMap(\.instanceID).first
        {
            members.append(SimulatedMember(self, count, instanceID: instanceID))
        }
    }

    func start() {
        for (place, member) in members.enumerated() {
            let isTwin =
                place > 0 && members[..<place].contains { $0.instanceID != nil && $0.instanceID == member.instanceID }
            member.start(afterMs: 400 + lots.below(isTwin || lots.oneIn(3) ? 4_000 : 300))
        }
    }

    /// A new process has connections of its own.
    func newClient() -> SimulatedClient {
        let client = SimulatedClient(number: 10_000 * (number + 1) + clients.count, world: world)
        clients.append(client)
        return client
    }

    /// Every partition of its topics, as far as the newest metadata tells.
    var places: [GroupPlace] {
        topics.sorted().flatMap { topic -> [GroupPlace] in
            let count = world.checkers.metadata.newest.topic(named: topic)?.partitions.count ?? 0
            return (0..<count).map { GroupPlace(topic: topic, partition: Int32($0)) }
        }
    }

    /// Nil: its living members are one generation, and have each partition once (L4).
    var whatIsMissing: String? {
        let living = members.filter { !$0.isGone }
        guard let first = living.first else { return nil }
        var owners: [GroupPlace: String] = [:]
        for member in living {
            guard member.isSettled else { return "\(member.name) is not settled: \(member.standing)" }
            if member.generation != first.generation {
                return "\(member.name) is in generation \(member.generation), \(first.name) in \(first.generation)"
            }
            for place in member.owned.sorted() {
                if let other = owners.updateValue(member.name, forKey: place) {
                    return "\(place) is read by \(other) and by \(member.name)"
                }
            }
        }
        if let unread = places.first(where: { owners[$0] == nil }) { return "nobody reads \(unread)" }
        return isShownAtEnd ? nil : "nobody was shown its offsets"
    }

    func dismantle() {
        for client in clients { client.hangUp() }
        members = []
        clients = []
    }
}
