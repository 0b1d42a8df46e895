// Looks after groups from outside: commits for a group that has no members, as tools and simple consumers do, deletes
// offsets, and deletes groups. That of a group with members, too, which is refused for as long as it has any.

import Broker
import Model
import Wire

final class SimulatedGroupAdmin {
    static let simpleGroup = "group-simple"

    let client: SimulatedClient
    private let topics: [String]
    private var coordinators = SortedMap<String, NodeID>()
    /// Its own, so that other clients' lots stay what they are.
    private var random: SeededRandom
    private static let backoffMs: Int64 = 60

    private var world: World { client.world }

    init(_ client: SimulatedClient, topics: [String]) {
        self.client = client
        self.topics = topics
        random = client.world.lots.stream(.groups, 1_000)
    }

    func start() {
        client.later("looks after groups", ms: 700) { [unowned self] in turn() }
    }

    private func turn() {
        guard world.isLoaded else { return }
        let others = world.groups.map(\.name)
        let isOther = !others.isEmpty && random.oneIn(4)
        let group = isOther ? others[Int(random.below(Int64(others.count)))] : Self.simpleGroup
        guard let coordinator = coordinators[group] else { return find(group) }
        switch random.below(8) {
        case 0...3: commit(group, coordinator)
        case 4, 5: show(group, coordinator)
        case 6: deleteOffsets(group, coordinator)
        default: delete(group, coordinator)
        }
    }

    private func again(_ ms: Int64) {
        client.later("looks after groups", ms: ms) { [unowned self] in turn() }
    }

    private func find(_ group: String) {
        var request = FindCoordinatorRequest()
        request.coordinatorKeys = [group]
        client.ask(request, version: 4, of: client.anyNode(), timeoutMs: 2_600) { [unowned self] answer in
            if let found = answer?.coordinators.first, found.errorCode == .none { coordinators[group] = found.nodeID }
            again(Self.backoffMs)
        }
    }

    /// Nil: no answer came.
    private func ended(_ deed: String, _ group: String, _ error: ErrorCode?) {
        world.trace.note(
            world.now, "client \(client.number) \(deed) of \(group): \(error?.description ?? "no answer")")
        if error == nil || error == .notCoordinator || error == .coordinatorNotAvailable { coordinators[group] = nil }
        again(20 + random.below(200))
    }

    private func asked(_ group: String, _ coordinator: NodeID) -> GroupAsked {
        world.checkers.groups.asked(group, of: world.node(coordinator), world)
    }

    /// Some of the partitions that there are.
    private func drawPlaces() -> [GroupPlace] {
        topics.sorted().flatMap { topic -> [GroupPlace] in
            let count = world.checkers.metadata.newest.topic(named: topic)?.partitions.count ?? 0
            return (0..<count).map { GroupPlace(topic: topic, partition: Int32($0)) }
        }.filter { _ in random.oneIn(2) }
    }

    // MARK: What it does

    private func commit(_ group: String, _ coordinator: NodeID) {
        let places = drawPlaces()
        guard !places.isEmpty else { return again(Self.backoffMs) }
        let values = places.map { place in
            world.checkers.groups.newValue(
                for: SentCommit(group: group, place: place, memberID: "", generation: -1, isConsumers: false))
        }
        var request = OffsetCommitRequest()
        request.groupID = group
        request.generationIDOrMemberEpoch = -1
        for (place, value) in zip(places, values) {
            var entry = OffsetCommitRequest.Topic()
            entry.name = place.topic
            var partition = OffsetCommitRequest.Partition()
            partition.partitionIndex = place.partition
            partition.committedOffset = value
            entry.partitions = [partition]
            request.topics.append(entry)
        }
        let asked = asked(group, coordinator)
        client.ask(
            request, version: 9, of: coordinator, timeoutMs: 1_800,
            peek: { [unowned world] answer, node in
                for (topic, value) in zip(answer.topics, values)
                where topic.partitions.first?.errorCode == ErrorCode.none {
                    world.checkers.groups.commitAcknowledged(value, asked, by: node, world)
                }
            },
            then: { [unowned self] answer in
                ended("commits \(values)", group, answer?.topics.first?.partitions.first?.errorCode)
            })
    }

    private func show(_ group: String, _ coordinator: NodeID) {
        let places = drawPlaces()
        guard !places.isEmpty else { return again(Self.backoffMs) }
        var wanted = OffsetFetchRequest.Group()
        wanted.groupID = group
        wanted.topics = places.map { place in
            var topic = OffsetFetchRequest.Topic()
            topic.name = place.topic
            topic.partitionIndexes = [place.partition]
            return topic
        }
        var request = OffsetFetchRequest()
        request.groups = [wanted]
        let asked = asked(group, coordinator)
        client.ask(
            request, version: 8, of: coordinator, timeoutMs: 1_800,
            peek: { [unowned world] answer, node in
                guard let found = answer.groups.first, found.errorCode == .none else { return }
                for (place, topic) in zip(places, found.topics) {
                    guard let shown = topic.partitions.first, shown.errorCode == .none else { continue }
                    world.checkers.groups.offsetShown(
                        shown.committedOffset, of: place, group, asked, by: node, world)
                }
            },
            then: { [unowned self] answer in ended("sees offsets", group, answer?.groups.first?.errorCode) })
    }

    private func deleteOffsets(_ group: String, _ coordinator: NodeID) {
        let places = drawPlaces()
        guard !places.isEmpty else { return again(Self.backoffMs) }
        var request = OffsetDeleteRequest()
        request.groupID = group
        request.topics = places.map { place in
            var partition = OffsetDeleteRequest.Partition()
            partition.partitionIndex = place.partition
            var topic = OffsetDeleteRequest.Topic()
            topic.name = place.topic
            topic.partitions = [partition]
            return topic
        }
        let asked = asked(group, coordinator)
        client.ask(
            request, version: 0, of: coordinator, timeoutMs: 1_800,
            peek: { [unowned world] answer, node in
                guard answer.errorCode == .none else { return }
                let deleted = zip(places, answer.topics).filter {
                    $0.1.partitions.first?.errorCode == ErrorCode.none
                }
                world.checkers.groups.deletionAcknowledged(group, deleted.map(\.0), asked, by: node, world)
            },
            then: { [unowned self] answer in
                let error = answer.map {
                    $0.errorCode == .none ? $0.topics.first?.partitions.first?.errorCode : $0.errorCode
                }
                ended("deletes offsets of \(places)", group, error ?? nil)
            })
    }

    private func delete(_ group: String, _ coordinator: NodeID) {
        var request = DeleteGroupsRequest()
        request.groupsNames = [group]
        let asked = asked(group, coordinator)
        client.ask(
            request, version: 2, of: coordinator, timeoutMs: 1_800,
            peek: { [unowned world] answer, node in
                guard answer.results.first?.errorCode == ErrorCode.none else { return }
                world.checkers.groups.deletionAcknowledged(group, nil, asked, by: node, world)
            },
            then: { [unowned self] answer in ended("deletes all", group, answer?.results.first?.errorCode) })
    }
}
