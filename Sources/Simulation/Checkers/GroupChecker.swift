// Consumer groups: one owner of each partition (G1), and commits of members only, which stay (G2). What coordinators
// answer is held against the committed records of their log.

import Broker
import Model
import Records
import Wire

/// How things stood when a member asked its coordinator.
struct GroupAsked {
    /// All below was committed in the group's partition of `__consumer_offsets`.
    var end: Offset = 0
    /// The asked node was in no older term than whoever committed that. One that was superseded and does not know it
    /// says what it knows.
    var isBinding = false
    /// The term of the asked node.
    var term: LeaderEpoch = -1
    /// The generation that it had begun in this term.
    var begun: Int32?
}

final class GroupChecker {
    private struct Term: Hashable {
        var group: String
        var term: LeaderEpoch
    }

    private struct Generation: Hashable {
        var group: String
        var number: Int32
    }

    private struct Seat: Hashable {
        var group: String
        var node: NodeID
        var life: Int
    }

    private var groups = SortedMap<String, CommittedGroup>()
    /// Every offset is committed once only. For look-ups.
    private var sent: [Int64: SentCommit] = [:]
    private var lastValue: Int64 = 0
    /// The newest generation of a group that a coordinator told of in its term. For look-ups.
    private var begun: [Term: Int32] = [:]
    /// Who was told that it is in a generation. For look-ups.
    private var joined: [Generation: Set<String>] = [:]
    /// Where the last offset of a group stood after a node's last step. For look-ups.
    private var offsetsEnds: [Seat: Offset] = [:]
    /// Where offsets end that a coordinator took while it knew of no member. For look-ups.
    private var takenWhileEmpty: [String: Offset] = [:]
    /// What members were told that they have: the instance or the member of each. For look-ups.
    private var told: [Generation: [GroupPlace: String]] = [:]

    func group(_ id: String) -> CommittedGroup { groups[id] ?? CommittedGroup() }

    // MARK: Coordinators

    /// While a generation's parts are dealt out nobody knows what is its own, and nobody commits (G2).
    func stepped(_ node: SimulatedNode, _ shard: Shard, _ world: World) {
        guard !world.groups.isEmpty else { return }
        shard.inspectGroups { group in
            let seat = Seat(group: group.id, node: node.id, life: node.life)
            guard let before = offsetsEnds.updateValue(group.offsetsEnd, forKey: seat), before < group.offsetsEnd
            else { return }
            world.checkers.count(.g2taken)
            // Its last member has left, though the disk may have refused to write that down.
            if !group.hasMembers { takenWhileEmpty[group.id] = max(group.offsetsEnd, takenWhileEmpty[group.id] ?? 0) }
            if group.isCompleting {
                world.violated(
                    "G2",
                    "group \(group.id): node \(node.id) takes a commit while generation \(group.generation) is dealt "
                        + "out"
                )
            }
        }
    }

    // MARK: The log

    /// Records of one batch that are committed from now on.
    func committed(_ records: [Record], _ world: World) {
        var touched: Set<String> = []
        for record in records {
            guard let key = record.key else { continue }
            do throws(WireError) {
                let read = try GroupRecord.decode(key: key, value: record.value)
                if let id = committed(read, at: record.offset, world) { touched.insert(id) }
            } catch {
                world.violated("W11", "the groups' log holds at \(record.offset) what cannot be read: \(error)")
            }
        }
        for id in touched.sorted() {
            guard let group = groups[id] else { continue }
            if group.classic.count + group.consumers.count > 1 { world.checkers.count(.g1) }
            if let wrong = group.doubleOwner { world.violated("G1", "group \(id): \(wrong)") }
        }
    }

    /// Answers the group whose members it changes.
    private func committed(_ record: GroupRecord, at offset: Offset, _ world: World) -> String? {
        switch record {
        case .offsetCommit(let key, let value):
            let place = GroupPlace(topic: key.topic, partition: key.partition)
            if let value { checkTaken(value.offset, at: offset, key.groupID, place, world) }
            groups[key.groupID, default: CommittedGroup()].commit(place, value?.offset ?? -1, at: offset)
            return nil
        case .groupMetadata(let key, let value):
            let before = groups[key.groupID]?.generation ?? 0
            if let value, value.generation < before {
                world.violated("G1", "group \(key.groupID) goes back from generation \(before) to \(value.generation)")
            }
            if value == nil { forgetGenerations(of: key.groupID) }
            groups[key.groupID, default: CommittedGroup()].take(value, at: offset)
            return key.groupID
        case .consumerGroupMetadata(let key, nil):
            forgetGenerations(of: key.groupID)
            groups[key.groupID, default: CommittedGroup()].endConsumers()
            return key.groupID
        case .consumerGroupMemberMetadata(let key, let value):
            if value == nil {
                groups[key.groupID, default: CommittedGroup()].removeConsumer(key.memberID)
            } else {
                groups[key.groupID, default: CommittedGroup()].addConsumer(key.memberID)
            }
            return key.groupID
        case .consumerGroupCurrentMemberAssignment(let key, let value):
            groups[key.groupID, default: CommittedGroup()].take(value, of: key.memberID)
            return key.groupID
        default: return nil
        }
    }

    /// A group that was deleted, or whose consumers are all gone, and that the classic protocol finds, counts from 1
    /// again, as in Kafka. Its members are others, so nothing that was said in those numbers before is taken for what
    /// is said now.
    private func forgetGenerations(of id: String) {
        told = told.filter { $0.key.group != id }
        begun = begun.filter { $0.key.group != id }
    }

    /// Whoever committed was a member of the generation that the log knows at that place (G2).
    private func checkTaken(_ value: Int64, at offset: Offset, _ id: String, _ place: GroupPlace, _ world: World) {
        world.checkers.count(.g2taken)
        guard let commit = sent[value], commit.group == id, commit.place == place else {
            return world.violated("G2", "group \(id): \(value) is committed for \(place), and nobody sent it")
        }
        let topicID = world.checkers.metadata.newest.topicID(named: place.topic)
        let key = topicID.map { TopicPartition($0, place.partition) }
        if commit.generation < 0, commit.memberID.isEmpty, offset < takenWhileEmpty[id] ?? 0 { return }
        let isJoined = joined[Generation(group: id, number: commit.generation)]?.contains(commit.memberID) ?? false
        if let wrong = group(id).refusal(of: commit, key, isJoined: isJoined) {
            world.violated(
                "G2",
                "group \(id): the commit of \(place) by \(commit.memberID) in generation \(commit.generation) is "
                    + "taken; \(wrong)")
        }
    }

    // MARK: Before a member asks

    func asked(_ id: String, of node: SimulatedNode, _ world: World) -> GroupAsked {
        guard let topic = world.checkers.metadata.newest.topic(named: GroupTopic.name), !topic.partitions.isEmpty else {
            return GroupAsked()
        }
        let key = TopicPartition(topic.id, groupPartition(of: id, partitionCount: Int32(topic.partitions.count)))
        let log = world.checkers.partitions.committedLog(key)
        let term = world.checkers.partitions.leaderEpoch(of: key, on: node) ?? -1
        let newest = log?.batches.last?.seenInEpoch ?? -1
        return GroupAsked(
            end: log?.endOffset ?? 0, isBinding: term >= newest, term: term, begun: begun[Term(group: id, term: term)])
    }

    /// An offset to commit that nobody ever committed: higher than all before it.
    func newValue(for commit: SentCommit) -> Int64 {
        lastValue += 1
        sent[lastValue] = commit
        return lastValue
    }

    // MARK: What a member is told, in the moment in which the node lets it go

    func commitAcknowledged(_ value: Int64, _ asked: GroupAsked, by node: SimulatedNode, _ world: World) {
        guard let commit = sent[value] else { return }
        world.checkers.count(.g2acked)
        if !group(commit.group).hasValue(value, of: commit.place, from: 0) {
            world.violated(
                "G2",
                "group \(commit.group): node \(node.id) acknowledges \(value) for \(commit.place), and it is not "
                    + "committed"
            )
        }
        // A commit of nobody's is of no generation.
        if let begun = asked.begun, commit.generation >= 0, commit.generation < begun, !commit.isConsumers {
            world.violated(
                "G2",
                "group \(commit.group): node \(node.id) takes a commit of generation \(commit.generation), and had "
                    + "begun generation \(begun) in term \(asked.term)")
        }
    }

    /// What a coordinator says that it has deleted its log says, too: no coordinator after it knows the offset.
    /// - Parameter places: nil: all of the group.
    func deletionAcknowledged(
        _ id: String, _ places: [GroupPlace]?, _ asked: GroupAsked, by node: SimulatedNode, _ world: World
    ) {
        guard asked.isBinding else { return }
        let group = group(id)
        for place in places ?? group.commits.keys {
            let known = group.value(of: place, before: asked.end)
            guard known >= 0 else { continue }
            world.checkers.count(.g2deleted)
            if !group.hasValue(-1, of: place, from: asked.end) {
                world.violated(
                    "G2",
                    "group \(id): node \(node.id) in term \(asked.term) has deleted the offset of \(place), and the "
                        + "log still says \(known)")
            }
        }
    }

    func offsetShown(
        _ value: Int64, of place: GroupPlace, _ id: String, _ asked: GroupAsked, by node: SimulatedNode, _ world: World
    ) {
        let group = group(id)
        let known = group.value(of: place, before: asked.end)
        if asked.isBinding, known >= 0 { world.checkers.count(.g2) }
        if asked.isBinding ? value == known : value < 0 { return }
        if group.hasValue(value, of: place, from: asked.isBinding ? asked.end : 0) { return }
        world.violated(
            "G2",
            "group \(id): node \(node.id) in term \(asked.term) shows \(value) for \(place)"
                + (asked.isBinding ? ", and \(known) was committed before it was asked" : ", which is not committed"))
    }

    func joinAnswered(
        _ memberID: String, in generation: Int32, _ id: String, _ asked: GroupAsked, by node: SimulatedNode,
        _ world: World
    ) {
        let group = group(id)
        let term = Term(group: id, term: asked.term)
        joined[Generation(group: id, number: generation), default: []].insert(memberID)
        // In a later term it may begin again with what was never written down. Where the coordinator deals out, each
        // member is in an epoch of its own.
        if asked.isBinding, group.consumers.isEmpty { begun[term] = max(begun[term] ?? 0, generation) }
        guard asked.isBinding, group.generation == generation else { return }
        world.checkers.count(.g1told)
        if group.member(memberID) == nil {
            world.violated(
                "G1",
                "group \(id): \(memberID) is told that it is in generation \(generation), and the log does not say so")
        }
    }

    func syncAnswered(
        _ memberID: String, _ instanceID: String?, in generation: Int32, has places: Set<GroupPlace>, _ id: String,
        _ asked: GroupAsked, by node: SimulatedNode, _ world: World
    ) {
        let name = instanceID ?? memberID
        for place in places.sorted() {
            let other = told[Generation(group: id, number: generation), default: [:]].updateValue(name, forKey: place)
            if let other, other != name {
                world.violated(
                    "G1", "group \(id), generation \(generation): \(place) is given to \(other) and to \(name)")
            }
        }
        let group = group(id)
        guard asked.isBinding, group.consumers.isEmpty, generation >= group.generation ?? 0 else { return }
        world.checkers.count(.g1told)
        guard generation == group.generation, let member = group.member(memberID) else {
            return world.violated(
                "G1",
                "group \(id): \(name) is told its part of generation \(generation), and committed is generation "
                    + "\(group.generation ?? -1)")
        }
        // Asked while the coordinator still dealt out; the answer left when the log had both.
        if let part = group.partBeforeReturn(of: memberID, askedAt: asked.end), isTold(part, places, world) { return }
        if member.assignment != places {
            world.violated(
                "G1",
                "group \(id), generation \(generation): \(name) is told \(places.sorted()), and the log says "
                    + "\(member.assignment.sorted())")
        }
    }

    /// Whether the places are all of the part whose topics there still are. A topic's name says nothing when the topic
    /// is gone, or made anew.
    private func isTold(_ part: [TopicPartition], _ places: Set<GroupPlace>, _ world: World) -> Bool {
        let image = world.checkers.metadata.newest
        let names = part.map { key in
            image.topic(id: key.topicID).map { GroupPlace(topic: $0.name, partition: key.partition) }
        }
        let known = Set(names.compactMap { $0 })
        return known.count == part.count ? places == known : places.isSuperset(of: known) && places.count <= part.count
    }

    /// A member of the next-generation protocol is told what it has.
    func assignmentTold(
        _ memberID: String, in epoch: Int32, has places: Set<GroupPlace>, _ group: SimulatedGroup, _ world: World
    ) {
        let committed = self.group(group.name)
        guard let member = committed.consumers[memberID], member.epoch == epoch else { return }
        for other in group.members where other.memberID != memberID && committed.consumers[other.memberID] != nil {
            world.checkers.count(.g1given)
            let both = other.owned.intersection(places)
            if !both.isEmpty {
                world.violated(
                    "G1",
                    "group \(group.name): \(memberID) is given \(both.sorted()) in epoch \(epoch), which "
                        + "\(other.memberID) has not given up")
            }
        }
    }
}
