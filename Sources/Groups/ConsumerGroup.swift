// A group of the next-generation protocol (KIP-848): three epochs, and what each member has and is to have.

import Model
import NIOCore
import Wire

/// The group epoch rises when members, subscriptions or topics change. Then a target assignment is computed for it, and
/// each member walks to it by itself: it gives up what it is to lose, takes the new epoch, and gets what others have
/// released. Nobody waits at a barrier.
package struct ConsumerGroup: Equatable, Sendable {
    package internal(set) var epoch: Int32 = 0
    /// Of the topics that are subscribed to, as this epoch saw them.
    package internal(set) var metadataHash: Int64 = 0
    /// The group epoch that the members' targets belong to.
    package internal(set) var assignmentEpoch: Int32 = 0
    package internal(set) var members = SortedMap<String, ConsumerMember>()

    var instances = SortedMap<String, String>()
    /// Loading: there is a record of the group itself.
    var isKnown = true
    /// The revision of the topics that it last looked at; 0: none yet.
    var topicsSeen: UInt64 = 0

    package enum State: String, Sendable {
        case empty = "Empty"
        /// The target assignment is older than the group.
        case assigning = "Assigning"
        /// Some member is on its way to its target.
        case reconciling = "Reconciling"
        case stable = "Stable"
    }

    package var state: State {
        if members.isEmpty { return .empty }
        if epoch != assignmentEpoch { return .assigning }
        return members.values.allSatisfy { isSettled($0) } ? .stable : .reconciling
    }

    /// A static member that is away is where it can be.
    private func isSettled(_ member: ConsumerMember) -> Bool {
        member.epoch == ConsumerMember.awayEpoch || (member.state == .stable && member.epoch == assignmentEpoch)
    }

    /// Who has each partition now, or has not given it up yet.
    func owner(
        of partition: TopicPartition, besides memberID: String, _ bug: PlantedBug = .none
    ) -> String? {
        members.values.first {
            $0.id != memberID
                && ($0.assigned[partition] != nil
                    || ($0.revoking[partition] != nil && bug != .revokingCountsAsFree))
        }?.id
    }
}

package struct ConsumerMember: Equatable, Sendable {
    package enum State: Int8, Sendable {
        case stable = 0
        /// It was told to give partitions up and still has them.
        case unrevoked = 1
        /// It waits for partitions that others have.
        case unreleased = 2
    }

    /// The epoch of a static member that left and will come back.
    static let awayEpoch: Int32 = -2

    package let id: String
    package var instanceID: String?
    package var rackID: String?
    package var clientID = ""
    package var clientHost = ""
    /// Sorted, without repeats.
    package var topics: [String] = []
    /// A regular expression over topic names.
    package var pattern: String?
    package var rebalanceTimeoutMs: Int32 = -1
    package var serverAssignor: String?

    package var epoch: Int32 = 0
    /// The one before: who did not get the last answer still names it.
    package var previousEpoch: Int32 = -1
    package var state = State.stable
    /// What it has, each with the epoch since which it has it.
    package var assigned = SortedMap<TopicPartition, Int32>()
    package var revoking = SortedMap<TopicPartition, Int32>()
    /// What it is to have, sorted.
    package var target: [TopicPartition] = []

    /// Set while it takes part by JoinGroup, SyncGroup and Heartbeat.
    package var classic: ClassicPart?

    var sessionDeadline = Instant.distantFuture
    /// When it must have given up what it was told to.
    var revocationDeadline: Instant?
    /// The topics that its pattern was found to name.
    var patternTopics: [String] = []
    /// Loading: there is a record of its subscription.
    var isKnown = true

    var name: MemberName { MemberName(id: id, instanceID: instanceID, clientHost: clientHost) }

    /// The topics that it reads by name, whether they exist or not.
    var allTopics: [String] { pattern == nil ? topics : Set(topics + patternTopics).sorted() }

    init(id: String) { self.id = id }

    /// What a member of the classic protocol said that one of this protocol does not.
    package struct ClassicPart: Equatable, Sendable {
        package var sessionTimeoutMs: Int32
        package var protocols: [JoinGroupRequest.GroupProtocol]
        /// When it must have asked for its assignment, or have joined again after it was told to.
        var deadline: Instant?
    }
}

extension ConsumerGroup {
    // MARK: Reconciliation

    /// The member's next step towards its target.
    /// - Parameter owned: what the client says that it has; nil: it did not say.
    func reconciled(
        _ member: ConsumerMember, owned: Set<TopicPartition>?, _ bug: PlantedBug = .none
    ) -> ConsumerMember {
        switch member.state {
        case .stable: return member.epoch == assignmentEpoch ? member : advanced(member, owned: owned, bug)
        case .unrevoked:
            guard let owned, !member.revoking.keys.contains(where: owned.contains) else { return member }
            return advanced(member, owned: owned, bug)
        case .unreleased: return advanced(member, owned: owned, bug)
        }
    }

    private func advanced(
        _ member: ConsumerMember, owned: Set<TopicPartition>?, _ bug: PlantedBug
    ) -> ConsumerMember {
        var next = member
        let target = Set(member.target)
        next.assigned = SortedMap(member.assigned.lazy.filter { target.contains($0.key) }.map { ($0.key, $0.value) })
        let lost = member.assigned.lazy.filter { !target.contains($0.key) }.map { ($0.key, $0.value) }
        next.revoking = SortedMap()
        // What the client does not have it need not give up.
        if lost.contains(where: { partition, _ in owned?.contains(partition) ?? true }) {
            next.revoking = SortedMap(lost)
            next.state = .unrevoked
            return next
        }
        var waits = false
        for partition in member.target where next.assigned[partition] == nil {
            if owner(of: partition, besides: member.id, bug) == nil {
                next.assigned[partition] = assignmentEpoch
            } else {
                waits = true
            }
        }
        next.state = waits ? .unreleased : .stable
        if next.epoch != assignmentEpoch {
            next.previousEpoch = next.epoch
            next.epoch = assignmentEpoch
        }
        return next
    }

    // MARK: Subscriptions

    /// A fingerprint of the subscribed topics: another one means that the assignment is to be computed anew. Only this
    /// build compares it; one that another build wrote costs one epoch.
    func hash(of topics: any TopicLookup) -> Int64 {
        var names: Set<String> = []
        for member in members.values { names.formUnion(member.allTopics) }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func mix(_ bytes: some Sequence<UInt8>) {
            for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        }
        func mix(_ value: some FixedWidthInteger) {
            var value = UInt64(truncatingIfNeeded: value)
            for _ in 0..<8 {
                mix([UInt8(truncatingIfNeeded: value)])
                value >>= 8
            }
        }
        for name in names.sorted() {
            guard let topic = topics.topic(named: name) else { continue }
            mix(name.utf8)
            mix(topic.id.high)
            mix(topic.id.low)
            mix(topic.partitions)
        }
        return hash == 0 ? 1 : Int64(bitPattern: hash)
    }

    /// Looks up what the members' patterns name now.
    mutating func resolvePatterns(_ topics: any TopicLookup, _ patterns: inout PatternNames) {
        for id in members.keys {
            guard let member = members[id], let text = member.pattern else { continue }
            let found = patterns.names(text, among: topics)
            if found != member.patternTopics { members[id]?.patternTopics = found }
        }
    }

    /// Computes the target of every member for the group's epoch.
    mutating func assign(_ topics: any TopicLookup, _ settings: GroupSettings) {
        var known: [String: KnownTopic] = [:]
        let subscribers = members.values.map { member in
            let subscribed = member.allTopics.compactMap { name -> KnownTopic? in
                if let topic = known[name] { return topic }
                known[name] = topics.topic(named: name)
                return known[name]
            }
            return Subscriber(
                id: member.id, rank: member.instanceID ?? member.id, topics: subscribed, previous: member.target)
        }
        let targets = assignor(settings).assign(subscribers)
        for (id, target) in targets where members[id]?.target != target { members[id]?.target = target }
        assignmentEpoch = epoch
    }

    /// The one that most members ask for; the configuration's first, if none does.
    func assignor(_ settings: GroupSettings) -> ConsumerAssignor {
        let wishes = members.values.compactMap { $0.serverAssignor.flatMap(ConsumerAssignor.init) }
        let ranked = settings.consumerAssignors.map { one in (one, wishes.count { $0 == one }) }
        // The first of those with most wishes.
        return ranked.max { $0.1 < $1.1 }?.0 ?? .uniform
    }
}
