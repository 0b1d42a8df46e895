// What the committed records of `__consumer_offsets` say of one group: ghost state that answers are held against.

import Model
import NIOCore
import Wire

/// A partition that a group reads, by the topic's name.
struct GroupPlace: Hashable, Comparable, Sendable, CustomStringConvertible {
    var topic: String
    var partition: PartitionIndex

    static func < (a: Self, b: Self) -> Bool {
        a.topic == b.topic ? a.partition < b.partition : a.topic < b.topic
    }

    var description: String { "\(topic)-\(partition)" }
}

struct CommittedGroup {
    /// What the log said of a place from the record at `at` on; −1: nothing.
    struct Commit {
        var at: Offset
        var value: Int64
    }

    struct ClassicMember: Equatable {
        var instanceID: String?
        var assignment: Set<GroupPlace>
    }

    struct ConsumerMember {
        var epoch: Int32 = 0
        /// Each with the epoch since which the member has it.
        var assigned = SortedMap<TopicPartition, Int32>()
        var revoking = SortedMap<TopicPartition, Int32>()
    }

    private(set) var commits = SortedMap<GroupPlace, [Commit]>()
    /// Nil: there is no classic group.
    private(set) var generation: Int32?
    private(set) var classic = SortedMap<String, ClassicMember>()
    /// Whom this generation had until another process took the place. Both records may be committed at once, and then
    /// the answer to the first leaves when the second is known.
    private(set) var replaced = SortedMap<String, ClassicMember>()
    private(set) var consumers = SortedMap<String, ConsumerMember>()
    /// What consumers had when they went: who joins the classic protocol's group that theirs became is told it by an
    /// answer that waited meanwhile.
    private var consumersGone = SortedMap<String, ConsumerMember>()
    /// Where the log last said how the classic group stands.
    private var classicAt: Offset = -1

    /// What stood there when the log ended at `end`.
    func value(of place: GroupPlace, before end: Offset) -> Int64 {
        commits[place]?.last { $0.at < end }?.value ?? -1
    }

    /// Whether `value` was written there at `start` or behind it.
    func hasValue(_ value: Int64, of place: GroupPlace, from start: Offset) -> Bool {
        commits[place]?.contains { $0.at >= start && $0.value == value } ?? false
    }

    /// A member of the generation, now or until it was replaced.
    func member(_ id: String) -> ClassicMember? { classic[id] ?? replaced[id] }

    /// The group has just become a classic one, in the epoch as its generation: nobody's part is written down, and all
    /// are to join again. What its member had until then, when it asked before that was committed (`end`); nil: it is
    /// no such group, or the member had nothing in it.
    func partBeforeReturn(of memberID: String, askedAt end: Offset) -> [TopicPartition]? {
        guard end <= classicAt, classic.values.allSatisfy({ $0.assignment.isEmpty }),
            let gone = consumersGone[memberID], gone.epoch == generation
        else { return nil }
        return gone.assigned.keys
    }

    // MARK: Records, in the log's order

    mutating func commit(_ place: GroupPlace, _ value: Int64, at offset: Offset) {
        commits[place, default: []].append(Commit(at: offset, value: value))
    }

    mutating func take(_ value: GroupMetadataValue?, at offset: Offset) {
        if value?.generation != generation { (replaced, classic) = (SortedMap(), SortedMap()) }
        if value?.members.contains(where: { $0.assignment.readableBytes > 0 }) ?? true { consumersGone = SortedMap() }
        classicAt = offset
        for (id, member) in classic { replaced[id] = member }
        generation = value?.generation
        classic = SortedMap()
        for member in value?.members ?? [] {
            classic[member.memberID] = ClassicMember(
                instanceID: member.groupInstanceID, assignment: Self.places(in: member.assignment))
        }
    }

    mutating func take(_ value: ConsumerGroupCurrentMemberAssignmentValue?, of memberID: String) {
        guard let value else { return }
        var member = ConsumerMember(epoch: value.memberEpoch)
        member.assigned = Self.read(value.assignedPartitions, value.memberEpoch)
        member.revoking = Self.read(value.partitionsPendingRevocation, value.memberEpoch)
        consumers[memberID] = member
    }

    mutating func removeConsumer(_ memberID: String) {
        if let member = consumers.removeValue(forKey: memberID) { consumersGone[memberID] = member }
    }

    mutating func addConsumer(_ memberID: String) {
        if consumers[memberID] == nil { consumers[memberID] = ConsumerMember() }
    }

    mutating func endConsumers() { consumers = SortedMap() }

    private static func read(
        _ topics: [ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions], _ epoch: Int32
    ) -> SortedMap<TopicPartition, Int32> {
        var read = SortedMap<TopicPartition, Int32>()
        for topic in topics {
            let epochs = topic.assignmentEpochs ?? []
            for (place, partition) in topic.partitions.enumerated() {
                read[TopicPartition(topic.topicID, partition)] = place < epochs.count ? epochs[place] : epoch
            }
        }
        return read
    }

    /// The partitions in a consumer's assignment; none where it is empty.
    static func places(in assignment: ByteBuffer) -> Set<GroupPlace> {
        guard let read = try? ConsumerProtocolAssignment.decode(assignment) else { return [] }
        return Set(
            read.assignedPartitions.flatMap { topic in
                topic.partitions.map { GroupPlace(topic: topic.topic, partition: $0) }
            })
    }

    // MARK: What is wrong

    /// Two members with one partition, in one generation or at one time (G1).
    var doubleOwner: String? {
        var owners: [GroupPlace: String] = [:]
        for (id, member) in classic {
            for place in member.assignment.sorted() {
                if let other = owners.updateValue(id, forKey: place) {
                    return "generation \(generation ?? -1) gives \(place) to \(other) and \(id)"
                }
            }
        }
        var holders: [TopicPartition: String] = [:]
        for (id, member) in consumers {
            for key in member.assigned.keys + member.revoking.keys {
                if let other = holders.updateValue(id, forKey: key), other != id {
                    return "partition \(key.partition) is \(other)'s and \(id)'s"
                }
            }
        }
        return nil
    }

    /// Why whoever sent this commit could not; nil: it could (G2).
    /// - Parameter isJoined: it was told that it is in that generation, which need not be written down yet.
    func refusal(of commit: SentCommit, _ key: TopicPartition?, isJoined: Bool) -> String? {
        let asked = commit.generation
        guard !consumers.isEmpty else {
            if isJoined, asked > generation ?? 0 { return nil }
            // Nobody's: it is taken while the group has no members.
            if asked < 0 { return classic.isEmpty ? nil : "the group has members" }
            guard generation == asked else { return "the group is in generation \(generation ?? -1)" }
            return classic[commit.memberID] == nil ? "it is no member of generation \(asked)" : nil
        }
        guard let member = consumers[commit.memberID] else { return "it is no member" }
        if asked == member.epoch { return nil }
        guard commit.isConsumers else { return "it is in epoch \(member.epoch)" }
        let since = key.flatMap { member.assigned[$0] ?? member.revoking[$0] }
        // KIP-1251: an epoch that is past will do as long as the partition has been its own.
        if asked < member.epoch, let since, since <= asked { return nil }
        return "it is in epoch \(member.epoch), and has the partition \(since.map { "since \($0)" } ?? "no more")"
    }
}

/// A commit as its sender knows it.
struct SentCommit {
    var group: String
    var place: GroupPlace
    var memberID: String
    /// Or the member's epoch.
    var generation: Int32
    var isConsumers: Bool
}
